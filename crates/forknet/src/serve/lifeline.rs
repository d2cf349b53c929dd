//! A pipe that tells by its end of file that the server has let go of it, or has died.
//!
//! All that a child has of it is the end to wait at. Of an eventfd(2) it would have the whole: one that is
//! taken over could tell the others that the server ends, and have the server's own write(2) wait for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, write};

/// The server's side.
#[derive(Debug)]
pub(crate) struct Lifeline {
    end: Arc<OwnedFd>,
    /// Only the server has this.
    life: Option<OwnedFd>,
}

impl Lifeline {
    pub(crate) fn new() -> nix::Result<Lifeline> {
        let (end, life) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Lifeline { end: Arc::new(end), life: Some(life) })
    }

    /// The end to wait at: readable once the server has let go.
    pub(crate) fn end(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.end)
    }

    /// In the server: tells all that wait, at once: the end of file comes only when a child that was forked
    /// just now has closed its copy of the server's side, too.
    pub(crate) fn notify(&mut self) {
        if let Some(life) = self.life.take() {
            let _ = write(life, b"."); // else the end of file tells them
        }
    }

    /// In the server: tells all that wait. In a child: leaves that to the server.
    pub(crate) fn let_go(&mut self) {
        self.life = None;
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interrupt::is_readable;

    #[test]
    fn those_who_wait_are_told_when_it_is_let_go() {
        let mut lifeline = Lifeline::new().unwrap();
        let end = lifeline.end();
        assert!(!is_readable(end.as_fd()));
        lifeline.let_go();
        assert!(is_readable(end.as_fd()) && is_readable(lifeline.as_fd()));
    }
}
