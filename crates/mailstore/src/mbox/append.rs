//! Delivery into an mbox: letters are appended under its locks, and lines that look like the beginning of a
//! letter are quoted as mboxrd has it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::mbox::locks::{Locks, WithoutDotlock};
use crate::mbox::pending::Pending;

/// open(2) flags: a symbolic link is not followed, a FIFO not waited for.
const SAFE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_APPEND)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);
/// Mode of a new mbox: only the owner has access.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// Wait between two tries to take the locks.
const PAUSE: Duration = Duration::from_millis(20);
/// What a line begins with that must be quoted, after any number of `>`.
const FROM: &[u8] = b"From ";
/// Size of a piece of a letter in memory, in bytes.
const PIECE: usize = 64 * 1024;

/// Appends letters, whose lines end in LF, to the mbox `name` in a folder, which is made if it is not there. On
/// the disk when this returns. `from_line` is the line that begins each, such as
/// `From levy Mon Nov 30 11:17:04 2026`. Waits for the locks for at most `limit`.
///
/// # Errors
/// [`Error::Io`], and the file is as it was before; [`Error::InUse`] when another program holds a lock;
/// [`Error::Refused`] for what is no regular file.
pub fn append_to_mbox<R: Read>(
    folder: &Folder,
    name: &OsStr,
    from_line: &[u8],
    letters: &mut [R],
    limit: Duration,
) -> Result<()> {
    let path = folder.path().join(name);
    let locks = lock(folder, name, limit)?;
    let appended = append(folder, (&locks, &path), name, |out| write_all(out, from_line, letters));
    locks.release(folder);
    appended
}

/// Takes the locks of the mbox `name` in a folder as a delivery will, and gives them back: so what would keep a letter
/// out is known before the letter comes. Nothing is made where there is no mbox yet. Waits for at most `limit`.
///
/// # Errors
/// As [`append_to_mbox`].
pub fn try_mbox(folder: &Folder, name: &OsStr, limit: Duration) -> Result<()> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        found => found.map_err(Error::io("stat", &folder.path().join(name)))?,
    };
    lock(folder, name, limit)?.release(folder);
    Ok(())
}

/// Appends what `write` writes, after an empty line: at first into a file beside the mbox, so that no part of it
/// stays that was not acknowledged.
fn append(
    folder: &Folder,
    (locks, path): (&Locks, &Path),
    name: &OsStr,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    let mut file = &locks.file;
    let size = u64::try_from(locks.stat.st_size).unwrap_or_default();
    let separator = separator(file, size).map_err(Error::io("read", path))?;
    let mut write = Some(write);
    let whole = |out: &mut File| {
        out.write_all(separator)?;
        write.take().map_or(Ok(()), |write| write(out))
    };
    let pending = Pending::make(folder, name, &locks.stat, whole)?;
    let appended = match (&pending, write) {
        (Some(pending), _) => file.try_clone().and_then(|mut file| pending.copy_to(&mut file)),
        // In a folder in which this user may make no file.
        (None, Some(write)) => file
            .write_all(separator)
            .and_then(|()| file.try_clone())
            .and_then(|mut file| write(&mut file)),
        (None, None) => Ok(()),
    };
    let synced = appended.and_then(|()| file.sync_all()).map_err(Error::io("write to", path));
    // Another program may have made the mbox, and have ended before its name was on the disk.
    let synced = synced.and_then(|()| if pending.is_none() { folder.sync() } else { Ok(()) });
    let undone = match &synced {
        Err(_) => file.set_len(size).and_then(|()| file.sync_all()),
        Ok(()) => Ok(()),
    };
    // What could not be taken back now, is when the mbox is locked the next time.
    if let (Some(pending), Ok(())) = (pending, undone) {
        pending.remove(folder);
    }
    synced
}

/// Opens the mbox, which is made if it is not there, and takes its locks.
fn lock(folder: &Folder, name: &OsStr, limit: Duration) -> Result<Locks> {
    let until = Instant::now() + limit;
    loop {
        let file = open(folder, name)?;
        if let Some(locks) = Locks::try_lock(folder, name, file, WithoutDotlock::Go)? {
            return Ok(locks);
        }
        if Instant::now() >= until {
            return Err(Error::InUse { what: folder.path().join(name).display().to_string() });
        }
        std::thread::sleep(PAUSE);
    }
}

