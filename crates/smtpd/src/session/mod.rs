//! The session of one client over any stream: reads lines and performs their actions.

mod auth;
mod guards;
mod letter;
mod letter_lines;
mod log_fields;
mod notification;
mod partial;
mod refused_lines;

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use accounts::sasl::{Bindings, MAX_LINE as MAX_RESPONSE, Terms, decode};
use accounts::{Mechanism, Mechanisms, Secret, base64};
use forknet::{Client, Peer, Title, Transcript, in_title};
use netascii::line::{Line, LineReader};

use crate::delivery::keeper::Keeper;
use crate::delivery::letter::LetterReceiver;
use crate::options::Config;
use crate::options::facts::Facts;
use crate::protocol::auth::not_base64;
use crate::protocol::envelope::{ClientAddress, Login, StartTls};
use crate::protocol::lookup::Mailboxes;
use crate::protocol::mask::{STARS, has_auth, masked};
use crate::protocol::outcome::Action;
use crate::protocol::reply::Reply;
use crate::protocol::state::State;
use crate::protocol::{MAX_LINE, Protocol, is_command};
use auth::{Ended, Logins, Responses};
use guards::Guards;
use refused_lines::RefusedLines;

/// Size of the read buffer in bytes.
const READ_BUFFER: usize = 32 * 1024;
/// Most bytes of replies to pipelined commands that are buffered (RFC 2920 §3.2).
const MAX_BUFFERED: usize = 16 * 1024;
/// Most bytes of a refused command in the log.
const MAX_LOGGED_LINE: usize = 200;

/// Serves one client from the greeting to the end.
///
/// # Errors
/// Errors of the stream's `read` and `write`. A timeout and the server's shutdown are not errors,
/// because the client gets a reply 421.
pub fn smtp_session(config: &Config, client: &mut Client) -> io::Result<()> {
    let mut bindings = Bindings::default();
    if client.is_tls {
        match begin_tls(config, client) {
            Some(of_tls) => bindings = of_tls,
            None => return Ok(()),
        }
    }
    let (peer, line) = (client.peer, client.keeper.clone());
    let facts = Facts::decode(&client.facts);
    let guards = Guards::new(config, &facts.access, peer);
    if let Some(reply) = guards.admit(client)? {
        return send_away(client, &reply);
    }
    let offer = facts.offer;
    let mechanisms = |is_tls: bool, bindings: &Bindings| {
        let plaintext = is_tls || config.mail.plaintext.allows(peer.is_loopback());
        offer.usable(plaintext, bindings)
    };
    let address = client_address(config, client, mechanisms(client.is_tls, &bindings));
    let keeper = Keeper::new(config, client.keeper.clone(), client.peer);
    if let Err(reply) = guards.connect_filters(&keeper, &address) {
        return send_away(client, &reply);
    }
    let mut protocol = Protocol::new(config, &keeper, address).with_policy(&guards);
    let mut greeting = Some(protocol.greeting());
    let mut failed = 0;
    loop {
        let (offered, host) = (protocol.client().mechanisms, config.hostname.clone());
        let terms = Terms { offered, bindings: bindings.clone(), host };
        let (is_relayed, delay) = (config.mail.is_relayed(), config.mail.auth_delay);
        let logins = Logins { line: line.clone(), peer, terms, is_relayed, delay, failed };
        let stream = (&mut client.conn, &mut client.transcript);
        let mut session = Session::new(config, &keeper, protocol, stream, logins)
            .with_title(client.title.clone());
        if let Some(greeting) = greeting.take() {
            session.queue(&greeting);
        }
        // Nothing that was read before a handshake and not used is taken over.
        match session.run()? {
            Some((before, failed_logins)) => {
                let Some(of_tls) = begin_tls(config, client) else { return Ok(()) };
                (bindings, failed) = (of_tls, failed_logins);
                keeper.logged_in(Login::default());
                protocol = before.secured(mechanisms(true, &bindings));
            }
            None => return Ok(()),
        }
    }
}

