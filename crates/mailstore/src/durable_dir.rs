//! Creates folders that survive a power failure.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Error, Result};

/// Mode of new folders: only the owner has access.
const DIR_MODE: u32 = 0o700;
/// Age from which a folder is on the disk: the kernel writes what changed within a minute.
const MAY_BE_NEW: Duration = Duration::from_secs(60 * 60);

/// Creates a folder (mode 0700) and its missing parents, and fsyncs each parent. An existing folder
/// is not an error.
///
/// # Errors
/// [`Error::Io`] with the folder's path. A file in its place is `Not a directory`.
pub fn durable_create_dir(path: &Path) -> Result<()> {
    match create(path) {
        Err(error) if error.kind() == Some(ErrorKind::NotFound) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                durable_create_dir(parent)?;
                create(path)
            }
            _ => Err(error),
        },
        created => created,
    }
}

fn create(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => sync_parent(path),
        // It may be another process's, made a moment ago.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            must_be_dir(path)?;
            if is_old(path) { Ok(()) } else { sync_parent(path) }
        }
        Err(error) => Err(Error::io("mkdir", path)(error)),
    }
}

/// Repeats a system call while it fails with EINTR, which open(2) does on NFS and FUSE. std repeats
/// such calls itself, nix does not.
pub(crate) fn retry_eintr<T>(call: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Fsyncs a folder, so that the names in it are durable.
fn sync_dir(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(Error::io("fsync", path))
}

/// Fsyncs the folder that a file is in.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Returns whether a folder is old enough to be on the disk.
fn is_old(path: &Path) -> bool {
    let made = path.metadata().and_then(|meta| meta.created());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > MAY_BE_NEW))
}

fn must_be_dir(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::io("open", path)(io::Error::from(Errno::ENOTDIR))),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_interrupted_call_is_repeated() {
        let calls = Cell::new(0);
        let call = || {
            calls.set(calls.get() + 1);
            if calls.get() < 4 { Err(Errno::EINTR) } else { Err::<(), _>(Errno::ENOENT) }
        };
        assert_eq!((retry_eintr(call), calls.get()), (Err(Errno::ENOENT), 4));
    }
}
