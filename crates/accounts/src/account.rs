//! A user who may have a mailbox, and a line of passwd(5), which the users file is shaped like.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::password::{Password, Unusable};

/// Whose rights a session has: never root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// A user, without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The name in its canonical form ([`crate::Names::canonical`]).
    pub name: Vec<u8>,
    /// The user id and group id; `None` where the users file has none: then the mailbox is
    /// `--mail-user`'s.
    pub owner: Option<Owner>,
    /// The full name and more.
    pub gecos: Vec<u8>,
    /// The home folder; empty where the users file has none.
    pub home: PathBuf,
    /// The shell. Login does not depend on it: a user with mail alone has nologin(8).
    pub shell: Vec<u8>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, home {})", self.name.escape_ascii(), self.home.display())
    }
}

/// A line, its fields borrowed, so that a search through many users copies nothing.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) password: &'a [u8],
    pub(crate) owner: Option<Owner>,
    gecos: &'a [u8],
    home: &'a [u8],
    shell: &'a [u8],
}

/// What is wrong with a line.
pub(crate) type Fault = &'static str;
/// A line of root's, which is no account here.
pub(crate) const IS_ROOTS: Fault = "user id 0: no session has root's rights";

impl<'a> Entry<'a> {
    /// Splits a line into its fields, of which those after the password may be missing.
    ///
    /// # Errors
    /// What is wrong with it; never its text, which may hold a password.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Entry<'a>, Fault> {
        let (name, rest) = cut(line).ok_or("no password field")?;
        if name.is_empty() {
            return Err("no name");
        }
        let length = password_length(rest);
        let password = rest.get(..length).unwrap_or_default();
        let mut fields = rest.get(length + 1..).unwrap_or_default().split(|&byte| byte == b':');
        let uid = id(fields.next()).ok_or("the user id is no number")?;
        let gid = id(fields.next()).ok_or("the group id is no number")?;
        let mut next = || fields.next().unwrap_or_default();
        let (gecos, home, shell) = (next(), next(), next());
        if fields.next().is_some() {
            return Err("more than seven fields");
        }
        if name.iter().any(u8::is_ascii_control) || home.contains(&0) {
            return Err("a control character in the name or a NUL in the home");
        }
        let owner = match (uid, gid) {
            (Some(0), _) => return Err(IS_ROOTS),
            (Some(uid), Some(gid)) => Some(Owner { uid, gid }),
            (None, None) => None,
            (Some(_), None) => return Err("a user id without a group id"),
            (None, Some(_)) => return Err("a group id without a user id"),
        };
        Ok(Entry { name, password, owner, gecos, home, shell })
    }

    /// Copies all but the password; `name` is the canonical form of the entry's.
    pub(crate) fn to_account(self, name: &[u8]) -> Account {
        Account {
            name: name.to_vec(),
            owner: self.owner,
            gecos: self.gecos.to_vec(),
            home: Path::new(OsStr::from_bytes(self.home)).to_owned(),
            shell: self.shell.to_vec(),
        }
    }

    /// Whether the line holds what is worth reading for others: a secret, or a hash to try passwords
    /// against.
    pub(crate) fn has_secret(self) -> bool {
        Password::cost_of(self.password) != Err(Unusable::None)
    }
}

/// The part before the first colon, and what follows it.
fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// Length of the password field: up to a colon, and in the form of RFC 5803 two colons are its own.
fn password_length(rest: &[u8]) -> usize {
    let own = if rest.starts_with(b"SCRAM-SHA-256$") { 2 } else { 0 };
    let mut colons = rest.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.nth(own).map_or(rest.len(), |(at, _)| at)
}

/// Parses an id that may be missing: `Some(None)` is a missing one, `None` a malformed one. The number
/// -1 is no id: for setuid(2) it means that nothing is to change.
fn id(field: Option<&[u8]>) -> Option<Option<u32>> {
    match field {
        None | Some(b"") => Some(None),
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            let id = std::str::from_utf8(digits).ok()?.parse().ok();
            id.filter(|id| *id != u32::MAX).map(Some)
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seven_fields_are_read() {
        let line = b"levy@example.test:$6$x$y:1000:100:Levy,,:/home/levy:/bin/sh";
        let entry = Entry::parse(line).unwrap();
        assert_eq!((entry.name, entry.password), (&b"levy@example.test"[..], &b"$6$x$y"[..]));
        let account = entry.to_account(b"levy");
        assert_eq!(account.owner, Some(Owner { uid: 1000, gid: 100 }));
        assert_eq!((&account.gecos[..], &account.shell[..]), (&b"Levy,,"[..], &b"/bin/sh"[..]));
        assert_eq!(account.home, Path::new("/home/levy"));
        assert_eq!(format!("{account:?}"), "Account(levy, home /home/levy)");
    }

    #[test]
    fn fields_at_the_end_may_be_missing() {
        for line in ["a:p", "a:p:", "a:p::", "a:p:::::"] {
            let entry = Entry::parse(line.as_bytes()).unwrap();
            assert_eq!((entry.password, entry.owner, entry.home), (&b"p"[..], None, &b""[..]));
        }
        assert_eq!(Entry::parse(b"a:{PLAIN}x y#z ").unwrap().password, b"{PLAIN}x y#z ");
    }

    #[test]
    fn the_colons_of_rfc_5803_are_the_passwords_own() {
        let entry = Entry::parse(b"a:SCRAM-SHA-256$4096:c2FsdA==$a=:b=:7:8::/h").unwrap();
        assert_eq!(entry.password, b"SCRAM-SHA-256$4096:c2FsdA==$a=:b=");
        assert_eq!(entry.owner, Some(Owner { uid: 7, gid: 8 }));
        let entry = Entry::parse(b"a:SCRAM-SHA-256$4096:c2FsdA==$a=:b=").unwrap();
        assert_eq!((entry.password.len(), entry.owner), (33, None));
    }

    #[test]
    fn a_line_that_is_no_account_is_refused() {
        for (line, why) in [
            (&b":x"[..], "no name"),
            (b"onlyname", "no password field"),
            (b"", "no password field"),
            (b"a:x:one:1", "the user id is no number"),
            (b"a:x:1:-1", "the group id is no number"),
            (b"a:x:99999999999:1", "the user id is no number"),
            (b"a:x:4294967295:1", "the user id is no number"),
            (b"a:x:1:4294967295", "the group id is no number"),
            (b"a:x:0:0", IS_ROOTS),
            (b"a:x:00:5", IS_ROOTS),
            (b"a:x:0:", IS_ROOTS),
            (b"a:x:5:", "a user id without a group id"),
            (b"a:x::5", "a group id without a user id"),
            (b"a:2:3:4:5:6:7:8", "more than seven fields"),
            (b"a\0b:x", "a control character in the name or a NUL in the home"),
            (b"a:x::::/h\0", "a control character in the name or a NUL in the home"),
        ] {
            assert_eq!(Entry::parse(line).err(), Some(why), "{}", line.escape_ascii());
        }
    }
}
