//! `--chroot`: restricts all paths to one folder.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{chdir, chroot};

use crate::error::{Error, Result};

/// Makes `folder` the root and the current folder. The sockets, the log, the transcript and the pid
/// file outside stay open.
pub(crate) fn enter(folder: &Path) -> Result<()> {
    let what = format!("chroot {}", folder.display());
    match chroot(folder) {
        Ok(()) => chdir("/").map_err(Error::os(format!("{what}: chdir /"))),
        Err(Errno::EPERM) => Err(Error::Refused(format!("{what}: only root may do that"))),
        Err(errno) => Err(Error::os(what)(errno)),
    }
}
