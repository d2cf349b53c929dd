//! Why a transfer failed, and which ERROR the peer gets.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::wire::error_code::ErrorCode;
use crate::wire::requested_options::Unacceptable;

/// The reason why a transfer failed.
#[derive(Debug)]
pub enum Error {
    /// This end refused or failed. The peer gets an ERROR packet.
    Denied {
        /// The code of the ERROR packet.
        code: ErrorCode,
        /// The message in the packet and in the log.
        reason: String,
    },
    /// The peer sent an ERROR packet. It is not answered (RFC 1350 §2).
    Peer {
        /// The code in the packet.
        code: u16,
        /// The message, unescaped.
        message: Vec<u8>,
    },
    /// The peer was silent beyond the limits of the transfer.
    TimedOut,
    /// The peer's port is closed (ICMP port unreachable).
    PortClosed,
    /// The peer abandoned the transfer and sent a new request from the same port.
    NewRequest,
    /// A system call on the local socket failed.
    Socket(io::Error),
}

impl Error {
    /// Creates an [`Error::Denied`].
    #[must_use]
    pub fn denied(code: ErrorCode, reason: impl Into<String>) -> Error {
        Error::Denied { code, reason: reason.into() }
    }

    /// Creates the error for a datagram that can't be explained by a delay or duplication in the
    /// network (RFC 1350 §2).
    #[must_use]
    pub fn illegal(reason: &str) -> Error {
        Error::denied(ErrorCode::Illegal, reason)
    }

    /// Creates the error for a file that can't be found, opened, created or written.
    #[must_use]
    pub fn from_errno(errno: Errno) -> Error {
        let code = match errno {
            Errno::ENOENT | Errno::ENOTDIR => ErrorCode::NotFound,
            // EXDEV: openat2's errno for a name that leaves the root.
            Errno::EACCES
            | Errno::EPERM
            | Errno::EROFS
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::EISDIR
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::ETXTBSY
            | Errno::ENAMETOOLONG => ErrorCode::Access,
            Errno::EEXIST => ErrorCode::Exists,
            Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => ErrorCode::DiskFull,
            _ => ErrorCode::NotDefined,
        };
        match errno {
            Errno::EXDEV => Error::denied(code, "Name leaves the root"),
            _ => Error::denied(code, forknet::reason(&errno.into())),
        }
    }

    /// Creates the error from the errno in an [`io::Error`].
    #[must_use]
    pub fn from_io(error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::from_errno(Errno::from_raw(errno)),
            None => Error::denied(ErrorCode::NotDefined, error.to_string()),
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::from_errno(errno)
    }
}

impl From<Unacceptable> for Error {
    fn from(Unacceptable { reason }: Unacceptable) -> Error {
        Error::denied(ErrorCode::Options, reason)
    }
}

/// Formats the error for the log and for tftpc's error line. The peer's message is escaped.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Denied { code, reason } => write!(f, "{reason} (ERROR {})", *code as u16),
            Error::Peer { code, message } if message.is_empty() => {
                write!(f, "peer says ERROR {code}")
            }
            Error::Peer { code, message } => {
                write!(f, "peer says: {} (ERROR {code})", message.escape_ascii())
            }
            Error::TimedOut => f.write_str("Connection timed out"),
            Error::PortClosed => f.write_str("Connection refused"),
            Error::NewRequest => f.write_str("peer sent a new request"),
            Error::Socket(error) => f.write_str(&forknet::reason(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_code() {
        for (errno, wanted) in [
            (Errno::ENOENT, ErrorCode::NotFound),
            (Errno::EXDEV, ErrorCode::Access),
            (Errno::EACCES, ErrorCode::Access),
            (Errno::EDQUOT, ErrorCode::DiskFull),
            (Errno::EFBIG, ErrorCode::DiskFull),
            (Errno::ENOSPC, ErrorCode::DiskFull),
            (Errno::EEXIST, ErrorCode::Exists),
            (Errno::EIO, ErrorCode::NotDefined),
        ] {
            assert!(
                matches!(Error::from_errno(errno), Error::Denied { code, .. } if code == wanted)
            );
        }
    }

    #[test]
    fn a_peers_message_is_escaped() {
        let error = Error::Peer { code: 0, message: b"\x1b[2J".to_vec() };
        assert_eq!(error.to_string(), "peer says: \\x1b[2J (ERROR 0)");
        let without_message = Error::Peer { code: 1, message: Vec::new() };
        assert_eq!(without_message.to_string(), "peer says ERROR 1");
    }

    #[test]
    fn an_oack_that_grants_too_much_is_error_8() {
        let error = Error::from(Unacceptable { reason: "too much".into() });
        assert_eq!(error.to_string(), "too much (ERROR 8)");
    }
}
