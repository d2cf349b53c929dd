//! What the process that talks to the client asks the keeper, and what it is answered: bounded records of
//! bytes. What is asked is read with the rights of root, so every byte of it is looked at.
//!
//! ```text
//!  kind (1 byte) | length, field | length, field | …
//! ```
//! A length is two bytes, the high one first; a number is a field of eight bytes.
//!
//! Of a letter, names of recipients and pieces of the text follow as further records, and then its end
//! ([`crate::protocol::records`]).

use forknet::Peer;

use crate::protocol::address::Name;
use crate::protocol::envelope::{Login, Way};
use crate::protocol::lookup::{Commit, LocalUser};
use crate::protocol::reply::Reply;

/// Most users listed in a reply to an ambiguous name.
pub const MAX_LISTED: usize = 10;
/// Longest field in bytes: longer than a command line (RFC 5321 §4.5.3.1.4).
const MAX_FIELD: usize = 1024;
/// Longest full name in bytes that is answered.
const MAX_FULL_NAME: usize = 512;
/// Bytes of users that are answered, about: with one more they fit into a message.
const MAX_USERS_BYTES: usize = 12 * 1024;

/// A question to the keeper.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// RCPT: is this a user, who can get a letter of this many bytes?
    Recipient {
        /// Who it is.
        name: Name,
        /// The bytes; 0 where they are not known.
        bytes: u64,
        /// To the mailbox, or to a terminal.
        way: Way,
        /// Who asks: a user may send elsewhere.
        login: Login,
    },
    /// MAIL under `--submission`: is this the user's own address?
    Sender {
        /// The address.
        name: Name,
        /// The user.
        login: Login,
    },
    /// VRFY: who is this?
    User {
        /// Who it is.
        name: Name,
    },
    /// EXPN: who are the members of this group?
    Members {
        /// Its name.
        name: Name,
    },
    /// VRFY: who has this full name, or a word of it?
    FullName {
        /// The full name.
        text: Vec<u8>,
    },
    /// DATA: a letter, whose records follow.
    Letter {
        /// Its number in the log.
        id: Vec<u8>,
        /// The reverse-path without its brackets, empty for `<>`.
        sender: Vec<u8>,
        /// Who gets it if one recipient cannot.
        commit: Commit,
    },
    /// The client has connected: a connection to a filter is wanted.
    Filter {
        /// Its number among those of `--milter`, from 0.
        number: u64,
    },
    /// The recipients so far get no letter (RSET).
    Forget,
    /// The session has no more questions for the process that has answered.
    Done,
    /// The session has ended: another client's questions may follow.
    Next,
}

impl Question {
    /// Returns the record, with the client's address for the log; `None` where a field is too long.
    #[must_use]
    pub fn encode(&self, peer: Peer) -> Option<Vec<u8>> {
        let none = Login::default();
        let (kind, bytes, fields, login): (_, _, [&[u8]; 2], _) = match self {
            Question::Members { name } => (b'e', 0, [&name.local, &name.domain], &none),
            Question::Recipient { name, bytes, way, login } => {
                (way.code(), *bytes, [&name.local, &name.domain], login)
            }
            Question::Sender { name, login } => (b'i', 0, [&name.local, &name.domain], login),
            Question::User { name } => (b'v', 0, [&name.local, &name.domain], &none),
            Question::FullName { text } => (b'f', 0, [text, b""], &none),
            Question::Letter { id, sender, commit } => {
                (b'd', u64::from(*commit == Commit::Each), [id, sender], &none)
            }
            Question::Filter { number } => (b'w', *number, [b"", b""], &none),
            Question::Forget => (b'z', 0, [b"", b""], &none),
            Question::Done => (b'q', 0, [b"", b""], &none),
            Question::Next => (b'n', 0, [b"", b""], &none),
        };
        let mut record = vec![kind];
        let fields = fields.into_iter().chain([&login.name[..], &login.token]);
        for it in [peer.record().as_bytes(), &bytes.to_be_bytes()].into_iter().chain(fields) {
            add_field(&mut record, it)?;
        }
        Some(record)
    }

