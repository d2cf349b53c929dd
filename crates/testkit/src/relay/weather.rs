//! A script that loses, doubles and delays a percentage of the datagrams at random.

use std::time::Duration;

use super::script::{Fate, Passing};

/// What the network does to datagrams of both ways. What happens to the n-th datagram of a
/// transfer hangs on the seed, the transfer's request, the way and n alone, so that a test that
/// fails can be run again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Percentage of datagrams that are lost.
    pub lost: u32,
    /// Percentage of the others that arrive twice.
    pub doubled: u32,
    /// Percentage of copies that are late by up to [`Weather::by`], so that others overtake them.
    pub late: u32,
    /// How late a late copy is at most.
    pub by: Duration,
    /// How long every datagram is on its way, one way.
    pub delay: Duration,
}

impl Weather {
    /// A network that does nothing to datagrams.
    pub const CALM: Weather =
        Weather { lost: 0, doubled: 0, late: 0, by: Duration::ZERO, delay: Duration::ZERO };

    /// The script of this weather.
    pub fn script(self, seed: u64) -> impl FnMut(&Passing<'_>) -> Fate + Send + 'static {
        move |passing| {
            let whose = passing.transfer ^ seed.rotate_left(32) ^ ((passing.way as u64) << 63);
            self.fate(&mut Dice(mix(whose).wrapping_add(mix(passing.number))))
        }
    }

    fn fate(self, dice: &mut Dice) -> Fate {
        if dice.percent(self.lost) {
            return Fate::lost();
        }
        let copies = if dice.percent(self.doubled) { 2 } else { 1 };
        let travel = |_| {
            let late = if dice.percent(self.late) { dice.up_to(self.by) } else { Duration::ZERO };
            self.delay + late
        };
        Fate((0..copies).map(travel).collect())
    }
}

/// Pseudo-random numbers: Steele's SplitMix64.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns true in this percentage of cases.
    fn percent(&mut self, percent: u32) -> bool {
        self.roll() % 100 < u64::from(percent)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        longest * (self.roll() % 1000) as u32 / 1000
    }
}

/// Spreads the bits of a number over all of its places.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::script::Way;

    const STORM: Weather = Weather {
        lost: 20,
        doubled: 10,
        late: 30,
        by: Duration::from_millis(50),
        delay: Duration::from_millis(5),
    };

    fn fates(weather: Weather, seed: u64, transfer: u64, way: Way) -> Vec<Fate> {
        let mut script = weather.script(seed);
        let fate = |number| script(&Passing { way, transfer, number, bytes: b"" });
        (0..10_000).map(fate).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_weather_and_another_gives_another() {
        let first = fates(STORM, 1, 7, Way::ToServer);
        assert_eq!(first, fates(STORM, 1, 7, Way::ToServer));
        for other in [(2, 7, Way::ToServer), (1, 8, Way::ToServer), (1, 7, Way::ToClient)] {
            let fates = fates(STORM, other.0, other.1, other.2);
            let same = fates.iter().zip(&first).filter(|(one, two)| one == two).count();
            assert!(same < 6000, "{other:?}: {same} of 10000 are the same");
        }
    }

    #[test]
    fn chances_are_those_that_were_asked_for() {
        let fates = fates(STORM, 3, 9, Way::ToClient);
        let lost = fates.iter().filter(|fate| fate.0.is_empty()).count();
        let doubled = fates.iter().filter(|fate| fate.0.len() == 2).count();
        let copies: Vec<_> = fates.iter().flat_map(|fate| &fate.0).collect();
        let late = copies.iter().filter(|travel| ***travel > STORM.delay).count();
        assert!((1800..2200).contains(&lost), "{lost} of 10000 lost");
        assert!((650..950).contains(&doubled), "{doubled} of 8000 doubled");
        assert!(late * 100 / copies.len() >= 27 && late * 100 / copies.len() <= 33, "{late} late");
        assert!(copies.iter().all(|travel| **travel >= STORM.delay));
        assert!(copies.iter().all(|travel| **travel < STORM.delay + STORM.by));
    }

    #[test]
    fn calm_weather_does_nothing() {
        let fates = fates(Weather::CALM, 1, 1, Way::ToServer);
        assert!(fates.iter().all(|fate| *fate == Fate::passes()));
    }
}
