//! passwd(5) and group(5): the system's users and groups.
//!
//! The C library's getpwnam(3) would load what nsswitch.conf(5) names into the process: a
//! statically linked one crashes over that, which was seen with libnss-systemd. So users of LDAP
//! and the like are known by their numbers only.

use std::fs;
use std::io::{self, ErrorKind};

use nix::unistd::{Gid, Uid, getuid};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A file that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its path.
    pub path: &'static str,
    /// Why not.
    pub source: io::Error,
}

type Result<T> = std::result::Result<T, Unreadable>;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// The number of its first group.
    pub gid: Gid,
}

/// A group, and who else than those whose first group it is belongs to it.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: Gid,
    members: Vec<String>,
}

/// The first user for whom that is true.
///
/// # Errors
/// The file cannot be read, though it is there.
pub fn user(is: impl Fn(&User) -> bool) -> Result<Option<User>> {
    Ok(read(USERS)?.lines().filter_map(parse_user).find(is))
}

/// The id of a group.
///
/// # Errors
/// As [`user`].
pub fn group(name: &str) -> Result<Option<Gid>> {
    let groups = read(GROUPS)?;
    let found = groups.lines().filter_map(parse_group).find(|group| group.name == name);
    Ok(found.map(|group| group.gid))
}

/// The groups of a user, `first` first, as initgroups(3) finds them.
///
/// # Errors
/// As [`user`].
pub fn groups_of(user: &str, first: Gid) -> Result<Vec<Gid>> {
    let mut all = vec![first];
    for group in read(GROUPS)?.lines().filter_map(parse_group) {
        if !all.contains(&group.gid) && group.members.iter().any(|member| member == user) {
            all.push(group.gid);
        }
    }
    Ok(all)
}

/// The name of the user whose process this is, where it has one.
#[must_use]
pub fn own_name() -> Option<String> {
    let me = getuid();
    user(|user| user.uid == me).ok()?.map(|user| user.name)
}

/// A machine without the file has no such users; a container often is one.
fn read(path: &'static str) -> Result<String> {
    match fs::read(path) {
        Ok(octets) => Ok(String::from_utf8_lossy(&octets).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Unreadable { path, source }),
    }
}

/// `name:password:uid:gid:…`
fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let mut number = fields.skip(1).map(|field| field.parse().ok());
    let (uid, gid) = (Uid::from_raw(number.next()??), Gid::from_raw(number.next()??));
    Some(User { name, uid, gid })
}

/// `name:password:gid:member,member`
fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let gid: u32 = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',');
    let members = members.filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name, gid: Gid::from_raw(gid), members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_is_left_out() {
        let games = User { name: "games".into(), uid: Uid::from_raw(5), gid: Gid::from_raw(60) };
        assert_eq!(parse_user("games:x:5:60:games:/usr/games:/usr/sbin/nologin"), Some(games));
        let adm = parse_group("adm:x:4:syslog,levy").unwrap();
        assert_eq!((adm.gid.as_raw(), adm.members), (4, vec!["syslog".into(), "levy".into()]));
        assert!(parse_group("tty:x:5:").unwrap().members.is_empty());
        for odd in ["", "#", "+::::::", "a:b", "a:x:one:1:", "a:x:-1:1:", ":x:1:1:"] {
            assert_eq!((parse_user(odd), parse_group(odd)), (None, None), "{odd}");
        }
    }

    #[test]
    fn root_is_there_and_others_are_not() {
        assert_eq!(user(|user| user.name == "root").unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(user(|user| user.name == "no-such-user-here").unwrap(), None);
        assert_eq!(group("no-such-group-here").unwrap(), None);
        let seven = Gid::from_raw(7);
        assert_eq!(groups_of("no-such-user-here", seven).unwrap(), [seven]);
    }
}
