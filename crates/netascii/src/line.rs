//! Lines ended by CRLF, with limits (RFC 5321 §4.5.3.1, RFC 1939 §3).
//!
//! A command line may end in LF alone, as lines typed into a terminal do; a CR anywhere else is a
//! part of the line, and the protocol refuses it. Half a line at the end of the stream is never
//! handed out, so that no half command is ever executed. A line over its limit is consumed to its
//! end in bounded memory: what follows it is read as the next line, never as a piece of this one.

use std::io::{self, BufRead, ErrorKind, Read};

use crate::{CR, LF, find};

/// Default size of the buffer, in bytes. A longer line limit makes it grow up to that limit.
const BUFFER: usize = 8192;
/// Size of a buffer that is made for commands, in bytes. It grows once more comes at a time: a process that reads
/// a few short lines touches no other memory.
const SMALL: usize = 1024;

/// Longest line whose end is searched for after it exceeded its limit, in bytes.
const MAX_SKIPPED: usize = 64 << 20;

/// What [`LineReader::read_line`] found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Line<'a> {
    /// A whole line, without its CRLF or LF.
    Text(&'a [u8]),
    /// A line over the limit, consumed with its end.
    TooLong,
    /// The end of the stream; half a line before it is dropped.
    Eof,
}

/// Reads lines, and raw bytes in between (it is a [`BufRead`]), from one stream.
#[derive(Debug)]
pub struct LineReader<R> {
    inner: R,
    buf: Vec<u8>,
    /// The unread bytes are `buf[start..end]`.
    start: usize,
    end: usize,
    /// What is after this was never read into, or is wiped.
    used: usize,
    /// Size to which the buffer grows when it was filled at once, in bytes.
    most: usize,
    /// Within a line over the limit, skipping to its end.
    skipping: bool,
    /// Bytes of that line skipped so far.
    skipped: usize,
    /// The last line of [`Line::Text`] had no CR before its LF.
    bare_lf: bool,
}

impl<R: Read> LineReader<R> {
    /// Returns a reader with an empty buffer of 8 KiB.
    pub fn new(inner: R) -> LineReader<R> {
        LineReader::with_capacity(BUFFER, inner)
    }

    /// Returns a reader with an empty buffer of `size` bytes.
    pub fn with_capacity(size: usize, inner: R) -> LineReader<R> {
        let buf = vec![0; size.max(1)];
        let (skipping, skipped, bare_lf) = (false, 0, false);
        let (start, end, used, most) = (0, 0, 0, BUFFER);
        LineReader { inner, buf, start, end, used, most, skipping, skipped, bare_lf }
    }

    /// Returns a reader of 1 KiB that grows to `most` bytes when it is filled at once.
    pub fn growing_to(most: usize, inner: R) -> LineReader<R> {
        let mut reader = LineReader::with_capacity(SMALL, inner);
        reader.most = most;
        reader
    }

    /// Returns a reader of 1 KiB (more where there are more of them) that reads these bytes first. It grows to
    /// 8 KiB when that is filled at once.
    pub fn with_unread(unread: &[u8], inner: R) -> LineReader<R> {
        let mut reader = LineReader::with_capacity(SMALL.max(unread.len()), inner);
        reader.buf.iter_mut().zip(unread).for_each(|(to, from)| *to = *from);
        (reader.end, reader.used) = (unread.len(), unread.len());
        reader
    }

