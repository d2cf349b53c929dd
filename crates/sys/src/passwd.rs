//! passwd(5) and group(5): the system's users and groups.
//!
//! The C library's getpwnam(3) would load the modules of nsswitch.conf(5), and a statically linked
//! program crashes on that, for example with libnss-systemd. So users of LDAP and other services
//! are known by number only.

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
    /// The reason.
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

/// A group with its additional members.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: Gid,
    members: Vec<String>,
}

/// Returns the first user of passwd(5) that `is` accepts.
///
/// # Errors
/// The file exists but cannot be read.
pub fn user(is: impl Fn(&User) -> bool) -> Result<Option<User>> {
    Ok(read(USERS)?.lines().filter_map(parse_user).find(is))
}

/// Returns the id of a group.
///
/// # Errors
/// As [`user`].
pub fn group(name: &str) -> Result<Option<Gid>> {
    let groups = read(GROUPS)?;
    let found = groups.lines().filter_map(parse_group).find(|group| group.name == name);
    Ok(found.map(|group| group.gid))
}

/// Returns the groups of a user, `first` first, as initgroups(3) finds them.
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

/// Returns the name of this process's user, if it has one.
#[must_use]
pub fn own_name() -> Option<String> {
    let me = getuid();
    user(|user| user.uid == me).ok()?.map(|user| user.name)
}

/// Returns the full name of this process's user, the first part of its comment in passwd(5): `&` stands for the user's name
/// with a capital.
#[must_use]
pub fn own_full_name() -> Option<String> {
    let me = getuid();
    read(USERS).ok()?.lines().find_map(|line| {
        let user = parse_user(line).filter(|user| user.uid == me)?;
        full_name(line, &user.name)
    })
}

/// The full name in a line of passwd(5); `None` where it is empty.
fn full_name(line: &str, user: &str) -> Option<String> {
    let comment = line.split(':').nth(4)?;
    let name = comment.split(',').next()?.trim();
    let mut letters = user.chars();
    let capital: String = letters.next()?.to_uppercase().chain(letters).collect();
    (!name.is_empty()).then(|| name.replace('&', &capital))
}

/// Reads the file; a missing one is empty, as in many containers.
fn read(path: &'static str) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
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
    fn malformed_lines_are_skipped() {
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
    fn a_full_name_is_the_first_part_of_the_comment() {
        for (comment, name) in [
            ("Charles Levy,room 7,,", Some("Charles Levy")),
            ("& Smith", Some("Levy Smith")),
            ("", None),
            (" ,x", None),
        ] {
            let line = format!("levy:x:1:1:{comment}:/home/levy:/bin/sh");
            assert_eq!(full_name(&line, "levy").as_deref(), name, "{comment}");
        }
    }

    #[test]
    fn root_is_found_and_unknown_names_are_not() {
        assert_eq!(user(|user| user.name == "root").unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(user(|user| user.name == "no-such-user-here").unwrap(), None);
        assert_eq!(group("no-such-group-here").unwrap(), None);
        let seven = Gid::from_raw(7);
        assert_eq!(groups_of("no-such-user-here", seven).unwrap(), [seven]);
    }
}
