//! `--chroot`: restricts all paths to one folder; or to none.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, chdir, chroot, fchdir, mkdtemp, unlinkat};

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

/// Makes an empty folder, which has no name any more, the root and the current folder.
///
/// # Errors
/// None of the folders for temporary files can be written to; chroot(2) failed.
pub(crate) fn enter_nothing() -> Result<()> {
    let folder = nameless().map_err(Error::os("an empty folder as root"))?;
    let entered = fchdir(&folder).and_then(|()| chroot(".")).and_then(|()| chdir("/"));
    entered.map_err(Error::os("chroot to an empty folder"))
}

/// Makes a folder and removes it; it lasts as long as its descriptor.
fn nameless() -> nix::Result<OwnedFd> {
    let mut made = Err(Errno::ENOENT);
    for place in ["/run", "/tmp", "/dev/shm", "/var/tmp"] {
        made = mkdtemp(&Path::new(place).join("forklore.XXXXXX"));
        if made.is_ok() {
            break;
        }
    }
    let path = made?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = open(&path, flags, Mode::empty());
    unlinkat(AT_FDCWD, &path, UnlinkatFlags::RemoveDir)?;
    folder
}
