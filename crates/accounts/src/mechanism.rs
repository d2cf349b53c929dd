//! SASL mechanisms (RFC 4422), by their names, and sets of them.

use std::fmt;

/// A SASL mechanism, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// SCRAM bound to the TLS connection (RFC 5802, RFC 7677).
    ScramSha256Plus,
    /// SCRAM (RFC 5802, RFC 7677): the password is not sent, and the server need not know it.
    ScramSha256,
    /// CRAM-MD5 (RFC 2195): the password is not sent, but the server has to know it.
    CramMd5,
    /// PLAIN (RFC 4616): name and password in one message.
    Plain,
    /// LOGIN: name and password in two messages. No RFC has it; old mailers know nothing else.
    Login,
}

impl Mechanism {
    /// All of them, the strongest first.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
    ];

    /// Returns the name as it is registered.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// Finds a mechanism by its name, in letters of either case (RFC 5034 §4).
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
    }

    /// Whether the password is sent as it is, so that the connection has to be encrypted.
    #[must_use]
    pub fn sends_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }

    /// Whether the client speaks first and may do so with the command (RFC 4422 §3.3). LOGIN was made
    /// for the other order, but clients send the name with the command too.
    #[must_use]
    pub fn takes_initial_response(self) -> bool {
        self != Mechanism::CramMd5
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of mechanisms, displayed as CAPA and EHLO list it: names with a space between, the strongest
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// Those that send the password.
    #[must_use]
    pub fn by_password() -> Mechanisms {
        Mechanism::ALL.into_iter().filter(|mechanism| mechanism.sends_password()).collect()
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Mechanisms {
        Mechanism::ALL.into_iter().collect()
    }

    /// Reads the names of a list as a server sends it; unknown ones are left out.
    #[must_use]
    pub fn parse(list: &[u8]) -> Mechanisms {
        list.split(u8::is_ascii_whitespace).filter_map(Mechanism::parse).collect()
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns those of both sets.
    #[must_use]
    pub fn union(self, other: Mechanisms) -> Mechanisms {
        Mechanisms(self.0 | other.0)
    }

    /// Returns those that are in both sets.
    #[must_use]
    pub fn intersection(self, other: Mechanisms) -> Mechanisms {
        Mechanisms(self.0 & other.0)
    }

    /// Returns the set without this one.
    #[must_use]
    pub fn without(self, mechanism: Mechanism) -> Mechanisms {
        Mechanisms(self.0 & !mechanism.bit())
    }

    /// Goes through them, the strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism))
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(all: I) -> Mechanisms {
        all.into_iter().fold(Mechanisms::default(), |set, one| Mechanisms(set.0 | one.bit()))
    }
}

impl fmt::Display for Mechanisms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Mechanism::name).collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_either_case() {
        for mechanism in Mechanism::ALL {
            let name = mechanism.name().to_ascii_lowercase();
            assert_eq!(Mechanism::parse(name.as_bytes()), Some(mechanism));
        }
        for odd in ["", "PLAIN ", "SCRAM-SHA-1", "SCRAM-SHA-256-", "plai"] {
            assert_eq!(Mechanism::parse(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn a_set_is_listed_with_the_strongest_first() {
        let set = Mechanisms::parse(b"login XOAUTH2  plain SCRAM-SHA-256 scram-sha-256");
        assert_eq!(set.to_string(), "SCRAM-SHA-256 PLAIN LOGIN");
        assert_eq!(set.intersection(Mechanisms::by_password()).to_string(), "PLAIN LOGIN");
        assert_eq!(set.without(Mechanism::Login).to_string(), "SCRAM-SHA-256 PLAIN");
        assert_eq!(set.union(Mechanisms::all()), Mechanisms::all());
        assert!(Mechanisms::default().is_empty() && !set.is_empty());
        assert_eq!(Mechanisms::all().iter().count(), Mechanism::ALL.len());
    }
}
