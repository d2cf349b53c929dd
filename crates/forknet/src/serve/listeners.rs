//! The listeners of a server, served in turn.

use std::os::fd::{AsFd, BorrowedFd};

use crate::net::listener::{BlockingMode, Listener};

/// All listeners of a server.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    /// Modes of inherited listeners that were closed, restored on drop.
    blocking: Vec<BlockingMode>,
    /// The index of the listener that is served first.
    turn: usize,
}

impl Listeners {
    pub(crate) fn new(all: Vec<Listener>) -> Listeners {
        Listeners { all, blocking: Vec::new(), turn: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[Listener] {
        &self.all
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Listener> {
        self.all.get(number)
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().map(AsFd::as_fd)
    }

    /// Rotates the readable listeners, so that the one that was served first is served last the
    /// next time.
    pub(crate) fn rotate(&mut self, readable: &mut [usize]) {
        let first = readable.iter().position(|number| *number >= self.turn).unwrap_or(0);
        readable.rotate_left(first);
        self.turn = readable.first().map_or(self.turn, |number| number + 1);
    }

    /// Shuts them down: they leave the state LISTEN, and files of UNIX-domain ones are removed.
    pub(crate) fn close(&mut self) {
        self.blocking.extend(self.all.drain(..).filter_map(Listener::close));
    }

    /// Closes a child's copies. Does not free their memory, because that would copy a page.
    pub(crate) fn close_in_child(&mut self) {
        self.all.clear();
    }

    /// Returns a child's copies, for a child that accepts.
    pub(crate) fn take(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_served_first_is_served_last_the_next_time() {
        let mut listeners = Listeners::default();
        for expected in [[2, 5, 62], [5, 62, 2], [62, 2, 5], [2, 5, 62]] {
            let mut readable = [2, 5, 62];
            listeners.rotate(&mut readable);
            assert_eq!(readable, expected);
        }
        listeners.rotate(&mut []);
        assert_eq!(listeners.turn, 3);
    }
}
