//! Which listeners are ready.

/// A server has no more listeners than this: a bit for each, and one more.
pub(crate) const MOST_LISTENERS: usize = 63;

/// The numbers of the listeners that are ready, from one on and round to the one before it. A bit each
/// and no `Vec`: memory that is allocated for each client is one page more to copy after each fork.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    bits: u64,
    /// Whose turn it is.
    turn: u32,
}

impl Ready {
    /// Listener `number` is ready.
    pub(crate) fn add(&mut self, number: usize) {
        self.bits |= 1 << number;
    }

    /// Listener `number` is none, or has been looked after; tells whether it was ready.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        let was = self.bits >> number & 1 == 1;
        self.bits &= !(1 << number);
        was
    }

    /// Those that are ready come from this one on; gives whose turn it is the next time.
    pub(crate) fn begin_with(&mut self, turn: u32) -> u32 {
        self.turn = turn;
        if self.is_empty() { turn } else { (self.first() + 1) % u64::BITS }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.bits == 0
    }

    fn first(self) -> u32 {
        (self.bits.rotate_right(self.turn).trailing_zeros() + self.turn) % u64::BITS
    }
}

impl Iterator for Ready {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let number = self.first() as usize;
        (!self.is_empty()).then(|| {
            self.remove(number);
            number
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[usize]) -> Ready {
        let mut ready = Ready::default();
        numbers.iter().for_each(|number| ready.add(*number));
        ready
    }

    #[test]
    fn those_that_are_ready_come_once_and_in_order() {
        assert!(Ready::default().is_empty());
        let mut ready = of(&[63, 5, 0, 5]);
        assert!(ready.remove(63) && !ready.remove(62));
        assert_eq!(ready.collect::<Vec<_>>(), [0, 5]);
    }

    #[test]
    fn whoever_came_first_comes_last_the_next_time() {
        let mut turn = 0;
        for expected in [[2, 5, 62], [5, 62, 2], [62, 2, 5], [2, 5, 62]] {
            let mut ready = of(&[2, 5, 62]);
            turn = ready.begin_with(turn);
            assert_eq!(ready.collect::<Vec<_>>(), expected);
        }
        assert_eq!(Ready::default().begin_with(7), 7);
    }
}