fn open(folder: &Folder, name: &OsStr) -> Result<File> {
    let path = folder.path().join(name);
    let how = |flags| retry_eintr(|| openat(folder, name, SAFE | flags, MODE));
    let opened = match how(OFlag::empty()) {
        Err(Errno::ENOENT) => how(OFlag::O_CREAT),
        opened => opened,
    };
    let file = opened.map_err(Error::io("open", &path))?;
    let stat = fstat(&file).map_err(Error::io("stat", &path))?;
    if SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT) != SFlag::S_IFREG {
        return Err(Error::Refused(format!("{}: not a regular file", path.display())));
    }
    Ok(File::from(file))
}

fn write_all<R: Read>(file: &mut File, from_line: &[u8], letters: &mut [R]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, file);
    let mut piece = vec![0; PIECE];
    let mut text = Vec::new();
    for letter in letters {
        let mut quoter = MboxQuoter::default();
        out.write_all(from_line)?;
        out.write_all(b"\n")?;
        loop {
            let count = match letter.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            text.clear();
            quoter.feed(piece.get(..count).unwrap_or_default(), &mut text);
            out.write_all(&text)?;
        }
        text.clear();
        quoter.finish(&mut text);
        out.write_all(&text)?;
    }
    out.flush()
}

/// What is missing of the empty line before the next letter: another program may have written the end.
fn separator(file: &File, size: u64) -> io::Result<&'static [u8]> {
    let mut end = [b'\n'; 2];
    let count = size.min(2);
    let at = end.len() - usize::try_from(count).unwrap_or_default();
    file.read_exact_at(end.get_mut(at..).unwrap_or_default(), size - count)?;
    Ok(match end {
        [b'\n', b'\n'] => b"",
        [_, b'\n'] => b"\n",
        _ => b"\n\n",
    })
}

/// Quotes a letter as mboxrd has it: `From ` at the start of a line, after any number of `>`, gets one more
/// `>`, which readers take away again. Ends it with an empty line.
#[derive(Debug)]
struct MboxQuoter {
    /// Bytes of [`FROM`] that the line has begun with and that are held back; `None` in the text of a line.
    matched: Option<usize>,
    /// The last byte was LF, or there was none.
    at_start: bool,
}

impl Default for MboxQuoter {
    fn default() -> MboxQuoter {
        MboxQuoter { matched: Some(0), at_start: true }
    }
}

