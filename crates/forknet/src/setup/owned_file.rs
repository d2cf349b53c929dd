//! Files named by the administrator, opened only if no other user can have put them there.

use std::fs::File;
use std::path::Path;

use sys::owned_file::{Fault, Opened, Rules};

use crate::error::{Error, Result};
use crate::setup::privdrop::find_uid;

/// Checks that only root, this process's user or `user` (of `-u`) can have written a file, which
/// was opened with O_NOFOLLOW: a regular file with one link, owned by one of them, and writable by
/// its owner only. Its folder is not checked.
///
/// `what` begins the error: `map /tmp/x`.
///
/// # Errors
/// `map /tmp/x: belongs to user 1000`, `… is writable by others`, `… has 2 links`, `… not a regular file`.
pub fn check_owned(what: &str, file: &File, user: Option<&str>) -> Result<()> {
    let rules = Rules { owner: user.and_then(find_uid), ..Rules::READ };
    sys::owned_file::check(file, rules).map_err(|fault| error(what.to_owned(), &fault))
}

/// Opens a file by these rules.
pub(crate) fn open(what: &str, path: &Path, rules: Rules) -> Result<Opened> {
    sys::owned_file::open(path, rules)
        .map_err(|fault| error(format!("{what} {}", path.display()), &fault))
}

fn error(what: String, fault: &Fault) -> Error {
    match fault {
        Fault::Os(errno) => Error::os(what)(*errno),
        fault => Error::Refused(format!("{what}: {fault}")),
    }
}
