//! A pipe whose end of file means that the server has closed its end, or has died.
//!
//! A child has only the reading end. With an eventfd(2), a child that is taken over could notify
//! the other children, and make the server's write(2) block for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, write};

/// The server's side of the pipe.
#[derive(Debug)]
pub(crate) struct HangupPipe {
    reader: Arc<OwnedFd>,
    /// Only the server has the writing end.
    writer: Option<OwnedFd>,
}

impl HangupPipe {
    pub(crate) fn new() -> nix::Result<HangupPipe> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(HangupPipe { reader: Arc::new(reader), writer: Some(writer) })
    }

    /// Returns the reading end, readable once the server has closed the writing end.
    pub(crate) fn reader(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.reader)
    }

    /// Wakes all readers now, with a byte: the end of file comes only when a child that was just
    /// forked has closed its copy of the writing end, too.
    pub(crate) fn notify(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = write(writer, b"."); // on failure the end of file wakes them
        }
    }

    /// Closes the writing end: wakes all readers when the last copy is closed.
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
    fn readers_wake_up_when_it_is_closed() {
        let mut hangup_pipe = HangupPipe::new().unwrap();
        let reader = hangup_pipe.reader();
        assert!(!is_readable(reader.as_fd()));
        hangup_pipe.close();
        assert!(is_readable(reader.as_fd()) && is_readable(hangup_pipe.as_fd()));
    }
}
