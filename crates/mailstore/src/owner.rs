//! A server of root's touches a mailbox as the mailbox's owner: a symbolic link that he has put
//! into his folders leads root nowhere.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups, setresgid, setresuid,
};

use crate::error::{Error, Result};

/// Whom the sessions of one process share its rights with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each session has a process of its own, or is its last.
    Nobody = 0,
    /// Sessions come one after the other: rights must be given back.
    Later = 1,
    /// Several sessions at a time, in threads: rights are those of all of them.
    Others = 2,
}

/// What this process is, said once at its start.
static SHARING: AtomicU8 = AtomicU8::new(Sharing::Nobody as u8);

impl Sharing {
    /// Says how this process serves its clients. A mailbox that needs other rights than it can have
    /// is refused then.
    pub fn of_this_process(self) {
        SHARING.store(self as u8, Relaxed);
    }

    /// # Errors
    /// The process is shared with more than `most`.
    fn at_most(most: Sharing, path: &Path) -> Result<()> {
        if SHARING.load(Relaxed) <= most as u8 {
            return Ok(());
        }
        let why = "its owner's rights need a process of their own (--model fork or prefork)";
        Err(Error::Refused(format!("{}: {why}", path.display())))
    }
}

/// While this lives, the process has the rights of a mailbox's owner and no others; afterwards
/// its own again, unless [`AsOwner::stay`] was called. For a process that serves one client.
#[derive(Debug)]
pub struct AsOwner {
    /// The owner, and what the process was before; none where nothing was changed.
    changed: Option<(Id, Id)>,
}

#[derive(Debug, Clone)]
struct Id {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl AsOwner {
    /// Takes the rights of the owner of the mailbox at `path`. That is the owner of the first
    /// folder on the way down from `/` that is not root's: he rules all that is below. A process
    /// that is not root's has only its own rights, and keeps them.
    ///
    /// # Errors
    /// As seteuid(2); other sessions share the rights ([`Sharing::Others`]).
    pub fn of(path: &Path) -> Result<AsOwner> {
        let owner = if geteuid().is_root() { owner(path) } else { None };
        let Some((uid, gid)) = owner else { return Ok(AsOwner { changed: None }) };
        Sharing::at_most(Sharing::Later, path)?;
        let groups = getgroups().map_err(Error::io("getgroups for", path))?;
        let before = Id { uid: geteuid(), gid: getegid(), groups };
        let owner = Id { uid, gid, groups: vec![gid] };
        // From here on a failure is undone by `drop`.
        let this = AsOwner { changed: Some((owner.clone(), before)) };
        owner.take().map_err(Error::io("become the owner of", path))?;
        Ok(this)
    }

    /// Stays the owner: there is no way back to root from here.
    ///
    /// # Errors
    /// As setresuid(2); other sessions share the rights, or will.
    pub fn stay(mut self, path: &Path) -> Result<()> {
        let Some((owner, _)) = &self.changed else { return Ok(()) };
        Sharing::at_most(Sharing::Nobody, path)?;
        let owner = owner.clone();
        self.changed = None;
        let Id { uid, gid, .. } = owner;
        // Only root may change its groups and its real ids; they are the owner's already or are
        // changed while the saved uid is still root's.
        seteuid(Uid::from_raw(0))
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .map_err(Error::io("stay the owner of a mailbox, uid", Path::new(&uid.to_string())))
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        let Some((_, before)) = self.changed.take() else { return };
        if let Err(errno) = seteuid(before.uid).and_then(|()| before.take()) {
            // Without our own rights nothing works any more; every later step will say so.
            log::error!("seteuid {}: {}", before.uid, errno.desc());
        }
    }
}

impl Id {
    /// The groups first: without root's rights they cannot be changed.
    fn take(&self) -> nix::Result<()> {
        setgroups(&self.groups)?;
        setegid(self.gid)?;
        seteuid(self.uid)
    }
}

/// What the kernel shows as the owner of files whose user a user namespace does not map
/// (/proc/sys/kernel/overflowuid).
const UNMAPPED: u32 = 65_534;

/// The owner of the first folder on the way that is not root's. A symbolic link counts as itself. In a
/// user namespace folders of users that it does not map are passed over: nobody there can become those
/// users, and its root has no rights over their files that an ordinary user would not have.
fn owner(path: &Path) -> Option<(Uid, Gid)> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    way.iter()
        .map_while(|folder| folder.symlink_metadata().ok())
        .find(|meta| meta.uid() != 0 && !(meta.uid() == UNMAPPED && unmapped()))
        .map(|meta| (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())))
}

fn unmapped() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps(&map, UNMAPPED))
}

/// Whether a map of user_namespaces(7), lines of `inside outside count`, has this user.
fn maps(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers.as_slice(), [inside, _, count] if uid.checked_sub(*inside).is_some_and(|at| at < *count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    #[test]
    fn a_user_namespace_maps_those_whom_its_lines_name() {
        assert!(maps("         0          0 4294967295\n", 65_534));
        assert!(!maps("0 1000 1\n", 65_534));
        assert!(!maps("0 1000 65534\n", 65_534));
        assert!(maps("0 1000 1\n65534 65534 1\n", 65_534));
        assert!(!maps("70000 0 10\n", 65_534));
    }

    #[test]
    fn the_owner_is_whoever_has_the_first_folder_that_is_not_roots() {
        let folder = TempDir::new();
        let here = folder.path().join("not/there");
        let me = geteuid();
        if me.is_root() {
            assert_eq!(owner(&here), None);
            std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_533)).unwrap();
            assert_eq!(owner(&here), Some((Uid::from_raw(65_534), Gid::from_raw(65_533))));
        } else {
            assert_eq!(owner(&here).map(|(uid, _)| uid), Some(me));
            AsOwner::of(&here).unwrap().stay(&here).unwrap();
            assert_eq!(geteuid(), me);
        }
    }
}
