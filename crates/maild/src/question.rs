//! What the process that talks to the client asks about a login, and what it is answered: bounded records of
//! bytes. What is asked is read with the rights of root, so every byte of it is looked at.
//!
//! ```text
//!  kind (1 byte) | length, field | length, field | …
//! ```
//! A length is two bytes, the high one first. A login is one question, or several in turn, to which the same
//! process answers:
//!
//! ```text
//!  password, digest                    --> accepted, or why not
//!  SCRAM: name, nonce                  --> more: the first message of the server
//!  SCRAM: messages, proof              --> more: the signature of the server
//!  open                                --> accepted, or why not
//!  relayed: mechanism, response        --> more: a challenge
//!  relayed: response                   --> accepted, or why not
//! ```

use accounts::sasl::claimed_name;
use accounts::{Mechanism as Sasl, Secret};
use forknet::Peer;

use crate::credentials::{Credentials, Denied, Mechanism, Proof};
use crate::token::TOKEN;

/// Longest field in bytes: a message of SASL with all that it may hold, decoded.
const MAX_FIELD: usize = accounts::sasl::MAX_LINE;

/// A question about a login.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginQuestion {
    /// Whether these credentials are right. The peer is the client's address, as it says: for the log.
    Check(Peer, Credentials),
    /// The first message of SCRAM, by this mechanism.
    ScramFirst {
        /// The client's address.
        peer: Peer,
        /// With a channel binding or without.
        mechanism: Sasl,
        /// The user's name.
        name: Vec<u8>,
        /// The client's part of the nonce.
        nonce: Vec<u8>,
    },
    /// The last message of SCRAM.
    ScramFinal {
        /// The client's first message, without its header.
        first_bare: Vec<u8>,
        /// The client's last message, without the proof.
        without_proof: Vec<u8>,
        /// The proof.
        proof: [u8; 32],
    },
    /// The client has seen the signature: the login is to be accepted.
    Open,
    /// The client has cancelled the exchange.
    Cancel,
    /// An exchange begins that another program has with the client.
    Relay {
        /// The client's address.
        peer: Peer,
        /// The mechanism.
        mechanism: Sasl,
        /// The response that came with the command.
        initial: Option<Secret>,
    },
    /// The next response of that exchange.
    RelayNext(Secret),
}

/// First byte of a record.
const PASS: u8 = b'p';
const APOP: u8 = b'a';
const AUTH: u8 = b's';
const CRAM_MD5: u8 = b'c';
const SCRAM_FIRST: u8 = b'u';
const SCRAM_FINAL: u8 = b'U';
const OPEN: u8 = b'o';
const CANCEL: u8 = b'*';
const RELAY: u8 = b'x';
const RELAY_NEXT: u8 = b'X';
/// The first bytes of records.
const KINDS: [u8; 10] =
    [PASS, APOP, AUTH, CRAM_MD5, SCRAM_FIRST, SCRAM_FINAL, OPEN, CANCEL, RELAY, RELAY_NEXT];

impl LoginQuestion {
    /// Returns the record; `None` for what is too long, which no command line holds.
    #[must_use]
    pub fn encode(&self) -> Option<Secret> {
        match self {
            LoginQuestion::Check(peer, credentials) => check(*peer, credentials),
            LoginQuestion::ScramFirst { peer, mechanism, name, nonce } => {
                let (peer, mechanism) = (peer.record(), mechanism.name().as_bytes());
                record(SCRAM_FIRST, &[peer.as_bytes(), mechanism, name, nonce])
            }
            LoginQuestion::ScramFinal { first_bare, without_proof, proof } => {
                record(SCRAM_FINAL, &[first_bare, without_proof, proof])
            }
            LoginQuestion::Open => record(OPEN, &[]),
            LoginQuestion::Cancel => record(CANCEL, &[]),
            LoginQuestion::Relay { peer, mechanism, initial } => {
                let (peer, mechanism) = (peer.record(), mechanism.name().as_bytes());
                let is_given = &[u8::from(initial.is_some())][..];
                let initial = initial.as_ref().map_or(&[][..], Secret::as_bytes);
                record(RELAY, &[peer.as_bytes(), mechanism, is_given, initial])
            }
            LoginQuestion::RelayNext(response) => record(RELAY_NEXT, &[response.as_bytes()]),
        }
    }

