//! lib/readline.c: a line, however many segments it comes in.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;

use crate::constants::MAXLINE;

/// Reads a line, its newline included, into `line`; 0 is the end of file. A line longer than
/// [`MAXLINE`] comes in pieces, and the last one may have no newline. EINTR is no error here.
///
/// # Errors
/// As read(2) says.
pub fn readline(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    io::Read::take(from, MAXLINE as u64).read_until(b'\n', line)
}

/// Puts the buffer that [`readline`] needs over a descriptor, which stays the caller's.
pub fn buffered(fd: &impl AsFd) -> BufReader<impl Read> {
    BufReader::with_capacity(MAXLINE, Descriptor(fd))
}

struct Descriptor<'a, F>(&'a F);

impl<F: AsFd> Read for Descriptor<'_, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(self.0, buf)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_long_ones_in_pieces() {
        let long = vec![b'x'; MAXLINE + 1];
        let mut from = io::Cursor::new([b"one\n".as_slice(), &long, b"\nend"].concat());
        let mut lengths = Vec::new();
        let mut line = Vec::new();
        while readline(&mut from, &mut line).unwrap() > 0 {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [4, MAXLINE, 2, 3]);
    }
}
