//! The text of a letter between the process that receives it and those that store it: in memory while it is
//! short, then in a file without a name in the folder of `--spool`.
//!
//! Neither can be changed by a process that stores it: a short text is sent to each, a longer one is in a file of memory
//! that is sealed, and the descriptor of the spool's file is for reading only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use accounts::{hex, random};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc::O_NOFOLLOW;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Longest text that stays in memory, in bytes. Clients at once times this is what letters may take.
const MAX_IN_MEMORY: usize = 256 * 1024;
/// Mode of the file.
const FILE_MODE: u32 = 0o600;
/// Size of a read of the file, in bytes.
const CHUNK: usize = 64 * 1024;
/// Random bytes of the file's name, which it has for a moment.
const NAME_BYTES: usize = 16;

/// A text that is being received.
#[derive(Debug)]
pub struct Incoming<'a> {
    spool: &'a Path,
    memory: Vec<u8>,
    /// For writing, and for reading.
    file: Option<(File, File)>,
    length: u64,
}

impl<'a> Incoming<'a> {
    /// Begins with nothing.
    #[must_use]
    pub fn new(spool: &'a Path) -> Incoming<'a> {
        Incoming { spool, memory: Vec::new(), file: None, length: 0 }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.length += piece.len() as u64;
        if self.file.is_none() {
            self.memory.extend_from_slice(piece);
            if self.memory.len() <= MAX_IN_MEMORY {
                return Ok(());
            }
            let (mut file, reader) = unnamed(self.spool)?;
            file.write_all(&self.memory)?;
            (self.memory, self.file) = (Vec::new(), Some((file, reader)));
            return Ok(());
        }
        self.file.iter_mut().try_for_each(|(file, _)| file.write_all(piece))
    }

    /// Puts these bytes at `at`, between what was added before.
    ///
    /// # Errors
    /// The file cannot be made, read or written.
    pub fn insert(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let before = std::mem::replace(self, Incoming::new(self.spool));
        let length = before.length;
        let before = before.finish();
        before.copy_range(0..at.min(length), self)?;
        self.write_all(bytes)?;
        before.copy_range(at.min(length)..length, self)
    }

    /// Returns its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Ends the text, which can only be read from now on.
    #[must_use]
    pub fn finish(self) -> Text {
        match self.file {
            None => Text::Memory(self.memory),
            Some((_, file)) => Text::File(file, self.length),
        }
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        Incoming::write(self, piece).map(|()| piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text that was received.
#[derive(Debug)]
pub enum Text {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file, and its length in bytes.
    File(File, u64),
}

impl Text {
    /// Returns the text in the file of another process.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of_file(file: File) -> io::Result<Text> {
        let length = file.metadata()?.len();
        Ok(Text::File(file, length))
    }

    /// Returns the text as a file for other processes to read, where it is longer than `longest` bytes.
    ///
    /// # Errors
    /// memfd_create(2) failed.
    pub fn into_file_over(self, longest: usize) -> io::Result<Text> {
        match self {
            Text::Memory(text) if text.len() > longest => {
                Ok(Text::File(sealed(&text)?, text.len() as u64))
            }
            text => Ok(text),
        }
    }

    /// Returns what stands before the text, and the text. Uses no offset that other processes share.
    pub fn reader(&self, first: Vec<u8>) -> Box<dyn io::Read + '_> {
        let first = io::Cursor::new(first);
        match self {
            Text::Memory(text) => Box::new(first.chain(&text[..])),
            Text::File(file, _) => Box::new(first.chain(At { file, offset: 0 })),
        }
    }

    /// Writes first what stands before the text, and then the text. Uses no offset that other processes share.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn copy_behind(&self, first: &[u8], out: &mut impl Write) -> io::Result<()> {
        let length = match self {
            Text::Memory(text) if text.len() <= CHUNK => {
                return out.write_all(&[first, text].concat()); // one system call
            }
            Text::Memory(text) => text.len() as u64,
            Text::File(_, length) => *length,
        };
        out.write_all(first)?;
        self.copy_range(0..length, out)
    }

    /// Writes a part of it.
    fn copy_range(&self, range: Range<u64>, out: &mut impl Write) -> io::Result<()> {
        let (mut offset, end) = (range.start, range.end);
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let file = match self {
            Text::Memory(text) => {
                return out.write_all(text.get(place(offset)..place(end)).unwrap_or_default());
            }
            Text::File(file, _) => file,
        };
        let mut chunk = vec![0; CHUNK];
        while offset < end {
            let most = place(end - offset).min(CHUNK);
            match file.read_at(chunk.get_mut(..most).unwrap_or_default(), offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    out.write_all(chunk.get(..read).unwrap_or_default())?;
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads a file from an offset of its own.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Returns the text in a file in memory, which no process can change any more.
fn sealed(text: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"letter", flags)?);
    file.write_all(text)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Makes a file without a name; returns it for writing and for reading.
fn unnamed(folder: &Path) -> io::Result<(File, File)> {
    let name: [u8; NAME_BYTES] = random().map_err(|error| io::Error::other(error.to_string()))?;
    let path = folder.join(format!("smtpd.{}", hex(&name)));
    let mut options = OpenOptions::new();
    let writer = options.write(true).create_new(true).mode(FILE_MODE).open(&path)?;
    let reader = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&path);
    fs::remove_file(&path)?;
    let (reader, inode) = (reader?, |file: &File| file.metadata().map(|it| (it.dev(), it.ino())));
    if inode(&reader)? != inode(&writer)? {
        return Err(io::Error::other("another file was put in its place"));
    }
    Ok((writer, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_out_as_it_went_in_short_or_long_and_leaves_no_name() {
        let dir = testkit::TempDir::new();
        let piece: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for pieces in [0_u64, 1, 26, 27, 100] {
            let mut text = Incoming::new(dir.path());
            for _ in 0..pieces {
                text.write(&piece).unwrap();
            }
            assert_eq!(text.length(), pieces * 10_000);
            let text = text.finish();
            assert_eq!(matches!(text, Text::File(..)), pieces > 26);
            for _ in 0..2 {
                let mut out = Vec::new();
                text.copy_behind(b"first\n", &mut out).unwrap();
                assert_eq!(out, [b"first\n", &piece.repeat(pieces as usize)[..]].concat());
            }
            let text = text.into_file_over(20_000).unwrap();
            assert_eq!(matches!(text, Text::File(..)), pieces > 2);
            if let Text::File(mut file, _) = text {
                assert!(file.write_all(b"x").is_err(), "for reading only");
            }
            assert_eq!(testkit::names(dir.path()).len(), 0);
        }
        for pieces in [0_u64, 1, 30] {
            let mut text = Incoming::new(dir.path());
            text.write(b"first").unwrap();
            for _ in 0..pieces {
                text.write(&piece).unwrap();
            }
            text.insert(5, b"second").unwrap();
            assert_eq!(text.length(), 11 + pieces * 10_000);
            let mut out = Vec::new();
            text.finish().copy_behind(b"", &mut out).unwrap();
            assert_eq!(out, [b"firstsecond", &piece.repeat(pieces as usize)[..]].concat());
        }
        let mut text = Incoming::new(Path::new("/no/such/folder"));
        assert!(text.write(&piece).is_ok());
        assert!(text.write(&piece.repeat(30)).is_err());
    }
}
