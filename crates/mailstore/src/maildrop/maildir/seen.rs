//! Marks a letter that was sent as seen: the flag `S`, in `cur`.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat2};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::file_name;
use crate::maildrop::maildir::letters::{Letters, Subdir};

/// Renames a letter, which at every moment has one of both names, and never replaces another file. One that
/// has the flag, or flags of an unknown kind, stays as it is.
///
/// # Errors
/// renameat2(2): ENOENT if another program has moved the letter.
pub(super) fn mark(folder: &OwnedFd, letters: &mut Letters, index: usize) -> nix::Result<()> {
    let Some(name) = file_name::with_seen(letters.name(index)) else { return Ok(()) };
    let old = letters.relative(index).ok_or(Errno::ENOENT)?;
    let new = Path::new(Subdir::Cur.name()).join(OsStr::from_bytes(&name));
    match renameat2(folder, &old, folder, &new, RenameFlags::RENAME_NOREPLACE) {
        // A file system without that flag.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            linkat(folder, &old, folder, &new, AtFlags::empty())?;
            unlinkat(folder, &old, UnlinkatFlags::NoRemoveDir)?;
        }
        renamed => renamed?,
    }
    letters.rename(index, Subdir::Cur, &name);
    Ok(())
}
