//! The path of a user's mail: `--mail PATTERN`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A path with placeholders: `~` at its start is the user's home, `%u` the user's name, `%%` a
/// percent sign. Before it may stand what kind of mailbox it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailPattern {
    kind: MailKind,
    home: bool,
    parts: Vec<Part>,
}

/// The kind of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// A folder with a file for each letter. The pattern is the path alone, or `maildir:PATH`.
    Maildir,
    /// One file: `mbox:PATH`.
    Mbox,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Name,
}

impl MailPattern {
    /// Default pattern.
    pub const DEFAULT: &str = "~/Maildir";

    /// Parses a pattern. A relative one is made absolute at once, because a daemon changes to `/`
    /// later.
    ///
    /// # Errors
    /// [`Error::Refused`] if the pattern is invalid.
    pub fn parse(pattern: &OsStr) -> Result<MailPattern> {
        let bytes = pattern.as_bytes();
        let bad = |why: &str| Error::Refused(format!("'{}': {why}", bytes.escape_ascii()));
        let (kind, path) = match (bytes.strip_prefix(b"mbox:"), bytes.strip_prefix(b"maildir:")) {
            (Some(path), _) => (MailKind::Mbox, path),
            (_, Some(path)) => (MailKind::Maildir, path),
            _ => (MailKind::Maildir, bytes),
        };
        if path.is_empty() {
            return Err(bad("the pattern is empty"));
        }
        let (home, rest) = match path.strip_prefix(b"~") {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => (true, rest.to_vec()),
            Some(_) => return Err(bad("'~' must be followed by '/'")),
            None => {
                let path = Path::new(OsStr::from_bytes(path));
                let path = std::path::absolute(path).map_err(Error::io("path", path))?;
                (false, path.into_os_string().into_vec())
            }
        };
        let mut parts = Vec::new();
        let mut pieces = rest.split(|&b| b == b'%');
        let mut text = pieces.next().unwrap_or_default().to_vec();
        while let Some(piece) = pieces.next() {
            match piece.split_first() {
                Some((b'u', tail)) => {
                    parts.push(Part::Text(std::mem::replace(&mut text, tail.to_vec())));
                    parts.push(Part::Name);
                }
                // `%%`: the piece between the two is empty, and the next one is text.
                None => {
                    text.push(b'%');
                    text.extend_from_slice(pieces.next().ok_or_else(|| bad("a lone '%'"))?);
                }
                Some(_) => return Err(bad("the only placeholders are %u and %%")),
            }
        }
        parts.push(Part::Text(text));
        let pattern = MailPattern { kind, home, parts };
        if kind == MailKind::Mbox && pattern.path(b"u", Path::new("/"))?.file_name().is_none() {
            return Err(bad("not a file"));
        }
        Ok(pattern)
    }

    /// Returns the kind of the mailboxes.
    #[must_use]
    pub fn kind(&self) -> MailKind {
        self.kind
    }

    /// Returns whether mail lies in homes.
    #[must_use]
    pub fn needs_home(&self) -> bool {
        self.home
    }

    /// Returns the path of the mailbox of the user with this name and home.
    ///
    /// # Errors
    /// [`Error::Refused`] if the pattern needs a home and the user has no absolute one. Also if it
    /// needs the name, and the name is empty, starts with a dot or contains a slash, because it
    /// could leave the folder.
    pub fn path(&self, name: &[u8], home: &Path) -> Result<PathBuf> {
        let bad =
            |why: &str| Error::Refused(format!("the mail of '{}': {why}", name.escape_ascii()));
        let mut path = Vec::new();
        if self.home {
            if !home.is_absolute() {
                return Err(bad("the users file tells no home, or not from /"));
            }
            path.extend_from_slice(home.as_os_str().as_bytes());
        }
        for part in &self.parts {
            match part {
                Part::Text(text) => path.extend_from_slice(text),
                Part::Name if is_file_name(name) => path.extend_from_slice(name),
                Part::Name => return Err(bad("the name is not a file name")),
            }
        }
        Ok(PathBuf::from(OsString::from_vec(path)))
    }
}

fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.iter().any(|&b| b == b'/' || b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maildir(pattern: &str, name: &str, home: &str) -> Result<PathBuf> {
        MailPattern::parse(OsStr::new(pattern))?.path(name.as_bytes(), Path::new(home))
    }

    #[test]
    fn tilde_is_the_home_and_percent_u_the_user_name() {
        assert_eq!(maildir("~/Maildir", "a", "/h/a").unwrap(), Path::new("/h/a/Maildir"));
        assert_eq!(maildir("~", "a", "/h/a").unwrap(), Path::new("/h/a"));
        assert_eq!(maildir("/m/%u", "a", "").unwrap(), Path::new("/m/a"));
        assert_eq!(maildir("/m/%u/x%u%%", "a", "").unwrap(), Path::new("/m/a/xa%"));
        assert_eq!(maildir("/%%u%%%%/~", "a", "").unwrap(), Path::new("/%u%%/~"));
        assert!(maildir("m/%u", "a", "").unwrap().is_absolute());
    }

    #[test]
    fn before_the_path_stands_the_kind() {
        let parse = |pattern: &str| MailPattern::parse(OsStr::new(pattern));
        for (pattern, kind, path) in [
            ("mbox:/var/mail/%u", MailKind::Mbox, "/var/mail/a"),
            ("mbox:~/mbox", MailKind::Mbox, "/h/mbox"),
            ("maildir:~/Mail", MailKind::Maildir, "/h/Mail"),
            ("/m/mbox:%u", MailKind::Maildir, "/m/mbox:a"),
        ] {
            let parsed = parse(pattern).unwrap();
            assert_eq!(parsed.kind(), kind, "{pattern}");
            assert_eq!(parsed.path(b"a", Path::new("/h")).unwrap(), Path::new(path));
        }
        let error = parse("mbox:").unwrap_err().to_string();
        assert_eq!(error, "'mbox:': the pattern is empty");
        for wrong in ["mbox:~", "mbox:~/..", "mbox:/", "mbox:~levy/mbox"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", ".", "..", ".x", "a/b", "../a", "/a", "a\0b"] {
            assert!(maildir("/m/%u", name, "/h").is_err(), "{name:?}");
        }
        assert_eq!(maildir("~/M", "a/b", "/h").unwrap(), Path::new("/h/M"));
    }

    #[test]
    fn an_invalid_pattern_is_refused() {
        for pattern in ["", "~x/M", "/m/%", "/m/%d", "/m/%u%"] {
            assert!(MailPattern::parse(OsStr::new(pattern)).is_err(), "{pattern}");
        }
        assert!(maildir("~/M", "a", "").is_err());
        assert!(maildir("~/M", "a", "home").is_err());
    }
}
