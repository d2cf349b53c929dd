//! Filters the header of a letter. Counts `Received:` fields to detect loops (RFC 5321 §6.3).
//! Removes `Return-Path:` fields of other hosts, as a server that makes the final delivery may do
//! (RFC 5321 §4.4), so that its own is the only one.
//!
//! Everything else passes unchanged. The memory used does not grow with the letter.

/// Most bytes of a line held back until the field's name is known.
const MAX_HELD: usize = 64;

/// The position of the filter in the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the first byte of the letter.
    Top,
    /// Before the first byte of another line.
    LineStart,
    /// In the name of a field. The line so far is held back.
    Name,
    /// In the rest of a header line, which is passed on or dropped.
    Field {
        dropped: bool,
    },
    Body,
}

/// Filters text with lines that end in LF. The text is fed in pieces of any size.
#[derive(Debug)]
pub struct HeaderFilter {
    position: Position,
    held: Vec<u8>,
    /// Whether the last field was dropped, and so are its folded lines.
    dropping: bool,
    received: usize,
}

impl HeaderFilter {
    /// Creates a filter before the first line of a letter.
    #[must_use]
    pub fn new() -> HeaderFilter {
        HeaderFilter { position: Position::Top, held: Vec::new(), dropping: false, received: 0 }
    }

    /// Returns the number of `Received:` fields so far.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// Filters `input` and appends it to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.position {
                Position::Body => {
                    out.extend_from_slice(rest);
                    return;
                }
                Position::Top | Position::LineStart => {
                    self.start_line(first, out);
                    rest
                }
                Position::Name => {
                    self.name(first, out);
                    tail
                }
                Position::Field { dropped } => self.field(rest, dropped, out),
            };
        }
    }

    /// Ends the letter: appends the bytes held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass(out, Position::Body);
    }

    fn start_line(&mut self, first: u8, out: &mut Vec<u8>) {
        self.position = match first {
            b'\n' => Position::Body,
            b' ' | b'\t' if self.position == Position::Top => {
                // An empty line separates it from the server's own field above, which it would
                // continue.
                out.push(b'\n');
                Position::Body
            }
            b' ' | b'\t' => Position::Field { dropped: self.dropping },
            _ => Position::Name,
        };
    }

    /// Handles one byte of a field's name. Spaces before the colon are obsolete syntax (RFC 5322
    /// §4.5). The body begins at a line without a name.
    fn name(&mut self, byte: u8, out: &mut Vec<u8>) {
        let spaced = matches!(self.held.last(), Some(b' ' | b'\t'));
        self.held.push(byte);
        match byte {
            b':' => {
                let name = self.held.trim_ascii_end();
                let name = name.strip_suffix(b":").unwrap_or(name).trim_ascii_end();
                self.dropping = name.eq_ignore_ascii_case(b"Return-Path");
                self.received += usize::from(name.eq_ignore_ascii_case(b"Received"));
                if self.dropping {
                    self.held.clear();
                }
                self.pass(out, Position::Field { dropped: self.dropping });
            }
            b' ' | b'\t' | 33..=126 if byte <= b' ' || !spaced => {
                if self.held.len() > MAX_HELD {
                    self.dropping = false;
                    self.pass(out, Position::Field { dropped: false });
                }
            }
            _ => self.pass(out, Position::Body),
        }
    }

    /// Handles the rest of a header line, up to and including its LF.
    fn field<'a>(&mut self, rest: &'a [u8], dropped: bool, out: &mut Vec<u8>) -> &'a [u8] {
        let end = rest.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let (line, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
        if !dropped {
            out.extend_from_slice(line);
        }
        if end.is_some() {
            self.position = Position::LineStart;
        }
        tail
    }

    fn pass(&mut self, out: &mut Vec<u8>, next: Position) {
        out.append(&mut self.held);
        self.position = next;
    }
}

impl Default for HeaderFilter {
    fn default() -> HeaderFilter {
        HeaderFilter::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(input: &str) -> (String, usize) {
        let mut seen = Vec::new();
        for piece in [1, 2, 3, 7, input.len().max(1)] {
            let mut filter = HeaderFilter::new();
            let mut out = Vec::new();
            for part in input.as_bytes().chunks(piece) {
                filter.feed(part, &mut out);
            }
            filter.finish(&mut out);
            seen.push((String::from_utf8(out).unwrap(), filter.received()));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "the cut makes a difference: {input:?}");
        seen.remove(0)
    }

    #[test]
    fn an_ordinary_letter_passes_unchanged() {
        for letter in [
            "",
            "x",
            "\n",
            "Subject: a\n",
            "Subject: a\n\nbody\nReceived: no\nReturn-Path: no\n",
            "no header at all\nReturn-Path: no\n",
            ": odd\nA:\nB :c\n folded\n\n",
            "\n\nReturn-Path: <a@b>\n",
            "Subject: a\nhalf a na",
            "Return-Path\nReturn-Path: no\n",
        ] {
            assert_eq!(filter(letter), (letter.to_owned(), 0));
        }
    }

    #[test]
    fn return_path_fields_of_the_header_are_removed_with_their_folded_lines() {
        let letter = "Return-Path: <x@y>\nA: b\n c\nRETURN-path :\n <z>\n\tmore\nReturn-Paths: k\n\
                      \nReturn-Path: body\n";
        assert_eq!(filter(letter).0, "A: b\n c\nReturn-Paths: k\n\nReturn-Path: body\n");
        assert_eq!(filter("Return-Path: <x@y>").0, "");
    }

    #[test]
    fn received_fields_of_the_header_are_counted() {
        let letter = "Received: a\n b\nreceived:c\nReceived : d\nX-Received: e\n\nReceived: f\n";
        assert_eq!(filter(letter), (letter.to_owned(), 3));
    }

    #[test]
    fn a_first_line_that_starts_with_a_space_does_not_continue_the_servers_field() {
        assert_eq!(filter(" indented\n").0, "\n indented\n");
    }

    #[test]
    fn the_bytes_held_back_are_bounded() {
        let mut filter = HeaderFilter::new();
        let mut out = Vec::new();
        filter.feed(&[b'x'; 100_000], &mut out);
        assert!(out.len() > 99_000 && filter.held.len() <= MAX_HELD);
    }
}
