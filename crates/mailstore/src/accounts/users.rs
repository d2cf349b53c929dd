//! The users file, shaped like passwd(5): `name:password:uid:gid:gecos:home:shell`.
//!
//! Fields at the end may be missing. Blank lines and lines that start with `#` are skipped. A
//! malformed line is skipped, and logged with its number but never with its text, which may hold a
//! password. The file is read as a stream, so that its size costs no memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use sys::owned_file::{self, Fault, Rules};

use super::password;
use crate::error::{Error, Result};

/// Longest line in bytes without its end. A longer one is logged and skipped.
const LINE_LIMIT: usize = 4096;
/// Size of one read, in bytes.
const CHUNK: usize = 64 * 1024;

/// One line of the file: a user who has a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with, and the local part of an address.
    pub name: Vec<u8>,
    /// The password field: a crypt(3) string or `{PLAIN}secret`, see [`super::password`].
    pub password: Vec<u8>,
    /// The user id, if the file has one.
    pub uid: Option<u32>,
    /// The group id, if the file has one.
    pub gid: Option<u32>,
    /// The full name and more.
    pub gecos: Vec<u8>,
    /// The home folder, empty if the file has none.
    pub home: PathBuf,
    /// The shell.
    pub shell: Vec<u8>,
}

impl std::fmt::Debug for User {
    /// Omits the password, because a user may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({}, home {})", self.name.escape_ascii(), self.home.display())
    }
}

/// A line of the file with borrowed fields, so that a search through many users copies nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) password: &'a [u8],
    uid: Option<u32>,
    gid: Option<u32>,
    gecos: &'a [u8],
    home: &'a [u8],
    shell: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Splits a line into its fields. The error is a description of the fault.
    fn parse(line: &'a [u8]) -> std::result::Result<Entry<'a>, &'static str> {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next().filter(|name| !name.is_empty()).ok_or("no name")?;
        let password = fields.next().ok_or("no password field")?;
        let uid = id(fields.next()).ok_or("the user id is not a number")?;
        let gid = id(fields.next()).ok_or("the group id is not a number")?;
        let gecos = fields.next().unwrap_or_default();
        let home = fields.next().unwrap_or_default();
        let shell = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return Err("more than seven fields");
        }
        if name.contains(&0) || home.contains(&0) {
            return Err("a NUL in the name or the home");
        }
        Ok(Entry { name, password, uid, gid, gecos, home, shell })
    }

    pub(crate) fn to_user(self) -> User {
        User {
            name: self.name.to_vec(),
            password: self.password.to_vec(),
            uid: self.uid,
            gid: self.gid,
            gecos: self.gecos.to_vec(),
            home: PathBuf::from(OsString::from_vec(self.home.to_vec())),
            shell: self.shell.to_vec(),
        }
    }
}

/// Parses a number that may be missing: `Some(None)` is a missing one, `None` a malformed one.
fn id(field: Option<&[u8]>) -> Option<Option<u32>> {
    match field {
        None | Some(b"") => Some(None),
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok().map(Some)
        }
        Some(_) => None,
    }
}

/// The open users file. Each search reads it from its start. A file that replaced it is used after
/// the next [`Users::open`].
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    file: File,
}

impl Users {
    /// Default path of the file.
    pub const DEFAULT: &str = "/etc/forklore/users";

    /// Opens the file.
    ///
    /// # Errors
    /// [`Error::Io`], `users FILE: reason`. [`Error::Refused`] unless it is a regular file with one
    /// link that only root and this process's user may write.
    pub fn open(path: &Path) -> Result<Users> {
        let opened = owned_file::open(path, Rules::READ).map_err(|fault| match fault {
            Fault::Os(errno) => Error::io("users", path)(errno),
            fault => Error::Refused(format!("users {}: {fault}", path.display())),
        })?;
        Ok(Users { path: path.to_owned(), file: opened.file })
    }

    /// Returns the first user of this name. Stops reading at that line.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn find(&self, name: &[u8]) -> Result<Option<User>> {
        let mut found = None;
        self.entries(|entry| {
            if entry.name != name {
                return ControlFlow::Continue(());
            }
            found = Some(entry.to_user());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Returns whether the file has a user. Stops reading at the first.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn has_user(&self) -> Result<bool> {
        self.has_entry(|_| true)
    }

    /// Returns whether a user can log in with a shared secret (APOP). Stops reading at the first.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn has_secret(&self) -> Result<bool> {
        self.has_entry(|entry| password::secret(entry.password).is_some())
    }

    fn has_entry(&self, matches: impl Fn(&Entry<'_>) -> bool) -> Result<bool> {
        let mut found = false;
        self.entries(|entry| {
            found = matches(&entry);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Calls `each` with every user, in the file's order, until it breaks.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn scan(&self, mut each: impl FnMut(User) -> ControlFlow<()>) -> Result<()> {
        self.entries(|entry| each(entry.to_user()))
    }

    /// As [`Users::scan`], without a copy of each user.
    pub(crate) fn entries(&self, mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        (&self.file).rewind().map_err(Error::io("users", &self.path))?;
        let mut reader = BufReader::with_capacity(CHUNK, &self.file);
        let mut line = Vec::new();
        for number in 1_u64.. {
            match read_line(&mut reader, &mut line).map_err(Error::io("users", &self.path))? {
                ReadLine::End => break,
                ReadLine::TooLong => self.warn(number, "the line is too long"),
                ReadLine::Line if line.is_empty() || line.starts_with(b"#") => {}
                ReadLine::Line if line.iter().all(u8::is_ascii_whitespace) => {}
                ReadLine::Line => match Entry::parse(&line).map(&mut each) {
                    Ok(ControlFlow::Break(())) => break,
                    Ok(ControlFlow::Continue(())) => {}
                    Err(why) => self.warn(number, why),
                },
            }
        }
        Ok(())
    }

    fn warn(&self, number: u64, why: &str) {
        log::warn!("users {}: line {number} skipped: {why}", self.path.display());
    }
}

enum ReadLine {
    /// A line without its LF.
    Line,
    /// A line over the limit, consumed to its end.
    TooLong,
    End,
}

/// Reads one line into `line`, up to the limit.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<ReadLine> {
    line.clear();
    let limit = LINE_LIMIT as u64 + 1;
    if reader.take(limit).read_until(b'\n', line)? == 0 {
        return Ok(ReadLine::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(ReadLine::Line);
    }
    if line.len() <= LINE_LIMIT {
        return Ok(ReadLine::Line);
    }
    line.clear();
    reader.skip_until(b'\n')?;
    Ok(ReadLine::TooLong)
}

#[cfg(test)]
mod tests;
