//! Becoming an ordinary user, for good.

use log::{debug, info};
use nix::errno::Errno;
use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgid, getresgid, getresuid, getuid, setgroups, setresgid,
    setresuid,
};

use sys::capability;
use sys::getgroups::groups;
use sys::passwd::{self, Unreadable};

use crate::error::{Error, Result};
use crate::options::RootPolicy;

/// The user that the server runs as.
#[derive(Debug)]
pub(crate) enum ServeAs {
    /// root, on request.
    Root,
    /// The process's present ordinary user, named by `--user` or not. It may have capabilities(7).
    Same(Option<Identity>),
    /// Another user.
    Another(Identity),
}

/// A user and its groups, looked up before a chroot(2) hides passwd(5).
#[derive(Debug)]
pub(crate) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Returns the user of `--user`, or of the policy without that option.
pub(crate) fn target_user(user: Option<&str>, policy: RootPolicy) -> Result<ServeAs> {
    let who = match user {
        Some(text) => identity(text)?,
        None if !geteuid().is_root() => return Ok(ServeAs::Same(None)),
        None if policy == RootPolicy::Nobody => identity("nobody")?,
        None => {
            let why = "refusing to serve as root: name the user to serve as with -u USER";
            return Err(Error::Refused(why.into()));
        }
    };
    if who.uid.is_root() && policy == RootPolicy::Never {
        let why =
            "refusing to serve as root: -u names the user of the processes that talk to clients";
        return Err(Error::Refused(why.into()));
    }
    if who.uid != geteuid() || user.is_some_and(|text| text.contains(':')) {
        return Ok(ServeAs::Another(who));
    }
    debug!("already user {}", who.name);
    Ok(if who.uid.is_root() { ServeAs::Root } else { ServeAs::Same(Some(who)) })
}

/// Returns the id of the user of `--user`; `None` if there is no such user.
pub(crate) fn find_uid(user: &str) -> Option<Uid> {
    identity(user).ok().map(|identity| identity.uid)
}

/// Returns uid and gid of `USER` or `USER:GROUP`, by name or number.
///
/// # Errors
/// There is no such user or group; passwd(5) cannot be read.
pub fn user_ids(text: &str) -> Result<(u32, u32)> {
    let Identity { uid, gid, .. } = identity(text)?;
    Ok((uid.as_raw(), gid.as_raw()))
}

/// Becomes an ordinary user for good, with this group alone. A process that is no root's stays what it is,
/// and gives up its capabilities.
///
/// # Errors
/// The user is root; some right is left.
pub fn become_user(uid: u32, gid: u32) -> Result<()> {
    become_member(uid, gid, None)
}

/// As [`become_user`], with one more group, where there is one.
///
/// # Errors
/// As [`become_user`].
pub fn become_member(uid: u32, gid: u32, group: Option<u32>) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups = group.into_iter().map(Gid::from_raw).collect();
    if !geteuid().is_root() {
        return stay(None);
    }
    if uid.is_root() {
        return Err(Error::Refused("user id 0: no session has root's rights".into()));
    }
    Identity { name: uid.to_string(), uid, gid, groups }.assume()
}

impl ServeAs {
    /// Returns true if this process will lose rights.
    pub(crate) fn loses_rights(&self) -> bool {
        match self {
            ServeAs::Root => false,
            ServeAs::Same(_) => capability::is_permitted_any().unwrap_or(true),
            ServeAs::Another(_) => true,
        }
    }

    /// Becomes this user for good: groups, all three ids, capabilities.
    pub(crate) fn assume(&self) -> Result<()> {
        match self {
            ServeAs::Root => Ok(()),
            ServeAs::Same(named) => stay(named.as_ref()),
            ServeAs::Another(identity) => {
                identity.assume()?;
                let Identity { name, uid, gid, .. } = identity;
                info!("serving as user {name} ({uid}:{gid})");
                Ok(())
            }
        }
    }
}

