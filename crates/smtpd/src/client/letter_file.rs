//! The letter to send. It is read once to measure it and once for each server.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use forknet::{Error, Result};
use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};
use smtpclient::{Facts, Letter};

/// Size of one read, in bytes.
const CHUNK: usize = 64 * 1024;
/// Smallest letter with a progress bar, in bytes.
const MIN_PROGRESS: u64 = 1 << 20;

/// A letter in a file, which can be read several times.
#[derive(Debug)]
pub struct LetterFile {
    file: File,
    start: u64,
    /// Size on disk in bytes.
    length: u64,
    facts: Facts,
    has_progress: bool,
}

impl LetterFile {
    /// Reads the letter from standard input. A pipe or a terminal is first copied to an unlinked
    /// temporary file. With `has_progress`, a bar shows on a terminal how far a large one is read.
    ///
    /// # Errors
    /// Errors of read(2) and write(2).
    pub fn from_stdin(has_progress: bool) -> Result<LetterFile> {
        let broken = || Error::io("standard input");
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(broken())?;
        let mut input = File::from(fd);
        let is_file = input.metadata().is_ok_and(|meta| meta.is_file());
        let mut file = if is_file { input } else { spool(&mut input)? };
        let start = file.stream_position().map_err(broken())?;
        LetterFile::measured(file, start, has_progress).map_err(broken())
    }

    /// Takes the letter in a file.
    ///
    /// # Errors
    /// Errors of read(2).
    pub fn from_file(mut file: File) -> Result<LetterFile> {
        let rewound = file.rewind().and_then(|()| LetterFile::measured(file, 0, false));
        rewound.map_err(Error::io("temporary file"))
    }

    fn measured(mut file: File, start: u64, has_progress: bool) -> io::Result<LetterFile> {
        let facts = Facts::of(&mut file)?;
        let length = file.stream_position()?.saturating_sub(start);
        Ok(LetterFile { file, start, length, facts, has_progress })
    }

    fn progress(&self) -> ProgressBar {
        if self.length < MIN_PROGRESS || !self.has_progress || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{wide_bar}] {eta}");
        let bar = ProgressBar::new(self.length);
        style.map_or(bar.clone(), |style| bar.with_style(style))
    }
}

impl Letter for LetterFile {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.file.seek(SeekFrom::Start(self.start))?;
        let bar = self.progress();
        Ok(Box::new(Reader(bar.wrap_read(&self.file))))
    }
}

/// Reads the letter, and takes the bar away at its end.
struct Reader<'a>(ProgressBarIter<&'a File>);

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.progress.finish_and_clear();
    }
}

/// Makes a temporary file without a name.
///
/// # Errors
/// Errors of open(2).
pub fn temporary_file() -> Result<File> {
    // The time makes the name differ from that of a file left by a killed smtpc.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("smtpc-{}-{}", std::process::id(), now.as_nanos());
    let path = std::env::temp_dir().join(name);
    let broken = || Error::io(format!("temporary file {}", path.display()));
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(broken())?;
    std::fs::remove_file(&path).map_err(broken())?;
    Ok(file)
}

/// Copies a stream to a temporary file.
fn spool(input: &mut File) -> Result<File> {
    let broken = || Error::io("temporary file");
    let mut file = temporary_file()?;
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
