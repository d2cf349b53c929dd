//! Where letters are delivered: the value of `--deliver`.

use std::path::{Path, PathBuf};

use forknet::{HostPort, UnixName};

/// The port of SMTP (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;
/// The port of LMTP, for which none is registered; many servers use this one.
const LMTP_PORT: u16 = 24;

/// A place for letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Maildir(PathBuf),
    Mbox(PathBuf),
    /// A command for sh(1).
    Mda(String),
    Smtp(Place),
    Lmtp(Place),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(HostPort),
    Unix(UnixName),
}

impl Target {
    /// Reads `DIR`, `maildir:DIR`, `mbox:FILE`, `mda:COMMAND`, `smtp:HOST[:PORT]`, `lmtp:unix:PATH` and so on.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Target, String> {
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        match kind {
            "maildir" => Ok(Target::Maildir(path(rest)?)),
            "mbox" => Ok(Target::Mbox(path(rest)?)),
            "mda" if rest.trim().is_empty() => Err("no command".into()),
            "mda" => Ok(Target::Mda(rest.to_owned())),
            "smtp" => Ok(Target::Smtp(Place::parse(rest, SMTP_PORT)?)),
            "lmtp" => Ok(Target::Lmtp(Place::parse(rest, LMTP_PORT)?)),
            _ => Ok(Target::Maildir(path(text)?)),
        }
    }
}

impl Place {
    fn parse(text: &str, port: u16) -> Result<Place, String> {
        match text.strip_prefix("unix:") {
            Some(name) => UnixName::parse(&expanded(name)?.to_string_lossy()).map(Place::Unix),
            None => HostPort::parse(text, port).map(Place::Tcp).map_err(|why| why.to_string()),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("no path".into()) } else { expanded(text) }
}

/// Puts the home in place of `~/`.
///
/// # Errors
/// HOME is not set.
pub(crate) fn expanded(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("~/") {
        Some(rest) => Ok(home().ok_or("~/: HOME is not set")?.join(rest)),
        None => Ok(Path::new(text).to_owned()),
    }
}

/// Returns the user's home, as HOME says.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_folder_unless_a_known_word_says_otherwise() {
        let tcp = |host: &str, port| Place::Tcp(HostPort { host: host.into(), port });
        for (text, expected) in [
            ("Mail", Target::Maildir("Mail".into())),
            ("/a:b", Target::Maildir("/a:b".into())),
            ("maildir:x", Target::Maildir("x".into())),
            ("mbox:/m", Target::Mbox("/m".into())),
            ("mda:procmail -d x", Target::Mda("procmail -d x".into())),
            ("smtp:h", Target::Smtp(tcp("h", 25))),
            ("smtp:h:2525", Target::Smtp(tcp("h", 2525))),
            ("lmtp:[::1]", Target::Lmtp(tcp("::1", 24))),
            ("lmtp:unix:/s", Target::Lmtp(Place::Unix(UnixName::Path("/s".into())))),
        ] {
            assert_eq!(Target::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "maildir:", "mbox:", "mda: ", "smtp:", "smtp:h:x", "lmtp:unix:"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