    /// Whether this is the record of a question about a login, by its first byte: other questions to a
    /// keeper begin with other bytes.
    #[must_use]
    pub fn is_one(record: &[u8]) -> bool {
        record.first().is_some_and(|kind| KINDS.contains(kind))
    }

    /// Returns the client and the name whose login begins with this question, if one does; no name where
    /// a later message of an exchange with another program shows it.
    pub(crate) fn begins(&self) -> Option<(Peer, Option<Vec<u8>>)> {
        match self {
            LoginQuestion::Check(peer, credentials) => {
                Some((*peer, Some(credentials.name.clone())))
            }
            LoginQuestion::ScramFirst { peer, name, .. } => Some((*peer, Some(name.clone()))),
            LoginQuestion::Relay { peer, mechanism, initial } => {
                let claimed = |message: &Secret| claimed_name(*mechanism, message.as_bytes());
                Some((*peer, initial.as_ref().and_then(claimed)))
            }
            _ => None,
        }
    }

    /// Returns the client and the name that this response shows, in an exchange with another program that
    /// `began` and has shown none.
    pub(crate) fn claims(&self, began: &Option<(Peer, Sasl)>) -> Option<(Peer, Option<Vec<u8>>)> {
        let (LoginQuestion::RelayNext(response), Some((peer, mechanism))) = (self, began) else {
            return None;
        };
        Some((*peer, Some(claimed_name(*mechanism, response.as_bytes())?)))
    }

    /// Reads a record; `None` for one that is malformed.
    #[must_use]
    pub fn decode(record: &Secret) -> Option<LoginQuestion> {
        let (kind, rest) = record.as_bytes().split_first()?;
        let all = fields(rest)?;
        let peer = || Peer::parse(all.first()?);
        Some(match (*kind, all.as_slice()) {
            (PASS, [_, name, password]) => {
                LoginQuestion::Check(peer()?, by_password(Mechanism::Pass, name, password))
            }
            (AUTH, [_, name, mechanism, password]) => {
                let mechanism = Sasl::parse(mechanism).filter(|it| it.sends_password())?;
                let mechanism = Mechanism::Auth(mechanism);
                LoginQuestion::Check(peer()?, by_password(mechanism, name, password))
            }
            (APOP | CRAM_MD5, [_, name, challenge, digest]) => {
                let is_apop = *kind == APOP;
                let mechanism =
                    if is_apop { Mechanism::Apop } else { Mechanism::Auth(Sasl::CramMd5) };
                let (challenge, digest) = (challenge.to_vec(), digest.to_vec());
                let proof = Proof::Digest { challenge, digest };
                let name = name.to_vec();
                LoginQuestion::Check(peer()?, Credentials { mechanism, name, proof })
            }
            (SCRAM_FIRST, [_, mechanism, name, nonce]) => LoginQuestion::ScramFirst {
                peer: peer()?,
                mechanism: Sasl::parse(mechanism).filter(|it| is_scram(*it))?,
                name: name.to_vec(),
                nonce: nonce.to_vec(),
            },
            (SCRAM_FINAL, [first_bare, without_proof, proof]) => LoginQuestion::ScramFinal {
                first_bare: first_bare.to_vec(),
                without_proof: without_proof.to_vec(),
                proof: (*proof).try_into().ok()?,
            },
            (OPEN, []) => LoginQuestion::Open,
            (CANCEL, []) => LoginQuestion::Cancel,
            (RELAY, [_, mechanism, is_given @ ([0] | [1]), initial]) => LoginQuestion::Relay {
                peer: peer()?,
                mechanism: Sasl::parse(mechanism)?,
                initial: (*is_given == [1]).then(|| Secret::from(*initial)),
            },
            (RELAY_NEXT, [response]) => LoginQuestion::RelayNext(Secret::from(*response)),
            _ => return None,
        })
    }
}

