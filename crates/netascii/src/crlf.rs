//! A text whose length is known beforehand (RFC 3030 §2): CRLF becomes LF, and nothing in it is an end.

use crate::{CR, LF, find};

/// Turns CRLF into LF, in pieces of any size. Bare CRs and LFs stay, and are recorded.
#[derive(Debug, Clone, Default)]
pub struct CrlfDecoder {
    /// Holds a CR back until the next byte shows whether it is a LF.
    has_cr: bool,
    /// The text so far does not end in a line end.
    is_in_line: bool,
    bare_cr: bool,
    bare_lf: bool,
    octets: u64,
}

impl CrlfDecoder {
    /// Decodes `input`, and appends to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.octets += input.len() as u64;
        let mut rest = input;
        if std::mem::take(&mut self.has_cr) {
            match rest.strip_prefix(&[LF]) {
                Some(after) => {
                    out.push(LF);
                    (rest, self.is_in_line) = (after, false);
                }
                None if rest.is_empty() => self.has_cr = true,
                None => self.lone_cr(out),
            }
        }
        while let Some(at) = find(LF, rest) {
            let (line, after) = rest.split_at_checked(at + 1).unwrap_or((rest, &[]));
            match line.strip_suffix(&[CR, LF]) {
                Some(text) => {
                    self.text(text, out);
                    out.push(LF);
                }
                None => {
                    self.bare_lf = true;
                    self.text(line, out);
                }
            }
            (rest, self.is_in_line) = (after, false);
        }
        if let Some(text) = rest.strip_suffix(&[CR]) {
            self.text(text, out);
            self.has_cr = true;
        } else {
            self.text(rest, out);
        }
    }

    /// Ends the text: completes its last line.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_cr) {
            self.lone_cr(out);
        }
        if std::mem::take(&mut self.is_in_line) {
            out.push(LF);
        }
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

    /// Returns the length of the text so far in bytes, as it came.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.bare_cr |= find(CR, text).is_some();
        self.is_in_line |= !text.is_empty();
        out.extend_from_slice(text);
    }

    fn lone_cr(&mut self, out: &mut Vec<u8>) {
        (self.bare_cr, self.is_in_line) = (true, true);
        out.push(CR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes pieces; returns the text, and whether it has a bare CR or LF.
    fn decoded(pieces: &[&[u8]]) -> (String, bool, bool) {
        let (mut decoder, mut out) = (CrlfDecoder::default(), Vec::new());
        pieces.iter().for_each(|piece| decoder.feed(piece, &mut out));
        decoder.finish(&mut out);
        assert_eq!(decoder.octets(), pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
        (String::from_utf8(out).unwrap(), decoder.bare_cr(), decoder.bare_lf())
    }

    #[test]
    fn crlf_becomes_lf_wherever_the_text_is_cut() {
        for (text, wanted, cr, lf) in [
            ("", "", false, false),
            ("a", "a\n", false, false),
            ("a\r\n.\r\n..\r\nb\r\n", "a\n.\n..\nb\n", false, false),
            ("\r\n\r\n", "\n\n", false, false),
            ("a\nb\r\n", "a\nb\n", false, true),
            ("a\rb\r\n", "a\rb\n", true, false),
            ("a\r\r\n", "a\r\n", true, false),
            ("a\r", "a\r\n", true, false),
            ("\r", "\r\n", true, false),
            ("\n", "\n", false, true),
            ("a\n\r", "a\n\r\n", true, true),
        ] {
            assert_eq!(decoded(&[text.as_bytes()]), (wanted.into(), cr, lf), "{text:?}");
            for cut in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(decoded(&[one, b"", two]), (wanted.into(), cr, lf), "{text:?} at {cut}");
            }
        }
    }
}
