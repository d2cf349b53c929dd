//! Filters the header of a letter. Counts `Received:` fields to detect loops (RFC 5321 §6.3).
//! Removes `Return-Path:` fields of other hosts, as a server that makes the final delivery may do
//! (RFC 5321 §4.4), so that its own is the only one; and `Bcc:` fields, where that is wanted. Has an empty line
//! before a text that has none, so that it is not read as a part of the server's own field above. Has a
//! header completed ([`Completion`]).
//!
//! Everything else passes unchanged. The memory used does not grow with the letter.

use crate::header::completion::Completion;

/// Most bytes held back of a line until the field's name is known, and of the value of `From:`: longer than any
/// line that RFC 5322 §2.1.1 allows.
const MAX_HELD: usize = 1000;
/// Fields that tell other recipients of some (RFC 5322 §3.6.3).
const BLIND: [&[u8]; 2] = [b"Bcc", b"Resent-Bcc"];

/// The position of the filter in the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the first byte of the letter.
    Top,
    /// Before the first byte of another line.
    LineStart,
    /// In the name of a field. The line so far is held back.
    Name,
    /// In the rest of a header line.
    Field(Fate),
    Body,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    Dropped,
    /// Held back to its end, to be completed.
    Held,
}

/// Filters text with lines that end in LF. The text is fed in pieces of any size.
#[derive(Debug)]
pub struct HeaderFilter {
    position: Position,
    held: Vec<u8>,
    /// What becomes of the last field, and so of its folded lines.
    fate: Fate,
    received: usize,
    drops_blind: bool,
    completion: Option<Completion>,
}

impl HeaderFilter {
    /// Creates a filter before the first line of a letter.
    #[must_use]
    pub fn new() -> HeaderFilter {
        HeaderFilter {
            position: Position::Top,
            held: Vec::new(),
            fate: Fate::Passed,
            received: 0,
            drops_blind: false,
            completion: None,
        }
    }

    /// Removes `Bcc:` too: of a letter that a client of our own hands in, or that goes elsewhere.
    #[must_use]
    pub fn without_bcc(self) -> HeaderFilter {
        HeaderFilter { drops_blind: true, ..self }
    }

