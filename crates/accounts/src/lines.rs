//! Reads a file of passwords line by line, and leaves nothing of it in memory.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use zeroize::Zeroizing;

/// Longest line in bytes, its end not counted.
pub const LINE_LIMIT: usize = 4096;
/// Size of one read, in bytes. Small, because each process that checks a login touches all of it.
const CHUNK: usize = 8 * 1024;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The bytes, without LF.
    Text(&'a [u8]),
    /// A line over the limit, which is left out.
    TooLong,
}

/// Calls `each` with the number of each line, from 1 on, and the line, until it breaks.
///
/// Reads by pread(2), because processes that were forked share the file's offset. The one buffer is
/// wiped at the end.
///
/// # Errors
/// pread(2) fails.
pub fn each_line(
    file: &File,
    mut each: impl FnMut(u64, Line<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut buffer = Zeroizing::new(vec![0; CHUNK]);
    let (mut offset, mut kept, mut number, mut skips) = (0, 0, 0, false);
    loop {
        let room = buffer.get_mut(kept..).unwrap_or_default();
        let read = match file.read_at(room, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        offset += read as u64;
        let filled = buffer.get(..kept + read).unwrap_or_default();
        let (whole, rest) = if read == 0 {
            (filled, &[][..])
        } else {
            filled.split_at(filled.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1))
        };
        for line in whole.split_inclusive(|&byte| byte == b'\n') {
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let is_bounded = !skips && text.len() <= LINE_LIMIT;
            skips = false;
            let line = if is_bounded { Line::Text(text) } else { Line::TooLong };
            if each(number, line).is_break() {
                return Ok(());
            }
        }
        if read == 0 {
            return Ok(());
        }
        // The beginning of a line goes to the front; of one that is too long a byte is enough.
        let start = kept + read - rest.len();
        skips |= rest.len() > LINE_LIMIT;
        let end = if skips { start + 1 } else { kept + read };
        kept = end - start;
        buffer.copy_within(start..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    fn lines(text: &[u8]) -> Vec<(u64, Option<usize>)> {
        let folder = TempDir::new();
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        let file = File::open(path).unwrap();
        let each = |number, line: Line<'_>| {
            found.push(match line {
                Line::Text(text) => (number, Some(text.len())),
                Line::TooLong => (number, None),
            });
            ControlFlow::Continue(())
        };
        each_line(&file, each).unwrap();
        found
    }

    #[test]
    fn a_file_is_its_lines() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [(1, Some(0))]);
        assert_eq!(lines(b"ab\n\nc"), [(1, Some(2)), (2, Some(0)), (3, Some(1))]);
    }

    #[test]
    fn a_line_over_the_limit_is_one_line_however_long() {
        for length in [LINE_LIMIT + 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 3 + 7] {
            let long = vec![b'x'; length];
            let text = [b"a\n", &long[..], b"\nbcd\n", &long[..LINE_LIMIT], b"\n", &long].concat();
            let expected =
                [(1, Some(1)), (2, None), (3, Some(3)), (4, Some(LINE_LIMIT)), (5, None)];
            assert_eq!(lines(&text), expected, "{length}");
        }
    }

    #[test]
    fn many_lines_cross_the_ends_of_reads() {
        let text: Vec<u8> = (0..20_000).flat_map(|n| format!("{n:0>11}\n").into_bytes()).collect();
        let found = lines(&text);
        assert_eq!(found.len(), 20_000);
        assert!(found.iter().all(|(_, length)| *length == Some(11)));
    }

    #[test]
    fn reading_ends_where_the_caller_breaks() {
        let folder = TempDir::new();
        let file = File::open(folder.file("file", "a\nb\nc\n")).unwrap();
        let mut last = 0;
        let each = |number, _: Line<'_>| {
            last = number;
            if number == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        each_line(&file, each).unwrap();
        assert_eq!(last, 2);
    }
}