impl Identity {
    fn assume(&self) -> Result<()> {
        let failed = |call| failed(&self.name, call);
        setgroups(&self.groups).map_err(failed("setgroups"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(failed("setresgid"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(failed("setresuid"))?;
        let groups = groups().map_err(failed("getgroups"))?;
        if !groups.iter().all(|group| self.groups.contains(group)) {
            return Err(rights_left(&self.name));
        }
        drop_rest(&self.name, self.uid, self.gid)
    }
}

/// Stays the process's user. Sets its groups if it may, and otherwise keeps them. Makes no system
/// call if nothing changes, because a seccomp filter may kill a process that tries to change its
/// ids.
fn stay(named: Option<&Identity>) -> Result<()> {
    if let Some(identity) = named
        && capability::is_permitted_any().unwrap_or(false)
        && setgroups(&identity.groups).is_ok()
    {
        return identity.assume();
    }
    let (uid, gid) = (geteuid(), getegid());
    let name = named.map_or_else(|| uid.to_string(), |identity| identity.name.clone());
    let failed = |call| failed(&name, call);
    if (getuid(), getgid()) != (uid, gid) {
        setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
        setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    }
    drop_rest(&name, uid, gid)
}

/// Drops the capabilities, which a change of uid keeps if securebits say so, or if the process was
/// not root. Then checks that no right of root is left.
fn drop_rest(name: &str, uid: Uid, gid: Gid) -> Result<()> {
    let failed = |call| failed(name, call);
    let has_any = || capability::has_any().map_err(failed("capget"));
    let had_any = !uid.is_root() && has_any()?;
    if had_any {
        capability::drop_all().map_err(failed("capset"))?;
        debug!("user {name}: gave up capabilities");
    }
    let uids = getresuid().map_err(failed("getresuid"))?;
    let gids = getresgid().map_err(failed("getresgid"))?;
    let are_ours = [uids.real, uids.effective, uids.saved] == [uid; 3]
        && [gids.real, gids.effective, gids.saved] == [gid; 3]
        && !(had_any && has_any()?);
    if are_ours { Ok(()) } else { Err(rights_left(name)) }
}

/// Returns what makes the error of a call, once there is one.
fn failed(name: &str, call: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::os(format!("user {name}: {call}"))(errno)
}

fn rights_left(name: &str) -> Error {
    Error::Refused(format!("user {name}: some privileges of root are left"))
}

/// Reads `USER` or `USER:GROUP`, by name or number. Without a group it is that of the user's entry
/// in passwd(5); for a number without an entry, the group of the same number.
fn identity(text: &str) -> Result<Identity> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let number: Option<Uid> = user.parse().ok().map(Uid::from_raw);
    let entry = match (passwd::user(|entry| entry.name == user).map_err(unreadable)?, number) {
        (None, Some(uid)) => passwd::user(|entry| entry.uid == uid).map_err(unreadable)?,
        (entry, _) => entry,
    };
    let (name, uid, gid) = match (entry, number) {
        (Some(entry), _) => (entry.name, entry.uid, entry.gid),
        (None, Some(uid)) => (user.to_owned(), uid, Gid::from_raw(uid.as_raw())),
        (None, None) => return Err(Error::Refused(format!("user {user}: no such user"))),
    };
    let gid = group.map_or(Ok(gid), group_id)?;
    let groups = passwd::groups_of(&name, gid).map_err(unreadable)?;
    Ok(Identity { name, uid, gid, groups })
}

fn unreadable(file: Unreadable) -> Error {
    Error::io(file.path)(file.source)
}

fn group_id(group: &str) -> Result<Gid> {
    match (passwd::group(group).map_err(unreadable)?, group.parse::<u32>()) {
        (Some(gid), _) => Ok(gid),
        (None, Ok(number)) => Ok(Gid::from_raw(number)),
        (None, Err(_)) => Err(Error::Refused(format!("group {group}: no such group"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_read_by_name_and_number() {
        let root = identity("root").unwrap();
        assert!(root.uid.is_root());
        let odd = identity("4242:17").unwrap();
        assert_eq!((odd.uid.as_raw(), odd.gid.as_raw()), (4242, 17));
        // A number is as good as the name; on Debian games is 5:60.
        for uid in 1..100 {
            let entry = passwd::user(|entry| entry.uid.as_raw() == uid).unwrap();
            let who = identity(&uid.to_string()).unwrap();
            let expected = entry.map_or((uid.to_string(), uid), |e| (e.name, e.gid.as_raw()));
            assert_eq!((who.name, who.gid.as_raw()), expected);
        }
        assert!(identity("no-such-user-here").unwrap_err().to_string().contains("no such user"));
        assert!(identity("root:no-such-group").unwrap_err().to_string().contains("no such group"));
    }
}
