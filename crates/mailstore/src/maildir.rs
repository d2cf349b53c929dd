//! Delivery into a Maildir: a letter is written in `tmp`, fsynced, and then renamed into `new`. A
//! reader never sees an incomplete letter.
//!
//! Every step is a type, so that a letter for several users is delivered to all of them or to none:
//! create all [`Draft`]s, [`Draft::sync`] all, [`Synced::publish`] all, and [`Published::retract`]
//! the published ones if one fails. A letter dropped before it is published is removed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::durable_dir::{durable_create_dir, sync_dir};
use crate::error::{Error, Result};
use crate::file_name;
use crate::wire_size::WireSize;

/// Mode of new letters: only the owner has access.
const FILE_MODE: u32 = 0o600;
/// Most attempts to find a free name. More than one is needed only after the clock was set back.
const MAX_NAME_ATTEMPTS: usize = 8;

/// A Maildir that letters are delivered to.
#[derive(Debug, Clone)]
pub struct Maildir {
    path: PathBuf,
}

impl Maildir {
    /// Opens an existing Maildir: a folder with `tmp`, `new` and `cur`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the part that is missing or not a folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Maildir> {
        let path = path.into();
        for part in ["tmp", "new", "cur"] {
            let part = path.join(part);
            let meta = fs::metadata(&part).map_err(Error::io("open", &part))?;
            if !meta.is_dir() {
                return Err(Error::io("open", &part)(Errno::ENOTDIR));
            }
        }
        Ok(Maildir { path })
    }

    /// Creates the missing folders of a Maildir and its parents, mode 0700, and fsyncs them. An
    /// existing one is not an error.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the folder that could not be created.
    pub fn create(path: impl Into<PathBuf>) -> Result<Maildir> {
        let path = path.into();
        for part in ["tmp", "new", "cur"] {
            durable_create_dir(&path.join(part))?;
        }
        Ok(Maildir { path })
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates an empty letter in `tmp`, mode 0600. Readers see it when it is published.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the file that could not be created.
    pub fn draft(&self) -> Result<Draft> {
        for _ in 0..MAX_NAME_ATTEMPTS {
            let base = file_name::unique();
            let tmp = self.path.join("tmp").join(&base);
            match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&tmp) {
                Ok(file) => {
                    let unpublished = Unpublished { maildir: self.path.clone(), base, tmp };
                    return Ok(Draft { file, bytes: 0, wire: WireSize::new(), unpublished });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &tmp)(error)),
            }
        }
        Err(Error::io("create", &self.path.join("tmp"))(Errno::EEXIST))
    }

    /// Returns whether a letter that was published under this name still exists, read or unread.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn contains(&self, name: &OsStr) -> Result<bool> {
        let new = self.path.join("new").join(name);
        match new.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(find_in_cur(&self.path, name)?.is_some())
            }
            Err(error) => Err(Error::io("open", &new)(error)),
        }
    }
}

/// Finds a letter that a reader has moved to `cur`, with any flags.
fn find_in_cur(maildir: &Path, name: &OsStr) -> Result<Option<PathBuf>> {
    let cur = maildir.join("cur");
    let entries = fs::read_dir(&cur).map_err(Error::io("open", &cur))?;
    let has_name = |entry: &fs::DirEntry| {
        file_name::base(entry.file_name().as_encoded_bytes()) == name.as_encoded_bytes()
    };
    Ok(entries.flatten().find(has_name).map(|entry| entry.path()))
}

/// The file in `tmp`, removed on drop.
#[derive(Debug)]
struct Unpublished {
    maildir: PathBuf,
    base: OsString,
    tmp: PathBuf,
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // Fails if the letter was published by rename. A file that cannot be removed is swept after
        // 36 hours.
        let _ = fs::remove_file(&self.tmp);
    }
}

/// A letter being written, with lines that end in LF. Every `write` is one system call, so write
/// large pieces.
#[derive(Debug)]
pub struct Draft {
    file: File,
    bytes: u64,
    wire: WireSize,
    unpublished: Unpublished,
}

impl Draft {
    /// Fsyncs the complete letter and closes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if fsync(2) fails; the file is then removed.
    pub fn sync(self) -> Result<Synced> {
        self.file.sync_all().map_err(Error::io("fsync", &self.unpublished.tmp))?;
        Ok(Synced { bytes: self.bytes, octets: self.wire.octets(), unpublished: self.unpublished })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        self.wire.feed(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A letter that is durable and not visible yet. It holds no open file.
#[derive(Debug)]
pub struct Synced {
    bytes: u64,
    octets: u64,
    unpublished: Unpublished,
}

impl Synced {
    /// Returns its size on disk, the `S=` of its name.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns its size with CRLF line ends, the `W=` of its name.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Opens the letter for reading, for a server that copies it to another mailbox with the rights
    /// of each owner in turn.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path.
    pub fn open(&self) -> Result<File> {
        let path = &self.unpublished.tmp;
        File::open(path).map_err(Error::io("open", path))
    }

    /// Returns the name under which it will be published.
    #[must_use]
    pub fn name(&self) -> OsString {
        let mut name = self.unpublished.base.clone();
        name.push(format!(",S={},W={}", self.bytes, self.octets));
        name
    }

    /// Makes the letter visible: renames it into `new`, never over another file, and fsyncs the
    /// folder. After this the letter may be acknowledged.
    ///
    /// # Errors
    /// [`Error::Io`]. The letter is then neither in `new` nor in `tmp`.
    pub fn publish(self) -> Result<Published> {
        let name = self.name();
        let Unpublished { maildir, tmp, .. } = &self.unpublished;
        let folder = maildir.join("new");
        let path = folder.join(&name);
        rename_new(tmp, &path)?;
        let published = Published { maildir: maildir.clone(), name, path };
        match sync_dir(&folder) {
            Ok(()) => Ok(published),
            Err(error) => {
                // The letter may not be durable, so it must not be visible either.
                let _ = published.retract(); // best effort
                Err(error)
            }
        }
    }
}

/// Renames without replacing. Uses link(2) if the file system lacks RENAME_NOREPLACE.
fn rename_new(from: &Path, to: &Path) -> Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            // The name in `tmp` is removed when the letter's `Unpublished` is dropped.
            fs::hard_link(from, to).map_err(Error::io("link", to))
        }
        Err(errno) => Err(Error::io("rename", to)(errno)),
    }
}

/// A delivered letter.
#[derive(Debug)]
pub struct Published {
    maildir: PathBuf,
    name: OsString,
    path: PathBuf,
}

impl Published {
    /// Returns its path, valid until another program moves it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the letter, because its delivery failed for another recipient. Finds it even if a
    /// reader has moved it to `cur`.
    ///
    /// # Errors
    /// [`Error::Io`] if it exists and cannot be removed.
    pub fn retract(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => return sync_dir(&self.maildir.join("new")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("unlink", &self.path)(error)),
        }
        if let Some(path) = find_in_cur(&self.maildir, &self.name)? {
            fs::remove_file(&path).map_err(Error::io("unlink", &path))?;
            return sync_dir(&self.maildir.join("cur"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
