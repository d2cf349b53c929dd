//! Files whose names an administrator gives: opened only where no other user can have put them there.

use std::fs::File;
use std::path::Path;

use sys::owned_file::{Fault, Opened, Rules};

use crate::error::{Error, Result};

/// Opens a file for reading that only root or this process's user can have written or put in its place: a
/// regular file with one link that belongs to one of the two and is writable by its owner only. A symbolic
/// link is not followed, and a FIFO not waited for. The folder is taken as it is.
///
/// `what` stands before the path in the error: `map`, `users`.
///
/// # Errors
/// `map /tmp/x: is a symbolic link`, `… belongs to user 1000`, `… is writable by others`,
/// `… has 2 links`, `… is no regular file`, or as open(2) says.
pub fn open_owned(what: &str, path: &Path) -> Result<File> {
    open(what, path, Rules::READ).map(|opened| opened.file)
}

/// As [`open_owned`], by other rules.
pub(crate) fn open(what: &str, path: &Path, rules: Rules) -> Result<Opened> {
    sys::owned_file::open(path, rules).map_err(|fault| {
        let what = format!("{what} {}", path.display());
        match fault {
            Fault::Os(errno) => Error::os(what)(errno),
            fault => Error::Refused(format!("{what}: {fault}")),
        }
    })
}
