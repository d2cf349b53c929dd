//! Block numbers: 64 bits in memory, 16 bits on the wire.

/// Converts block numbers. 65535 is followed by 0, or by 1 if the option `rollover` was negotiated
/// so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockNumbers {
    skips_0: bool,
}

impl BlockNumbers {
    /// Creates numbers that continue with `rollover` after 65535.
    #[must_use]
    pub fn with_rollover(rollover: u16) -> BlockNumbers {
        BlockNumbers { skips_0: rollover == 1 }
    }

    /// Returns the number of distinct block numbers on the wire.
    fn modulus(self) -> u64 {
        if self.skips_0 { 65_535 } else { 65_536 }
    }

    /// Returns a block's number on the wire. Block 0 is the beginning, before any data.
    #[must_use]
    pub fn on_wire(self, block: u64) -> u16 {
        let number = match block {
            0 => 0,
            _ if self.skips_0 => (block - 1) % self.modulus() + 1,
            _ => block % self.modulus(),
        };
        u16::try_from(number).unwrap_or_default()
    }

    /// Returns the distance from `base` to the next block with this number, 0 for `base` itself.
    /// `None` for number 0 if that is skipped.
    #[must_use]
    pub fn ahead(self, base: u64, number: u16) -> Option<u64> {
        let (number, from) = (u64::from(number), u64::from(self.on_wire(base)));
        match base {
            0 => Some(number),
            _ if self.skips_0 && number == 0 => None,
            _ => Some((number + self.modulus() - from) % self.modulus()),
        }
    }

    /// Returns the distance from `base` back to the last block with this number, at least 1.
    #[must_use]
    pub fn behind(self, base: u64, number: u16) -> Option<u64> {
        let ahead = self.ahead(base, number)?;
        Some(self.modulus() - ahead).filter(|age| *age <= base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_65535_comes_0_or_1() {
        for (rollover, after) in [(0, [65535, 0, 1]), (1, [65535, 1, 2])] {
            let numbers = BlockNumbers::with_rollover(rollover);
            assert_eq!([65535, 65536, 65537].map(|block| numbers.on_wire(block)), after);
            assert_eq!(numbers.on_wire(0), 0);
        }
        assert_eq!(BlockNumbers::with_rollover(1).on_wire(65535 * 70_000), 65535, "over 4 GiB");
    }

    #[test]
    fn a_number_means_the_nearest_block_on_its_side() {
        for rollover in [0, 1] {
            let numbers = BlockNumbers::with_rollover(rollover);
            for base in [1, 2, 65_534, 65_535, 65_536, 65_537, 200_000, 5_000_000_000] {
                for far in [0, 1, 7, 30_000] {
                    let number = numbers.on_wire(base + far);
                    assert_eq!(numbers.ahead(base, number), Some(far), "{base} + {far}");
                }
                for age in [1, 7, 30_000] {
                    let wanted = (age < base).then_some(age);
                    let number = numbers.on_wire(base.saturating_sub(age));
                    let behind = numbers.behind(base, number).filter(|_| age < base);
                    assert_eq!(behind, wanted, "{base} - {age}");
                }
            }
        }
    }

    #[test]
    fn with_rollover_1_block_0_occurs_once() {
        let numbers = BlockNumbers::with_rollover(1);
        assert_eq!(numbers.ahead(0, 0), Some(0));
        assert_eq!((numbers.ahead(9, 0), numbers.behind(70_000, 0)), (None, None));
        assert_eq!(BlockNumbers::default().ahead(0, 3), Some(3));
    }
}
