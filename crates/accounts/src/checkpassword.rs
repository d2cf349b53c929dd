//! The interface of checkpassword: a program is started with name and password on descriptor 3, and
//! if they are right, starts another one as the user.
//!
//! That other one is a small program of ours, which finds its rights, `USER` and `HOME` set, and sends
//! them to the keeper as a [`Report`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::account::{IS_ROOTS, Owner};
use crate::error::{Error, Result};
use crate::names::MAX_NAME;
use crate::secret::Secret;

/// Most bytes on descriptor 3.
pub const MAX_REQUEST: usize = 512;
/// Most bytes of a report: a name, a path of 4096 bytes and two ids.
pub const MAX_REPORT: usize = 4096 + MAX_NAME + 32;

/// Returns what the program reads from descriptor 3 up to its end: name, password and a timestamp, each ended by NUL.
/// checkpassword itself ignores the timestamp; APOP's verifiers use it.
///
/// # Errors
/// [`Error::Refused`] for an empty name, a NUL in one of them and for more than [`MAX_REQUEST`] bytes:
/// a login that cannot succeed.
pub fn request(name: &[u8], password: &Secret, timestamp: &[u8]) -> Result<Secret> {
    let fields = [name, password.as_bytes(), timestamp];
    let refused = |why: &str| Err(Error::Refused(format!("checkpassword: {why}")));
    if name.is_empty() || fields.iter().any(|field| field.contains(&0)) {
        return refused("an empty name, or a NUL in name or password");
    }
    if fields.iter().map(|field| field.len() + 1).sum::<usize>() > MAX_REQUEST {
        return refused("name and password are longer than 512 bytes");
    }
    let [name, password, timestamp] = fields;
    Ok(Secret::concat(&[name, b"\0", password, b"\0", timestamp, b"\0"]))
}

/// Takes a request apart, as the program does; for programs that take checkpassword's place.
#[must_use]
pub fn parse_request(request: &[u8]) -> Option<(&[u8], Secret)> {
    let mut fields = request.split(|&byte| byte == 0);
    let all = (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next());
    let (name, password, _timestamp, b"", None) = all else { return None };
    (!name.is_empty() && request.len() <= MAX_REQUEST).then(|| (name, Secret::from(password)))
}

/// What an exit code of the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0 of the program that it started: the password is right.
    Accepted,
    /// 1: it is wrong.
    Rejected,
    /// 2 (misused), 111 (temporary) and anything else.
    Unavailable,
}

/// Returns what an exit code says.
#[must_use]
pub fn verdict(exit_code: i32) -> Verdict {
    match exit_code {
        0 => Verdict::Accepted,
        1 => Verdict::Rejected,
        _ => Verdict::Unavailable,
    }
}

/// The user that the program has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The ids of the process: whose rights the session has.
    pub owner: Owner,
    /// `USER`.
    pub name: Vec<u8>,
    /// `HOME`; empty where it is not set.
    pub home: PathBuf,
}

impl Report {
    /// Returns the record: `uid`, `gid`, name and home, each ended by NUL.
    ///
    /// # Errors
    /// [`Error::Refused`] for what [`Report::parse`] would not take.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let (uid, gid) = (self.owner.uid.to_string(), self.owner.gid.to_string());
        let fields = [uid.as_bytes(), gid.as_bytes(), &self.name, self.home.as_os_str().as_bytes()];
        let record =
            fields.iter().flat_map(|field| [field, &b"\0"[..]].concat()).collect::<Vec<u8>>();
        match Report::parse(&record) {
            Ok(report) if report == *self => Ok(record),
            Err(error) => Err(error),
            Ok(_) => Err(malformed()),
        }
    }

    /// Reads a record. The keeper compares the ids with those that the kernel tells of the sender
    /// (SO_PEERCRED).
    ///
    /// # Errors
    /// [`Error::Refused`] for user id 0, and for what is no record: more than [`MAX_REPORT`] bytes, an
    /// empty name, one over [`MAX_NAME`].
    pub fn parse(record: &[u8]) -> Result<Report> {
        let report = Report::split(record).ok_or_else(malformed)?;
        if report.owner.uid == 0 {
            return Err(Error::Refused(format!("checkpassword: {IS_ROOTS}")));
        }
        Ok(report)
    }

    fn split(record: &[u8]) -> Option<Report> {
        let mut fields = record.split(|&byte| byte == 0);
        let mut next = || fields.next();
        let (uid, gid, name, home) = (id(next()?)?, id(next()?)?, next()?, next()?);
        let (Some(b""), None) = (next(), next()) else { return None };
        let is_bounded = (1..=MAX_NAME).contains(&name.len()) && record.len() <= MAX_REPORT;
        let home = Path::new(OsStr::from_bytes(home)).to_owned();
        is_bounded.then(|| Report { owner: Owner { uid, gid }, name: name.to_vec(), home })
    }
}

