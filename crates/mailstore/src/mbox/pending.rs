//! `.FILE.append`: what is being appended to an mbox. It is on the disk before the first byte of it is in the mbox, and
//! removed when the last one is: so what a program that was killed, or a power failure, has left in part is found, and
//! taken out again.
//!
//! ```text
//!  118 9281 2048           size of the mbox before, its inode, bytes to be appended
//!  From levy Mon Nov 30 …  these
//! ```
//!
//! It is used under the locks of the mbox alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::mbox::fault::point;

/// open(2) flags: a symbolic link is not followed, a FIFO not waited for.
const SAFE: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
/// Longest first line in bytes: three numbers.
const MAX_HEAD: u64 = 64;
/// Size of a piece that is copied or compared, in bytes.
const PIECE: usize = 64 * 1024;

/// The file, while something is appended.
#[derive(Debug)]
pub(crate) struct Pending {
    file: File,
    name: OsString,
    /// Bytes of the mbox before.
    before: u64,
    /// Bytes of the first line.
    head: u64,
    length: u64,
}

impl Pending {
    /// Makes the file; `write` is given it for what is to be appended. On the disk when this returns. `None` where
    /// this user may make no files beside the mbox.
    ///
    /// # Errors
    /// It cannot be made or written, and is not there.
    pub(crate) fn make(
        folder: &Folder,
        mbox: &OsStr,
        stat: &FileStat,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Option<Pending>> {
        let name = name_of(mbox);
        let path = folder.path().join(&name);
        let flags = SAFE | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = match retry_eintr(|| openat(folder, name.as_os_str(), flags, mode)) {
            // EEXIST: another user's, or it could not be removed.
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EEXIST) => return Ok(None),
            made => File::from(made.map_err(Error::io("make", &path))?),
        };
        let before = u64::try_from(stat.st_size).unwrap_or_default();
        let mut pending = Pending { file, name, before, head: MAX_HEAD, length: 0 };
        match pending.fill(stat, write) {
            Ok(()) => {}
            Err(error) => {
                pending.remove(folder);
                return Err(Error::io("write", &path)(error));
            }
        }
        if let Err(error) = folder.sync() {
            pending.remove(folder);
            return Err(error);
        }
        Ok(Some(pending))
    }

    fn fill(
        &mut self,
        stat: &FileStat,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        // The length is known in the end; the line has the same bytes always.
        self.file.seek(io::SeekFrom::Start(self.head))?;
        write(&mut self.file)?;
        self.length = self.file.stream_position()?.saturating_sub(self.head);
        let head = format!("{} {} {}", self.before, stat.st_ino, self.length);
        let width = usize::try_from(MAX_HEAD - 1).unwrap_or_default();
        self.file.write_all_at(format!("{head:<width$}\n").as_bytes(), 0)?;
        self.file.sync_all()
    }

    /// Appends it to the mbox, which is open for that.
    ///
    /// # Errors
    /// As read(2), write(2).
    pub(crate) fn copy_to(&self, mbox: &mut File) -> io::Result<()> {
        let (mut at, end, mut piece) = (self.head, self.head + self.length, vec![0; PIECE]);
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let piece = piece.get_mut(..most).unwrap_or_default();
            self.file.read_exact_at(piece, at)?;
            point("append")?;
            mbox.write_all(piece)?;
            at += most as u64;
        }
        Ok(())
    }

    /// Removes the file, when the mbox is on the disk as it is to be.
    pub(crate) fn remove(&self, folder: &Folder) {
        if let Err(errno) = unlinkat(folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            let path = folder.path().join(&self.name);
            log::warn!("{}", Error::io("unlink", &path)(errno));
        }
    }

    /// Takes out of the mbox what another process has appended in part, and removes its file. The mbox is locked,
    /// and open for writing.
    ///
    /// # Errors
    /// [`Error::Io`], and both files are as they were.
    pub(crate) fn recover(
        folder: &Folder,
        mbox: &OsStr,
        file: &File,
        stat: &FileStat,
    ) -> Result<()> {
        let name = name_of(mbox);
        let path = folder.path().join(&name);
        let flags = SAFE | OFlag::O_RDONLY;
        let left = match retry_eintr(|| openat(folder, name.as_os_str(), flags, Mode::empty())) {
            Err(Errno::ENOENT | Errno::ELOOP | Errno::EACCES) => return Ok(()),
            opened => File::from(opened.map_err(Error::io("open", &path))?),
        };
        let its = fstat(&left).map_err(Error::io("stat", &path))?;
        let kind = SFlag::from_bits_truncate(its.st_mode).intersection(SFlag::S_IFMT);
        if kind != SFlag::S_IFREG || its.st_uid != stat.st_uid {
            return Ok(()); // another user can have put it there
        }
        let pending = Pending::read(left, name).map_err(Error::io("read", &path))?;
        let mbox_path = folder.path().join(mbox);
        if let Some((pending, _)) = pending.as_ref().filter(|(_, inode)| *inode == stat.st_ino) {
            let is_part = pending.is_part_of(file).map_err(Error::io("read", &mbox_path))?;
            if is_part {
                let cut = file.set_len(pending.before).and_then(|()| file.sync_all());
                cut.map_err(Error::io("truncate", &mbox_path))?;
                log::warn!("{}: a part of a letter, removed", mbox_path.display());
            }
        }
        let removed = unlinkat(folder, name_of(mbox).as_os_str(), UnlinkatFlags::NoRemoveDir);
        removed.map_err(Error::io("unlink", &path))
    }

    /// Reads the first line; returns the inode of the mbox, too. `None` where the file is not whole: then nothing was
    /// appended.
    fn read(file: File, name: OsString) -> io::Result<Option<(Pending, u64)>> {
        let mut head = String::new();
        match BufReader::new((&file).take(MAX_HEAD)).read_line(&mut head) {
            Err(error) if error.kind() != ErrorKind::InvalidData => return Err(error),
            _ => {}
        }
        let numbers: Vec<u64> =
            head.split_ascii_whitespace().map_while(|it| it.parse().ok()).collect();
        let [before, inode, length] = numbers[..] else { return Ok(None) };
        let is_whole = file.metadata()?.len() == MAX_HEAD + length;
        let pending = Pending { file, name, before, head: MAX_HEAD, length };
        Ok(is_whole.then_some((pending, inode)))
    }

    /// Returns whether what the mbox has after its old end is a part of this, and no more. What a power failure has
    /// kept from being written are zeros.
    fn is_part_of(&self, mbox: &File) -> io::Result<bool> {
        let there = mbox.metadata()?.len().checked_sub(self.before);
        let Some(there) = there.filter(|it| (1..=self.length).contains(it)) else {
            return Ok(false);
        };
        let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let (mut at, mut is_same) = (0, there == self.length);
        while at < there {
            let most = usize::try_from(there - at).unwrap_or(PIECE).min(PIECE);
            let (ours, theirs) = (
                ours.get_mut(..most).unwrap_or_default(),
                theirs.get_mut(..most).unwrap_or_default(),
            );
            self.file.read_exact_at(ours, self.head + at)?;
            mbox.read_exact_at(theirs, self.before + at)?;
            if ours.iter().zip(&*theirs).any(|(ours, theirs)| *theirs != 0 && theirs != ours) {
                return Ok(false); // another program's
            }
            is_same &= ours == theirs;
            at += most as u64;
        }
        Ok(!is_same)
    }
}

