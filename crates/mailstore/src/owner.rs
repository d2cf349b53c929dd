//! Takes the rights of a mailbox's owner while the mailbox is used, so that root does not follow a
//! symbolic link in the owner's folders to other users' files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups, setresgid, setresuid,
};

use crate::error::{Error, Result};

/// How the sessions of one process share its user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// The session has a process of its own, or is the last one of its process.
    OneSession = 0,
    /// Sessions follow one another, so the user id must be restored.
    Sequential = 1,
    /// Several sessions run at a time in threads, so a change would affect all of them.
    Concurrent = 2,
}

/// The value set by [`SharedBy::set_for_process`].
static SHARED_BY: AtomicU8 = AtomicU8::new(SharedBy::OneSession as u8);

impl SharedBy {
    /// Records how this process serves its clients. Called once at the start. From then on a
    /// mailbox is refused if the process cannot take its owner's rights.
    pub fn set_for_process(self) {
        SHARED_BY.store(self as u8, Relaxed);
    }

    /// # Errors
    /// [`Error::Refused`] if the process is shared more than `most`.
    fn require_at_most(most: SharedBy, path: &Path) -> Result<()> {
        if SHARED_BY.load(Relaxed) <= most as u8 {
            return Ok(());
        }
        let why = "its owner's rights need a process of their own (--model fork or prefork)";
        Err(Error::Refused(format!("{}: {why}", path.display())))
    }
}

/// Guard while the process has the effective ids of a mailbox's owner. Dropping it restores the
/// previous ids, unless [`AsOwner::make_permanent`] was called.
#[derive(Debug)]
pub struct AsOwner {
    /// The owner's ids and the previous ids; `None` if nothing was changed.
    changed: Option<(Ids, Ids)>,
}

#[derive(Debug, Clone)]
struct Ids {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl AsOwner {
    /// Switches to the owner of the mailbox at `path`: the owner of the first folder on the path
    /// from `/` that does not belong to root, because that user controls everything below it. A
    /// process that is not root changes nothing.
    ///
    /// # Errors
    /// Errors of seteuid(2), and [`Error::Refused`] for [`SharedBy::Concurrent`].
    pub fn switch_to(path: &Path) -> Result<AsOwner> {
        let owner = if geteuid().is_root() { owner(path) } else { None };
        let Some((uid, gid)) = owner else { return Ok(AsOwner { changed: None }) };
        SharedBy::require_at_most(SharedBy::Sequential, path)?;
        let groups = getgroups().map_err(Error::io("getgroups for", path))?;
        let before = Ids { uid: geteuid(), gid: getegid(), groups };
        let owner = Ids { uid, gid, groups: vec![gid] };
        // Undone by `drop` if the next call fails.
        let this = AsOwner { changed: Some((owner.clone(), before)) };
        owner.set_effective().map_err(Error::io("become the owner of", path))?;
        Ok(this)
    }

    /// Drops root irrevocably: all ids become the owner's.
    ///
    /// # Errors
    /// Errors of setresuid(2), and [`Error::Refused`] unless [`SharedBy::OneSession`].
    pub fn make_permanent(mut self, path: &Path) -> Result<()> {
        let Some((owner, _)) = &self.changed else { return Ok(()) };
        SharedBy::require_at_most(SharedBy::OneSession, path)?;
        let owner = owner.clone();
        self.changed = None;
        let Ids { uid, gid, .. } = owner;
        // Only root may change the real ids; the groups are the owner's already.
        seteuid(Uid::from_raw(0))
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .map_err(Error::io("stay the owner of a mailbox, uid", Path::new(&uid.to_string())))
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        let Some((_, before)) = self.changed.take() else { return };
        if let Err(errno) = seteuid(before.uid).and_then(|()| before.set_effective()) {
            // Later operations fail and log their own errors.
            log::error!("seteuid {}: {}", before.uid, errno.desc());
        }
    }
}

impl Ids {
    /// Sets the groups first, because only root can change them.
    fn set_effective(&self) -> nix::Result<()> {
        setgroups(&self.groups)?;
        setegid(self.gid)?;
        seteuid(self.uid)
    }
}

/// Uid that the kernel shows for files whose owner a user namespace does not map
/// (/proc/sys/kernel/overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// Returns the owner of the first folder on the path that does not belong to root. Symbolic links
/// are not followed. In a user namespace, folders of unmapped users are skipped, because no process
/// there can become those users, and its root has no more rights over their files than an ordinary
/// user.
fn owner(path: &Path) -> Option<(Uid, Gid)> {
    let mut folders: Vec<&Path> = path.ancestors().collect();
    folders.reverse();
    folders
        .iter()
        .map_while(|folder| folder.symlink_metadata().ok())
        .find(|meta| meta.uid() != 0 && !(meta.uid() == OVERFLOW_UID && is_overflow_uid_unmapped()))
        .map(|meta| (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())))
}

fn is_overflow_uid_unmapped() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps(&map, OVERFLOW_UID))
}

/// Returns whether a map of user_namespaces(7), with lines of `inside outside count`, includes this
/// uid.
fn maps(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let words = line.split_whitespace();
        let numbers: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
        let [inside, _, count] = numbers.as_slice() else { return false };
        uid.checked_sub(*inside).is_some_and(|offset| offset < *count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    #[test]
    fn a_user_namespace_maps_the_uids_in_its_lines() {
        assert!(maps("         0          0 4294967295\n", 65_534));
        assert!(!maps("0 1000 1\n", 65_534));
        assert!(!maps("0 1000 65534\n", 65_534));
        assert!(maps("0 1000 1\n65534 65534 1\n", 65_534));
        assert!(!maps("70000 0 10\n", 65_534));
    }

    #[test]
    fn the_owner_is_that_of_the_first_folder_that_is_not_roots() {
        let folder = TempDir::new();
        let here = folder.path().join("not/there");
        let me = geteuid();
        if me.is_root() {
            assert_eq!(owner(&here), None);
            std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_533)).unwrap();
            assert_eq!(owner(&here), Some((Uid::from_raw(65_534), Gid::from_raw(65_533))));
        } else {
            assert_eq!(owner(&here).map(|(uid, _)| uid), Some(me));
            AsOwner::switch_to(&here).unwrap().make_permanent(&here).unwrap();
            assert_eq!(geteuid(), me);
        }
    }
}
