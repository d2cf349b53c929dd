//! Hands letters to a server of LMTP (RFC 2033) in place of mailboxes, with the rights of one user who is no recipient.
//!
//! At RCPT the server is asked whether it takes mail for the recipient (MAIL, RCPT, RSET). Once everything else of a letter
//! is written it gets it, once for all recipients with one sender, and answers for each. What it has taken cannot be
//! taken back.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::time::Duration;

use forknet::{Connection, HostPort, connect, connect_unix, printable, reason};
use netascii::dot_stuffing::Stuffer;
use netascii::line::{Line, LineReader};

use crate::delivery::order::{Attempt, Place, Tried};
use crate::delivery::store::sender_at;
use crate::delivery::text::Text;
use crate::options::{Config, LmtpServer};
use crate::protocol::question::Verdict;

/// Longest wait for the connection and for each reply before the letter: the client of smtpd waits five minutes.
const COMMAND_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for the replies behind the letter: it is published within a minute.
const END_WAIT: Duration = Duration::from_secs(50);
/// Longest line of a reply in bytes: RFC 5321 §4.5.3.1.5 has 512.
const MAX_LINE: usize = 4096;
/// Most lines of one reply.
const MAX_LINES: usize = 100;
/// Bytes of the letter that are sent at once.
const PIECE: usize = 64 * 1024;

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
    server: Option<Server>,
    tried: Vec<Recipient>,
    /// The letter, for these of them.
    letter: Option<(Vec<usize>, Vec<u8>, Text)>,
}

impl<'a> Lmtp<'a> {
    /// Begins with no connection.
    #[must_use]
    pub fn new(config: &'a Config, about: &'a str) -> Lmtp<'a> {
        Lmtp { about, config, server: None, tried: Vec::new(), letter: None }
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
            Err(error) => self.failed(&reason(&error)),
        };
        if verdict == Verdict::Accepted {
            self.tried.push(Recipient { address, sender: attempt.sender.clone() });
        }
        Tried::Verdict(verdict)
    }

    fn probe(&mut self, address: &str) -> io::Result<Reply> {
        let server = self.server()?;
        let mail = server.ask("MAIL FROM:<>")?;
        let reply =
            if mail.is_good() { server.ask(&format!("RCPT TO:<{address}>"))? } else { mail };
        server.ask("RSET")?;
        Ok(reply)
    }

    /// Returns the connection; a server may have closed the one of an earlier letter.
    fn server(&mut self) -> io::Result<&mut Server> {
        let is_alive = self.server.as_mut().is_some_and(Server::is_alive);
        if !is_alive {
            self.server = None;
        }
        match &mut self.server {
            Some(server) => Ok(server),
            none => Ok(none.insert(Server::connect(self.config)?)),
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
        let mut replies = Vec::new();
        let from = String::from_utf8_lossy(from).into_owned();
        let sent = self.server().and_then(|server| server.send(&from, to, text, &mut replies));
        let failed = sent.err().map(|error| self.failed(&reason(&error)));
        let mut replies = replies.into_iter();
        let verdict = |address: &String| match (replies.next(), failed) {
            (Some(reply), _) => self.judge(address, &reply),
            (None, failed) => failed.unwrap_or(Verdict::Unusable),
        };
        to.iter().map(verdict).collect()
    }

    /// Forgets all recipients.
    pub fn forget(&mut self) {
        self.tried.clear();
        self.letter = None;
    }

    fn judge(&self, address: &str, reply: &Reply) -> Verdict {
        if reply.is_good() {
            return Verdict::Accepted;
        }
        let server = &self.config.lmtp_server;
        let server = server.as_ref().map(ToString::to_string).unwrap_or_default();
        log::warn!("{}: {server}: recipient <{address}>: {reply}", self.about);
        match reply.code {
            452 | 552 => Verdict::NoRoom,
            550 | 551 | 553 => Verdict::Unknown,
            500..=599 => Verdict::Rejected,
            _ => Verdict::Unusable,
        }
    }

    fn failed(&mut self, why: &str) -> Verdict {
        self.server = None;
        let server = &self.config.lmtp_server;
        let server = server.as_ref().map(ToString::to_string).unwrap_or_default();
        log::warn!("{}: {server}: {why}", self.about);
        Verdict::Unusable
    }
}

/// Returns the address of a user, whose name may be one; `None` for a name that is no local part without quotes.
fn address(name: &[u8], domain: &str) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>()[]\\,;:\" ".contains(byte);
    let name = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|b| is_plain(&b)))?;
    Some(if name.contains('@') { name.to_owned() } else { format!("{name}@{domain}") })
}

