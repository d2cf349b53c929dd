//! The letter to send. It is read once to measure it and once to send it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use forknet::{Error, Result};
use netascii::dot_stuffing::Stuffer;

/// Size of one read, in bytes.
const CHUNK: usize = 64 * 1024;

/// A letter in a file, which can be read several times.
#[derive(Debug)]
pub struct LetterFile {
    file: File,
    start: u64,
    /// Size on disk in bytes.
    pub length: u64,
    /// Size on the wire, in octets as RFC 1870 §3 counts them.
    pub octets: u64,
    /// Whether it has bytes over 127.
    pub eight_bit: bool,
}

impl LetterFile {
    /// Reads the letter from standard input. A pipe or a terminal is first copied to an unlinked
    /// temporary file.
    ///
    /// # Errors
    /// Errors of read(2) and write(2).
    pub fn from_stdin() -> Result<LetterFile> {
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("standard input"))?;
        let mut input = File::from(fd);
        let is_file = input.metadata().is_ok_and(|meta| meta.is_file());
        let mut file = if is_file { input } else { spool(&mut input)? };
        let start = file.stream_position().map_err(Error::io("standard input"))?;
        let mut letter = LetterFile { file, start, length: 0, octets: 0, eight_bit: false };
        letter.measure()?;
        Ok(letter)
    }

    fn measure(&mut self) -> Result<()> {
        let mut stuffer = Stuffer::bare_cr_to_crlf();
        let (mut length, mut eight_bit) = (0, false);
        let mut scrap = Vec::new();
        self.each::<Error>(|chunk| {
            length += chunk.len() as u64;
            eight_bit |= !chunk.is_ascii();
            stuffer.feed(chunk, &mut scrap);
            scrap.clear();
            Ok(())
        })?;
        stuffer.finish(&mut scrap);
        (self.length, self.octets, self.eight_bit) = (length, stuffer.octets(), eight_bit);
        Ok(())
    }

    /// Calls `take` with the pieces of the letter in order.
    ///
    /// # Errors
    /// Errors of read(2) and of `take`.
    pub fn each<E: From<Error>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let broken = || Error::io("standard input");
        self.file.seek(SeekFrom::Start(self.start)).map_err(broken())?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => take(chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken()(error).into()),
            }
        }
    }
}

/// Copies a stream to an unlinked temporary file.
fn spool(input: &mut File) -> Result<File> {
    // The time makes the name differ from that of a file left by a killed smtpc.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("smtpc-{}-{}", std::process::id(), now.as_nanos());
    let path = std::env::temp_dir().join(name);
    let broken = || Error::io(format!("temporary file {}", path.display()));
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(broken())?;
    std::fs::remove_file(&path).map_err(broken())?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                let piece = chunk.get(..count).unwrap_or_default();
                file.write_all(piece).map_err(broken())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("standard input")(error)),
        }
    }
    file.rewind().map_err(broken())?;
    Ok(file)
}
