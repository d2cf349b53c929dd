//! Delivery to a server of SMTP (RFC 5321) or LMTP (RFC 2033), one transaction a letter. A letter counts as
//! stored when the server has said so behind its end.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use forknet::{Connection, Error, Stop, connect, connect_unix, printable};
use netascii::dot_stuffing::Stuffer;
use netascii::line::{Line, LineReader};

use super::delivery::{Delivery, Told};
use super::spool::Spool;
use crate::client::options::Fetch;
use crate::client::status::{Failure, Result, Status};
use crate::client::target::Place;

/// Longest line of a reply, in bytes (RFC 5321 §4.5.3.1.5 has 512).
const MAX_LINE: usize = 4096;
/// Most lines of a reply.
const MAX_LINES: usize = 256;
/// Longest wait for the reply behind a letter (RFC 5321 §4.5.3.2.6).
const END_TIMEOUT: Duration = Duration::from_secs(600);
/// Size of a piece of a letter, in bytes.
const PIECE: usize = 64 * 1024;

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Smtp,
    Lmtp,
}

/// Sends letters over one connection.
pub(crate) struct SmtpDelivery {
    place: Place,
    kind: Kind,
    mail_from: String,
    rcpt_to: String,
    stop: Stop,
    timeout: Duration,
    server: Option<Server>,
    spool: Option<Spool>,
    /// The letter, and whether it has bytes over 127.
    waiting: Option<(File, bool)>,
}

impl SmtpDelivery {
    pub(crate) fn new(
        place: &Place,
        kind: Kind,
        fetch: &Fetch,
        (stop, timeout): (Stop, Duration),
    ) -> SmtpDelivery {
        SmtpDelivery {
            place: place.clone(),
            kind,
            mail_from: fetch.mail_from.clone(),
            rcpt_to: fetch.rcpt_to.clone(),
            stop,
            timeout,
            server: None,
            spool: None,
            waiting: None,
        }
    }

    /// Connects, and says hello.
    fn connect(&self) -> Result<Server> {
        let name = if self.kind == Kind::Smtp { "smtp" } else { "lmtp" };
        let (conn, place) = match &self.place {
            Place::Tcp(it) => (connect(&it.host, it.port, self.timeout), it.to_string()),
            Place::Unix(it) => (connect_unix(it, self.timeout), format!("unix:{it}")),
        };
        let mut conn = conn.map_err(Failure::because(Status::Temporary))?;
        self.stop.watch(&mut conn);
        let reader = LineReader::new(conn);
        let timeout = self.timeout;
        let mut server =
            Server { reader, name: format!("{name} {place}"), eight_bit: false, timeout };
        server.expect("greeting", 2)?;
        let helo = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let helo = helo.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into());
        let hello = if self.kind == Kind::Smtp { "EHLO" } else { "LHLO" };
        match server.ask(&format!("{hello} {helo}"), 2) {
            Ok(lines) => {
                server.eight_bit = lines.iter().any(|line| line.eq_ignore_ascii_case(b"8BITMIME"));
            }
            Err(failure) if failure.status == Status::Permanent && self.kind == Kind::Smtp => {
                server.ask(&format!("HELO {helo}"), 2)?;
            }
            Err(failure) => return Err(failure),
        }
        Ok(server)
    }
}

impl Delivery for SmtpDelivery {
    fn batch(&self) -> usize {
        1
    }

    fn prepare(&mut self) -> Result<()> {
        self.server = Some(self.connect()?);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.spool = Some(Spool::new()?);
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), |spool| spool.write(piece))
    }

    fn end(&mut self) -> Result<()> {
        if let Some(spool) = self.spool.take() {
            let eight_bit = spool.is_eight_bit();
            self.waiting = Some((spool.into_file()?, eight_bit));
        }
        Ok(())
    }

    fn commit(&mut self, told: Told<'_>) -> Result<()> {
        let (Some(server), Some((letter, eight_bit))) = (&mut self.server, self.waiting.take())
        else {
            return Ok(());
        };
        let envelope = (&self.mail_from[..], &self.rcpt_to[..]);
        match server.send(envelope, letter, eight_bit)? {
            Ok(()) => told(0, Ok(())),
            Err(refusal) => {
                server.ask("RSET", 2)?;
                told(0, Err(refusal))
            }
        }
    }
}

impl Drop for SmtpDelivery {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.ask("QUIT", 2); // every letter is stored or refused already
        }
    }
}

