//! Becoming an ordinary user, for good.

use log::{debug, info};
use nix::unistd::{
    Gid, Uid, geteuid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid,
};

use crate::accounts;
use crate::error::{Error, Result};
use crate::options::RootPolicy;

/// Who to become. Looked up as long as the system's own users can be seen.
#[derive(Debug)]
pub(crate) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Whom `--user` names, or the policy where it says nothing; none where this process is that
/// already.
pub(crate) fn whom(user: Option<&str>, policy: RootPolicy) -> Result<Option<Identity>> {
    let who = match user {
        Some(text) => identity(text)?,
        None if !geteuid().is_root() => return Ok(None),
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
        return Ok(None);
    }
    Ok(Some(who))
}

impl Identity {
    /// Becomes this user: groups, real, effective and saved ids. There is no way back.
    pub(crate) fn assume(&self) -> Result<()> {
        let failed = |call: &str| Error::os(format!("user {}: {call}", self.name));
        setgroups(&self.groups).map_err(failed("setgroups"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(failed("setresgid"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(failed("setresuid"))?;
        self.verify()?;
        info!("serving as user {} ({}:{})", self.name, self.uid, self.gid);
        Ok(())
    }

    /// Trust, but look: a set-user-id call that silently left something behind would be fatal
    /// later.
    fn verify(&self) -> Result<()> {
        let uids = getresuid().map_err(Error::os("getresuid"))?;
        let gids = getresgid().map_err(Error::os("getresgid"))?;
        let groups = getgroups().map_err(Error::os("getgroups"))?;
        let all_uids = [uids.real, uids.effective, uids.saved].iter().all(|uid| *uid == self.uid);
        let all_gids = [gids.real, gids.effective, gids.saved].iter().all(|gid| *gid == self.gid);
        if all_uids && all_gids && groups.iter().all(|group| self.groups.contains(group)) {
            return Ok(());
        }
        Err(Error::Refused(format!("user {}: some privileges of root are left", self.name)))
    }
}

/// `USER` or `USER:GROUP`, by name or by number. A user without a group gets that of its entry in
/// passwd(5); a number without an entry, the group of the same number.
fn identity(text: &str) -> Result<Identity> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let number: Option<Uid> = user.parse().ok().map(Uid::from_raw);
    let entry = match (accounts::user(|entry| entry.name == user)?, number) {
        (None, Some(uid)) => accounts::user(|entry| entry.uid == uid)?,
        (entry, _) => entry,
    };
    let (name, uid, gid) = match (entry, number) {
        (Some(entry), _) => (entry.name, entry.uid, entry.gid),
        (None, Some(uid)) => (user.to_owned(), uid, Gid::from_raw(uid.as_raw())),
        (None, None) => return Err(Error::Refused(format!("user {user}: no such user"))),
    };
    let gid = group.map_or(Ok(gid), group_id)?;
    let groups = accounts::groups_of(&name, gid)?;
    Ok(Identity { name, uid, gid, groups })
}

fn group_id(group: &str) -> Result<Gid> {
    match (accounts::group(group)?, group.parse::<u32>()) {
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
        // A number is worth as much as the name; games, for one, is 5:60 on Debian.
        for uid in 1..100 {
            let entry = accounts::user(|entry| entry.uid.as_raw() == uid).unwrap();
            let who = identity(&uid.to_string()).unwrap();
            let expected = entry.map_or((uid.to_string(), uid), |e| (e.name, e.gid.as_raw()));
            assert_eq!((who.name, who.gid.as_raw()), expected);
        }
        assert!(identity("no-such-user-here").unwrap_err().to_string().contains("no such user"));
        assert!(identity("root:no-such-group").unwrap_err().to_string().contains("no such group"));
    }
}
