//! The text line of the Internet: CRLF lines with limits, dot-stuffing, TFTP's netascii.
//!
//! Bytes in, bytes out; this crate opens no file and no socket and knows no protocol.

pub mod crlf;
pub mod dot_stuffing;
pub mod line;
pub mod translate;

use std::io::BufRead;

/// Carriage return, a byte.
pub const CR: u8 = b'\r';
/// Line feed, a byte.
pub const LF: u8 = b'\n';

/// Returns the index of the first `byte` in `hay`.
///
/// Uses `skip_until` on a slice, the only safe way to the standard library's `memchr`, because a
/// byte-by-byte search is several times slower.
pub(crate) fn find(byte: u8, hay: &[u8]) -> Option<usize> {
    let mut rest = hay;
    let passed = rest.skip_until(byte).ok()?;
    #[cfg(test)]
    tests::EXAMINED.with(|count| count.set(count.get() + passed));
    let last = passed.checked_sub(1)?;
    (hay.get(last) == Some(&byte)).then_some(last)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::find;

    thread_local! {
        /// Bytes that [`find`] has looked at in this test.
        pub static EXAMINED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn find_returns_the_first_index_or_none() {
        assert_eq!(find(b'\n', b""), None);
        assert_eq!(find(b'\n', b"abc"), None);
        assert_eq!(find(b'\n', b"\n"), Some(0));
        assert_eq!(find(b'\n', b"ab\ncd\n"), Some(2));
        assert_eq!(find(b'\n', b"abcd\n"), Some(4));
    }
}
