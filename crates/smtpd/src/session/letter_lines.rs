//! Writes the lines of a letter to the transcript.

use forknet::Transcript;

/// Most bytes of a line kept for the transcript: one more than it shows, so that it marks the line
/// as truncated.
const MAX_LINE: usize = 2001;

/// Assembles lines from the pieces of a letter.
#[derive(Debug, Default)]
pub(super) struct LetterLines {
    line: Vec<u8>,
}

impl LetterLines {
    /// Adds a received piece of the letter.
    pub(super) fn feed(&mut self, received: &[u8], transcript: &mut Transcript) {
        if !transcript.is_on() {
            return;
        }
        for piece in received.split_inclusive(|&b| b == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            let ended = piece.strip_suffix(b"\n");
            let text = ended.unwrap_or(piece);
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended.is_some() {
                transcript.client(self.line.strip_suffix(b"\r").unwrap_or(&self.line));
                self.line.clear();
            }
        }
    }

    /// Ends a chunk, whose last line goes on in the next one.
    pub(super) fn end(&mut self, transcript: &mut Transcript) {
        if !self.line.is_empty() {
            transcript.client(&self.line);
            self.line.clear();
        }
    }
}
