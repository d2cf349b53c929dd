//! Dot-stuffing (RFC 5321 §4.5.2, RFC 1939 §3): how a text ends on a line of its own, and what is
//! done so that no line of the text looks like that end.
//!
//! Both halves work on pieces of any size; where the pieces are cut makes no difference.

use crate::{CR, LF, find};

/// The line that ends a text, when it follows a line end.
const END: &[u8] = b".\r\n";

/// Turns a stored text into what goes over the wire: every LF or CRLF becomes CRLF, a dot that
/// starts a line is doubled.
#[derive(Debug, Clone)]
pub struct Stuffer {
    at: At,
    /// What a CR means that no LF follows.
    bare_cr: BareCr,
    octets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    /// A CR is held back until it is known whether a LF follows.
    Cr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BareCr {
    Keep,
    EndsLine,
}

impl Stuffer {
    /// A stuffer that passes a bare CR on as it is: what is stored is what is sent (POP3).
    #[must_use]
    pub fn new() -> Stuffer {
        Stuffer { at: At::LineStart, bare_cr: BareCr::Keep, octets: 0 }
    }

    /// A stuffer that takes a bare CR for a line end, for SMTP, where none may be sent
    /// (RFC 5321 §2.3.8).
    #[must_use]
    pub fn ending_lines_at_cr() -> Stuffer {
        Stuffer { bare_cr: BareCr::EndsLine, ..Stuffer::new() }
    }

    /// Appends the wire form of `input` to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.at {
                At::Cr if first == LF => {
                    self.end_line(out);
                    tail
                }
                At::Cr => {
                    self.lone_cr(out);
                    rest
                }
                At::LineStart | At::Text => self.stretch(rest, out),
            }
        }
    }

    /// Ends the text: a last line without its end gets one, then the line with the dot follows.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.at == At::Cr {
            self.lone_cr(out);
        }
        if self.at == At::Text {
            self.end_line(out);
        }
        out.extend_from_slice(END);
    }

    /// The size of the text so far as RFC 1870 §3 counts it: with CRLF line ends, without doubled
    /// dots and without the end.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Takes one stretch of text up to and with the next LF, and tells what is left.
    fn stretch<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Stretch { text, cr, lf, rest } = Stretch::of(input);
        match self.bare_cr {
            BareCr::Keep => self.text(text, out),
            BareCr::EndsLine => {
                for (number, line) in text.split(|&octet| octet == CR).enumerate() {
                    if number > 0 {
                        self.end_line(out);
                    }
                    self.text(line, out);
                }
            }
        }
        match (cr, lf) {
            (_, true) => self.end_line(out),
            (true, false) => self.at = At::Cr,
            (false, false) => {}
        }
        rest
    }

    /// Text of one line, or of its rest.
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.at == At::LineStart && text.first() == Some(&b'.') {
            out.push(b'.');
        }
        self.put(text, out);
        self.at = At::Text;
    }

    fn lone_cr(&mut self, out: &mut Vec<u8>) {
        match self.bare_cr {
            BareCr::Keep => {
                self.put(&[CR], out);
                self.at = At::Text;
            }
            BareCr::EndsLine => self.end_line(out),
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.put(&[CR, LF], out);
        self.at = At::LineStart;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.octets += bytes.len() as u64;
        out.extend_from_slice(bytes);
    }
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer::new()
    }
}

/// A piece of text up to and with its first LF, taken apart. One pass over the input, whatever
/// mixture of CR and LF it is.
struct Stretch<'a> {
    /// Without the CR and LF told next; a CR in it has no LF behind it.
    text: &'a [u8],
    cr: bool,
    lf: bool,
    rest: &'a [u8],
}

impl<'a> Stretch<'a> {
    fn of(input: &'a [u8]) -> Stretch<'a> {
        let at = find(LF, input);
        let (line, rest) =
            input.split_at_checked(at.unwrap_or(input.len())).unwrap_or((input, &[]));
        let text = line.strip_suffix(&[CR]).unwrap_or(line);
        let rest = rest.strip_prefix(&[LF]).unwrap_or(rest);
        Stretch { text, cr: text.len() < line.len(), lf: at.is_some(), rest }
    }
}

/// What a decoded text's lines end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// LF, as files have it.
    Lf,
    /// CRLF, as the wire has it.
    Crlf,
}

