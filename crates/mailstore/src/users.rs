//! The users file, shaped like passwd(5): `name:password:uid:gid:gecos:home:shell`.
//!
//! Fields at the end may be missing; blank lines and lines that start with `#` are skipped; a line
//! that is wrong is logged by its number (never by its text, which may hold a password) and
//! skipped. The file is read as a stream: a hundred thousand users cost no memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Error, Result};

/// The longest line, its end not counted; a longer one is logged and skipped.
const LINE_LIMIT: usize = 4096;
/// How much of the file is read at once.
const CHUNK: usize = 64 * 1024;

/// Somebody who has a mailbox here.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with, and the local part of an address.
    pub name: Vec<u8>,
    /// The password field: a crypt(3) string or `{PLAIN}secret`, see [`crate::password`].
    pub password: Vec<u8>,
    /// The number of the user, where the file has one.
    pub uid: Option<u32>,
    /// The number of the group, where the file has one.
    pub gid: Option<u32>,
    /// The full name and more.
    pub gecos: Vec<u8>,
    /// The home folder; empty where the file has none.
    pub home: PathBuf,
    /// The shell.
    pub shell: Vec<u8>,
}

impl std::fmt::Debug for User {
    /// Everything but the password: a user may stand in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({}, home {})", self.name.escape_ascii(), self.home.display())
    }
}

impl User {
    /// Takes one line apart; `Err` says what is wrong with it.
    fn parse(line: &[u8]) -> std::result::Result<User, &'static str> {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next().filter(|name| !name.is_empty()).ok_or("no name")?.to_vec();
        let password = fields.next().ok_or("no password field")?.to_vec();
        let uid = id(fields.next()).ok_or("the user id is no number")?;
        let gid = id(fields.next()).ok_or("the group id is no number")?;
        let gecos = fields.next().unwrap_or_default().to_vec();
        let home = PathBuf::from(OsString::from_vec(fields.next().unwrap_or_default().to_vec()));
        let shell = fields.next().unwrap_or_default().to_vec();
        if fields.next().is_some() {
            return Err("more than seven fields");
        }
        if name.contains(&0) || home.as_os_str().as_encoded_bytes().contains(&0) {
            return Err("a NUL in the name or the home");
        }
        Ok(User { name, password, uid, gid, gecos, home, shell })
    }
}

/// A number that may be missing: `Some(None)` is none, `None` is a wrong one.
fn id(field: Option<&[u8]>) -> Option<Option<u32>> {
    match field {
        None | Some(b"") => Some(None),
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok().map(Some)
        }
        Some(_) => None,
    }
}

/// The users file, open. Each search reads it from its start; open it anew to see a file that
/// was put in its place.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    file: File,
}

impl Users {
    /// Opens the file.
    ///
    /// # Errors
    /// [`Error::Io`], `users FILE: reason`, also for a folder.
    pub fn open(path: &Path) -> Result<Users> {
        let file = File::open(path).map_err(Error::io("users", path))?;
        let meta = file.metadata().map_err(Error::io("users", path))?;
        if meta.is_dir() {
            return Err(Error::io("users", path)(Errno::EISDIR));
        }
        Ok(Users { path: path.to_owned(), file })
    }

    /// The first user of this name. Reads no further than to him.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn find(&self, name: &[u8]) -> Result<Option<User>> {
        let mut found = None;
        self.scan(|user| {
            if user.name != name {
                return ControlFlow::Continue(());
            }
            found = Some(user);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Whether any user is as asked. Reads no further than to the first.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn any(&self, mut is: impl FnMut(&User) -> bool) -> Result<bool> {
        let mut any = false;
        self.scan(|user| {
            any = is(&user);
            if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(any)
    }

    /// Hands every user to `each`, in the file's order, until it breaks off.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn scan(&self, mut each: impl FnMut(User) -> ControlFlow<()>) -> Result<()> {
        (&self.file).rewind().map_err(Error::io("users", &self.path))?;
        let mut reader = BufReader::with_capacity(CHUNK, &self.file);
        let mut line = Vec::new();
        for number in 1_u64.. {
            match read_line(&mut reader, &mut line).map_err(Error::io("users", &self.path))? {
                Found::End => break,
                Found::TooLong => self.complain(number, "the line is too long"),
                Found::Line if line.is_empty() || line.starts_with(b"#") => {}
                Found::Line if line.iter().all(u8::is_ascii_whitespace) => {}
                Found::Line => match User::parse(&line) {
                    Ok(user) => {
                        if each(user).is_break() {
                            break;
                        }
                    }
                    Err(why) => self.complain(number, why),
                },
            }
        }
        Ok(())
    }

    fn complain(&self, number: u64, why: &str) {
        log::warn!("users {}: line {number} skipped: {why}", self.path.display());
    }
}

enum Found {
    /// A line, its LF taken off.
    Line,
    /// A line over the limit, consumed to its end.
    TooLong,
    End,
}

/// Reads one line into `line`, never more than the limit of it.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Found> {
    line.clear();
    let limit = LINE_LIMIT as u64 + 1;
    if reader.take(limit).read_until(b'\n', line)? == 0 {
        return Ok(Found::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Found::Line);
    }
    if line.len() <= LINE_LIMIT {
        return Ok(Found::Line);
    }
    line.clear();
    reader.skip_until(b'\n')?;
    Ok(Found::TooLong)
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