fn malformed() -> Error {
    Error::Refused("checkpassword: the report is malformed".to_owned())
}

fn id(digits: &[u8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let id = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(id).filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_three_fields_of_512_bytes_at_most() {
        let password = Secret::from(&b"two words"[..]);
        let written = request(b"levy", &password, b"").unwrap();
        assert_eq!(written.as_bytes(), b"levy\0two words\0\0");
        assert_eq!(parse_request(written.as_bytes()), Some((&b"levy"[..], password)));
        let fits = Secret::new(vec![b'x'; MAX_REQUEST - 4]);
        assert_eq!(request(b"a", &fits, b"").unwrap().as_bytes().len(), MAX_REQUEST);
        assert!(request(b"ab", &fits, b"").is_err());
        for (name, password) in [(&b""[..], &b"x"[..]), (b"a\0b", b"x"), (b"a", b"x\0")] {
            assert!(request(name, &Secret::from(password), b"").is_err());
        }
        for odd in [&b""[..], b"a\0b\0c", b"a\0b\0c\0d", b"a\0b\0", b"\0b\0c\0", b"a\0b\0c\0\0"] {
            assert!(parse_request(odd).is_none(), "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn an_exit_code_has_a_meaning() {
        let codes = [0, 1, 2, 111, 100, -1].map(verdict);
        assert_eq!(codes[..2], [Verdict::Accepted, Verdict::Rejected]);
        assert!(codes[2..].iter().all(|verdict| *verdict == Verdict::Unavailable));
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = Report {
            owner: Owner { uid: 1000, gid: 100 },
            name: b"levy".to_vec(),
            home: "/home/levy".into(),
        };
        let record = report.encode().unwrap();
        assert_eq!(record, b"1000\x00100\x00levy\x00/home/levy\x00");
        assert_eq!(Report::parse(&record).unwrap(), report);
        let without_home = Report { home: PathBuf::new(), ..report.clone() };
        assert_eq!(Report::parse(&without_home.encode().unwrap()).unwrap(), without_home);
        let long = PathBuf::from("x".repeat(MAX_REPORT));
        for report in [
            Report { name: Vec::new(), ..report.clone() },
            Report { name: b"a\0b".to_vec(), ..report.clone() },
            Report { home: long, ..report.clone() },
            Report { owner: Owner { uid: u32::MAX, gid: 1 }, ..report },
        ] {
            assert!(report.encode().is_err(), "{report:?}");
        }
        for odd in [
            "",
            "1\x001\x00a",
            "1\x001\x00a\0\0\0",
            "-1\x001\x00a\0\0",
            "1\0\0a\0\0",
            "1\x001\0\0/\0",
        ] {
            assert!(Report::parse(odd.as_bytes()).is_err(), "{odd:?}");
        }
        let error = Report::parse(b"0\x000\x00root\0/root\0").unwrap_err().to_string();
        assert_eq!(error, "checkpassword: user id 0: no session has root's rights");
    }
}
