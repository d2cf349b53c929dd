//! Delivery into an mbox: letters are appended under the classic locks, a file `NAME.lock` and a record
//! lock of fcntl(2), and lines that look like the beginning of a letter are quoted as mboxrd has it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use crate::durable_dir::sync_parent;
use crate::error::{Error, Result};

/// Mode of a new mbox and of its lock file: only the owner has access.
const MODE: u32 = 0o600;
/// Wait between two tries to take a lock.
const PAUSE: Duration = Duration::from_millis(50);
/// Age at which a lock file is taken for one whose program has died: procmail's and mutt's programs hold
/// theirs for seconds.
const STALE: Duration = Duration::from_secs(600);
/// What a line begins with that must be quoted, behind any number of `>`.
const FROM: &[u8] = b"From ";
/// Size of a piece of a letter in memory, in bytes.
const PIECE: usize = 64 * 1024;

/// Appends letters, whose lines end in LF, to the mbox at `path`, which is made if it is not there. On the
/// disk when this returns. `from_line` is the line that begins each, such as
/// `From levy Mon Nov 30 11:17:04 2026`. Waits for the locks for at most `limit`.
///
/// # Errors
/// [`Error::Io`], and the file is as it was before; [`Error::InUse`] when another program holds a lock;
/// [`Error::Refused`] for what is no regular file.
pub fn append_to_mbox<R: Read>(
    path: &Path,
    from_line: &str,
    letters: &mut [R],
    limit: Duration,
) -> Result<()> {
    let until = Instant::now() + limit;
    let _dotlock = DotLock::take(path, until)?;
    let (file, is_new) = open_locked(path, until)?;
    let size = file.metadata().map_err(Error::io("stat", path))?.len();
    let written = write_all(&file, size, from_line, letters).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = file.set_len(size).and_then(|()| file.sync_all()); // best effort
        return Err(Error::io("write to", path)(error));
    }
    if is_new { sync_parent(path) } else { Ok(()) }
}

/// Opens the file and locks it. What a mail reader has replaced meanwhile is opened again.
fn open_locked(path: &Path, until: Instant) -> Result<(File, bool)> {
    let mut is_new = false;
    loop {
        let (file, is_made) = open(path)?;
        is_new |= is_made;
        lock(&file, path, until)?;
        let (ours, theirs) = (file.metadata(), std::fs::symlink_metadata(path));
        let same =
            |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if same(&ours, &theirs) => return Ok((file, is_new)),
            (Err(error), _) => return Err(Error::io("stat", path)(error)),
            (_, Err(error)) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("stat", path)(error));
            }
            _ if Instant::now() >= until => return Err(in_use(path)),
            _ => {}
        }
    }
}

/// Opens the mbox, or makes it.
fn open(path: &Path) -> Result<(File, bool)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(MODE).custom_flags(flags.bits());
    let (file, is_new) = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (options.create(true).open(path).map_err(Error::io("create", path))?, true)
        }
        opened => (opened.map_err(Error::io("open", path))?, false),
    };
    let meta = file.metadata().map_err(Error::io("stat", path))?;
    if meta.is_file() {
        return Ok((file, is_new));
    }
    Err(Error::Refused(format!("{}: not a regular file", path.display())))
}

/// Takes the record lock. It is an open file description lock, which ends with the file.
fn lock(file: &File, path: &Path, until: Instant) -> Result<()> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() >= until => {
                return Err(in_use(path));
            }
            Err(Errno::EAGAIN | Errno::EACCES) => std::thread::sleep(PAUSE),
            Err(errno) => return Err(Error::io("lock", path)(errno)),
        }
    }
}

fn in_use(path: &Path) -> Error {
    Error::InUse { what: path.display().to_string() }
}

/// The file `NAME.lock`, removed on drop.
#[derive(Debug)]
struct DotLock(Option<PathBuf>);

impl DotLock {
    /// Makes the file. Where this user may make none beside the mbox, the record lock alone must do.
    fn take(path: &Path, until: Instant) -> Result<DotLock> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let name = PathBuf::from(name);
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&name) {
                Ok(mut file) => {
                    let _ = writeln!(file, "{}", std::process::id()); // by which others see that it is stale
                    return Ok(DotLock(Some(name)));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return Ok(DotLock(None));
                }
                Err(error) => return Err(Error::io("create", &name)(error)),
            }
            if is_stale(&name) {
                let _ = std::fs::remove_file(&name); // the next try says what is wrong
            } else if Instant::now() >= until {
                return Err(in_use(&name));
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            let _ = std::fs::remove_file(name); // it becomes stale otherwise
        }
    }
}

fn is_stale(name: &Path) -> bool {
    let modified = std::fs::symlink_metadata(name).and_then(|meta| meta.modified());
    let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age > STALE)
}

fn write_all<R: Read>(
    file: &File,
    size: u64,
    from_line: &str,
    letters: &mut [R],
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, file);
    out.write_all(separator(file, size)?)?;
    let mut piece = vec![0; PIECE];
    let mut text = Vec::new();
    for letter in letters {
        let mut quoter = MboxQuoter::default();
        writeln!(out, "{from_line}")?;
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

/// Quotes a letter as mboxrd has it: `From ` at the start of a line, behind any number of `>`, gets one more
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
    use testkit::TempDir;

    const LINE: &str = "From x Mon Nov 30 11:17:04 2026";
    const SECOND: Duration = Duration::from_secs(1);

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
        append_to_mbox(&path, LINE, &mut [&b"A: 1\n\none"[..], b"A: 2\n\ntwo\n"], SECOND).unwrap();
        let expected = format!("{LINE}\nA: 1\n\none\n\n{LINE}\nA: 2\n\ntwo\n\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for (before, between) in [("x", "\n\n"), ("x\n", "\n"), ("x\n\n", ""), ("\n", "")] {
            fs::write(&path, before).unwrap();
            append_to_mbox(&path, LINE, &mut [&b"y\n"[..]], SECOND).unwrap();
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
        assert!(append_to_mbox(&path, LINE, &mut letters, SECOND).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\n\n");
    }

    #[test]
    fn another_programs_lock_is_waited_for_and_then_told() {
        let dir = TempDir::new();
        let path = dir.file("mbox", "");
        let mut letters = [&b"one\n"[..]];
        let soon = Duration::from_millis(120);
        let dotlock = dir.file("mbox.lock", "");
        let told = append_to_mbox(&path, LINE, &mut letters, soon);
        assert!(matches!(told, Err(Error::InUse { .. })));
        let old = SystemTime::now() - 2 * STALE;
        File::options().write(true).open(&dotlock).unwrap().set_modified(old).unwrap();
        let other = File::options().write(true).open(&path).unwrap();
        lock(&other, &path, Instant::now()).unwrap();
        let told = append_to_mbox(&path, LINE, &mut letters, soon);
        assert!(matches!(told, Err(Error::InUse { .. })) && !dotlock.exists());
        drop(other);
        append_to_mbox(&path, LINE, &mut letters, soon).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = TempDir::new();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(append_to_mbox(&path, LINE, &mut [&b""[..]], SECOND).is_err());
        assert!(append_to_mbox(dir.path(), LINE, &mut [&b""[..]], SECOND).is_err());
    }
}