/// Decodes a text from the wire and finds its end.
///
/// The end is CRLF `.` CRLF, or `.` CRLF at once, and nothing else: every other mixture of CR, LF
/// and dot is text (RFC 5321 §4.1.1.4; taking LF `.` LF for an end lets a letter smuggle commands).
/// A bare CR or a bare LF is remembered, so that the letter can be refused after its true end.
#[derive(Debug, Clone)]
pub struct Unstuffer {
    state: State,
    ending: Ending,
    lf_ends_line: bool,
    bare_cr: bool,
    bare_lf: bool,
    octets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line, behind CRLF (or at the start of the text).
    Start,
    /// At the start of a line, behind a bare LF; only when such lines are repaired.
    StartAfterLf,
    /// Behind the first dot of a line; the dot is held back. `true`: the line follows a CRLF.
    Dot(bool),
    /// Behind dot and CR, both held back.
    DotCr(bool),
    Text,
    /// Behind a CR that is held back until it is known whether a LF follows.
    Cr,
    Done,
}

impl Unstuffer {
    /// A strict decoder.
    #[must_use]
    pub fn new(ending: Ending) -> Unstuffer {
        Unstuffer {
            state: State::Start,
            ending,
            lf_ends_line: false,
            bare_cr: false,
            bare_lf: false,
            octets: 0,
        }
    }

    /// A decoder for old clients: a bare LF ends a line of the text too, so that a dot behind it
    /// is undone where more follows on the line. A lone dot next to a bare LF stays as text: it is
    /// never the end.
    #[must_use]
    pub fn repairing_lf(ending: Ending) -> Unstuffer {
        Unstuffer { lf_ends_line: true, ..Unstuffer::new(ending) }
    }

    /// Decodes `input` up to the end of the text at most, appends to `out`, and tells how many
    /// octets of `input` it took; those behind the end are never taken.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.state {
                State::Done => break,
                State::Start if first == b'.' => self.go(State::Dot(true), tail),
                State::StartAfterLf if first == b'.' => self.go(State::Dot(false), tail),
                State::Start | State::StartAfterLf | State::Text => self.text(rest, out),
                State::Dot(crlf) if first == CR => self.go(State::DotCr(crlf), tail),
                State::Dot(_) => self.after_dot(rest, out),
                State::DotCr(crlf) if first == LF => self.dot_line(crlf, tail, out),
                State::DotCr(_) | State::Cr if first != LF => self.lone_cr(rest, out),
                State::DotCr(_) | State::Cr => self.crlf(tail, out),
            }
        }
        input.len() - rest.len()
    }

    /// The end was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// A CR without a LF behind it was in the text.
    #[must_use]
    pub fn bare_cr(&self) -> bool {
        self.bare_cr
    }

    /// A LF without a CR before it was in the text.
    #[must_use]
    pub fn bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// The size of the text so far as RFC 1870 §3 counts it: with CRLF line ends, without doubled
    /// dots and without the end.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    fn go<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }

    /// Takes one stretch of text up to and with the next LF, and tells what is left.
    fn text<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Stretch { text, cr, lf, rest } = Stretch::of(input);
        self.bare_cr |= find(CR, text).is_some();
        self.put(text, out);
        match (cr, lf) {
            (true, true) => self.crlf(rest, out),
            (false, true) => self.lone_lf(rest, out),
            (true, false) => self.go(State::Cr, rest),
            (false, false) => self.go(State::Text, rest),
        }
    }

    /// More follows behind the first dot of a line: the dot was stuffed, or it is alone
    /// before a bare LF that ends the line.
    fn after_dot<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if self.lf_ends_line && rest.first() == Some(&LF) {
            self.put(b".", out);
        }
        self.go(State::Text, rest)
    }

    /// A line of a dot alone, ended by CRLF. Behind a CRLF it is the end.
    fn dot_line<'a>(&mut self, crlf: bool, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if crlf {
            return self.go(State::Done, rest);
        }
        self.put(b".", out);
        self.crlf(rest, out)
    }

    /// A CRLF ends the line.
    fn crlf<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.end_line(out);
        self.go(State::Start, rest)
    }

    /// A LF that no CR precedes.
    fn lone_lf<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.bare_lf = true;
        if self.lf_ends_line {
            self.end_line(out);
            return self.go(State::StartAfterLf, rest);
        }
        self.put(&[LF], out);
        self.go(State::Text, rest)
    }

    /// A CR that no LF follows is text; `rest` starts with what follows it.
    fn lone_cr<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.bare_cr = true;
        self.put(&[CR], out);
        self.go(State::Text, rest)
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.octets += 2;
        match self.ending {
            Ending::Lf => out.push(LF),
            Ending::Crlf => out.extend_from_slice(&[CR, LF]),
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.octets += bytes.len() as u64;
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[path = "dot_tests.rs"]
mod tests;