impl MboxQuoter {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            match self.matched {
                Some(0) if first == b'>' => out.push(first),
                Some(count) if FROM.get(count) == Some(&first) => {
                    self.at_start = false;
                    self.matched = Some(count + 1);
                    if count + 1 == FROM.len() {
                        out.push(b'>');
                        self.release(out);
                    }
                    rest = tail;
                    continue;
                }
                _ => {
                    self.release(out);
                    let end = rest.iter().position(|&b| b == b'\n').map(|at| at + 1);
                    let (line, behind) =
                        rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                    out.extend_from_slice(line);
                    self.at_start = end.is_some();
                    self.matched = end.map(|_| 0);
                    rest = behind;
                    continue;
                }
            }
            self.at_start = false;
            rest = tail;
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        let held = self.matched.take().unwrap_or_default();
        out.extend_from_slice(FROM.get(..held).unwrap_or_default());
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.release(out);
        if !self.at_start {
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::time::SystemTime;

    use testkit::{TempDir, names};

    use crate::mbox::locks::lock_record;

    const LINE: &str = "From x Mon Nov 30 11:17:04 2026";
    const SECOND: Duration = Duration::from_secs(1);

    fn append_to(path: &Path, letters: &mut [impl Read], limit: Duration) -> Result<()> {
        let folder = Folder::open(path.parent().unwrap())?;
        append_to_mbox(&folder, path.file_name().unwrap(), LINE.as_bytes(), letters, limit)
    }

    fn quoted(text: &[u8], size: usize) -> Vec<u8> {
        let (mut quoter, mut out) = (MboxQuoter::default(), Vec::new());
        text.chunks(size).for_each(|piece| quoter.feed(piece, &mut out));
        quoter.finish(&mut out);
        out
    }

    #[test]
    fn lines_that_look_like_a_beginning_are_quoted_wherever_the_text_is_cut() {
        for (text, expected) in [
            (&b"From a\n>From b\n>>From c\n"[..], &b">From a\n>>From b\n>>>From c\n\n"[..]),
            (b"Fro\nFrom\n>Fro", b"Fro\nFrom\n>Fro\n\n"),
            (b"x From y\n> From\nfrom z\n", b"x From y\n> From\nfrom z\n\n"),
            (b"", b"\n"),
            (b"\nFFrom \nFrom ", b"\nFFrom \n>From \n\n"),
            (b">", b">\n\n"),
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(quoted(text, size), expected, "{} {size}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn letters_are_appended_behind_an_empty_line_and_no_lock_file_is_left() {
        let dir = TempDir::new();
        let path = dir.path().join("mbox");
        append_to(&path, &mut [&b"A: 1\n\none"[..], b"A: 2\n\ntwo\n"], SECOND).unwrap();
        let expected = format!("{LINE}\nA: 1\n\none\n\n{LINE}\nA: 2\n\ntwo\n\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for (before, between) in [("x", "\n\n"), ("x\n", "\n"), ("x\n\n", ""), ("\n", "")] {
            fs::write(&path, before).unwrap();
            append_to(&path, &mut [&b"y\n"[..]], SECOND).unwrap();
            let expected = format!("{before}{between}{LINE}\ny\n\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_letter_that_cannot_be_read_leaves_the_file_as_it_was() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from(Errno::EIO))
            }
        }
        let dir = TempDir::new();
        let path = dir.file("mbox", "before\n\n");
        let mut letters: [Box<dyn Read>; 2] = [Box::new(&b"one\n"[..]), Box::new(Broken)];
        assert!(append_to(&path, &mut letters, SECOND).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\n\n");
    }

    #[test]
    fn a_part_that_a_killed_delivery_has_left_is_gone_with_the_next_one() {
        let dir = TempDir::new();
        let path = dir.file("mbox", "From a\n\none\n\n");
        let folder = Folder::open(dir.path()).unwrap();
        let stat = fstat(File::open(&path).unwrap()).unwrap();
        let write = |out: &mut File| out.write_all(b"From b\n\ntwo\n\n");
        Pending::make(&folder, OsStr::new("mbox"), &stat, write).unwrap().unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"From b\n\nt").unwrap();
        append_to(&path, &mut [&b"three\n"[..]], SECOND).unwrap();
        let expected = format!("From a\n\none\n\n{LINE}\nthree\n\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(names(dir.path()), ["mbox"]);
    }

    #[test]
    fn another_programs_lock_is_waited_for_and_then_told() {
        let dir = TempDir::new();
        let path = dir.file("mbox", "");
        let mut letters = [&b"one\n"[..]];
        let soon = Duration::from_millis(120);
        let dotlock = dir.file("mbox.lock", std::process::id().to_string());
        let told = append_to(&path, &mut letters, soon);
        assert!(matches!(told, Err(Error::InUse { .. })));
        let old = SystemTime::now() - Duration::from_secs(310);
        File::options().write(true).open(&dotlock).unwrap().set_modified(old).unwrap();
        let other = File::options().write(true).open(&path).unwrap();
        assert_eq!(lock_record(&other), Ok(true));
        let told = append_to(&path, &mut letters, soon);
        assert!(matches!(told, Err(Error::InUse { .. })) && dotlock.exists());
        drop(other);
        append_to(&path, &mut letters, soon).unwrap();
        assert_eq!(names(dir.path()), ["mbox"]);
    }

    #[test]
    fn trying_waits_for_the_locks_gives_them_back_and_makes_nothing() {
        let dir = TempDir::new();
        let folder = Folder::open(dir.path()).unwrap();
        let (name, soon) = (OsStr::new("mbox"), Duration::from_millis(60));
        try_mbox(&folder, name, soon).unwrap();
        assert!(names(dir.path()).is_empty());
        let path = dir.file("mbox", "");
        let other = File::options().write(true).open(&path).unwrap();
        assert_eq!(lock_record(&other), Ok(true));
        assert!(matches!(try_mbox(&folder, name, soon), Err(Error::InUse { .. })));
        drop(other);
        try_mbox(&folder, name, soon).unwrap();
        assert_eq!(names(dir.path()), ["mbox"]);
        append_to(&path, &mut [&b"one\n"[..]], soon).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = TempDir::new();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(append_to(&path, &mut [&b""[..]], SECOND).is_err());
        assert!(append_to(dir.path(), &mut [&b""[..]], SECOND).is_err());
    }
}