    /// Reads the next line of at most `limit` bytes, its CRLF (or LF) counted.
    ///
    /// # Errors
    /// Those of the stream's `read`, except `Interrupted`; the next call continues where this one
    /// stopped. `InvalidData` when a line has no end within 64 MiB.
    pub fn read_line(&mut self, limit: usize) -> io::Result<Line<'_>> {
        let mut scanned = 0;
        loop {
            let unread = self.buffered();
            let found = find(LF, unread.get(scanned..).unwrap_or_default());
            match found.map(|at| scanned + at + 1) {
                Some(length) if self.skipping || length > limit => {
                    self.consume(length);
                    (self.skipping, self.skipped) = (false, 0);
                    return Ok(Line::TooLong);
                }
                Some(length) => {
                    let start = self.start;
                    self.consume(length);
                    let line = self.buf.get(start..start + length);
                    self.bare_lf = !line.is_some_and(|line| line.ends_with(&[CR, LF]));
                    return Ok(Line::Text(text(line)));
                }
                None if self.skipping || unread.len() >= limit => {
                    self.skip(unread.len())?;
                    scanned = 0;
                }
                None => scanned = unread.len(),
            }
            if self.fill(limit)? == 0 {
                self.discard_buffered();
                (self.skipping, self.skipped) = (false, 0);
                return Ok(Line::Eof);
            }
        }
    }

    /// Returns whether the last line ended in LF alone.
    #[must_use]
    pub fn ended_in_bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// Returns the input that was read but not consumed. While there is some, a server may keep
    /// its replies back and send them in one write (RFC 2920 §3.2).
    pub fn buffered(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the input that was read but not consumed (RFC 3207 §4.2: nothing sent before TLS
    /// counts).
    pub fn discard_buffered(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Returns the stream, to write to it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Returns the stream.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Drops the buffer, `count` bytes within a line over its limit.
    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.skipping = true;
        self.skipped += count;
        self.discard_buffered();
        if self.skipped > MAX_SKIPPED {
            return Err(io::Error::new(ErrorKind::InvalidData, "a line without an end"));
        }
        Ok(())
    }

    /// Reads once after what is buffered; there is always room for `limit` bytes of one line.
    fn fill(&mut self, limit: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let was_filled = self.used == self.buf.len();
        self.wipe(self.end);
        if self.end == self.buf.len() || (was_filled && self.buf.len() < self.most) {
            // Only a line of less than `limit` bytes can fill it up once it has grown.
            let size = self.buf.len().saturating_mul(2).max(BUFFER).min(limit.max(self.most));
            self.grow_to(size.max(self.end + 1));
        }
        let room = self.buf.get_mut(self.end..).unwrap_or_default();
        let count = read_retrying(&mut self.inner, room)?;
        self.end += count;
        self.used = self.used.max(self.end);
        Ok(count)
    }

    /// Takes a larger buffer.
    fn grow_to(&mut self, size: usize) {
        let mut larger = vec![0; size];
        larger.iter_mut().zip(self.buffered()).for_each(|(to, from)| *to = *from);
        (self.start, self.end) = (0, self.buffered().len());
        let end = self.end;
        self.wipe(0);
        (self.buf, self.used) = (larger, end);
    }

    /// Overwrites what was read, from `start` of the buffer on: it may be a password, and this process may
    /// serve others later.
    fn wipe(&mut self, start: usize) {
        let used = self.buf.get_mut(start..self.used).unwrap_or_default();
        used.fill(0);
        std::hint::black_box(used); // so that the compiler does not leave it out
        self.used = self.used.min(start);
    }
}

impl<R> Drop for LineReader<R> {
    fn drop(&mut self) {
        let used = self.buf.get_mut(..self.used).unwrap_or_default();
        used.fill(0);
        std::hint::black_box(used);
    }
}

impl<R: Read> Read for LineReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for LineReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let was_filled = self.end == self.buf.len();
            self.discard_buffered();
            if was_filled && self.buf.len() < self.most {
                self.grow_to(self.buf.len().saturating_mul(2).max(BUFFER).min(self.most));
            }
            self.end = read_retrying(&mut self.inner, &mut self.buf)?;
            self.used = self.used.max(self.end);
        }
        Ok(self.buffered())
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.start.saturating_add(amount).min(self.end);
    }
}

fn read_retrying(inner: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match inner.read(room) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Guards against a reader that claims more bytes than there was room for.
            other => return other.map(|count| count.min(room.len())),
        }
    }
}

