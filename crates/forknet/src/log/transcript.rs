//! A log of every dialogue, as the slides on SMTP tell: who said what, line by line.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use crate::error::reason;
use crate::text::printable;

/// Longer lines are cut in the transcript, and marked so.
const MAX_LINE: usize = 2000;

/// Appends the lines of one client's dialogue to the file of `--transcript`; without one it does
/// nothing.
///
/// A line reads `127.0.0.1:52100[4242] C: USER bob`: peer, process id, who spoke (C client, S
/// server), what. Bytes that do not print are escaped, tabs excepted. Each line is one write(2) to a
/// file opened for appending, so that dialogues of several children never tear each other's lines.
/// Secrets must be masked before they come here.
#[derive(Debug)]
pub struct Transcript {
    file: Option<Arc<File>>,
    prefix: String,
}

impl Transcript {
    /// One that writes nothing.
    #[must_use]
    pub fn none() -> Transcript {
        Transcript { file: None, prefix: String::new() }
    }

    /// The transcript of one client's dialogue, for the process that serves it.
    pub(crate) fn new(file: Option<Arc<File>>, peer: impl Display) -> Transcript {
        let mut transcript = Transcript::without_peer(file);
        if transcript.is_on() {
            transcript.set_peer(peer);
        }
        transcript
    }

    /// One without a dialogue yet; see [`Transcript::set_peer`].
    pub(crate) fn without_peer(file: Option<Arc<File>>) -> Transcript {
        Transcript { file, prefix: String::new() }
    }

    /// What comes is another peer's dialogue.
    #[cold]
    pub fn set_peer(&mut self, peer: impl Display) {
        self.prefix = format!("{peer}[{}]", std::process::id());
    }

    /// Returns true with `--transcript`: else lines need not be prepared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// A line that the client said, without its CRLF.
    pub fn client(&mut self, line: &[u8]) {
        self.append('C', line);
    }

    /// A line that the server said, without its CRLF.
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
        Some(head) => (head, format!(" [{} octets more]", line.len() - MAX_LINE)),
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
        assert!(long.ends_with("x [1 octets more]\n"), "{long}");
    }
}
