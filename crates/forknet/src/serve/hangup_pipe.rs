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
pub(crate) struct HangupPipe {
    reader: Arc<OwnedFd>,
    /// Only the server has this.
    writer: Option<OwnedFd>,
}

impl HangupPipe {
    pub(crate) fn new() -> nix::Result<HangupPipe> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(HangupPipe { reader: Arc::new(reader), writer: Some(writer) })
    }

    /// The end to wait at: readable once the server has let go.
    pub(crate) fn reader(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.reader)
    }

    /// In the server: tells all that wait, at once: the end of file comes only when a child that was forked
    /// just now has closed its copy of the server's side, too.
    pub(crate) fn notify(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = write(writer, b"."); // else the end of file tells them
        }
    }

    /// In the server: tells all that wait. In a child: leaves that to the server.
    pub(crate) fn close(&mut self) {
        self.writer = None;
    }
}

impl AsFd for HangupPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interrupt::is_readable;

    #[test]
    fn those_who_wait_are_told_when_it_is_let_go() {
        let mut hangup_pipe = HangupPipe::new().unwrap();
        let reader = hangup_pipe.reader();
        assert!(!is_readable(reader.as_fd()));
        hangup_pipe.close();
        assert!(is_readable(reader.as_fd()) && is_readable(hangup_pipe.as_fd()));
    }
}