fn is_scram(mechanism: Sasl) -> bool {
    matches!(mechanism, Sasl::ScramSha256 | Sasl::ScramSha256Plus)
}

fn by_password(mechanism: Mechanism, name: &[u8], password: &[u8]) -> Credentials {
    let proof = Proof::Password(Secret::from(password));
    Credentials { mechanism, name: name.to_vec(), proof }
}

fn check(peer: Peer, credentials: &Credentials) -> Option<Secret> {
    let Credentials { mechanism, name, proof } = credentials;
    let peer = peer.record();
    let peer = peer.as_bytes();
    match (mechanism, proof) {
        (Mechanism::Pass, Proof::Password(password)) => {
            record(PASS, &[peer, name, password.as_bytes()])
        }
        (Mechanism::Auth(mechanism), Proof::Password(password)) => {
            record(AUTH, &[peer, name, mechanism.name().as_bytes(), password.as_bytes()])
        }
        (Mechanism::Apop, Proof::Digest { challenge, digest }) => {
            record(APOP, &[peer, name, challenge, digest])
        }
        (Mechanism::Auth(Sasl::CramMd5), Proof::Digest { challenge, digest }) => {
            record(CRAM_MD5, &[peer, name, challenge, digest])
        }
        _ => None,
    }
}

fn record(kind: u8, fields: &[&[u8]]) -> Option<Secret> {
    let lengths: Vec<[u8; 2]> = fields.iter().map(|field| length(field)).collect::<Option<_>>()?;
    let kind = [kind];
    let mut parts: Vec<&[u8]> = vec![&kind];
    for (length, field) in lengths.iter().zip(fields) {
        parts.extend([&length[..], field]);
    }
    Some(Secret::concat(&parts))
}

fn length(field: &[u8]) -> Option<[u8; 2]> {
    let length = u16::try_from(field.len()).ok().filter(|_| field.len() <= MAX_FIELD)?;
    Some(length.to_be_bytes())
}

/// Most fields that a record has, a number.
const MAX_FIELDS: usize = 4;

fn fields(mut record: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::with_capacity(MAX_FIELDS);
    while !record.is_empty() && fields.len() < MAX_FIELDS {
        let (length, rest) = record.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (field, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_FIELD)?;
        fields.push(field);
        record = rest;
    }
    record.is_empty().then_some(fields)
}

/// First byte of the answer to a login that is accepted; the user's name follows.
const ACCEPTED: u8 = b'+';
/// First byte of such an answer with a token; the name follows that.
const ACCEPTED_WITH_TOKEN: u8 = b'=';

/// Returns the answer to a login that is accepted, of the user with this name in its canonical form.
#[must_use]
pub fn accepted(name: &[u8]) -> Vec<u8> {
    [&[ACCEPTED], name].concat()
}

/// As [`accepted`], with what proves the login later ([`crate::MailOptions::token`]).
#[must_use]
pub fn accepted_with_token(name: &[u8], token: &[u8]) -> Vec<u8> {
    match token.len() {
        TOKEN => [&[ACCEPTED_WITH_TOKEN], token, name].concat(),
        _ => accepted(name),
    }
}

/// Reads the name of [`accepted`], and the token.
pub(crate) fn accepted_name(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, token) = match answer.split_first()? {
        (&ACCEPTED, name) => (name, &[][..]),
        (&ACCEPTED_WITH_TOKEN, rest) => {
            let (token, name) = rest.split_at_checked(TOKEN)?;
            (name, token)
        }
        _ => return None,
    };
    (1..=accounts::MAX_NAME).contains(&name.len()).then_some((name, token))
}