/// Serves a client over any stream, in the clear, without logins and guards, from the greeting to the end: what a test
/// or a fuzzer asks of a session.
///
/// # Errors
/// Errors of the stream's `read` and `write`, as [`smtp_session`].
pub fn over_stream<S: Read + Write>(
    config: &Config,
    mailboxes: &dyn Mailboxes,
    client: ClientAddress,
    stream: S,
) -> io::Result<()> {
    let logins = Logins {
        line: None,
        peer: Peer::Pipe,
        terms: Terms::default(),
        is_relayed: false,
        delay: Duration::ZERO,
        failed: 0,
    };
    let protocol = Protocol::new(config, mailboxes, client);
    let mut transcript = Transcript::none();
    let mut session = Session::new(config, mailboxes, protocol, (stream, &mut transcript), logins);
    session.queue(&session.protocol.greeting());
    session.run().map(drop)
}

/// Returns what the protocol knows of a client that has connected.
fn client_address(config: &Config, client: &Client, mechanisms: Mechanisms) -> ClientAddress {
    ClientAddress {
        name: client.peer.to_string(),
        ip: client.peer.ip(),
        is_loopback: client.peer.is_loopback(),
        tls: match (client.is_tls, &config.tls, &client.signer) {
            (true, ..) => StartTls::UnderTls,
            (false, Some(_), Some(_)) => StartTls::Offered,
            (false, Some(_), None) => StartTls::Unavailable,
            (false, None, _) => StartTls::Never,
        },
        mechanisms,
        user: None,
        is_ours: config.relay.is_ours(client.peer),
    }
}

/// Sends the only reply to a client that is not served.
fn send_away(client: &mut Client, reply: &Reply) -> io::Result<()> {
    log::info!("{}: not served: {}", client.peer, reply.lines().collect::<String>());
    let mut out = Vec::new();
    queue(&mut out, &mut client.transcript, reply);
    client.conn.write_all(&out)?;
    client.conn.flush()
}

/// Makes the handshake; returns what a login can be bound to. `None` if it fails, which ends the session.
fn begin_tls(config: &Config, client: &mut Client) -> Option<Bindings> {
    let agreed = config.tls.as_ref()?.begin(client)?;
    let exporter = agreed.exporter.as_ref().map(|it| &it[..]);
    Some(config.mail.bindings(exporter))
}

/// How the exchange of commands ended.
enum End {
    /// By either side.
    Closed,
    /// Not yet: TLS begins.
    StartTls,
}