    /// Reads a record; `None` for one that is malformed.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<(Peer, Question)> {
        let (kind, rest) = record.split_first()?;
        let [peer, bytes, one, two, user, token] = fields(rest)?.try_into().ok()?;
        let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
        let name = || Name { local: one.to_vec(), domain: two.to_vec() };
        let login = || Login { name: user.to_vec(), token: token.to_vec() };
        let question = match kind {
            b'i' => Question::Sender { name: name(), login: login() },
            b'v' => Question::User { name: name() },
            b'e' => Question::Members { name: name() },
            b'f' => Question::FullName { text: one.to_vec() },
            b'd' => {
                let commit = if bytes == 0 { Commit::All } else { Commit::Each };
                Question::Letter { id: one.to_vec(), sender: two.to_vec(), commit }
            }
            b'w' => Question::Filter { number: bytes },
            b'z' => Question::Forget,
            b'q' => Question::Done,
            b'n' => Question::Next,
            code => Question::Recipient {
                name: name(),
                bytes,
                way: Way::from_code(*code)?,
                login: login(),
            },
        };
        Some((Peer::parse(peer)?, question))
    }
}

/// First byte of a record with recipients ([`crate::protocol::origin`]).
pub const RECIPIENTS: u8 = b'r';
/// First byte of a record with a piece of the text, its rest.
pub const TEXT: u8 = b't';
/// First byte of a record with a piece of what stands before the text.
pub const HEAD: u8 = b'h';
/// The record after which the text begins again.
pub const CLEAR: &[u8] = b"c";
/// First byte of the record of a letter that is kept back; the reason follows.
pub const QUARANTINE: u8 = b'q';
/// The record at the end of a letter.
pub const END: &[u8] = b"e";
/// The record in place of the rest of a letter that is not to be delivered.
pub const ABORT: &[u8] = b"a";

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes; of a letter: it is safe.
    Accepted,
    /// No such user.
    Unknown,
    /// Not a domain of ours.
    Elsewhere,
    /// The mailbox or the letter cannot be stored now. The log has the reason.
    Unusable,
    /// The list of users cannot be read now.
    Unreadable,
    /// The disk is full.
    NoRoom,
    /// The user has no terminal that takes messages now.
    NoTerminal,
    /// The address leads to itself. The log has where.
    Looped,
    /// The command that delivers does not take the letter, for good.
    Rejected,
}

const VERDICTS: [(Verdict, u8); 9] = [
    (Verdict::Looped, b'o'),
    (Verdict::Accepted, b'+'),
    (Verdict::Unknown, b'u'),
    (Verdict::Elsewhere, b'd'),
    (Verdict::Unusable, b't'),
    (Verdict::Unreadable, b'l'),
    (Verdict::NoRoom, b'n'),
    (Verdict::NoTerminal, b'y'),
    (Verdict::Rejected, b'x'),
];

