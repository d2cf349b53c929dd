//! TFTP's netascii (RFC 1350 §1, RFC 764, RFC 854 "The NVT printer and keyboard").
//!
//! On the wire a new line is CR LF and a carriage return alone is CR NUL; on a Unix disk a new
//! line is LF and CR is a character like any other. The translation is therefore
//!
//! | disk | wire |
//! | --- | --- |
//! | LF | CR LF |
//! | CR | CR NUL |
//! | any other byte | the same byte ("8 bit ascii", RFC 1350 §1) |
//!
//! and every file comes back unchanged: a file that holds CR LF is sent as CR NUL CR LF.
//!
//! RFC 854 says that CR "must be avoided in other contexts" and leaves open what a receiver
//! does with one. Here nothing is lost: a CR followed by anything but LF or NUL, or by the end
//! of the data, is kept as the CR it is, and the byte after it is read on its own (so CR CR LF
//! is a CR and a new line). A bare LF is a new line and a bare NUL is a NUL: senders that do
//! not translate are common, and their text arrives unharmed.

use crate::{CR, LF};

/// The byte after a CR that is a character (RFC 854, "The NVT printer and keyboard").
const NUL: u8 = 0;

/// Translates bytes of a Unix file to netascii and appends them to `out`.
///
/// Every byte is translated on its own, so a file may be cut into chunks anywhere. `out` grows
/// by at most twice the length of `input`.
pub fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = rest.iter().position(|&byte| byte == LF || byte == CR) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        out.extend_from_slice(if byte == LF { b"\r\n" } else { b"\r\0" });
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Translates netascii to the bytes of a Unix file, chunk by chunk.
///
/// A CR at the end of a chunk is held until the next chunk shows what it means: RFC 1350's
/// blocks may cut a pair in two.
#[derive(Debug, Default)]
pub struct Decoder {
    held_cr: bool,
}

impl Decoder {
    /// Begins a file.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Translates the next chunk and appends it to `out`, which grows by at most one byte more
    /// than `input` holds (a CR held from the chunk before).
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        if self.held_cr && !rest.is_empty() {
            rest = after_cr(rest, out);
            self.held_cr = false;
        }
        while let Some(at) = rest.iter().position(|&byte| byte == CR) {
            let (plain, pair) = rest.split_at(at);
            out.extend_from_slice(plain);
            let Some((_, after)) = pair.split_first() else { return };
            if after.is_empty() {
                self.held_cr = true;
                return;
            }
            rest = after_cr(after, out);
        }
        out.extend_from_slice(rest);
    }

    /// Ends the data: a CR still held is a CR.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(CR);
        }
    }
}

/// Appends the meaning of a CR followed by `rest` (not empty); returns what is left of `rest`.
fn after_cr<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match rest.split_first() {
        Some((&LF, after)) => {
            out.push(LF);
            after
        }
        Some((&NUL, after)) => {
            out.push(CR);
            after
        }
        _ => {
            out.push(CR);
            rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every string of up to five bytes of an alphabet with all special ones.
    fn strings() -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..5 {
            let upto = all.len();
            for index in from..upto {
                for &byte in b"\r\n\0a" {
                    let mut longer = all[index].clone();
                    longer.push(byte);
                    all.push(longer);
                }
            }
            from = upto;
        }
        all
    }

    fn encoded(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(input, &mut out);
        out
    }

    fn decoded(chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut decoder = Decoder::new();
        for chunk in chunks {
            decoder.feed(chunk, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn a_new_line_becomes_cr_lf_and_a_cr_becomes_cr_nul() {
        assert_eq!(encoded(b"one\ntwo\r\xff\n"), b"one\r\ntwo\r\0\xff\r\n");
        assert_eq!(encoded(b"\r\n"), b"\r\0\r\n");
        assert_eq!(encoded(b""), b"");
    }

    #[test]
    fn pairs_are_read_back() {
        assert_eq!(decoded(&[b"one\r\ntwo\r\0\xff\r\n"]), b"one\ntwo\r\xff\n");
    }

    #[test]
    fn a_cr_before_anything_else_is_kept() {
        assert_eq!(decoded(&[b"a\rb"]), b"a\rb");
        assert_eq!(decoded(&[b"\r\r\n"]), b"\r\n");
        assert_eq!(decoded(&[b"\r\r\0\r"]), b"\r\r\r");
    }

    #[test]
    fn a_cr_at_the_very_end_is_kept_once() {
        assert_eq!(decoded(&[b"end\r"]), b"end\r");
        let mut out = Vec::new();
        let mut decoder = Decoder::new();
        decoder.feed(b"\r", &mut out);
        assert_eq!(out, b"", "held until it is known what follows");
        decoder.finish(&mut out);
        decoder.finish(&mut out);
        assert_eq!(out, b"\r");
    }

    #[test]
    fn a_bare_lf_and_a_bare_nul_stay() {
        assert_eq!(decoded(&[b"a\nb\0c"]), b"a\nb\0c");
    }

    #[test]
    fn every_string_comes_back_unchanged_in_chunks_of_any_size() {
        for text in strings() {
            let wire = encoded(&text);
            for cut in 0..=wire.len() {
                for second in cut..=wire.len() {
                    let chunks = [&wire[..cut], &wire[cut..second], &wire[second..]];
                    assert_eq!(decoded(&chunks), text, "{} at {cut}", wire.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn decoding_does_not_depend_on_the_chunks() {
        for wire in strings() {
            let whole = decoded(&[&wire]);
            for cut in 0..=wire.len() {
                assert_eq!(decoded(&[&wire[..cut], &wire[cut..]]), whole);
            }
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            assert_eq!(decoded(&bytes), whole);
        }
    }

    #[test]
    fn encoding_needs_no_memory_between_chunks() {
        for text in strings() {
            for cut in 0..=text.len() {
                let mut out = encoded(&text[..cut]);
                encode(&text[cut..], &mut out);
                assert_eq!(out, encoded(&text));
            }
        }
    }

    #[test]
    fn encoded_text_has_no_cr_or_lf_outside_a_pair() {
        for text in strings() {
            let wire = encoded(&text);
            let mut bytes = wire.iter();
            while let Some(&byte) = bytes.next() {
                assert_ne!(byte, LF);
                if byte == CR {
                    assert!(matches!(bytes.next(), Some(&LF | &NUL)));
                }
            }
        }
    }
}
