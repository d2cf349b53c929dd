//! Hands letters to a server of LMTP (RFC 2033) in place of mailboxes, with the rights of one user who is no recipient.
//!
//! At RCPT the server is asked whether it takes mail for the recipient (MAIL, RCPT, RSET). Once everything else of a letter
//! is written it gets it, once for all recipients with one sender, and answers for each. What it has taken cannot be
//! taken back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use smtpclient::{
    EightBit, Envelope, Facts, Failure, Letter, Place as ServerPlace, Protocol, Reply, Session,
    Settings, Stage, Target, Timeouts,
};

use crate::delivery::order::{Attempt, Place, Tried};
use crate::delivery::store::sender_at;
use crate::delivery::text::Text;
use crate::options::{Config, LmtpServer};
use crate::protocol::question::Verdict;

/// Longest wait for the connection and for each reply before the letter: the client of smtpd waits five minutes.
const COMMAND_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for the replies after the letter: it is published within a minute.
const END_WAIT: Duration = Duration::from_secs(50);

/// A recipient that was tried.
struct Recipient {
    address: String,
    /// The sender in place of the letter's.
    sender: Option<String>,
}

/// The letters for one server.
pub struct Lmtp<'a> {
    /// The client, for the log.
    about: &'a str,
    config: &'a Config,
    session: Option<Session>,
    tried: Vec<Recipient>,
    /// The letter, for these of them.
    letter: Option<(Vec<usize>, Vec<u8>, Text)>,
}

