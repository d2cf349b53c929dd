//! What the process that delivers says to those that it has forked, one for each owner of places, and what they answer:
//! records of bytes.
//!
//! ```text
//!  delivers                                    box
//!   | TRY, a place --------------------------> |  opens it, makes a draft
//!   | <--- it can be used, or not; or ~/.forward|
//!   | WRITE, which places, the letter -------> |  writes, waits for the disk
//!   | <-------------- a verdict for each place |
//!   | PUBLISH -------------------------------> |  renames, waits for the folder
//!   | <-------------- a verdict for each place |
//!   | KEEP, or UNDO -------------------------> |  (UNDO is answered when nothing is left)
//! ```
//! For a letter that goes nowhere else STORE is WRITE, PUBLISH and KEEP.
//! When the process that delivers ends without a word, a box does as after UNDO.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::protocol::question::{Verdict, add_field, fields};

/// First byte of the order to try a place.
pub const TRY: u8 = b't';
/// First byte of the order to write a letter.
pub const WRITE: u8 = b'w';
/// First byte of the order to write it, make it visible, and leave it there.
pub const STORE: u8 = b's';
/// First byte of the order to make it visible.
pub const PUBLISH: u8 = b'p';
/// First byte of the order to forget the places, and to take back what is there.
pub const UNDO: u8 = b'u';
/// First byte of the order to leave what is there.
pub const KEEP: u8 = b'k';

/// A place for a copy of a letter, and the letter's envelope there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The client, for the log.
    pub client: String,
    /// The place.
    pub place: Place,
    /// The sender there, in place of the letter's, unless that is `<>`.
    pub sender: Option<String>,
    /// The size that the client has told, in bytes; 0 if it has told none.
    pub size: u64,
}

/// Where a copy of a letter goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The mailbox of a user.
    Mailbox {
        /// The user's name.
        name: Vec<u8>,
        /// The user's home.
        home: PathBuf,
        /// The user's `~/.forward` is read first.
        may_forward: bool,
    },
    /// A file, to which letters are appended as to an mbox.
    File(PathBuf),
    /// A command.
    Program(Command),
    /// The terminal of a user.
    Terminal {
        /// The user's name.
        name: Vec<u8>,
        /// The letter goes to the mailbox too.
        is_extra: bool,
    },
}

/// A command that takes a letter over its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The command: a line for sh(1), or that of `--mda`.
    pub text: Vec<u8>,
    /// It is a line for sh(1).
    pub is_shell: bool,
    /// The user's `~/.forward` is read first.
    pub may_forward: bool,
    /// The user's name; empty where it is not known.
    pub name: Vec<u8>,
    /// The user's home; empty where it is not known.
    pub home: PathBuf,
    /// The recipient's address as of RCPT.
    pub recipient: Vec<u8>,
    /// The sub-address.
    pub extension: Vec<u8>,
}

impl Attempt {
    /// Returns the order; `None` where a field is too long.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut record = vec![TRY];
        add_field(&mut record, self.client.as_bytes())?;
        record.extend(self.name()?.get(1..)?);
        Some(record)
    }

    /// Returns what makes this attempt the same in another session; `None` where a field is too long.
    #[must_use]
    pub fn name(&self) -> Option<Vec<u8>> {
        let flag = |is: bool| if is { &b"y"[..] } else { b"" };
        let (kind, parts): (_, Vec<&[u8]>) = match &self.place {
            Place::Mailbox { name, home, may_forward } => {
                (b'm', vec![name, bytes(home), flag(*may_forward)])
            }
            Place::File(path) => (b'f', vec![bytes(path)]),
            Place::Terminal { name, is_extra } => (b't', vec![name, flag(*is_extra)]),
            Place::Program(it) => {
                let Command { text, is_shell, may_forward, name, home, recipient, extension } = it;
                let flags = [flag(*is_shell), flag(*may_forward)];
                (b'p', vec![text, flags[0], flags[1], name, bytes(home), recipient, extension])
            }
        };
        let mut record = vec![TRY, kind];
        add_field(&mut record, &self.size.to_be_bytes())?;
        add_field(&mut record, flag(self.sender.is_some()))?;
        add_field(&mut record, self.sender.as_deref().unwrap_or_default().as_bytes())?;
        parts.into_iter().try_for_each(|part| add_field(&mut record, part))?;
        Some(record)
    }

    /// Reads an order whose first byte is [`TRY`].
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Attempt> {
        let (client, rest) = first_field(record.strip_prefix(&[TRY])?)?;
        let (kind, rest) = rest.split_first()?;
        let fields = fields(rest)?;
        let [size, has_sender, sender, ref parts @ ..] = *fields.as_slice() else { return None };
        let path = |part: &[u8]| PathBuf::from(OsStr::from_bytes(part));
        let place = match (*kind, parts) {
            (b'm', [name, home, may_forward]) => Place::Mailbox {
                name: name.to_vec(),
                home: path(home),
                may_forward: !may_forward.is_empty(),
            },
            (b'f', [file]) => Place::File(path(file)),
            (b't', [name, is_extra]) => {
                Place::Terminal { name: name.to_vec(), is_extra: !is_extra.is_empty() }
            }
            (b'p', [text, is_shell, may_forward, name, home, recipient, extension]) => {
                Place::Program(Command {
                    text: text.to_vec(),
                    is_shell: !is_shell.is_empty(),
                    may_forward: !may_forward.is_empty(),
                    name: name.to_vec(),
                    home: path(home),
                    recipient: recipient.to_vec(),
                    extension: extension.to_vec(),
                })
            }
            _ => return None,
        };
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        let sender = text(sender)?;
        Some(Attempt {
            client: text(client)?,
            place,
            sender: (!has_sender.is_empty()).then_some(sender),
            size: u64::from_be_bytes(size.try_into().ok()?),
        })
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The answer to [`TRY`].
#[derive(Debug, PartialEq, Eq)]
pub enum Tried {
    /// [`Verdict::Accepted`]: it can be used. Otherwise why not; the box has logged the reason.
    Verdict(Verdict),
    /// The user has a `~/.forward`, with this text.
    Forward(Vec<u8>),
    /// This process may not look there any more: another one can.
    NotHere,
}

/// First byte of an answer with the text of a `~/.forward`.
const FORWARD: u8 = b'F';
/// The byte of [`Tried::NotHere`].
const NOT_HERE: u8 = b'N';

impl Tried {
    /// Returns the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Tried::Verdict(verdict) => verdict.encode(),
            Tried::Forward(text) => [&[FORWARD], &text[..]].concat(),
            Tried::NotHere => vec![NOT_HERE],
        }
    }

    /// Reads an answer; what is none is a temporary failure.
    #[must_use]
    pub fn decode(answer: &[u8]) -> Tried {
        match answer.split_first() {
            Some((&FORWARD, text)) => Tried::Forward(text.to_vec()),
            Some((&NOT_HERE, [])) => Tried::NotHere,
            _ => Tried::Verdict(Verdict::decode(answer).unwrap_or(Verdict::Unusable)),
        }
    }
}

