//! The system's own accounts: passwd(5) and shadow(5), read as files.
//!
//! nsswitch.conf(5) is not asked: accounts of LDAP and the like come by checkpassword or by Dovecot's
//! auth socket. Shells are not looked at, because users who have mail alone have nologin(8).

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sys::owned_file::{self, Fault, Rules};

use crate::account::{Account, Entry, IS_ROOTS};
use crate::error::{Error, Result};
use crate::lines::{Line, each_line};
use crate::names::Names;
use crate::password::{Dearest, Password};
use crate::secret::Secret;

/// Seconds of a day; shadow(5) counts days since 1970.
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// From this number of days on a password never has to be changed (shadow(5), field 5).
const NEVER_DAYS: i64 = 10_000;

/// Why an account with a password may not log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It belongs to root.
    Root,
    /// The day in the account's field has come (shadow(5), field 8).
    Expired,
    /// The password has to be changed first, which cannot be done over POP3 or SMTP.
    PasswordExpired,
}

/// One user of the system as the two files have it.
pub(crate) struct SystemUser {
    pub(crate) account: Option<Account>,
    pub(crate) password: Secret,
    pub(crate) closed: Option<Closed>,
}

/// The two files, open.
#[derive(Debug)]
pub struct System {
    passwd: Source,
    shadow: Option<Source>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
}

impl Source {
    /// None of users' own files, and none that they may have written.
    fn open(path: &Path) -> Result<Source> {
        let opened = owned_file::open(path, Rules::READ).map_err(|fault| match fault {
            Fault::Os(errno) => Error::io("accounts", path)(errno),
            fault => Error::Refused(format!("accounts {}: {fault}", path.display())),
        })?;
        Ok(Source { path: path.to_owned(), file: opened.file })
    }

    fn lines(&self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let each = |_, line: Line<'_>| {
            if let Line::Text(text) = line {
                each(text);
            }
            ControlFlow::Continue(())
        };
        each_line(&self.file, each).map_err(Error::io("accounts", &self.path))
    }
}

impl System {
    /// Opens /etc/passwd and /etc/shadow, the second if there is one.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Refused`], `accounts FILE: reason`; to read the second one needs to
    /// be root.
    pub fn open() -> Result<System> {
        System::open_files(Path::new("/etc/passwd"), Path::new("/etc/shadow"))
    }

    /// Opens files of these formats.
    ///
    /// # Errors
    /// As [`System::open`].
    pub fn open_files(passwd: &Path, shadow: &Path) -> Result<System> {
        let shadow = match Source::open(shadow) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        Ok(System { passwd: Source::open(passwd)?, shadow })
    }

    /// Finds a user, and the dearest password of all. Both files are read to their ends, whatever the
    /// name is.
    pub(crate) fn find(
        &self,
        names: Names,
        canonical: &[u8],
        today: i64,
        dearest: &mut Dearest,
    ) -> Result<Option<SystemUser>> {
        let mut found: Option<SystemUser> = None;
        let mut own: Vec<u8> = Vec::new();
        self.passwd.lines(|line| {
            let Some(user) = user(line, names, canonical, dearest) else { return };
            if found.is_none() {
                own = line.split(|&byte| byte == b':').next().unwrap_or_default().to_vec();
                found = Some(user);
            }
        })?;
        let Some(shadow) = &self.shadow else { return Ok(found) };
        let mut is_first = true;
        shadow.lines(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let (Some(name), Some(password)) = (fields.next(), fields.next()) else { return };
            note(password, dearest);
            let Some(user) = found.as_mut().filter(|_| is_first && name == own) else { return };
            is_first = false;
            if user.password.as_bytes() == b"x" {
                user.password = Secret::from(password);
                user.closed = user.closed.or(closed(line, today));
            }
        })?;
        Ok(found)
    }

    /// Calls `each` with every line of passwd(5) that is an account, until it breaks.
    pub(crate) fn entries(&self, mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let each = |_, line: Line<'_>| match line {
            Line::Text(text) if !is_special(text) => match Entry::parse(text) {
                Ok(entry) => each(entry),
                Err(_) => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        };
        each_line(&self.passwd.file, each).map_err(Error::io("accounts", &self.passwd.path))
    }

    /// Finds the dearest password of all.
    pub(crate) fn dearest(&self) -> Result<Dearest> {
        let mut dearest = Dearest::default();
        self.find(Names::default(), b"", 0, &mut dearest)?;
        Ok(dearest)
    }
}

