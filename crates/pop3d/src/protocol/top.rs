//! The part of a message that TOP sends (RFC 1939 §7): the header, the blank line, and a number of
//! lines of the body.

/// Finds where to cut a stored message with lines that end in LF or CRLF. The message is fed in
/// pieces of any size.
#[derive(Debug, Clone)]
pub struct Top {
    /// Lines of the body still to be sent, `None` in the header.
    left: Option<u64>,
    lines: u64,
    /// The current line is blank so far, apart from a CR.
    blank: bool,
}

impl Top {
    /// Creates a filter that cuts after the header, the blank line and `lines` lines of the body.
    #[must_use]
    pub fn new(lines: u64) -> Top {
        Top { left: None, lines, blank: true }
    }

    /// Returns the number of bytes to send of the next piece. If that is not all of them, the
    /// message ends there.
    pub fn take(&mut self, piece: &[u8]) -> usize {
        let mut shown = 0;
        while self.left != Some(0) {
            let rest = piece.get(shown..).unwrap_or_default();
            let Some(end) = rest.iter().position(|&b| b == b'\n') else {
                self.blank &= rest.iter().all(|&b| b == b'\r');
                return piece.len();
            };
            let line = rest.get(..end).unwrap_or_default();
            let blank = self.blank && line.iter().all(|&b| b == b'\r');
            self.blank = true;
            shown += end + 1;
            self.left = match self.left {
                None if blank => Some(self.lines),
                None => None,
                Some(left) => Some(left - 1),
            };
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(message: &[u8], lines: u64, piece: usize) -> Vec<u8> {
        let mut top = Top::new(lines);
        let mut shown = Vec::new();
        for piece in message.chunks(piece) {
            let count = top.take(piece);
            shown.extend_from_slice(&piece[..count]);
            if count < piece.len() {
                break;
            }
        }
        shown
    }

    #[test]
    fn the_header_the_blank_line_and_n_lines_are_sent_however_the_message_is_split() {
        let all = "A: b\nC: d\n\none\n\nthree\n";
        for (lines, expected) in [
            (0, "A: b\nC: d\n\n"),
            (1, "A: b\nC: d\n\none\n"),
            (2, "A: b\nC: d\n\none\n\n"),
            (3, all),
            (4, all),
            (u64::MAX, all),
        ] {
            for piece in 1..=all.len() {
                assert_eq!(
                    top(all.as_bytes(), lines, piece),
                    expected.as_bytes(),
                    "{lines} {piece}"
                );
                let crlf = all.replace('\n', "\r\n");
                let shown = expected.replace('\n', "\r\n");
                assert_eq!(top(crlf.as_bytes(), lines, piece), shown.as_bytes(), "{lines} {piece}");
            }
        }
    }

    #[test]
    fn a_message_without_a_body_or_without_an_end_is_sent_whole() {
        for message in ["A: b\nC: d\n", "A: b", "", "A: b\n\nno end"] {
            assert_eq!(top(message.as_bytes(), 1, 3), message.as_bytes());
        }
        assert_eq!(top(b"\n\nx\n", 0, 1), b"\n");
        assert_eq!(top(b"A\n\nx\n", 0, 9), b"A\n\n");
    }
}