impl<'a> Lmtp<'a> {
    /// Begins with no connection.
    #[must_use]
    pub fn new(config: &'a Config, about: &'a str) -> Lmtp<'a> {
        Lmtp { about, config, session: None, tried: Vec::new(), letter: None }
    }

    /// Asks the server whether it takes mail for a user.
    pub fn attempt(&mut self, attempt: &Attempt) -> Tried {
        let Place::Mailbox { name, .. } = &attempt.place else {
            return Tried::Verdict(Verdict::Unusable);
        };
        let Some(address) = address(name, self.config.first_domain()) else {
            return Tried::Verdict(Verdict::Rejected);
        };
        let verdict = match self.probe(&address) {
            Ok(reply) => self.judge(&address, &reply),
            Err(failure) => self.failed(&failure),
        };
        if verdict == Verdict::Accepted {
            self.tried.push(Recipient { address, sender: attempt.sender.clone() });
        }
        Tried::Verdict(verdict)
    }

    fn probe(&mut self, address: &str) -> smtpclient::Result<Reply> {
        self.session()?.verify(address.as_bytes())
    }

    /// Returns the session; a server may have closed the one of an earlier letter.
    fn session(&mut self) -> smtpclient::Result<&mut Session> {
        let is_alive = self.session.as_mut().is_some_and(Session::is_alive);
        if !is_alive {
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert(connect(self.config)?)),
        }
    }

    /// Keeps a letter for these recipients.
    pub fn write(&mut self, places: &[usize], sender: &[u8], text: Text) -> Vec<Verdict> {
        self.letter = Some((places.to_vec(), sender.to_vec(), text));
        vec![Verdict::Accepted; places.len()]
    }

    /// Sends the letter; returns a verdict for each recipient.
    pub fn publish(&mut self) -> Vec<Verdict> {
        let Some((places, sender, text)) = self.letter.take() else { return Vec::new() };
        let mut verdicts = vec![None; places.len()];
        while let Some(first) = verdicts.iter().position(Option::is_none) {
            let of = |number: &usize| {
                let found = self.tried.get(*number)?;
                Some((sender_at(found.sender.as_deref(), &sender).to_vec(), found.address.clone()))
            };
            let Some((from, _)) = places.get(first).and_then(of) else {
                verdicts.iter_mut().for_each(|it| *it = it.or(Some(Verdict::Unusable)));
                break;
            };
            let (mut slots, mut to) = (Vec::new(), Vec::new());
            for (slot, number) in places.iter().enumerate() {
                if let (Some(None), Some((its, address))) = (verdicts.get(slot), of(number))
                    && its == from
                {
                    slots.push(slot);
                    to.push(address);
                }
            }
            let answers = self.send(&from, &to, &text);
            for (slot, answer) in slots.into_iter().zip(answers) {
                if let Some(verdict) = verdicts.get_mut(slot) {
                    *verdict = Some(answer);
                }
            }
        }
        verdicts.into_iter().map(|it| it.unwrap_or(Verdict::Unusable)).collect()
    }

    /// Sends a letter to these recipients. After an error it is not known who has it: they may get it twice.
    fn send(&mut self, from: &[u8], to: &[String], text: &Text) -> Vec<Verdict> {
        let session = match self.session() {
            Ok(session) => session,
            Err(failure) => return vec![self.failed(&failure); to.len()],
        };
        let envelope = Envelope::new(from, to.iter().map(String::as_bytes));
        let mut letter = match TextLetter::new(text) {
            Ok(letter) => letter,
            Err(error) => {
                log::warn!("{}: the letter: {}", self.about, forknet::reason(&error));
                return vec![Verdict::Unusable; to.len()];
            }
        };
        let outcomes = session.send(&envelope, &mut letter);
        let mut failed = None;
        let verdict = |(address, outcome): (&String, smtpclient::Outcome)| match outcome {
            Ok(_) => Verdict::Accepted,
            Err(Failure { reply: Some(reply), .. }) => self.judge(address, &reply),
            // One reason for several of them is logged once.
            Err(failure) => *failed.get_or_insert_with(|| self.failed(&failure)),
        };
        to.iter().zip(outcomes).map(verdict).collect()
    }

    /// Forgets all recipients.
    pub fn forget(&mut self) {
        self.tried.clear();
        self.letter = None;
    }

    fn judge(&self, address: &str, reply: &Reply) -> Verdict {
        if reply.is_success() {
            return Verdict::Accepted;
        }
        log::warn!("{}: {}: recipient <{address}>: {reply}", self.about, self.server());
        match reply.code() {
            452 | 552 => Verdict::NoRoom,
            550 | 551 | 553 => Verdict::Unknown,
            500..=599 => Verdict::Rejected,
            _ => Verdict::Unusable,
        }
    }

    fn failed(&mut self, failure: &Failure) -> Verdict {
        self.session = None;
        match failure.stage {
            Stage::Connect => log::warn!("{}: {}: {failure}", self.about, self.server()),
            _ => log::warn!("{}: {failure}", self.about),
        }
        Verdict::Unusable
    }

    fn server(&self) -> String {
        self.config.lmtp_server.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Returns the address of a user, whose name may be one; `None` for a name that is no local part without quotes.
fn address(name: &[u8], domain: &str) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>()[]\\,;:\" ".contains(byte);
    let name = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|b| is_plain(&b)))?;
    Some(if name.contains('@') { name.to_owned() } else { format!("{name}@{domain}") })
}

/// Connects to the server of `--deliver`.
fn connect(config: &Config) -> smtpclient::Result<Session> {
    let place = match &config.lmtp_server {
        Some(LmtpServer::Tcp(server)) => ServerPlace::Tcp(server.clone()),
        Some(LmtpServer::Unix(name)) => ServerPlace::Unix(name.clone()),
        None => return Err(Failure::not_there("no server of LMTP")),
    };
    let settings = Settings {
        protocol: Protocol::Lmtp,
        timeouts: Timeouts { end: END_WAIT, ..Timeouts::all(COMMAND_WAIT) },
        eight_bit: EightBit::Send,
        label: Some("lmtp"),
        ..Settings::new(&config.hostname)
    };
    Session::open(&Arc::new(settings), &Target::new(place))
}

/// The text of a letter, with its size for the server.
struct TextLetter<'a> {
    text: &'a Text,
    facts: Facts,
}

impl TextLetter<'_> {
    fn new(text: &Text) -> io::Result<TextLetter<'_>> {
        let facts = Facts::of(&mut *text.reader(Vec::new()))?;
        Ok(TextLetter { text, facts })
    }
}

impl Letter for TextLetter<'_> {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn reader(&mut self) -> io::Result<Box<dyn io::Read + '_>> {
        Ok(self.text.reader(Vec::new()))
    }
}
