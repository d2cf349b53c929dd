//! The resolver from a name to addresses: getaddrinfo, which came after the slides' gethostbyname.

use std::ffi::{CString, c_int};
use std::fmt;
use std::net::SocketAddr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockType};
use sys::getaddrinfo::{GaiError, gai_strerror};

use forknet::{printable, reason};

/// netdb.h of glibc; libc has no name for it.
const EAI_ADDRFAMILY: c_int = -9;

/// Why the resolver gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer(GaiError);

impl From<GaiError> for NoAnswer {
    fn from(error: GaiError) -> NoAnswer {
        NoAnswer(error)
    }
}

impl NoAnswer {
    /// Returns the name that its EAI code has in netdb.h.
    #[must_use]
    pub fn symbol(&self) -> &'static str {
        match self.0.code {
            EAI_ADDRFAMILY => "EAI_ADDRFAMILY",
            libc::EAI_AGAIN => "EAI_AGAIN",
            libc::EAI_BADFLAGS => "EAI_BADFLAGS",
            libc::EAI_FAIL => "EAI_FAIL",
            libc::EAI_FAMILY => "EAI_FAMILY",
            libc::EAI_MEMORY => "EAI_MEMORY",
            libc::EAI_NODATA => "EAI_NODATA",
            libc::EAI_NONAME => "EAI_NONAME",
            libc::EAI_OVERFLOW => "EAI_OVERFLOW",
            libc::EAI_SERVICE => "EAI_SERVICE",
            libc::EAI_SOCKTYPE => "EAI_SOCKTYPE",
            libc::EAI_SYSTEM => "EAI_SYSTEM",
            _ => "EAI_?",
        }
    }
}

/// Formats it as gai_strerror(3) does, and what is after `EAI_SYSTEM` as strerror(3) does.
impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GaiError { code, errno } = self.0;
        if code == libc::EAI_SYSTEM {
            return f.write_str(&reason(&errno.into()));
        }
        f.write_str(&gai_strerror(code).to_string_lossy())
    }
}

impl std::error::Error for NoAnswer {}

/// What getaddrinfo found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The canonical name of the host (`AI_CANONNAME`); what does not print is escaped.
    pub canonical: String,
    /// The host's addresses in the order in which they are to be tried (RFC 6724).
    pub addresses: Vec<SocketAddr>,
}

/// getaddrinfo(3): looks up a host's name, or its address in digits, and a service's name or port
/// (none: port 0). `AddressFamily::Unspec` asks for IPv4 and IPv6. Waits as resolv.conf(5) says.
///
/// # Errors
/// The resolver's; `EAI_NONAME` also for a name with a NUL in it.
pub fn getaddrinfo(
    host: &str,
    service: Option<&str>,
    family: AddressFamily,
    kind: SockType,
) -> Result<Found, NoAnswer> {
    let none = GaiError { code: libc::EAI_NONAME, errno: Errno::UnknownErrno };
    let text = |s: &str| CString::new(s).map_err(|_| none);
    let (host, service) = (text(host)?, service.map(text).transpose()?);
    let found = sys::getaddrinfo::getaddrinfo(&host, service.as_deref(), family, kind)?;
    let canonical = printable(found.canonname.to_bytes());
    Ok(Found { canonical, addresses: found.addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_is_an_error_in_the_resolver_s_own_words() {
        let ask = |host, service, family| getaddrinfo(host, service, family, SockType::Stream);
        let error = ask("a\0b", None, AddressFamily::Unspec).unwrap_err();
        assert_eq!(error.symbol(), "EAI_NONAME");
        assert_eq!(error.to_string(), "Name or service not known");
        let error = ask("127.0.0.1", Some("99999x"), AddressFamily::Unspec).unwrap_err();
        assert_eq!(error.symbol(), "EAI_SERVICE");
        let error = ask("127.0.0.1", None, AddressFamily::Inet6).unwrap_err();
        assert_eq!(error.symbol(), "EAI_ADDRFAMILY");
    }
}
