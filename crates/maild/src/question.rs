//! What the process that talks to the client asks about a login, and what it is answered: bounded records of
//! bytes. What is asked is read with the rights of root, so every byte of it is looked at.
//!
//! ```text
//!  mechanism (1 byte) | length, peer | length, name | length, proof | length, digest of APOP
//! ```
//! A length is two bytes, the high one first.

use accounts::Secret;
use forknet::Peer;

use crate::credentials::{Credentials, Denied, Mechanism, Proof};

/// Longest field in bytes: a response of AUTH PLAIN has at most 1,026 (RFC 4616 §2).
const MAX_FIELD: usize = 1026;

/// A login to be checked.
#[derive(Debug, PartialEq, Eq)]
pub struct LoginQuestion {
    /// The client's address, as it says: for the log.
    pub peer: Peer,
    /// The credentials.
    pub credentials: Credentials,
}

impl LoginQuestion {
    /// Returns the record; `None` for credentials that are too long, which no command line holds.
    #[must_use]
    pub fn encode(peer: Peer, credentials: &Credentials) -> Option<Secret> {
        let Credentials { mechanism, name, proof } = credentials;
        let (proof, digest) = match proof {
            Proof::Password(password) => (password.as_bytes(), &[][..]),
            Proof::Apop { timestamp, digest } => (timestamp.as_bytes(), &digest[..]),
        };
        let peer = peer.record();
        let fields = [peer.as_bytes(), name, proof, digest];
        let lengths: Vec<[u8; 2]> =
            fields.iter().map(|field| length(field)).collect::<Option<_>>()?;
        let mut parts: Vec<&[u8]> = vec![code(*mechanism)];
        for (length, field) in lengths.iter().zip(fields) {
            parts.extend([&length[..], field]);
        }
        Some(Secret::concat(&parts))
    }

    /// Reads a record; `None` for one that is malformed.
    #[must_use]
    pub fn decode(record: &Secret) -> Option<LoginQuestion> {
        let (mechanism, rest) = record.as_bytes().split_first()?;
        let mechanism = MECHANISMS.into_iter().find(|it| code(*it) == [*mechanism])?;
        let (peer, rest) = field(rest)?;
        let (name, rest) = field(rest)?;
        let (proof, rest) = field(rest)?;
        let (digest, rest) = field(rest)?;
        if !rest.is_empty() {
            return None;
        }
        let proof = match mechanism {
            Mechanism::Pass | Mechanism::Plain if digest.is_empty() => {
                Proof::Password(Secret::from(proof))
            }
            Mechanism::Apop => Proof::Apop {
                timestamp: String::from_utf8(proof.to_vec()).ok()?,
                digest: digest.to_vec(),
            },
            _ => return None,
        };
        let credentials = Credentials { mechanism, name: name.to_vec(), proof };
        Some(LoginQuestion { peer: Peer::parse(peer)?, credentials })
    }
}

const MECHANISMS: [Mechanism; 3] = [Mechanism::Pass, Mechanism::Apop, Mechanism::Plain];

fn code(mechanism: Mechanism) -> &'static [u8] {
    match mechanism {
        Mechanism::Pass => b"p",
        Mechanism::Apop => b"a",
        Mechanism::Plain => b"s",
    }
}

fn length(field: &[u8]) -> Option<[u8; 2]> {
    let length = u16::try_from(field.len()).ok().filter(|_| field.len() <= MAX_FIELD)?;
    Some(length.to_be_bytes())
}

/// Splits a field off.
fn field(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = record.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.split_at_checked(length).filter(|_| length <= MAX_FIELD)
}

/// What is answered when the login succeeds.
pub const ACCEPTED: &[u8] = b"+";

const DENIALS: [(Denied, u8); 5] = [
    (Denied::Rejected, b'r'),
    (Denied::NotChecked, b'n'),
    (Denied::InUse, b'i'),
    (Denied::Temporary, b't'),
    (Denied::Permanent, b'p'),
];

impl Denied {
    /// Returns the answer.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        DENIALS.iter().filter(|(denied, _)| *denied == self).map(|(_, code)| *code).collect()
    }

    /// Reads an answer.
    #[must_use]
    pub fn decode(answer: &[u8]) -> Option<Denied> {
        let code = DENIALS.iter().find(|(_, code)| [*code] == answer);
        code.map(|(denied, _)| *denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(mechanism: Mechanism, name: &[u8], proof: Proof) -> Credentials {
        Credentials { mechanism, name: name.to_vec(), proof }
    }

    fn password(bytes: &[u8]) -> Proof {
        Proof::Password(Secret::from(bytes))
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let apop = Proof::Apop { timestamp: "<1.2@h>".into(), digest: b"zz".to_vec() };
        for credentials in [
            credentials(Mechanism::Pass, b"levy", password(b"two words ")),
            credentials(Mechanism::Plain, b"\xff\0", password(&[7; MAX_FIELD])),
            credentials(Mechanism::Pass, b"", password(b"")),
            credentials(Mechanism::Apop, b"levy", apop),
        ] {
            for peer in [Peer::Unix, Peer::Pipe, Peer::Ip("[2001:db8::1]:65535".parse().unwrap())] {
                let record = LoginQuestion::encode(peer, &credentials).unwrap();
                let question = LoginQuestion::decode(&record).unwrap();
                assert_eq!((question.peer, &question.credentials), (peer, &credentials));
            }
        }
        for denied in DENIALS.map(|(denied, _)| denied) {
            assert_eq!(Denied::decode(&denied.encode()), Some(denied));
        }
        assert_eq!(Denied::decode(b""), None);
        assert_eq!(Denied::decode(b"rr"), None);
        assert_eq!(Denied::decode(ACCEPTED), None);
    }

    #[test]
    fn what_is_too_long_or_malformed_is_refused() {
        let long = credentials(Mechanism::Pass, b"levy", password(&[7; MAX_FIELD + 1]));
        assert!(LoginQuestion::encode(Peer::Unix, &long).is_none());
        let good = credentials(Mechanism::Pass, b"levy", password(b"x"));
        let good = LoginQuestion::encode(Peer::Unix, &good).unwrap();
        assert_eq!(good.as_bytes(), b"p\0\x04unix\0\x04levy\0\x01x\0\0");
        for cut in 0..good.as_bytes().len() {
            let record = Secret::from(&good.as_bytes()[..cut]);
            assert!(LoginQuestion::decode(&record).is_none(), "{cut}");
        }
        for odd in [
            &b"p\0\x04unix\0\x04levy\0\x01x\0\0\0"[..],
            b"q\0\x04unix\0\x04levy\0\x01x\0\0",
            b"p\0\x04unix\0\x04levy\0\x01x\0\x01y",
            b"p\0\x04unux\0\x04levy\0\x01x\0\0",
            b"a\0\x04unix\0\x04levy\0\x01\xff\0\0",
            b"p\xff\xffunix\0\x04levy\0\x01x\0\0",
        ] {
            assert!(LoginQuestion::decode(&Secret::from(odd)).is_none(), "{}", odd.escape_ascii());
        }
    }
}