/// A letter for places that were tried.
#[derive(Debug, PartialEq, Eq)]
pub struct Writing<'a> {
    /// The letter's id, for the log.
    pub id: &'a [u8],
    /// The letter's sender, without brackets.
    pub sender: &'a [u8],
    /// The numbers of the places, in the order of their [`TRY`].
    pub places: Vec<usize>,
    /// The text; none where its file comes with the order.
    pub text: &'a [u8],
    /// The letter goes nowhere else: it is made visible, and left there.
    pub is_all: bool,
}

impl<'a> Writing<'a> {
    /// Returns the order; `None` where a field is too long.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut record = vec![if self.is_all { STORE } else { WRITE }];
        add_field(&mut record, self.id)?;
        add_field(&mut record, self.sender)?;
        record.extend(u16::try_from(self.places.len()).ok()?.to_be_bytes());
        for place in &self.places {
            record.extend(u16::try_from(*place).ok()?.to_be_bytes());
        }
        record.extend(self.text);
        Some(record)
    }

    /// Reads an order whose first byte is [`WRITE`] or [`STORE`].
    #[must_use]
    pub fn decode(record: &'a [u8]) -> Option<Writing<'a>> {
        let (order, rest) = record.split_first()?;
        let is_all = *order == STORE;
        let (id, rest) = first_field(rest)?;
        let (sender, rest) = first_field(rest)?;
        let (count, rest) = rest.split_first_chunk()?;
        let (places, text) = rest.split_at_checked(2 * usize::from(u16::from_be_bytes(*count)))?;
        let number = |pair: &[u8]| Some(usize::from(u16::from_be_bytes(pair.try_into().ok()?)));
        let places = places.chunks(2).map(number).collect::<Option<_>>()?;
        (is_all || *order == WRITE).then_some(Writing { id, sender, places, text, is_all })
    }
}

fn first_field(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = record.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_what_is_cut_is_nothing() {
        let places = [
            Place::Mailbox { name: b"levy".into(), home: "/h/levy".into(), may_forward: true },
            Place::File("/h/levy/box".into()),
            Place::Terminal { name: b"levy".into(), is_extra: true },
            Place::Program(Command {
                text: b"cat >x".into(),
                is_shell: true,
                may_forward: false,
                name: b"levy".into(),
                home: "/h/levy".into(),
                recipient: b"levy+a@red.test".into(),
                extension: b"a".into(),
            }),
        ];
        for place in places {
            for sender in [None, Some(String::new()), Some("owner-all@red.test".to_owned())] {
                let client = "192.0.2.7:5".to_owned();
                let attempt = Attempt { client, place: place.clone(), sender, size: 7 };
                let record = attempt.encode().unwrap();
                assert_eq!(Attempt::decode(&record), Some(attempt));
                for cut in 0..record.len() {
                    assert_ne!(
                        Attempt::decode(&record[..cut]).as_ref(),
                        Attempt::decode(&record).as_ref()
                    );
                }
            }
        }
        for tried in [
            Tried::Verdict(Verdict::Accepted),
            Tried::Verdict(Verdict::NoRoom),
            Tried::Forward(b"a\n".into()),
            Tried::NotHere,
        ] {
            assert_eq!(Tried::decode(&tried.encode()), tried);
        }
        assert_eq!(Tried::decode(b""), Tried::Verdict(Verdict::Unusable));
        for is_all in [false, true] {
            let (id, sender, places) = (&b"1-2"[..], &b"a@b.test"[..], vec![0, 7, 300]);
            let writing = Writing { id, sender, places, text: b"x\ny\n", is_all };
            let record = writing.encode().unwrap();
            assert_eq!(Writing::decode(&record).unwrap(), writing);
            for cut in 0..record.len() - writing.text.len() {
                assert!(Writing::decode(&record[..cut]).is_none(), "{cut}");
            }
            assert!(Writing::decode(&[&[PUBLISH], &record[1..]].concat()).is_none());
        }
    }
}
