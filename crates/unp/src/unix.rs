//! Names of UNIX-domain sockets, which are files.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::sys::socket::{UnixAddr, bind};

use crate::error::{Result, err_sys};
use crate::note::note;

/// Gives a socket its name, a file with the permissions that the umask leaves. Such a file outlives
/// its socket, and bind refuses a name that exists, so a socket of this name is removed first. (A
/// server that still uses it continues, but clients no longer find it.)
///
/// # Errors
/// As bind(2) says: EADDRINUSE where the file is something other than a socket, ENAMETOOLONG for more
/// than 107 bytes.
pub fn bind_unix(sockfd: &impl AsFd, path: &Path) -> Result {
    let address = UnixAddr::new(path).map_err(err_sys(path.display()))?;
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(path).map_err(err_sys(format!("unlink {}", path.display())))?;
    }
    bind(sockfd.as_fd().as_raw_fd(), &address).map_err(err_sys(format!("bind {}", path.display())))
}

/// Prints `listening on unix:PATH` on standard error.
pub fn listening_unix(path: &Path) {
    note(format_args!("listening on unix:{}", path.display()));
}
