//! A server that runs as root delivers as the mailbox's owner: the files become his, and a
//! symbolic link that he has put into his folders leads root nowhere.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups};

/// While this lives, the process works with the files of a mailbox as the mailbox's owner; before
/// and after, as itself. Safe in a process of one task: a client's process is that.
#[derive(Debug)]
pub struct AsOwner {
    back: Option<(Uid, Gid, Vec<Gid>)>,
}

impl AsOwner {
    /// Becomes the owner of the mailbox at `path`: of the first folder on the way down from `/`
    /// that is not root's, for whoever owns that one rules all below it. Does nothing in a process
    /// that is not root's.
    ///
    /// # Errors
    /// As seteuid(2).
    pub fn of(path: &Path) -> nix::Result<AsOwner> {
        if !geteuid().is_root() {
            return Ok(AsOwner { back: None });
        }
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        let owners = way.iter().map_while(|dir| dir.symlink_metadata().ok());
        let Some(owner) = owners.into_iter().find(|meta| meta.uid() != 0) else {
            return Ok(AsOwner { back: None });
        };
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        let back = AsOwner { back: Some((geteuid(), getegid(), getgroups()?)) };
        setgroups(&[gid])?;
        setegid(gid)?;
        seteuid(uid)?;
        Ok(back)
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        let Some((uid, gid, groups)) = self.back.take() else { return };
        let restored = seteuid(uid).and_then(|()| setegid(gid)).and_then(|()| setgroups(&groups));
        if let Err(errno) = restored {
            // Without our own rights nothing works any more; every later step will say so.
            log::error!("seteuid {uid}: {}", errno.desc());
        }
    }
}
