//! A log of every dialogue, as in the slides on SMTP: the lines of client and server.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::error::reason;
use crate::text::printable;

/// Longest line in bytes; longer ones are cut and marked.
const MAX_LINE: usize = 2000;

/// Appends the lines of one client's dialogue to the file of `--transcript`; does nothing without
/// one.
///
/// A line reads `127.0.0.1:52100[4242] C: USER bob`: peer, process id, C for client or S for
/// server, text. Bytes that do not print are escaped, except tabs. Each line is one write(2) to a
/// file opened for appending, so that lines of several children do not mix. Callers mask secrets.
#[derive(Debug)]
pub struct Transcript {
    file: Option<Arc<File>>,
    prefix: String,
}

impl Transcript {
    /// Returns a transcript that writes nothing.
    #[must_use]
    pub fn none() -> Transcript {
        Transcript { file: None, prefix: String::new() }
    }

    /// Returns the transcript of one client's dialogue.
    pub(crate) fn new(file: Option<Arc<File>>, peer: impl Display) -> Transcript {
        let mut transcript = Transcript::without_peer(file);
        if transcript.is_on() {
            transcript.set_peer(peer);
        }
        transcript
    }

    /// Returns a transcript without a peer yet; see [`Transcript::set_peer`].
    pub(crate) fn without_peer(file: Option<Arc<File>>) -> Transcript {
        Transcript { file, prefix: String::new() }
    }

    /// Sets the peer of the lines that follow.
    #[cold]
    pub fn set_peer(&mut self, peer: impl Display) {
        self.prefix = format!("{peer}[{}]", std::process::id());
    }

    /// Returns the file, for another process that goes on with the dialogue.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(|file| file.as_fd())
    }

    /// Returns true with `--transcript`; otherwise lines need not be prepared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// Appends a line from the client, without its CRLF.
    pub fn client(&mut self, line: &[u8]) {
        self.append('C', line);
    }

    /// Appends a line from the server, without its CRLF.
    pub fn server(&mut self, line: &[u8]) {
        self.append('S', line);
    }

    fn append(&mut self, who: char, line: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let entry = entry(&self.prefix, who, line);
        if let Err(error) = (&**file).write_all(entry.as_bytes()) {
            log::warn!("transcript: {}; the rest of this dialogue is not written", reason(&error));
            self.file = None;
        }
    }
}

fn entry(prefix: &str, who: char, line: &[u8]) -> String {
    let (shown, cut) = match line.get(..MAX_LINE) {
        Some(head) => (head, format!(" [{} bytes more]", line.len() - MAX_LINE)),
        None => (line, String::new()),
    };
    format!("{prefix} {who}: {}{cut}\n", printable(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_lines_are_cut() {
        let shown = entry("p[1]", 'C', b"NOOP\t\x1b\xff\xc3\xa9\r");
        assert_eq!(shown, "p[1] C: NOOP\t\\u{1b}\\xff\u{e9}\\r\n");
        let long = entry("p[1]", 'S', &[b'x'; 2001]);
        assert!(long.ends_with("x [1 bytes more]\n"), "{long}");
    }
}