/// Strips LF or CRLF from a line.
fn text(line: Option<&[u8]>) -> &[u8] {
    let line = line.unwrap_or_default();
    let line = line.strip_suffix(&[LF]).unwrap_or(line);
    line.strip_suffix(&[CR]).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the given pieces, one a read; `None` is an error in between.
    struct Pieces(Vec<Option<Vec<u8>>>);

    impl Read for Pieces {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let Some(mut piece) = self.0.remove(0) else {
                return Err(ErrorKind::TimedOut.into());
            };
            let count = piece.len().min(out.len());
            out[..count].copy_from_slice(&piece[..count]);
            if count < piece.len() {
                self.0.insert(0, Some(piece.split_off(count)));
            }
            Ok(count)
        }
    }

    /// Repeats one byte.
    struct Endless(u8, usize);

    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(self.1);
            out[..count].fill(self.0);
            self.1 -= count;
            Ok(count)
        }
    }

    fn all(input: &[&[u8]], limit: usize) -> Vec<String> {
        let pieces = input.iter().map(|p| Some(p.to_vec())).collect();
        let mut reader = LineReader::new(Pieces(pieces));
        let mut seen = Vec::new();
        loop {
            match reader.read_line(limit).unwrap() {
                Line::Text(t) => seen.push(t.escape_ascii().to_string()),
                Line::TooLong => seen.push("<too long>".into()),
                Line::Eof => return seen,
            }
        }
    }

    #[test]
    fn a_line_is_wiped_before_the_next_read() {
        let pieces = vec![Some(b"PASS tanstaaf\r\nNO".to_vec()), None, Some(b"OP\r\n".to_vec())];
        let mut reader = LineReader::new(Pieces(pieces));
        assert_eq!(reader.read_line(100).unwrap(), Line::Text(b"PASS tanstaaf"));
        assert!(reader.read_line(100).is_err());
        assert!(reader.buf.starts_with(b"NO\0") && !reader.buf.contains(&b't'));
        assert_eq!(reader.read_line(100).unwrap(), Line::Text(b"NOOP"));
    }

    #[test]
    fn lines_end_in_crlf_or_lf_alone_and_a_bare_cr_stays_in_them() {
        let input = b"NOOP\r\nNOOP\n\r\n\na\rb\r\nc\r\r\n";
        let expected = ["NOOP", "NOOP", "", "", "a\\rb", "c\\r"];
        assert_eq!(all(&[input], 512), expected);
        for cut in 0..input.len() {
            let (one, two) = input.split_at(cut);
            if !one.is_empty() {
                assert_eq!(all(&[one, two], 512), expected, "cut at {cut}");
            }
        }
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(all(&single, 512), expected);
    }

    #[test]
    fn a_small_buffer_grows_once_it_is_filled() {
        let text = b"0123456789abcde\r\n".repeat(1000);
        let (unread, rest) = text.split_at(5);
        let mut reader = LineReader::with_unread(unread, rest);
        assert_eq!(reader.buf.len(), SMALL);
        for _ in 0..1000 {
            assert_eq!(reader.read_line(512).unwrap(), Line::Text(b"0123456789abcde"));
        }
        assert_eq!(reader.read_line(512).unwrap(), Line::Eof);
        assert_eq!(reader.buf.len(), BUFFER);
        let mut raw = LineReader::growing_to(2 * BUFFER, &text[..]);
        assert_eq!(raw.buf.len(), SMALL);
        let mut all = Vec::new();
        raw.read_to_end(&mut all).unwrap();
        assert!(all == text && raw.buf.len() == 2 * BUFFER);
        let mut few = LineReader::with_unread(b"QUIT\r\n", &b"x\r\n"[..]);
        while few.read_line(512).unwrap() != Line::Eof {}
        assert_eq!(few.buf.len(), SMALL);
    }

    #[test]
    fn half_a_line_at_the_end_is_never_handed_out() {
        assert_eq!(all(&[b"NOOP\r\nQUIT"], 512), ["NOOP"]);
        assert_eq!(all(&[b"NOOP\r\nQUIT\r"], 512), ["NOOP"]);
        assert_eq!(all(&[b"abcdefghijkl"], 5), Vec::<String>::new());
    }

    #[test]
    fn the_limit_counts_the_line_end_and_the_next_line_is_read_whole() {
        assert_eq!(all(&[b"abc\r\nNOOP\r\n"], 5), ["abc", "<too long>"]);
        assert_eq!(all(&[b"abcd\r\nRSET\n"], 5), ["<too long>", "RSET"]);
        assert_eq!(all(&[b"abcd\nab\r\n"], 5), ["abcd", "ab"]);
        for length in 0..40 {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\r\nok\r\n");
            let expected = if length + 2 <= 12 { "x".repeat(length) } else { "<too long>".into() };
            let single: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(all(&[&input], 12), [expected.clone(), "ok".into()], "{length}");
            assert_eq!(all(&single, 12), [expected, "ok".into()], "{length}");
        }
    }

    #[test]
    fn lines_around_every_edge_of_the_buffer_come_out_whole() {
        for length in BUFFER - 4..BUFFER + 5 {
            let long = "y".repeat(length);
            let input = format!("{long}\r\n{long}\n12\r\n");
            assert_eq!(all(&[input.as_bytes()], 20_000), [&long, &long, "12"]);
            let padded = format!("{}\r\nabc\r\n", "z".repeat(length));
            assert_eq!(all(&[padded.as_bytes()], 512), ["<too long>", "abc"]);
        }
    }

    #[test]
    fn a_10_kb_line_and_an_endless_one_use_bounded_memory() {
        let mut input = vec![b'x'; 10_000];
        input.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(all(&[&input], 512), ["<too long>", "NOOP"]);

        let mut reader = LineReader::new(Endless(b'x', 50_000_000));
        assert_eq!(reader.read_line(512).unwrap(), Line::Eof);
        assert!(reader.buf.len() <= BUFFER);
        let mut reader = LineReader::new(Endless(b'x', 50_000_000));
        assert_eq!(reader.read_line(100_000).unwrap(), Line::Eof);
        assert!(reader.buf.len() <= 100_000);
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let mut reader = LineReader::new(Endless(b'x', usize::MAX));
        assert_eq!(reader.read_line(512).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(reader.buf.len() <= BUFFER);
    }

    #[test]
    fn an_error_in_the_middle_of_a_line_loses_nothing() {
        let pieces = vec![Some(b"NO".to_vec()), None, Some(b"OP\r\n".to_vec())];
        let mut reader = LineReader::new(Pieces(pieces));
        assert_eq!(reader.read_line(512).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(reader.read_line(512).unwrap(), Line::Text(b"NOOP"));
        let pieces = vec![Some(b"longer".to_vec()), None, Some(b"QUIT\r\nok\n".to_vec())];
        let mut reader = LineReader::new(Pieces(pieces));
        assert!(reader.read_line(5).is_err());
        assert_eq!(reader.read_line(5).unwrap(), Line::TooLong);
        assert_eq!(reader.read_line(5).unwrap(), Line::Text(b"ok"));
    }

    #[test]
    fn raw_reading_starts_after_the_line_and_lines_continue_after_it() {
        let mut reader = LineReader::new(&b"DATA\r\nabcdef\r\nNOOP\r\n"[..]);
        assert_eq!(reader.read_line(512).unwrap(), Line::Text(b"DATA"));
        assert_eq!(reader.buffered(), b"abcdef\r\nNOOP\r\n");
        assert_eq!(reader.fill_buf().unwrap(), b"abcdef\r\nNOOP\r\n");
        reader.consume(8);
        assert_eq!(reader.read_line(512).unwrap(), Line::Text(b"NOOP"));
        assert_eq!(reader.fill_buf().unwrap(), b"");
    }

    #[test]
    fn discarded_input_is_gone() {
        let mut reader = LineReader::new(&b"STARTTLS\r\nNOOP\r\n"[..]);
        assert_eq!(reader.read_line(512).unwrap(), Line::Text(b"STARTTLS"));
        reader.discard_buffered();
        assert_eq!(reader.read_line(512).unwrap(), Line::Eof);
    }
}
