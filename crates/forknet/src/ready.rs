//! Which listeners are ready.

/// A server has no more listeners than this: a bit for each, and one more.
pub(crate) const MOST_LISTENERS: usize = 63;

/// The numbers of the listeners that are ready, from the lowest on. A bit each and no `Vec`: memory
/// that is allocated for each client is one page more to copy after each fork.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready(u64);

impl Ready {
    /// Listener `number` is ready.
    pub(crate) fn add(&mut self, number: usize) {
        self.0 |= 1 << number;
    }

    /// Listener `number` is none, or has been looked after; tells whether it was ready.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        let was = self.0 >> number & 1 == 1;
        self.0 &= !(1 << number);
        was
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Iterator for Ready {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let number = self.0.trailing_zeros() as usize;
        (!self.is_empty()).then(|| {
            self.remove(number);
            number
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_ready_come_once_and_in_order() {
        let mut ready = Ready::default();
        assert!(ready.is_empty());
        for number in [63, 5, 0, 5] {
            ready.add(number);
        }
        assert!(ready.remove(63) && !ready.remove(62));
        assert_eq!(ready.collect::<Vec<_>>(), [0, 5]);
    }
}