/// The connection to the server.
struct Server {
    reader: LineReader<Connection>,
    /// For messages.
    name: String,
    /// It takes bytes over 127 (RFC 6152).
    eight_bit: bool,
    timeout: Duration,
}

impl Server {
    /// Sends a letter. The inner error is a refusal of this letter; after the outer one no other can be sent.
    fn send(
        &mut self,
        (from, to): (&str, &str),
        letter: File,
        eight_bit: bool,
    ) -> Result<Result<()>> {
        let body = if eight_bit && self.eight_bit { " BODY=8BITMIME" } else { "" };
        for (command, wanted) in [
            (format!("MAIL FROM:<{from}>{body}"), 2),
            (format!("RCPT TO:<{to}>"), 2),
            ("DATA".to_owned(), 3),
        ] {
            match self.ask(&command, wanted) {
                Ok(_) => {}
                Err(failure) if failure.is_refusal() => return Ok(Err(failure)),
                Err(failure) => return Err(failure),
            }
        }
        self.transmit(letter)?;
        self.reader.get_mut().set_idle(END_TIMEOUT.max(self.timeout));
        let stored = self.expect("the letter", 2);
        self.reader.get_mut().set_idle(self.timeout);
        match stored {
            Ok(_) => Ok(Ok(())),
            Err(failure) if failure.is_refusal() => Ok(Err(failure)),
            Err(failure) => Err(failure),
        }
    }

    fn transmit(&mut self, mut letter: File) -> Result<()> {
        let mut stuffer = Stuffer::bare_cr_to_crlf();
        let (mut piece, mut out) = (vec![0; PIECE], Vec::new());
        loop {
            let count = letter.read(&mut piece).map_err(Error::io("temporary file"))?;
            if count == 0 {
                stuffer.finish(&mut out);
            } else {
                stuffer.feed(piece.get(..count).unwrap_or_default(), &mut out);
            }
            self.write(&out)?;
            if count == 0 {
                return Ok(());
            }
            out.clear();
        }
    }

    /// Sends a command and reads its reply.
    fn ask(&mut self, command: &str, wanted: u8) -> Result<Vec<Vec<u8>>> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.expect(command, wanted)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.reader.get_mut().write_all(bytes);
        sent.map_err(|error| lost(&self.name, error))
    }

    /// Reads a reply whose first digit is `wanted`; returns its texts.
    ///
    /// # Errors
    /// Another reply: temporary with a 4, permanent with a 5; the connection is lost, also by a 421.
    fn expect(&mut self, about: &str, wanted: u8) -> Result<Vec<Vec<u8>>> {
        let bad = |why: &str, name: &str| {
            Failure::new(Status::Protocol, format!("{name}: {about}: {why}"))
        };
        let mut texts = Vec::new();
        while texts.len() < MAX_LINES {
            let line = match self.reader.read_line(MAX_LINE) {
                Ok(Line::Text(line)) => line.to_vec(),
                Ok(Line::TooLong) => return Err(bad("a line that is too long", &self.name)),
                Ok(Line::Eof) => {
                    let why = format!("{}: {about}: the server closed the connection", self.name);
                    return Err(Failure::new(Status::Temporary, why));
                }
                Err(error) => return Err(lost(&self.name, error)),
            };
            let digits = line.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
            let (Some(code), rest) = (digits, line.get(3..).unwrap_or_default()) else {
                return Err(bad("the reply is no SMTP", &self.name));
            };
            if rest.first() == Some(&b'-') {
                texts.push(rest.get(1..).unwrap_or_default().to_vec());
                continue;
            }
            if code.first() == Some(&(b'0' + wanted)) {
                texts.push(rest.get(1..).unwrap_or_default().to_vec());
                return Ok(texts);
            }
            let why = format!("{}: {about}: {}", self.name, printable(&line));
            return Err(match code {
                b"421" => Failure::new(Status::Temporary, why),
                [b'4', ..] => Failure::refusal(Status::Temporary, why),
                [b'5', ..] => Failure::refusal(Status::Permanent, why),
                _ => Failure::new(Status::Protocol, why),
            });
        }
        Err(bad("a reply without an end", &self.name))
    }
}

fn lost(name: &str, error: std::io::Error) -> Failure {
    Failure::because(Status::Temporary)(Error::io(name.to_owned())(error))
}
