//! Dot-stuffing (RFC 5321 §4.5.2, RFC 1939 §3): a text ends with a line of a dot, and a dot that
//! starts a line of the text is doubled, so that no line of it looks like the end.
//!
//! Both directions take pieces of any size; where the text is cut makes no difference.

use crate::{CR, LF, find};

/// The line that ends a text (RFC 5321 §4.1.1.4), when it follows a line end.
const END: &[u8] = b".\r\n";

/// Encodes a stored text for the wire: every LF or CRLF becomes CRLF, a dot that starts a line is
/// doubled.
#[derive(Debug, Clone)]
pub struct Stuffer {
    state: StufferState,
    /// How a CR without LF is sent.
    bare_cr: BareCr,
    /// Dots are doubled, and a line of a dot is the end.
    has_dots: bool,
    octets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StufferState {
    LineStart,
    Text,
    /// Holds a CR back until the next byte shows whether it is a LF.
    Cr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BareCr {
    Keep,
    EndsLine,
}

impl Stuffer {
    /// Returns a stuffer that passes a bare CR on unchanged: what is stored is what is sent (POP3).
    #[must_use]
    pub fn new() -> Stuffer {
        let (state, bare_cr) = (StufferState::LineStart, BareCr::Keep);
        Stuffer { state, bare_cr, has_dots: true, octets: 0 }
    }

    /// Returns a stuffer that turns a bare CR into a line end, because SMTP may carry none
    /// (RFC 5321 §2.3.8).
    #[must_use]
    pub fn bare_cr_to_crlf() -> Stuffer {
        Stuffer { bare_cr: BareCr::EndsLine, ..Stuffer::new() }
    }

    /// Returns one for a text that follows its length (RFC 3030 §2): line ends as above, and neither dots nor an
    /// end.
    #[must_use]
    pub fn without_dots() -> Stuffer {
        Stuffer { has_dots: false, ..Stuffer::bare_cr_to_crlf() }
    }

    /// Appends the wire form of `input` to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.state {
                StufferState::Cr if first == LF => {
                    self.end_line(out);
                    tail
                }
                StufferState::Cr => {
                    self.lone_cr(out);
                    rest
                }
                StufferState::LineStart | StufferState::Text => self.line(rest, out),
            }
        }
    }

    /// Ends the text: completes the last line and appends the line of a dot.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == StufferState::Cr {
            self.lone_cr(out);
        }
        if self.state == StufferState::Text {
            self.end_line(out);
        }
        if self.has_dots {
            out.extend_from_slice(END);
        }
    }

    /// Returns the size of the text so far as RFC 1870 §3 counts it: with CRLF line ends, without
    /// doubled dots and without the end.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Encodes text up to and including the next LF; returns the rest.
    fn line<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let FirstLine { text, cr, lf, rest } = FirstLine::split(input);
        match self.bare_cr {
            BareCr::Keep => self.text(text, out),
            BareCr::EndsLine => {
                for (number, line) in text.split(|&byte| byte == CR).enumerate() {
                    if number > 0 {
                        self.end_line(out);
                    }
                    self.text(line, out);
                }
            }
        }
        match (cr, lf) {
            (_, true) => self.end_line(out),
            (true, false) => self.state = StufferState::Cr,
            (false, false) => {}
        }
        rest
    }

    /// Encodes text of one line, or the rest of a line.
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let is_first = self.state == StufferState::LineStart && text.first() == Some(&b'.');
        if is_first && self.has_dots {
            out.push(b'.');
        }
        self.put(text, out);
        self.state = StufferState::Text;
    }

    fn lone_cr(&mut self, out: &mut Vec<u8>) {
        match self.bare_cr {
            BareCr::Keep => {
                self.put(&[CR], out);
                self.state = StufferState::Text;
            }
            BareCr::EndsLine => self.end_line(out),
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.put(&[CR, LF], out);
        self.state = StufferState::LineStart;
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

/// The input up to and including its first LF. One pass over the input, whatever mixture of CR and
/// LF it is.
struct FirstLine<'a> {
    /// The line without `cr` and `lf`; a CR in it is bare.
    text: &'a [u8],
    /// Whether a CR ends the text.
    cr: bool,
    /// Whether the LF was found.
    lf: bool,
    /// What follows the LF.
    rest: &'a [u8],
}

impl<'a> FirstLine<'a> {
    fn split(input: &'a [u8]) -> FirstLine<'a> {
        let at = find(LF, input);
        let (line, rest) =
            input.split_at_checked(at.unwrap_or(input.len())).unwrap_or((input, &[]));
        let text = line.strip_suffix(&[CR]).unwrap_or(line);
        let rest = rest.strip_prefix(&[LF]).unwrap_or(rest);
        FirstLine { text, cr: text.len() < line.len(), lf: at.is_some(), rest }
    }
}

/// How the lines of a decoded text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    /// LF, as files have it.
    Lf,
    /// CRLF, as the wire has it.
    Crlf,
}

/// Decodes a text from the wire and finds its end.
///
/// Only CRLF `.` CRLF is the end, or `.` CRLF at the start: every other mixture of CR, LF and dot is
/// text, because taking LF `.` LF for the end lets a letter smuggle commands (RFC 5321 §4.1.1.4).
/// Bare CRs and LFs are recorded, so that the letter can be refused after its true end.
#[derive(Debug, Clone)]
pub struct Unstuffer {
    state: UnstufferState,
    ending: LineEnding,
    lf_ends_line: bool,
    bare_cr: bool,
    bare_lf: bool,
    octets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnstufferState {
    /// At the start of a line, after CRLF (or at the start of the text).
    Start,
    /// At the start of a line, after a bare LF; only where a bare LF ends a line.
    StartAfterLf,
    /// After the first dot of a line, which is held back. `true`: the line follows a CRLF.
    Dot(bool),
    /// After dot and CR, both held back.
    DotCr(bool),
    Text,
    /// After a CR, held back until the next byte shows whether it is a LF.
    Cr,
    Done,
}

impl Unstuffer {
    /// Returns a strict decoder.
    #[must_use]
    pub fn new(ending: LineEnding) -> Unstuffer {
        Unstuffer {
            state: UnstufferState::Start,
            ending,
            lf_ends_line: false,
            bare_cr: false,
            bare_lf: false,
            octets: 0,
        }
    }

    /// Returns a decoder for old clients: a bare LF ends a line of the text too, so that a dot
    /// after it is unstuffed where more follows on the line. A lone dot next to a bare LF stays
    /// text: it is never the end.
    #[must_use]
    pub fn accepting_bare_lf(ending: LineEnding) -> Unstuffer {
        Unstuffer { lf_ends_line: true, ..Unstuffer::new(ending) }
    }

    /// Decodes `input` up to the end of the text, appends to `out`, and returns how many bytes of
    /// `input` were consumed; those after the end never are.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match self.state {
                UnstufferState::Done => break,
                UnstufferState::Start if first == b'.' => self.go(UnstufferState::Dot(true), tail),
                UnstufferState::StartAfterLf if first == b'.' => {
                    self.go(UnstufferState::Dot(false), tail)
                }
                UnstufferState::Start | UnstufferState::StartAfterLf | UnstufferState::Text => {
                    self.text(rest, out)
                }
                UnstufferState::Dot(crlf) if first == CR => {
                    self.go(UnstufferState::DotCr(crlf), tail)
                }
                UnstufferState::Dot(_) => self.after_dot(rest, out),
                UnstufferState::DotCr(crlf) if first == LF => self.dot_line(crlf, tail, out),
                UnstufferState::DotCr(_) | UnstufferState::Cr if first != LF => {
                    self.lone_cr(rest, out)
                }
                UnstufferState::DotCr(_) | UnstufferState::Cr => self.crlf(tail, out),
            }
        }
        input.len() - rest.len()
    }

    /// Whether the end was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == UnstufferState::Done
    }

    /// Whether a CR without LF was in the text.
    #[must_use]
    pub fn bare_cr(&self) -> bool {
        self.bare_cr
    }

    /// Whether a LF without CR was in the text.
    #[must_use]
    pub fn bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// Returns the size of the text so far as RFC 1870 §3 counts it: with CRLF line ends, without
    /// doubled dots and without the end.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    fn go<'a>(&mut self, state: UnstufferState, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }

    /// Decodes text up to and including the next LF; returns the rest.
    fn text<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let FirstLine { text, cr, lf, rest } = FirstLine::split(input);
        self.bare_cr |= find(CR, text).is_some();
        self.put(text, out);
        match (cr, lf) {
            (true, true) => self.crlf(rest, out),
            (false, true) => self.lone_lf(rest, out),
            (true, false) => self.go(UnstufferState::Cr, rest),
            (false, false) => self.go(UnstufferState::Text, rest),
        }
    }

    /// Handles what follows the first dot of a line: the dot was stuffed, or it stands alone
    /// before a bare LF that ends the line.
    fn after_dot<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if self.lf_ends_line && rest.first() == Some(&LF) {
            self.put(b".", out);
        }
        self.go(UnstufferState::Text, rest)
    }

    /// Handles a line of a dot, ended by CRLF. After a CRLF it is the end.
    fn dot_line<'a>(&mut self, crlf: bool, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if crlf {
            return self.go(UnstufferState::Done, rest);
        }
        self.put(b".", out);
        self.crlf(rest, out)
    }

    /// Ends the line at a CRLF.
    fn crlf<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.end_line(out);
        self.go(UnstufferState::Start, rest)
    }

    /// Handles a LF without CR.
    fn lone_lf<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.bare_lf = true;
        if self.lf_ends_line {
            self.end_line(out);
            return self.go(UnstufferState::StartAfterLf, rest);
        }
        self.put(&[LF], out);
        self.go(UnstufferState::Text, rest)
    }

    /// Handles a CR without LF, which is text; `rest` starts with what follows it.
    fn lone_cr<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        self.bare_cr = true;
        self.put(&[CR], out);
        self.go(UnstufferState::Text, rest)
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.octets += 2;
        match self.ending {
            LineEnding::Lf => out.push(LF),
            LineEnding::Crlf => out.extend_from_slice(&[CR, LF]),
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.octets += bytes.len() as u64;
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