impl Verdict {
    /// Returns the answer.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        VERDICTS.iter().filter(|(verdict, _)| *verdict == self).map(|(_, code)| *code).collect()
    }

    /// Reads an answer.
    #[must_use]
    pub fn decode(answer: &[u8]) -> Option<Verdict> {
        let code = VERDICTS.iter().find(|(_, code)| [*code] == answer);
        code.map(|(verdict, _)| *verdict)
    }

    /// Returns the answer about each recipient of a letter.
    #[must_use]
    pub fn encode_all(verdicts: &[Verdict]) -> Vec<u8> {
        verdicts.iter().flat_map(|verdict| verdict.encode()).collect()
    }

    /// Returns the reply to RCPT, VRFY or MAIL.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Verdict::Accepted => Reply::new(250, "2.1.5", "Recipient accepted"),
            Verdict::Unknown => Reply::new(550, "5.1.1", "No such user here"),
            Verdict::Elsewhere => {
                Reply::new(550, "5.7.1", "Not a domain of ours, and no relaying here")
            }
            Verdict::Unusable => {
                let text = "The mailbox cannot be used now, try again later";
                Reply::new(451, "4.3.0", text)
            }
            Verdict::Unreadable => {
                let text = "The list of users cannot be read now, try again later";
                Reply::new(451, "4.3.0", text)
            }
            Verdict::Looped => {
                Reply::new(451, "4.4.6", "The address leads to itself, try again later")
            }
            Verdict::Rejected => Reply::new(550, "5.3.0", "The mailbox does not take the letter"),
            Verdict::NoTerminal => {
                Reply::new(450, "4.2.1", "The user has no terminal that takes messages now")
            }
            Verdict::NoRoom => {
                Reply::new(452, "4.3.1", "Not enough room on the disk, try again later")
            }
        }
    }
}

/// Reads the answer about each recipient of a letter.
#[must_use]
pub fn decode_verdicts(answer: &[u8]) -> Option<Vec<Verdict>> {
    answer.chunks(1).map(Verdict::decode).collect()
}

/// First byte of an answer with users.
const USERS: u8 = b'U';

/// Returns the answer with these users; the last one has no address where the message is too short for all.
#[must_use]
pub fn encode_users(users: &[LocalUser]) -> Vec<u8> {
    let mut answer = vec![USERS];
    for user in users {
        let full_name = user.full_name.get(..MAX_FULL_NAME).unwrap_or(&user.full_name);
        let before = answer.len();
        let added = add_field(&mut answer, &user.address);
        if added.and_then(|()| add_field(&mut answer, full_name)).is_none() {
            answer.truncate(before); // a name that no command line holds
        }
        if answer.len() > MAX_USERS_BYTES {
            answer.extend([0; 4]);
            break;
        }
    }
    answer
}

/// First byte of an answer with the address to which a user has moved.
const MOVED: u8 = b'M';

/// Returns the answer about a user who has moved to an address elsewhere; `is_sent_on` means that there is a queue.
#[must_use]
pub fn encode_moved(address: &[u8], is_sent_on: bool) -> Vec<u8> {
    [&[MOVED, u8::from(is_sent_on)], address].concat()
}

/// Reads an answer about a user who has moved.
#[must_use]
pub fn decode_moved(answer: &[u8]) -> Option<(&[u8], bool)> {
    match answer {
        [MOVED, is_sent_on @ (0 | 1), address @ ..] => Some((address, *is_sent_on == 1)),
        _ => None,
    }
}

/// Reads an answer with users.
#[must_use]
pub fn decode_users(answer: &[u8]) -> Option<Vec<LocalUser>> {
    let fields = fields(answer.strip_prefix(&[USERS])?)?;
    let pairs = fields.chunks(2).map(|pair| match pair {
        [address, full] => Some(LocalUser { address: address.to_vec(), full_name: full.to_vec() }),
        _ => None,
    });
    pairs.collect()
}

/// Adds a field to a record; `None` for one that is too long.
pub fn add_field(record: &mut Vec<u8>, field: &[u8]) -> Option<()> {
    let length = u16::try_from(field.len()).ok().filter(|_| field.len() <= MAX_FIELD)?;
    record.extend(length.to_be_bytes());
    record.extend(field);
    Some(())
}