struct Session<'a, 't, S> {
    config: &'a Config,
    mailboxes: &'a dyn Mailboxes,
    reader: LineReader<S>,
    /// Replies not sent yet.
    out: Vec<u8>,
    protocol: Protocol<'a>,
    transcript: &'t mut Transcript,
    title: Title,
    logins: Logins,
    /// AUTH was seen: a line that is no command may be a response.
    has_auth: bool,
    refused_lines: RefusedLines,
    /// The letter that comes in chunks, and its id.
    chunks: Option<(String, LetterReceiver<'a>)>,
}

impl<'a, 't, S: Read + Write> Session<'a, 't, S> {
    /// Returns a session without a title.
    fn new(
        config: &'a Config,
        mailboxes: &'a dyn Mailboxes,
        protocol: Protocol<'a>,
        (stream, transcript): (S, &'t mut Transcript),
        logins: Logins,
    ) -> Session<'a, 't, S> {
        let reader = LineReader::growing_to(READ_BUFFER, stream);
        let (out, title) = (Vec::new(), Title::none());
        let (has_auth, chunks, refused_lines) = (false, None, RefusedLines::default());
        Session {
            config,
            mailboxes,
            reader,
            out,
            protocol,
            transcript,
            title,
            logins,
            has_auth,
            refused_lines,
            chunks,
        }
    }

    fn with_title(mut self, title: Title) -> Session<'a, 't, S> {
        self.title = title;
        self
    }

    /// Runs the session to its end, or until TLS begins, for which it returns the protocol.
    fn run(mut self) -> io::Result<Option<(Protocol<'a>, u32)>> {
        self.show_state();
        let ended = self.converse();
        let left_out = self.refused_lines.restart();
        self.log_left_out(left_out);
        let farewell = match ended.as_ref().map_err(io::Error::kind) {
            Ok(End::Closed) => None,
            Ok(End::StartTls) => {
                self.flush()?;
                return Ok(Some((self.protocol, self.logins.failed)));
            }
            Err(ErrorKind::TimedOut) => Some(("4.4.2", "idle too long")),
            Err(ErrorKind::ConnectionAborted) => Some(("4.3.2", "shutting down")),
            Err(ErrorKind::InvalidData) => Some(("4.7.0", "line or letter without an end")),
            // The client has closed the connection within a letter, which was logged.
            Err(ErrorKind::UnexpectedEof) => return Ok(None),
            Err(_) => return ended.map(|_| None),
        };
        if let Some((status, why)) = farewell {
            let text = format!("{} closes the connection: {why}", self.config.hostname);
            let reply = Reply::new(421, status, text);
            log::info!("{}: {}", self.client(), reply.lines().collect::<String>());
            self.queue(&reply);
        }
        self.flush().map(|()| None)
    }

    fn client(&self) -> &str {
        &self.protocol.client().name
    }

    /// Shows the state in the process title: `smtpd: 127.0.0.1:52100 red.test RCPT`.
    fn show_state(&self) {
        let name = in_title(&self.protocol.hello().name);
        match (self.protocol.state(), self.protocol.letters()) {
            (State::Start, _) => self.title.set("connected"),
            (State::Ready, 0) => self.title.set(format_args!("{name} idle")),
            (State::Ready, 1) => self.title.set(format_args!("{name} idle, 1 letter")),
            (State::Ready, n) => self.title.set(format_args!("{name} idle, {n} letters")),
            (State::Mail, _) => self.title.set(format_args!("{name} MAIL")),
            (State::Rcpt, _) => self.title.set(format_args!("{name} RCPT")),
            (State::Data, _) => self.title.set(format_args!("{name} DATA")),
            (State::Chunks, _) => self.title.set(format_args!("{name} BDAT")),
        }
    }

    /// Runs commands until QUIT, the end of the stream, the last bad command, or STARTTLS.
    fn converse(&mut self) -> io::Result<End> {
        loop {
            if self.out.len() > MAX_BUFFERED || !self.reader.buffered().contains(&b'\n') {
                self.flush()?;
            }
            // The protocol checks the limit of each verb. A truncated line is never executed.
            let read = match self.reader.read_line(MAX_LINE)? {
                Line::Eof => return Ok(End::Closed),
                Line::TooLong => None,
                Line::Text(line) => Some(line.to_vec()),
            };
            let action = match &read {
                None => self.protocol.line_too_long(),
                Some(line) if !self.reader.ended_in_bare_lf() => self.protocol.line(line),
                Some(line) => self.protocol.line_of_lf(line),
            };
            self.wait(self.protocol.pause())?;
            let line = read.unwrap_or_else(|| b"[line too long]".to_vec());
            if self.protocol.state() != State::Chunks {
                self.chunks = None; // RSET and EHLO drop the letter
            }
            self.show_state();
            let line = self.masked(line);
            self.transcript.client(&line);
            match action {
                Action::Reply(reply) => self.answer(&line, &reply),
                Action::Letter => self.letter()?,
                Action::Chunk(chunk) => self.chunk(chunk)?,
                Action::SkipChunk(chunk, reply) => {
                    self.skip_chunk(chunk)?;
                    self.answer(&line, &reply);
                }
                Action::Auth(mechanism, initial) => {
                    if self.auth((mechanism, initial))? {
                        return Ok(End::Closed);
                    }
                }
                Action::StartTls(reply) => {
                    self.answer(&line, &reply);
                    return Ok(End::StartTls);
                }
                Action::Close(reply) => {
                    self.answer(&line, &reply);
                    return Ok(End::Closed);
                }
            }
        }
    }

    /// Sends the replies that are ready, and waits.
    fn wait(&mut self, pause: Duration) -> io::Result<()> {
        if !pause.is_zero() {
            self.flush()?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Masks what may be a secret, for the transcript and the log.
    fn masked(&mut self, line: Vec<u8>) -> Vec<u8> {
        self.has_auth |= has_auth(&line);
        if self.has_auth && !is_command(&line) { STARS.to_vec() } else { masked(line) }
    }

    /// Sends the reply to a command, and logs a refusal.
    fn answer(&mut self, line: &[u8], reply: &Reply) {
        if !reply.is_positive() {
            let (is_logged, left_out) = self.refused_lines.next();
            self.log_left_out(left_out);
            if is_logged {
                let text = reply.lines().collect::<Vec<_>>().join(" ");
                let line = line.get(..MAX_LOGGED_LINE).unwrap_or(line).escape_ascii();
                log::info!("{}: refused \"{line}\": {text}", self.client());
            }
        }
        self.queue(reply);
    }

    fn log_left_out(&self, commands: u64) {
        if commands > 0 {
            log::info!("{}: refused {commands} more commands", self.client());
        }
    }

    /// Runs AUTH. Returns true if the session ends.
    fn auth(&mut self, how: (Mechanism, Option<Secret>)) -> io::Result<bool> {
        self.mailboxes.end_questions();
        let (reader, out) = (&mut self.reader, &mut self.out);
        let mut client = AuthLines { reader, out, transcript: self.transcript };
        match self.logins.run(how, &mut client)? {
            Ended::Answered => return Ok(self.count_bad_auth()),
            Ended::LoggedIn(user, login) => {
                self.mailboxes.logged_in(login);
                self.protocol.logged_in(user);
                self.queue(&Reply::new(235, "2.7.0", "Logged in"));
            }
            Ended::Failed { reply, due, is_last } => {
                self.flush()?;
                let left = due.map(|due| due.saturating_duration_since(Instant::now()));
                std::thread::sleep(left.unwrap_or_default());
                self.queue(&reply);
                return Ok(is_last || reply.is_bad_command() && self.count_bad_auth());
            }
        }
        Ok(false)
    }

    /// Counts an exchange that violates the protocol. Returns true if the session ends.
    fn count_bad_auth(&mut self) -> bool {
        let farewell = self.protocol.count_bad();
        if let Some(farewell) = &farewell {
            self.queue(farewell);
        }
        farewell.is_some()
    }

    fn queue(&mut self, reply: &Reply) {
        queue(&mut self.out, self.transcript, reply);
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut self.out, &mut self.reader)
    }
}

/// The lines of AUTH's exchange.
struct AuthLines<'r, S> {
    reader: &'r mut LineReader<S>,
    out: &'r mut Vec<u8>,
    transcript: &'r mut Transcript,
}

impl<S: Read + Write> Responses for AuthLines<'_, S> {
    fn response(&mut self, challenge: &[u8]) -> io::Result<Option<Secret>> {
        self.out.extend_from_slice(format!("334 {}\r\n", base64(challenge)).as_bytes());
        self.transcript.server(b"334 ***");
        flush(self.out, self.reader)?;
        let (line, response) = match self.reader.read_line(MAX_RESPONSE)? {
            Line::Eof => return Err(ErrorKind::UnexpectedEof.into()),
            Line::TooLong => (STARS, Err(Reply::new(500, "5.5.6", "The response is too long"))),
            Line::Text(b"*") => (&b"*"[..], Err(Reply::new(501, "5.5.2", "AUTH cancelled"))),
            Line::Text(line) => (STARS, decode(line).ok_or_else(not_base64)),
        };
        self.transcript.client(line);
        Ok(match response {
            Ok(response) => Some(response),
            Err(reply) => {
                queue(self.out, self.transcript, &reply);
                None
            }
        })
    }
}

fn queue(out: &mut Vec<u8>, transcript: &mut Transcript, reply: &Reply) {
    for line in reply.lines() {
        transcript.server(line.as_bytes());
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn flush<S: Read + Write>(out: &mut Vec<u8>, reader: &mut LineReader<S>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    reader.get_mut().write_all(out)?;
    out.clear();
    reader.get_mut().flush()
}

#[cfg(test)]
mod tests;
