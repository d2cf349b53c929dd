//! Front: the process that talks to strangers, in AUTHORIZATION. It has no rights and no files; it asks.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use accounts::message_id;
use forknet::{Answer, Client, Leftover, Line, Peer, in_title, reason};
use log::warn;

use crate::options::Config;
use crate::protocol::Protocol;
use crate::protocol::authorization::Stls;
use crate::session::dialogue::{BUFFER, End, Session};
use maild::{ACCEPTED, LoginQuestion};
use maild::{Credentials, Denied};

/// Longest wait for an answer: dear hashes on a busy machine, and a maildrop on a slow disk.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Most bytes of replies that another process sends, together with its own.
const MAX_UNSENT: usize = 8 * 1024;

/// Serves one client until QUIT or the end of the connection; after the login by handing it over. A
/// client that disconnects without QUIT is not an error, and its deletions are discarded (RFC 1939 §6).
///
/// # Errors
/// Errors of the stream; the process that has taken the client over has ended.
pub fn pop3_session(config: &Config, client: &mut Client) -> io::Result<()> {
    let (peer, line) = (client.peer, client.keeper.clone());
    if client.is_tls && !begin_tls(config, client) {
        return Ok(());
    }
    let protocol = new_protocol(config, peer.to_string(), peer.is_loopback());
    let mut protocol = protocol.with_check(peer.is_proxy());
    if client.is_tls {
        protocol = protocol.secured();
    }
    let mut greeting = protocol.greeting();
    loop {
        // Nothing that was read before a handshake and not used is taken over.
        let nothing = Leftover::default();
        let mut session =
            Session::new(BUFFER, (&nothing, &mut client.conn), &mut client.transcript)
                .with_title(client.title.clone());
        session.queue(&greeting)?;
        let ask = |credentials: &Credentials| ask(line.as_ref(), peer, credentials);
        match session.authorize(config, protocol, ask)? {
            Left::Nothing => return Ok(()),
            Left::LoggedIn(line, left) => return client.hand_over(&line, &left),
            Left::StartTls(before) => {
                if !begin_tls(config, client) {
                    return Ok(());
                }
                protocol = before.secured();
                greeting.clear();
            }
        }
    }
}

/// Makes the handshake. Returns false if it fails, which ends the session.
fn begin_tls(config: &Config, client: &mut Client) -> bool {
    client.title.set("TLS handshake");
    let no_certificate = || io::Error::other("the server has no certificate");
    let made = config.tls.as_ref().ok_or_else(no_certificate).and_then(|tls| tls.accept(client));
    if let Err(error) = &made {
        let level = if client.peer.is_proxy() { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "{}: TLS handshake: {}", client.peer, reason(error));
    }
    made.is_ok()
}

/// What a session in AUTHORIZATION leaves.
pub(super) enum Left<T> {
    /// It has ended.
    Nothing,
    /// A login, and what is left to the process of the mailbox.
    LoggedIn(T, Leftover),
    /// TLS begins.
    StartTls(Protocol),
}

pub(super) fn new_protocol(config: &Config, peer: String, is_loopback: bool) -> Protocol {
    // A predictable timestamp is worse than no APOP.
    let timestamp = config.offer.apop.then(|| message_id(&config.host).ok()).flatten();
    let plaintext = config.mail.plaintext.allows(is_loopback);
    let stls = if config.tls.is_some() { Stls::Offered } else { Stls::Never };
    Protocol::new(peer, config.host.clone(), plaintext, timestamp).with_stls(stls)
}

/// Asks the keeper whether this is the user. If so, the process that has answered waits for the client.
fn ask(line: Option<&Line>, peer: Peer, credentials: &Credentials) -> Result<Line, Denied> {
    let asked = line
        .zip(LoginQuestion::encode(peer, credentials))
        .map(|(line, question)| line.ask(question.as_bytes(), ANSWER_WAIT));
    let why = match asked {
        Some(Ok(Answer::GoesOn(answer, line))) if answer == ACCEPTED => return Ok(line),
        Some(Ok(Answer::Final(answer))) => match Denied::decode(&answer) {
            Some(denied) => return Err(denied),
            None => "an answer that is none".into(),
        },
        Some(Ok(Answer::GoesOn(..))) => "an answer that is none".into(),
        Some(Err(error)) => reason(&error),
        None => "no keeper".into(),
    };
    warn!("{peer}: login of '{}': keeper: {why}", credentials.name.escape_ascii());
    Err(Denied::NotChecked)
}

impl<S: Read + Write> Session<'_, S> {
    /// Runs AUTHORIZATION. Returns what `log_in` has, and what is left after the login.
    pub(super) fn authorize<T>(
        mut self,
        config: &Config,
        mut protocol: Protocol,
        mut log_in: impl FnMut(&Credentials) -> Result<T, Denied>,
    ) -> io::Result<Left<T>> {
        self.show(&protocol, "AUTHORIZATION");
        let mut end = self.converse(&mut protocol);
        while let Ok(End::LogIn(credentials)) = end {
            let due = Instant::now() + config.mail.auth_delay;
            match log_in(&credentials) {
                Ok(next) => {
                    let name = config.mail.names.canonical(&credentials.name).unwrap_or_default();
                    let name = name.escape_ascii().to_string();
                    self.title.set(format_args!("{} TRANSACTION", in_title(name.as_bytes())));
                    if self.out.len() > MAX_UNSENT
                        && let Err(error) = self.flush()
                    {
                        return self.end(protocol, Err(error)).map(|()| Left::Nothing);
                    }
                    let unread = self.reader.buffered().to_vec();
                    return Ok(Left::LoggedIn(next, Leftover { unread, unsent: self.out }));
                }
                Err(denied) => end = self.deny(&mut protocol, &credentials, denied, due),
            }
        }
        match end {
            Ok(End::StartTls) => Ok(Left::StartTls(protocol)),
            end => self.end(protocol, end).map(|()| Left::Nothing),
        }
    }

    /// Sends the reply to a failed login, and goes on. That to a wrong password is sent at a fixed time
    /// after the command, so that guessing is slow and the time does not reveal whether the user exists.
    fn deny(
        &mut self,
        protocol: &mut Protocol,
        credentials: &Credentials,
        denied: Denied,
        due: Instant,
    ) -> io::Result<End> {
        let outcome = protocol.denied(credentials, denied);
        if denied == Denied::Rejected {
            self.flush()?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        match self.perform(protocol, outcome)? {
            Some(end) => Ok(end),
            None => self.converse(protocol),
        }
    }
}