/// Returns the name beside the mbox.
fn name_of(mbox: &OsStr) -> OsString {
    OsStr::from_bytes(&[b".", mbox.as_bytes(), b".append"].concat()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use testkit::{TempDir, names};

    const OLD: &[u8] = b"From a\n\none\n\n";
    const NEW: &[u8] = b"From b\n\ntwo\n\n";

    /// An mbox with the first letter, after which a program that was killed has put `tail`, of the second one.
    fn killed(tail: &[u8]) -> (TempDir, Folder) {
        let dir = TempDir::new();
        let path = dir.file("mbox", OLD);
        let folder = Folder::open(dir.path()).unwrap();
        let stat = fstat(File::open(&path).unwrap()).unwrap();
        let write = |out: &mut File| out.write_all(NEW);
        Pending::make(&folder, OsStr::new("mbox"), &stat, write).unwrap().unwrap();
        File::options().append(true).open(&path).unwrap().write_all(tail).unwrap();
        (dir, folder)
    }

    fn recovered(dir: &TempDir, folder: &Folder) -> Vec<u8> {
        let path = dir.path().join("mbox");
        let file = File::options().read(true).append(true).open(&path).unwrap();
        Pending::recover(folder, OsStr::new("mbox"), &file, &fstat(&file).unwrap()).unwrap();
        fs::read(path).unwrap()
    }

    #[test]
    fn a_part_of_a_letter_is_taken_out_and_a_whole_one_stays() {
        for length in 0..=NEW.len() {
            let (dir, folder) = killed(&NEW[..length]);
            let expected = if length == NEW.len() { [OLD, NEW].concat() } else { OLD.to_vec() };
            assert_eq!(recovered(&dir, &folder), expected, "{length}");
            assert_eq!(names(dir.path()), ["mbox"]);
        }
        let (dir, folder) = killed(&[&NEW[..5], &vec![0; NEW.len() - 5]].concat());
        assert_eq!(recovered(&dir, &folder), OLD, "a power failure leaves zeros");
    }

    #[test]
    fn what_another_program_has_written_stays() {
        for tail in [&b"From c\n\nx\n\n"[..], &[&NEW[..5], b"From c\n\nx\n\n"].concat()] {
            let (dir, folder) = killed(tail);
            assert_eq!(recovered(&dir, &folder), [OLD, tail].concat());
            assert_eq!(names(dir.path()), ["mbox"]);
        }
        let (dir, folder) = killed(&NEW[..5]);
        fs::write(dir.path().join("next"), b"From d\n\ny\n\n").unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("mbox")).unwrap();
        assert_eq!(recovered(&dir, &folder), b"From d\n\ny\n\n");
        fs::write(dir.path().join(".mbox.append"), "7 x").unwrap();
        assert_eq!(recovered(&dir, &folder), b"From d\n\ny\n\n", "a file that is not whole");
        assert_eq!(names(dir.path()), ["mbox"]);
    }
}
