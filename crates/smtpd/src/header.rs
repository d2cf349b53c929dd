//! A look at the header of a letter as it passes: `Received:` fields are counted against loops
//! (RFC 5321 §6.3), and `Return-Path:` fields of earlier stations are taken out, as the server of
//! the final delivery may do (RFC 5321 §4.4), so that there is one alone, ours.
//!
//! Everything else passes as it is, in memory that does not grow with the letter.

/// So much of a line's start is held back at most, until it is clear what field it is.
const HOLD: usize = 64;

/// Where in the letter the filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first octet of the letter.
    Top,
    /// Before the first octet of another line.
    LineStart,
    /// In the name of a field; what was read of the line is held back.
    Name,
    /// In a line of the header that passes or is dropped.
    Field {
        dropped: bool,
    },
    Body,
}

/// Works on text whose lines end in LF, in pieces of any size.
#[derive(Debug)]
pub struct HeaderFilter {
    at: At,
    held: Vec<u8>,
    /// The field that a folded line would belong to is dropped.
    dropping: bool,
    received: usize,
}

impl HeaderFilter {
    /// A filter before the first line of a letter.
    #[must_use]
    pub fn new() -> HeaderFilter {
        HeaderFilter { at: At::Top, held: Vec::new(), dropping: false, received: 0 }
    }

    /// `Received:` fields seen.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// Appends what is to be stored of `input` to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.at {
                At::Body => {
                    out.extend_from_slice(rest);
                    return;
                }
                At::Top | At::LineStart => {
                    self.start_line(first, out);
                    rest
                }
                At::Name => {
                    self.name(first, out);
                    tail
                }
                At::Field { dropped } => self.field(rest, dropped, out),
            };
        }
    }

    /// The letter ended: lets go what is held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass(out, At::Body);
    }

    fn start_line(&mut self, first: u8, out: &mut Vec<u8>) {
        self.at = match first {
            b'\n' => At::Body,
            b' ' | b'\t' if self.at == At::Top => {
                // It would be read as the rest of the field above it, which is ours.
                out.push(b'\n');
                At::Body
            }
            b' ' | b'\t' => At::Field { dropped: self.dropping },
            _ => At::Name,
        };
    }

    /// One more octet of a field's name. Spaces before the colon are of the obsolete syntax
    /// (RFC 5322 §4.5). A line that has no name is no header: the body begins.
    fn name(&mut self, octet: u8, out: &mut Vec<u8>) {
        let spaced = matches!(self.held.last(), Some(b' ' | b'\t'));
        self.held.push(octet);
        match octet {
            b':' => {
                let name = self.held.trim_ascii_end();
                let name = name.strip_suffix(b":").unwrap_or(name).trim_ascii_end();
                self.dropping = name.eq_ignore_ascii_case(b"Return-Path");
                self.received += usize::from(name.eq_ignore_ascii_case(b"Received"));
                if self.dropping {
                    self.held.clear();
                }
                self.pass(out, At::Field { dropped: self.dropping });
            }
            b' ' | b'\t' | 33..=126 if octet <= b' ' || !spaced => {
                if self.held.len() > HOLD {
                    self.dropping = false;
                    self.pass(out, At::Field { dropped: false });
                }
            }
            _ => self.pass(out, At::Body),
        }
    }

    /// The rest of a header line, up to and with its LF.
    fn field<'a>(&mut self, rest: &'a [u8], dropped: bool, out: &mut Vec<u8>) -> &'a [u8] {
        let end = rest.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let (line, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
        if !dropped {
            out.extend_from_slice(line);
        }
        if end.is_some() {
            self.at = At::LineStart;
        }
        tail
    }

    fn pass(&mut self, out: &mut Vec<u8>, next: At) {
        out.append(&mut self.held);
        self.at = next;
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
    fn an_ordinary_letter_passes_as_it_is() {
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
    fn return_path_fields_of_the_header_are_taken_out_with_their_folded_lines() {
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
    fn a_first_line_that_starts_with_a_space_does_not_join_our_own_field() {
        assert_eq!(filter(" indented\n").0, "\n indented\n");
    }

    #[test]
    fn a_name_without_an_end_is_not_held_for_ever() {
        let mut filter = HeaderFilter::new();
        let mut out = Vec::new();
        filter.feed(&[b'x'; 100_000], &mut out);
        assert!(out.len() > 99_000 && filter.held.len() <= HOLD);
    }
}