/// A reply, of which the last line is kept.
struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn is_good(&self) -> bool {
        self.code / 100 == 2
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// The connection.
struct Server {
    reader: LineReader<Connection>,
    takes_8bit: bool,
}

impl Server {
    fn connect(config: &Config) -> io::Result<Server> {
        let made = match &config.lmtp_server {
            Some(LmtpServer::Tcp(HostPort { host, port })) => connect(host, *port, COMMAND_WAIT),
            Some(LmtpServer::Unix(name)) => connect_unix(name, COMMAND_WAIT),
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        let connection = made.map_err(|error| io::Error::other(error.to_string()))?;
        let mut server = Server { reader: LineReader::new(connection), takes_8bit: false };
        let greeting = server.reply()?;
        if greeting.is_good() {
            let hello = server.ask(&format!("LHLO {}", config.hostname))?;
            if hello.is_good() {
                return Ok(server);
            }
            return Err(io::Error::other(format!("LHLO: {hello}")));
        }
        Err(io::Error::other(format!("greeting: {greeting}")))
    }

    /// Returns false where the server has closed the connection.
    fn is_alive(&mut self) -> bool {
        self.ask("NOOP").is_ok_and(|reply| reply.is_good())
    }

    fn ask(&mut self, command: &str) -> io::Result<Reply> {
        self.reader.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a letter; adds a reply for each recipient.
    fn send(
        &mut self,
        from: &str,
        to: &[String],
        text: &Text,
        replies: &mut Vec<Reply>,
    ) -> io::Result<()> {
        let body = if self.takes_8bit { " BODY=8BITMIME" } else { "" };
        let mail = self.ask(&format!("MAIL FROM:<{from}>{body}"))?;
        if !mail.is_good() {
            let again = |_| Reply { code: mail.code, text: mail.text.clone() };
            replies.extend((0..to.len()).map(again));
            return Ok(());
        }
        let mut taken = Vec::new();
        for address in to {
            let reply = self.ask(&format!("RCPT TO:<{address}>"))?;
            taken.push(reply.is_good());
            replies.push(reply);
        }
        if !taken.contains(&true) {
            self.ask("RSET")?;
            return Ok(());
        }
        // A recipient without a reply behind the end of the letter has not got it.
        let rcpt = std::mem::take(replies);
        let data = self.ask("DATA")?;
        if data.code != 354 {
            let again = |_| Reply { code: data.code, text: data.text.clone() };
            replies.extend((0..to.len()).map(again));
            return Ok(());
        }
        self.transmit(text)?;
        self.reader.get_mut().set_idle(END_WAIT);
        for (reply, is_taken) in rcpt.into_iter().zip(taken) {
            replies.push(if is_taken { self.reply()? } else { reply });
        }
        self.reader.get_mut().set_idle(COMMAND_WAIT);
        Ok(())
    }

    fn transmit(&mut self, text: &Text) -> io::Result<()> {
        let mut stuffer = Stuffer::bare_cr_to_crlf();
        let (mut reader, mut piece, mut out) =
            (text.reader(Vec::new()), vec![0; PIECE], Vec::new());
        loop {
            let count = reader.read(&mut piece)?;
            match piece.get(..count) {
                Some(read) if count > 0 => stuffer.feed(read, &mut out),
                _ => stuffer.finish(&mut out),
            }
            self.reader.get_mut().write_all(&out)?;
            out.clear();
            if count == 0 {
                return Ok(());
            }
        }
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let broken = |why: &str| io::Error::other(why.to_owned());
        for _ in 0..MAX_LINES {
            let line = match self.reader.read_line(MAX_LINE)? {
                Line::Text(line) => line,
                Line::TooLong => return Err(broken("a reply that is too long")),
                Line::Eof => return Err(broken("it has closed the connection")),
            };
            let digits = line.get(..3).and_then(|code| std::str::from_utf8(code).ok());
            let code = digits.and_then(|digits| digits.parse().ok()).filter(|it| *it >= 200);
            let code: u16 = code.ok_or_else(|| broken("a reply that is no LMTP"))?;
            let text = line.get(4..).unwrap_or_default();
            self.takes_8bit |= text.eq_ignore_ascii_case(b"8BITMIME");
            if line.get(3) != Some(&b'-') {
                return Ok(Reply { code, text: printable(text) });
            }
        }
        Err(broken("a reply without an end"))
    }
}