const DENIALS: [(Denied, u8); 6] = [
    (Denied::Rejected, b'r'),
    (Denied::NotChecked, b'n'),
    (Denied::TooSoon, b'd'),
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

    fn check(mechanism: Mechanism, name: &[u8], proof: Proof) -> LoginQuestion {
        LoginQuestion::Check(Peer::Unix, Credentials { mechanism, name: name.to_vec(), proof })
    }

    fn password(bytes: &[u8]) -> Proof {
        Proof::Password(Secret::from(bytes))
    }

    fn digest() -> Proof {
        Proof::Digest { challenge: b"<1.2@h>".into(), digest: b"zz".to_vec() }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let peer = Peer::Ip("[2001:db8::1]:65535".parse().unwrap());
        let (name, nonce) = (b"levy".to_vec(), b"abc".to_vec());
        for question in [
            check(Mechanism::Pass, b"levy", password(b"two words ")),
            check(Mechanism::Auth(Sasl::Plain), b"\xff\0", password(&[7; MAX_FIELD])),
            check(Mechanism::Auth(Sasl::Login), b"", password(b"")),
            check(Mechanism::Apop, b"levy", digest()),
            check(Mechanism::Auth(Sasl::CramMd5), b"levy", digest()),
            LoginQuestion::ScramFirst { peer, mechanism: Sasl::ScramSha256Plus, name, nonce },
            LoginQuestion::ScramFinal {
                first_bare: b"n=a".to_vec(),
                without_proof: b"c=".to_vec(),
                proof: [3; 32],
            },
            LoginQuestion::Open,
            LoginQuestion::Cancel,
            LoginQuestion::Relay { peer: Peer::Pipe, mechanism: Sasl::CramMd5, initial: None },
            LoginQuestion::Relay { peer, mechanism: Sasl::Plain, initial: Some(Secret::default()) },
            LoginQuestion::RelayNext(Secret::from(&b"x"[..])),
        ] {
            let record = question.encode().unwrap();
            assert_eq!(LoginQuestion::decode(&record), Some(question));
        }
        for denied in DENIALS.map(|(denied, _)| denied) {
            assert_eq!(Denied::decode(&denied.encode()), Some(denied));
        }
        assert_eq!(Denied::decode(b""), None);
        assert_eq!(Denied::decode(b"rr"), None);
        assert_eq!(Denied::decode(&accepted(b"x")), None);
        assert_eq!(accepted_name(&accepted(b"levy")), Some((&b"levy"[..], &b""[..])));
        let token = [7; TOKEN];
        let answer = accepted_with_token(b"levy", &token);
        assert_eq!(accepted_name(&answer), Some((&b"levy"[..], &token[..])));
        for odd in [&b"+"[..], b"", b"r", &[b'+'; 300]] {
            assert_eq!(accepted_name(odd), None);
        }
    }

    #[test]
    fn what_is_too_long_or_malformed_is_refused() {
        let long = check(Mechanism::Pass, b"levy", password(&[7; MAX_FIELD + 1]));
        assert!(long.encode().is_none());
        assert!(check(Mechanism::Auth(Sasl::Plain), b"levy", digest()).encode().is_none());
        let good = check(Mechanism::Pass, b"levy", password(b"x")).encode().unwrap();
        assert_eq!(good.as_bytes(), b"p\0\x04unix\0\x04levy\0\x01x");
        for cut in 0..good.as_bytes().len() {
            let record = Secret::from(&good.as_bytes()[..cut]);
            assert!(LoginQuestion::decode(&record).is_none(), "{cut}");
        }
        for odd in [
            &b"p\0\x04unix\0\x04levy\0\x01x\0"[..],
            b"p\0\x04unix\0\x04levy\0\x01x\0\0",
            b"q\0\x04unix\0\x04levy\0\x01x",
            b"s\0\x04unix\0\x04levy\0\x08CRAM-MD5\0\x01y",
            b"p\0\x04unux\0\x04levy\0\x01x",
            b"u\0\x04unix\0\x05PLAIN\0\x01a\0\x01b",
            b"U\0\x01a\0\x01b\0\x01c",
            b"o\0\0",
            b"x\0\x04unix\0\x05PLAIN\0\x01\x02\0\0",
            b"p\xff\xffunix\0\x04levy\0\x01x",
            b"a\0\x04unix\0\x01a\0\x01b\0\x01c\0\x01d",
        ] {
            assert!(LoginQuestion::decode(&Secret::from(odd)).is_none(), "{}", odd.escape_ascii());
        }
    }
}
