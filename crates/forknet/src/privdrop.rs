//! Becoming an ordinary user, for good.

use std::ffi::CString;

use log::{debug, info};
use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getgroups, getresgid, getresuid, initgroups, setgroups,
    setresgid, setresuid,
};

use crate::error::{Error, Result};
use crate::options::RootPolicy;

/// Who to become.
#[derive(Debug)]
struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// Does what `--user` says, or what the policy says where it says nothing.
pub(crate) fn drop_privileges(user: Option<&str>, policy: RootPolicy) -> Result<()> {
    let who = match user {
        Some(text) => identity(text)?,
        None if !geteuid().is_root() => return Ok(()),
        None if policy == RootPolicy::Nobody => identity("nobody")?,
        None => {
            return Err(Error::Refused(
                "refusing to serve as root: name the user to serve as with -u USER \
                 ('-u root' insists)"
                    .into(),
            ));
        }
    };
    if who.uid == geteuid() && user.is_none_or(|text| !text.contains(':')) {
        debug!("already user {}", who.name);
        return Ok(());
    }
    let failed = |call: &str| Error::os(format!("user {}: {call}", who.name));
    let name = CString::new(who.name.as_str()).map_err(|e| Error::Refused(e.to_string()))?;
    match initgroups(&name, who.gid) {
        Ok(()) => {}
        Err(_) if who.uid.is_root() => setgroups(&[who.gid]).map_err(failed("setgroups"))?,
        Err(errno) => return Err(failed("initgroups")(errno)),
    }
    setresgid(who.gid, who.gid, who.gid).map_err(failed("setresgid"))?;
    setresuid(who.uid, who.uid, who.uid).map_err(failed("setresuid"))?;
    verify(&who)?;
    info!("serving as user {} ({}:{})", who.name, who.uid, who.gid);
    Ok(())
}

/// Trust, but look: a set-user-id call that silently left something behind would be fatal later.
fn verify(who: &Identity) -> Result<()> {
    let uids = getresuid().map_err(Error::os("getresuid"))?;
    let gids = getresgid().map_err(Error::os("getresgid"))?;
    let all_uids = [uids.real, uids.effective, uids.saved].iter().all(|uid| *uid == who.uid);
    let all_gids = [gids.real, gids.effective, gids.saved].iter().all(|gid| *gid == who.gid);
    let groups = getgroups().map_err(Error::os("getgroups"))?;
    let no_root_group = who.uid.is_root() || !groups.contains(&Gid::from_raw(0));
    if all_uids && all_gids && no_root_group {
        return Ok(());
    }
    Err(Error::Refused(format!("user {}: some privileges of root are left", who.name)))
}

/// `USER` or `USER:GROUP`, by name or by number. A user without a group gets that of its entry in
/// passwd(5); a number without an entry, the group of the same number.
fn identity(text: &str) -> Result<Identity> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let failed = || Error::os(format!("user {user}"));
    let number = user.parse().ok().map(Uid::from_raw);
    let entry = match (User::from_name(user).map_err(failed())?, number) {
        (None, Some(uid)) => User::from_uid(uid).map_err(failed())?,
        (entry, _) => entry,
    };
    let (name, uid, gid) = match (entry, number) {
        (Some(entry), _) => (entry.name, entry.uid, entry.gid),
        (None, Some(uid)) => (user.to_owned(), uid, Gid::from_raw(uid.as_raw())),
        (None, None) => return Err(Error::Refused(format!("user {user}: no such user"))),
    };
    Ok(Identity { name, uid, gid: group.map_or(Ok(gid), group_id)? })
}

fn group_id(group: &str) -> Result<Gid> {
    let entry = Group::from_name(group).map_err(Error::os(format!("group {group}")))?;
    match (entry, group.parse::<u32>()) {
        (Some(entry), _) => Ok(entry.gid),
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
        // A number is worth as much as the name; games, for one, is 5:60 on Debian.
        let known = (1..100).filter_map(|uid| User::from_uid(Uid::from_raw(uid)).unwrap());
        for entry in known {
            let who = identity(&entry.uid.to_string()).unwrap();
            assert_eq!((who.name, who.gid), (entry.name, entry.gid));
        }
        assert!(identity("no-such-user-here").unwrap_err().to_string().contains("no such user"));
        assert!(identity("root:no-such-group").unwrap_err().to_string().contains("no such group"));
    }
}
