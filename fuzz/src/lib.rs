//! What the fuzzers have in common.
//!
//! An input is bytes, of which the first may choose an option of the target; the rest is what a stranger sends,
//! so that a file of a corpus can be read and written by hand.

pub mod pop3;
pub mod smtp;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// Splits the first byte off, which chooses an option; 0 where there is none.
#[must_use]
pub fn option(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, &[][..]), |(option, rest)| (*option, rest))
}

/// A stream over bytes in memory: what is read comes in pieces of one size, what is written is kept.
#[derive(Debug)]
pub struct Wire<'a> {
    input: &'a [u8],
    piece: usize,
    /// Bytes of the input that were read.
    pub taken: usize,
    /// What was written.
    pub output: Vec<u8>,
}

impl<'a> Wire<'a> {
    /// Reads `input` in pieces of `piece` bytes, of one where that is 0.
    #[must_use]
    pub fn new(input: &'a [u8], piece: usize) -> Wire<'a> {
        Wire { input, piece: piece.max(1), taken: 0, output: Vec::new() }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.taken..];
        let count = rest.len().min(self.piece).min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder for the files of this process, in memory where the machine has /dev/shm. It is left behind when a
/// fuzzer crashes; `make fuzz` gives a TMPDIR and removes it.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    let parent =
        std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let parent = if parent.is_dir() { parent } else { std::env::temp_dir() };
    let folder = parent.join(format!("forklore-fuzz-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder); // of an earlier process with this number
    fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder for files");
    folder
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &std::path::Path, bytes: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("a file can be written");
}

/// Returns a text as POP3 sends it: each line ends in CRLF, the last one too (RFC 1939 §3, §11). A CR that no LF
/// follows is text.
#[must_use]
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let line =
            line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Returns a text with dots doubled at the start of lines, and the line that ends it (RFC 1939 §3).
#[must_use]
pub fn stuffed(crlf: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(crlf.len() + 3);
    for line in lines(crlf) {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Splits a text behind each CRLF.
pub fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = text.windows(2).position(|two| two == b"\r\n").map_or(text.len(), |at| at + 2);
        let (line, rest) = text.split_at(end);
        text = rest;
        (!line.is_empty()).then_some(line)
    })
}