    /// Completes the header.
    #[must_use]
    pub fn completed(self, completion: Completion) -> HeaderFilter {
        HeaderFilter { completion: Some(completion), ..self }
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
                Position::Field(fate) => self.field(rest, fate, out),
            };
        }
    }

    /// Ends the letter: appends the bytes held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.position {
            Position::Body => {}
            Position::Name => self.begin_body(out), // half a line without a colon is no field
            _ => self.end_header(out),
        }
    }

    fn start_line(&mut self, first: u8, out: &mut Vec<u8>) {
        let is_top = self.position == Position::Top;
        if first == b' ' || first == b'\t' {
            match is_top {
                true => self.begin_body(out), // it would continue the server's own field above
                false => self.position = Position::Field(self.fate),
            }
            return;
        }
        self.release(out);
        if first == b'\n' {
            self.end_header(out);
            self.position = Position::Body;
        } else {
            self.position = Position::Name;
        }
    }

    /// Handles one byte of a field's name. Spaces before the colon are obsolete syntax (RFC 5322
    /// §4.5). The body begins at a line without a name.
    fn name(&mut self, byte: u8, out: &mut Vec<u8>) {
        let spaced = matches!(self.held.last(), Some(b' ' | b'\t'));
        self.held.push(byte);
        let name = self.held.strip_suffix(b":").unwrap_or_default().trim_ascii_end();
        match byte {
            b':' if !name.is_empty() => {
                self.fate = match name {
                    name if self.is_dropped(name) => Fate::Dropped,
                    name if self.completion.as_mut().is_some_and(|it| it.sees(name)) => Fate::Held,
                    _ => Fate::Passed,
                };
                self.received += usize::from(name.eq_ignore_ascii_case(b"Received"));
                match self.fate {
                    Fate::Passed => out.append(&mut self.held),
                    Fate::Dropped => self.held.clear(),
                    Fate::Held => {}
                }
                self.position = Position::Field(self.fate);
            }
            b' ' | b'\t' | 33..=126
                if byte != b':' && (byte <= b' ' || !spaced) && self.held.len() <= MAX_HELD => {}
            _ => self.begin_body(out),
        }
    }

    fn is_dropped(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(b"Return-Path")
            || self.drops_blind && BLIND.iter().any(|blind| name.eq_ignore_ascii_case(blind))
    }

    /// Handles the rest of a header line, up to and including its LF.
    fn field<'a>(&mut self, rest: &'a [u8], fate: Fate, out: &mut Vec<u8>) -> &'a [u8] {
        let end = rest.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let (line, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
        match fate {
            Fate::Passed => out.extend_from_slice(line),
            Fate::Dropped => {}
            Fate::Held => self.held.extend_from_slice(line),
        }
        if self.held.len() > MAX_HELD {
            out.append(&mut self.held); // too long to be a few words
            self.fate = Fate::Passed;
        }
        self.position = match end {
            Some(_) => Position::LineStart,
            None => Position::Field(self.fate),
        };
        tail
    }

    /// Appends a field that was held back, completed.
    fn release(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.completion {
            Some(completion) if self.fate == Fate::Held => out.extend(completion.completed(&held)),
            _ => out.extend(held),
        }
        self.fate = Fate::Passed;
    }

    /// Appends what is missing in the header.
    fn end_header(&mut self, out: &mut Vec<u8>) {
        self.release(out);
        if let Some(completion) = self.completion.take() {
            if out.last().is_some_and(|&last| last != b'\n') {
                out.push(b'\n');
            }
            out.extend(completion.missing());
        }
    }

    /// The header has ended without an empty line, at the line that is held back.
    fn begin_body(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.held);
        self.end_header(out);
        out.push(b'\n');
        out.extend(line);
        self.position = Position::Body;
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
        filter_by(input, HeaderFilter::new)
    }

    fn filter_by(input: &str, new: impl Fn() -> HeaderFilter) -> (String, usize) {
        let mut seen = Vec::new();
        for piece in [1, 2, 3, 7, input.len().max(1)] {
            let mut filter = new();
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
            "\n",
            "Subject: a\n",
            "Subject: a\n\nbody\nReceived: no\nReturn-Path: no\n",
            "A:\nB :c\n folded\n\n",
            "\n\nReturn-Path: <a@b>\n",
            "Subject: half a line",
            "Bcc: levy@red.test\n\nx\n",
        ] {
            assert_eq!(filter(letter), (letter.to_owned(), 0));
        }
    }

    #[test]
    fn a_text_that_is_no_header_has_an_empty_line_before_it() {
        for (letter, header) in [
            ("x", ""),
            ("no header at all\nReturn-Path: no\n", ""),
            ("Hello\nSubject: a\n\nbody\n", ""),
            (": odd\n", ""),
            (" indented\n", ""),
            ("\tindented\nA: b\n", ""),
            ("From levy@red.test Mon Nov 30\nA: b\n\n", ""),
            ("two words: x\n", ""),
            ("b\u{fc}ro: x\n", ""),
            ("half a na", "Subject: a\n"),
            ("the text\nReturn-Path: no\n", "Subject: a\n folded\n"),
            ("Return-Path\nReturn-Path: no\n", "A: b\n"),
        ] {
            let whole = format!("{header}{letter}");
            assert_eq!(filter(&whole), (format!("{header}\n{letter}"), 0));
        }
        let long = format!("{}: x\n", "a".repeat(2 * MAX_HELD));
        assert_eq!(filter(&long), (format!("\n{long}"), 0));
    }

    #[test]
    fn return_path_fields_of_the_header_are_removed_with_their_folded_lines() {
        let letter = "Return-Path: <x@y>\nA: b\n c\nRETURN-path :\n <z>\n\tmore\nReturn-Paths: k\n\
                      \nReturn-Path: body\n";
        assert_eq!(filter(letter).0, "A: b\n c\nReturn-Paths: k\n\nReturn-Path: body\n");
        assert_eq!(filter("Return-Path: <x@y>").0, "");
    }

    #[test]
    fn bcc_fields_are_removed_where_that_is_wanted() {
        let letter = "Bcc: x@y.test,\n\tz@y.test\nTo: a@b.test\nBCC :\nResent-Bcc: q\nBccs: k\n\n\
                      Bcc: body\n";
        let filtered = filter_by(letter, || HeaderFilter::new().without_bcc());
        assert_eq!(filtered.0, "To: a@b.test\nBccs: k\n\nBcc: body\n");
    }

    #[test]
    fn received_fields_of_the_header_are_counted() {
        let letter = "Received: a\n b\nreceived:c\nReceived : d\nX-Received: e\n\nReceived: f\n";
        assert_eq!(filter(letter), (letter.to_owned(), 3));
    }

    fn completed(letter: &str) -> String {
        filter_by(letter, || HeaderFilter::new().completed(Completion::sample())).0
    }

    #[test]
    fn what_a_mail_program_has_left_out_is_added_at_the_end_of_the_header() {
        let (date, id, from) =
            ("Date: today\n", "Message-ID: <7@red.test>\n", "From: levy@red.test\n");
        for (letter, expected) in [
            ("Subject: a\n\nx\n", format!("Subject: a\n{date}{id}{from}\nx\n")),
            ("\nx\n", format!("{date}{id}{from}\nx\n")),
            ("", format!("{date}{id}{from}")),
            ("no header\n", format!("{date}{id}{from}\nno header\n")),
            ("Subject: a", format!("Subject: a\n{date}{id}{from}")),
            ("DATE: b\nmessage-id: c\n\nx\n", format!("DATE: b\nmessage-id: c\n{from}\nx\n")),
            ("From: a@b.test\n\nDate: body\n", format!("From: a@b.test\n{date}{id}\nDate: body\n")),
        ] {
            assert_eq!(completed(letter), expected, "{letter:?}");
        }
    }

    #[test]
    fn a_name_in_from_gets_a_domain() {
        for (from, expected) in [
            ("From: frol\n", "From: frol@red.test\n"),
            ("From: Frol F <frol>\n", "From: Frol F <frol@red.test>\n"),
            ("From: Frol\n <frol>\n", "From: Frol\n <frol@red.test>\n"),
            ("from:frol\n", "from:frol@red.test\n"),
            ("From: a@b.test\n", "From: a@b.test\n"),
            ("From: a, b\n", "From: a, b\n"),
            ("From: two words\n", "From: two words\n"),
            ("From:\n", "From:\n"),
        ] {
            let letter = format!("Date: d\nMessage-ID: i\n{from}Subject: s\n\nx\n");
            let expected = format!("Date: d\nMessage-ID: i\n{expected}Subject: s\n\nx\n");
            assert_eq!(completed(&letter), expected, "{from:?}");
        }
        let long = format!("Date: d\nMessage-ID: i\nFrom: {}\n\n", "x".repeat(3 * MAX_HELD));
        assert_eq!(completed(&long), long);
    }

    #[test]
    fn the_bytes_held_back_are_bounded() {
        for start in [&b""[..], b"From:", b"From: a\n "] {
            let mut filter = HeaderFilter::new().completed(Completion::sample());
            let mut out = Vec::new();
            filter.feed(start, &mut out);
            for _ in 0..100 {
                filter.feed(&[b'x'; 1000], &mut out);
                assert!(filter.held.len() <= 2 * MAX_HELD);
            }
            assert!(out.len() > 90_000);
        }
    }
}
