//! Why pop3c ends without success: an error, and the exit code that sysexits(3) has for its kind.

use forknet::Error;
pub use smtpclient::Status;

/// A failure.
#[derive(Debug)]
pub struct Failure {
    /// Its kind.
    pub status: Status,
    /// What it is, for people.
    pub error: Error,
    /// A server has refused one command or letter, and takes others.
    is_refusal: bool,
}

/// A result of the client.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Makes a failure whose text is the reason.
    pub fn new(status: Status, why: impl Into<String>) -> Failure {
        Failure { status, error: Error::Refused(why.into()), is_refusal: false }
    }

    /// Makes the failure of one letter or command that a server has refused.
    pub fn refusal(status: Status, why: impl Into<String>) -> Failure {
        Failure { is_refusal: true, ..Failure::new(status, why) }
    }

    /// Returns whether a server has said no, and goes on.
    pub fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// `map_err(Failure::because(Status::Io))`.
    pub fn because<E: Into<Error>>(status: Status) -> impl FnOnce(E) -> Failure {
        move |error| Failure { status, error: error.into(), is_refusal: false }
    }

    /// Makes the failure of a mail store; `status` is for what no later attempt changes.
    pub fn store(status: Status) -> impl FnOnce(mailstore::Error) -> Failure {
        move |error| {
            let is_temporary = matches!(error, mailstore::Error::InUse { .. });
            let status = if is_temporary { Status::Temporary } else { status };
            Failure::new(status, error.to_string())
        }
    }

    /// Says that there are more failures of its kind.
    pub fn and_more(self, count: usize) -> Failure {
        Failure { error: Error::Refused(format!("{} (and {count} more)", self.error)), ..self }
    }

    /// Puts the name of an account before the text.
    pub fn of_account(self, name: Option<&str>) -> Failure {
        match name {
            Some(name) => {
                Failure { error: Error::Refused(format!("{name}: {}", self.error)), ..self }
            }
            None => self,
        }
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        self.status as u8
    }
}

/// Errors about the command line, and about standard output.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error {
            Error::Usage(_) | Error::Answer(_) => Status::Usage,
            Error::Os { .. } | Error::Io { .. } | Error::Refused(_) => Status::Io,
        };
        Failure { status, error, is_refusal: false }
    }
}

/// What a command is about, as far as the meaning of a bare `-ERR` differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The server's greeting: it does not serve now.
    Greeting,
    /// USER, PASS, APOP, AUTH.
    Login,
    /// All others.
    Other,
}

/// Returns what a refusal means: by its code (RFC 2449 §8, RFC 3206), else by what was asked. `text` follows
/// `-ERR`.
pub fn of_refusal(text: &[u8], asked: Asked) -> Status {
    let text = text.trim_ascii().to_ascii_uppercase();
    let code = text.strip_prefix(b"[").and_then(|rest| rest.split(|&b| b == b']').next());
    match code {
        Some(b"AUTH") => return Status::NoPermission,
        Some(b"IN-USE") => return Status::InUse,
        Some(b"LOGIN-DELAY") => return Status::Temporary,
        Some(b"SYS/PERM") => return Status::Unavailable,
        Some(code) if code.starts_with(b"SYS") => return Status::Temporary,
        _ => {}
    }
    // A server without codes says in words that another session has the maildrop.
    let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    match asked {
        Asked::Greeting => Status::Temporary,
        Asked::Login if has(b"LOCK") || has(b"IN USE") || has(b"BUSY") => Status::InUse,
        Asked::Login => Status::NoPermission,
        Asked::Other => Status::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_judged_by_its_code_and_without_one_by_what_was_asked() {
        for (text, asked, expected) in [
            (&b"[AUTH] wrong"[..], Asked::Other, Status::NoPermission),
            (b"[in-use] locked", Asked::Login, Status::InUse),
            (b"[SYS/TEMP] disk", Asked::Login, Status::Temporary),
            (b"[SYS/PERM] no", Asked::Login, Status::Unavailable),
            (b"[LOGIN-DELAY] wait", Asked::Login, Status::Temporary),
            (b"[SYS/WHAT", Asked::Login, Status::Temporary),
            (b"maildrop already locked", Asked::Login, Status::InUse),
            (b"no such user", Asked::Login, Status::NoPermission),
            (b"", Asked::Greeting, Status::Temporary),
            (b"no such message", Asked::Other, Status::Unavailable),
            (b"[XYZ] block", Asked::Other, Status::Unavailable),
        ] {
            assert_eq!(of_refusal(text, asked), expected, "{}", text.escape_ascii());
        }
    }
}
