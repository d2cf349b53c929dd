//! Why a transfer ended before its time, and what the peer is told about it.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::packet::Code;

/// The end of a transfer that failed.
#[derive(Debug)]
pub enum Failure {
    /// We can't or won't: the peer gets an ERROR packet.
    Denied {
        /// The code of the ERROR packet.
        code: Code,
        /// Its message, and what the log says.
        reason: String,
    },
    /// The peer sent an ERROR packet. It is not answered (RFC 1350 §2).
    Peer {
        /// The code it gave.
        code: u16,
        /// Its message, as it came.
        message: Vec<u8>,
    },
    /// The peer said nothing for too long.
    Silent,
    /// Nobody listens at the peer's port any more (ICMP port unreachable).
    Gone,
    /// The peer has given it up and asks for something else, from the same port.
    Renewed,
    /// Our own socket failed.
    Socket(io::Error),
}

impl Failure {
    /// A refusal with a message of our own.
    #[must_use]
    pub fn denied(code: Code, reason: impl Into<String>) -> Failure {
        Failure::Denied { code, reason: reason.into() }
    }

    /// A datagram that no delay and no duplication explains (RFC 1350 §2).
    #[must_use]
    pub fn illegal(reason: &str) -> Failure {
        Failure::denied(Code::Illegal, reason)
    }

    /// The system refused to find, open, create or write a file.
    #[must_use]
    pub fn file(errno: Errno) -> Failure {
        let code = match errno {
            Errno::ENOENT | Errno::ENOTDIR => Code::NotFound,
            // EXDEV: the kernel's word for a name that leaves the root (openat2).
            Errno::EACCES
            | Errno::EPERM
            | Errno::EROFS
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::EISDIR
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::ETXTBSY
            | Errno::ENAMETOOLONG => Code::Access,
            Errno::EEXIST => Code::Exists,
            Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Code::DiskFull,
            _ => Code::NotDefined,
        };
        match errno {
            Errno::EXDEV => Failure::denied(code, "Name leaves the root"),
            _ => Failure::denied(code, forknet::reason(&errno.into())),
        }
    }

    /// The same for an error of std's.
    #[must_use]
    pub fn io(error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::file(Errno::from_raw(errno)),
            None => Failure::denied(Code::NotDefined, error.to_string()),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::file(errno)
    }
}

/// As the log and the client's one error line say it; the peer's words escaped.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Denied { code, reason } => write!(f, "{reason} (ERROR {})", *code as u16),
            Failure::Peer { code, message } if message.is_empty() => {
                write!(f, "peer says ERROR {code}")
            }
            Failure::Peer { code, message } => {
                write!(f, "peer says: {} (ERROR {code})", message.escape_ascii())
            }
            Failure::Silent => f.write_str("Connection timed out"),
            Failure::Gone => f.write_str("Connection refused"),
            Failure::Renewed => f.write_str("peer asks anew"),
            Failure::Socket(error) => f.write_str(&forknet::reason(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_code() {
        for (errno, wanted) in [
            (Errno::ENOENT, Code::NotFound),
            (Errno::EXDEV, Code::Access),
            (Errno::EACCES, Code::Access),
            (Errno::EDQUOT, Code::DiskFull),
            (Errno::EFBIG, Code::DiskFull),
            (Errno::ENOSPC, Code::DiskFull),
            (Errno::EEXIST, Code::Exists),
            (Errno::EIO, Code::NotDefined),
        ] {
            assert!(matches!(Failure::file(errno), Failure::Denied { code, .. } if code == wanted));
        }
    }

    #[test]
    fn a_peers_words_are_escaped() {
        let failure = Failure::Peer { code: 0, message: b"\x1b[2J".to_vec() };
        assert_eq!(failure.to_string(), "peer says: \\x1b[2J (ERROR 0)");
        let wordless = Failure::Peer { code: 1, message: Vec::new() };
        assert_eq!(wordless.to_string(), "peer says ERROR 1");
    }
}
