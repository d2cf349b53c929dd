//! Why a domain's mail cannot be sent, and whether it may be tried again.

use std::fmt;

use crate::domain::Domain;

/// A result whose error says what becomes of a letter.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why there is no host to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such domain (NXDOMAIN).
    NoDomain(Domain),
    /// The domain, or the hosts of its MX, have no address.
    NoAddress(Domain),
    /// The domain takes no mail: its MX is the root (RFC 7505).
    NullMx(Domain),
    /// We are the best of the domain's hosts ourselves, and do not take its mail (RFC 5321 §5.1).
    Loop(Domain),
    /// No server has answered, or none knows: another time it may.
    Temporary(String),
}

impl Failure {
    /// Returns whether the same question may have an answer later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Failure::Temporary(_))
    }

    /// Returns the status of RFC 3463 that a report tells.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Failure::NoDomain(_) => "5.1.2",
            Failure::NoAddress(_) => "5.4.4",
            Failure::NullMx(_) => "5.1.10",
            Failure::Loop(_) => "5.4.6",
            Failure::Temporary(_) => "4.4.3",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoDomain(domain) => write!(f, "{domain}: no such domain"),
            Failure::NoAddress(domain) => write!(f, "{domain}: no host with an address"),
            Failure::NullMx(domain) => write!(f, "{domain}: takes no mail (null MX)"),
            Failure::Loop(domain) => write!(f, "{domain}: its mail would come back to this host"),
            Failure::Temporary(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}