/// Splits a record into its fields; `None` for one that is malformed.
#[must_use]
pub fn fields(mut record: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while !record.is_empty() {
        let (length, rest) = record.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (field, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_FIELD)?;
        all.push(field);
        record = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(local: &[u8], domain: &[u8]) -> Name {
        Name { local: local.to_vec(), domain: domain.to_vec() }
    }

    fn login() -> Login {
        Login { name: b"levy".to_vec(), token: vec![7; 32] }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for question in [
            Question::Forget,
            Question::Recipient {
                name: name(b"levy", b"[127.0.0.1]"),
                bytes: u64::MAX,
                way: Way::Mail,
                login: login(),
            },
            Question::Sender { name: name(b"levy", b"red.test"), login: login() },
            Question::User { name: name(b"\xff\0", b"") },
            Question::Members { name: name(b"staff", b"red.test") },
            Question::FullName { text: b"Fred Smith".to_vec() },
            Question::Letter {
                id: vec![b'7'; MAX_FIELD],
                sender: b"a@b.test".to_vec(),
                commit: Commit::Each,
            },
            Question::Letter { id: vec![], sender: vec![], commit: Commit::All },
            Question::Filter { number: 7 },
            Question::Done,
            Question::Next,
        ] {
            for peer in [Peer::Unix, Peer::Pipe, Peer::Ip("[2001:db8::1]:65535".parse().unwrap())] {
                let record = question.encode(peer).unwrap();
                assert!(!maild::LoginQuestion::is_one(&record), "{question:?}");
                assert!(!maild::LoginQuestion::is_one(&record), "the same process answers both");
                let (from, decoded) = Question::decode(&record).unwrap();
                assert_eq!((from, &decoded), (peer, &question));
            }
        }
        for (verdict, _) in VERDICTS {
            assert_eq!(Verdict::decode(&verdict.encode()), Some(verdict));
        }
        let user =
            |name: &[u8], full: &[u8]| LocalUser { address: name.into(), full_name: full.into() };
        let users = [user(b"levy", b"Levy Red"), user(b"bob", b"")];
        assert_eq!(decode_users(&encode_users(&users)).unwrap(), users);
        assert_eq!(decode_users(&encode_users(&[])), Some(vec![]));
        assert_eq!(decode_users(b"+"), None);
        let many = vec![user(&[b'a'; 200], &[b'b'; MAX_FULL_NAME + 1]); 1000];
        let answer = encode_users(&many);
        assert!(answer.len() < forknet::LONGEST_MESSAGE);
        assert_eq!(decode_users(&answer).unwrap().last(), Some(&user(b"", b"")));
        for is_sent_on in [true, false] {
            let answer = encode_moved(b"a@b.test", is_sent_on);
            assert_eq!(decode_moved(&answer), Some((&b"a@b.test"[..], is_sent_on)));
        }
        assert_eq!(decode_moved(b"M\x02x"), None);
        assert_eq!(decode_moved(b"+"), None);
    }

    #[test]
    fn what_is_too_long_or_malformed_is_refused() {
        let long = Question::User { name: name(&[b'x'; MAX_FIELD + 1], b"") };
        assert!(long.encode(Peer::Unix).is_none());
        let (way, login) = (Way::Mail, Login::default());
        let question = Question::Recipient { name: name(b"levy", b""), bytes: 1, way, login };
        let good = question.encode(Peer::Unix).unwrap();
        assert_eq!(good, b"r\0\x04unix\0\x08\0\0\0\0\0\0\0\x01\0\x04levy\0\0\0\0\0\0");
        for cut in 0..good.len() {
            assert!(Question::decode(&good[..cut]).is_none(), "{cut}");
        }
        for odd in [
            &b"X\0\x04unix\0\x08\0\0\0\0\0\0\0\x01\0\x04levy\0\0\0\0\0\0"[..],
            b"r\0\x04unux\0\x08\0\0\0\0\0\0\0\x01\0\x04levy\0\0\0\0\0\0",
            b"r\0\x04unix\0\x07\0\0\0\0\0\0\x01\0\x04levy\0\0\0\0\0\0",
            b"r\0\x04unix\0\x08\0\0\0\0\0\0\0\x01\0\x04levy\0\0\0\0\0\0\0\0",
            b"r\xff\xffunix",
        ] {
            assert!(Question::decode(odd).is_none(), "{}", odd.escape_ascii());
        }
    }
}
