//! The size of a message on the wire (RFC 1939 §11): every LF on disk counts as CRLF, and dots
//! added by dot-stuffing do not count.

use std::io::{self, Read};

/// Size of the first read in bytes: a short letter needs no other memory.
const FIRST: usize = 1024;
/// Size of each later read in bytes. It holds most letters, and little memory is cleared for each.
const CHUNK: usize = 16 * 1024;

/// Counts the bytes of a text with CRLF line ends. The text is fed in pieces of any size.
///
/// A CRLF and a bare LF count as two bytes, a bare CR as one. A last line without its end counts as
/// if it had one, because a multi-line reply cannot end otherwise. An empty text is 0 bytes.
/// (Maildir names have this number as `W=`.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireSize {
    octets: u64,
    last: Option<u8>,
}

impl WireSize {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> WireSize {
        WireSize::default()
    }

    /// Adds the next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        // Up to 255 at a time, whose number is a byte, so that the compiler counts many at once.
        let count = |bytes: &[u8]| bytes.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>();
        let ends: usize = bytes.chunks(255).map(|bytes| usize::from(count(bytes))).sum();
        let mut crlfs = 0;
        if bytes.contains(&b'\r') {
            crlfs = bytes.windows(2).filter(|pair| *pair == b"\r\n").count();
        }
        if self.last == Some(b'\r') && bytes.first() == Some(&b'\n') {
            crlfs += 1;
        }
        self.octets += (bytes.len() + ends - crlfs) as u64;
        self.last = Some(last);
    }

    /// Returns the size of the whole text, with its last line ended.
    #[must_use]
    pub fn octets(self) -> u64 {
        match self.last {
            None | Some(b'\n') => self.octets,
            Some(_) => self.octets + 2,
        }
    }

    /// Reads a file to its end and returns its size on the wire.
    ///
    /// # Errors
    /// read(2) fails.
    pub fn of_file(mut file: impl Read) -> io::Result<u64> {
        let mut size = WireSize::new();
        let mut first = [0; FIRST];
        // A short letter ends with the second read.
        for _ in 0..2 {
            if size.read(&mut file, &mut first)? == 0 {
                return Ok(size.octets());
            }
        }
        size.feed_file(file, &mut vec![0; CHUNK])?;
        Ok(size.octets())
    }

    /// Adds the rest of a file, read in pieces of the buffer's length.
    ///
    /// # Errors
    /// read(2) fails.
    pub(crate) fn feed_file(&mut self, mut file: impl Read, buffer: &mut [u8]) -> io::Result<()> {
        while self.read(&mut file, buffer)? > 0 {}
        Ok(())
    }

    /// Reads a piece of a file; returns its length, 0 at the end.
    fn read(&mut self, file: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            match file.read(piece) {
                Ok(n) => {
                    self.feed(piece.get(..n).unwrap_or_default());
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &[u8]) -> u64 {
        let mut octets = 0;
        let mut previous = 0;
        for &b in text {
            octets += if b == b'\n' && previous != b'\r' { 2 } else { 1 };
            previous = b;
        }
        if text.last().is_some_and(|&b| b != b'\n') { octets + 2 } else { octets }
    }

    #[test]
    fn the_size_does_not_depend_on_how_a_text_is_split() {
        let alphabet = [b'\r', b'\n', b'a'];
        for code in 0..3_usize.pow(6) {
            let text: Vec<u8> = (0..6).map(|i| alphabet[code / 3_usize.pow(i) % 3]).collect();
            for length in 0..=6 {
                let text = &text[..length];
                for cut in 0..=length {
                    let mut size = WireSize::new();
                    size.feed(&text[..cut]);
                    size.feed(&text[cut..]);
                    assert_eq!(
                        size.octets(),
                        plain(text),
                        "{:?} cut at {cut}",
                        text.escape_ascii()
                    );
                }
            }
        }
    }

    #[test]
    fn a_file_is_counted_to_its_end() {
        for length in [0, 1, FIRST, 2 * FIRST, 2 * FIRST + 1, CHUNK + 2 * FIRST + 5] {
            let text = vec![b'\n'; length];
            assert_eq!(WireSize::of_file(&text[..]).unwrap(), 2 * length as u64, "{length}");
        }
    }
}
