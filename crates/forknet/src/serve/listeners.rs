//! The sockets that a server listens at, in the order in which they have their turn.

use std::os::fd::{AsFd, BorrowedFd};

use crate::net::listener::{BlockingMode, Listener};

/// All listeners of a server.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    /// Modes of inherited ones that were closed, restored when this goes.
    blocking: Vec<BlockingMode>,
    /// The number of the one whose turn it is, where there is not a place for a client of each.
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

    /// Begins with the one whose turn it is: the one that was served first comes last the next time.
    pub(crate) fn rotate(&mut self, readable: &mut [usize]) {
        let first = readable.iter().position(|number| *number >= self.turn).unwrap_or(0);
        readable.rotate_left(first);
        self.turn = readable.first().map_or(self.turn, |number| number + 1);
    }

    /// Closes them for good: they leave the state LISTEN, and files of UNIX-domain ones go.
    pub(crate) fn close(&mut self) {
        self.blocking.extend(self.all.drain(..).filter_map(Listener::close));
    }

    /// In a child: closes this process's copies. What they lie in is left as it is: to free it would be
    /// to have a page of it copied.
    pub(crate) fn close_in_child(&mut self) {
        self.all.clear();
    }

    /// In a child that accepts itself: this process's copies.
    pub(crate) fn take(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_came_first_comes_last_the_next_time() {
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