/// Days since 1970 (shadow(5)).
pub(crate) fn today() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds / DAY_SECONDS).unwrap_or(i64::MAX)
}

fn note(password: &[u8], dearest: &mut Dearest) {
    if let Ok(cost) = Password::cost_of(password) {
        dearest.note(cost);
    }
}

/// Whether a line names no user: `+` and `-` begin lines of NIS.
fn is_special(line: &[u8]) -> bool {
    matches!(line.first(), None | Some(b'+' | b'-' | b'#'))
}

/// Reads a line of passwd(5) if it is this user's.
fn user(line: &[u8], names: Names, canonical: &[u8], dearest: &mut Dearest) -> Option<SystemUser> {
    let mut fields = line.split(|&byte| byte == b':');
    let (name, password) = (fields.next()?, fields.next()?);
    if is_special(line) {
        return None;
    }
    note(password, dearest);
    if canonical.is_empty() || !names.is_same(name, canonical) {
        return None;
    }
    let (account, closed) = match Entry::parse(line) {
        Ok(entry) if entry.owner.is_some() => (Some(entry.to_account(canonical)), None),
        Err(IS_ROOTS) => (None, Some(Closed::Root)),
        _ => return None,
    };
    Some(SystemUser { account, password: Secret::from(password), closed })
}

/// Whether a line of shadow(5), `name:password:changed:min:max:warn:inactive:expire:`, closes its
/// account, by the rules that login(1) has.
fn closed(line: &[u8], today: i64) -> Option<Closed> {
    let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
    let days = |at: usize| {
        let digits = std::str::from_utf8(fields.get(at)?).ok()?;
        digits.parse::<i64>().ok().filter(|days| *days >= 0)
    };
    if days(7).is_some_and(|expires| expires > 0 && today >= expires) {
        return Some(Closed::Expired);
    }
    let changed = days(2)?;
    let lasts = days(4).filter(|lasts| *lasts < NEVER_DAYS);
    let is_over = lasts.is_some_and(|lasts| today > changed.saturating_add(lasts));
    (changed == 0 || is_over).then_some(Closed::PasswordExpired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_closed_by_its_days() {
        for (days, expected) in [
            ("19000:0:99999:7:::", None),
            ("::::::", None),
            ("19000:0:99999:7::20000:", Some(Closed::Expired)),
            ("19000:0:99999:7::20001:", None),
            ("19000:0:99999:7::0:", None),
            ("0:0:99999:7:::", Some(Closed::PasswordExpired)),
            ("19000:0:999:7:::", Some(Closed::PasswordExpired)),
            ("19000:0:1000:7:::", None),
            ("19000:0:-1:7:::", None),
            ("19000:0::7:::", None),
            ("x:0:y:7::z:", None),
            ("", None),
        ] {
            let line = format!("levy:$6$a$b:{days}");
            assert_eq!(closed(line.as_bytes(), 20_000), expected, "{days}");
        }
    }

    #[test]
    fn this_machines_files_can_be_opened() {
        if nix::unistd::geteuid().is_root() {
            let mut dearest = Dearest::default();
            let system = System::open().unwrap();
            let root = system.find(Names::default(), b"root", 0, &mut dearest).unwrap().unwrap();
            assert_eq!(root.closed, Some(Closed::Root));
            assert!(root.account.is_none());
        }
        assert!(today() > 20_000);
    }
}
