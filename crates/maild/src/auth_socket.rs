//! `--auth-socket`: a server of Dovecot's auth protocol that knows the users.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use accounts::dovecot_auth::{
    Greeting, MAX_GREETING_LINES, MAX_LINE, Reply, Request, hello, reply, respond,
};
use accounts::{Account, Mechanism, Mechanisms, Names, Secret};
use forknet::{Connection, Peer, UnixName, connect_unix, reason};
use log::warn;

/// Longest wait for one answer of the server.
const WAIT: Duration = Duration::from_secs(20);
/// Longest time of one step, in which many lines may come.
const LIMIT: Duration = Duration::from_secs(30);
/// The number of our request: each connection has one.
const ID: u32 = 1;

/// The socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSocket {
    name: UnixName,
    /// `pop3` or `smtp`.
    service: &'static str,
}

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct AuthServer {
    lines: BufReader<Connection>,
    /// What it offers.
    mechanisms: Mechanisms,
    /// That of the login.
    mechanism: Mechanism,
}

impl AuthSocket {
    pub(crate) fn new(path: &Path, program: &str) -> Result<AuthSocket, String> {
        let name = UnixName::parse(path.to_str().ok_or("not UTF-8")?)?;
        Ok(AuthSocket { name, service: if program == "smtpd" { "smtp" } else { "pop3" } })
    }

    /// Returns the server's mechanisms; those that send the password where it does not answer.
    pub(crate) fn mechanisms(&self) -> Mechanisms {
        match self.connect() {
            // Passwords are checked by its PLAIN, however they come.
            Ok(server) if server.mechanisms.contains(Mechanism::Plain) => {
                server.mechanisms.union(Mechanisms::by_password())
            }
            Ok(server) => server.mechanisms,
            Err(error) => {
                warn!("{}", self.failed(&error));
                Mechanisms::by_password()
            }
        }
    }

    /// Connects, and reads the greeting.
    pub(crate) fn connect(&self) -> io::Result<AuthServer> {
        let connection = connect_unix(&self.name, WAIT).map_err(io::Error::other)?;
        let mut server = AuthServer {
            lines: BufReader::new(connection),
            mechanisms: Mechanisms::default(),
            mechanism: Mechanism::Plain,
        };
        server.send(&hello(std::process::id()))?;
        let until = Instant::now() + LIMIT;
        let mut greeting = Greeting::default();
        for _ in 0..MAX_GREETING_LINES {
            if greeting.line(&server.line(until)?).map_err(io::Error::other)? {
                server.mechanisms = greeting.mechanisms;
                return Ok(server);
            }
        }
        Err(io::Error::other("a greeting without an end"))
    }

    /// Begins a login.
    pub(crate) fn begin(
        &self,
        peer: Peer,
        mechanism: Mechanism,
        response: Option<&Secret>,
    ) -> io::Result<(AuthServer, Reply)> {
        let mut server = self.connect()?;
        if !server.mechanisms.contains(mechanism) {
            return Err(io::Error::other(format!("the server has no {mechanism}")));
        }
        // Passwords are taken only where `--plaintext` allows them.
        let (remote, local, is_secured) = (peer.ip(), None, true);
        let service = self.service;
        let request = Request { id: ID, mechanism, service, remote, local, is_secured, response };
        server.send(request.encode().as_bytes())?;
        server.mechanism = mechanism;
        let said = server.reply()?;
        Ok((server, said))
    }

    /// Checks a password.
    pub(crate) fn password(&self, peer: Peer, name: &[u8], password: &Secret) -> io::Result<Reply> {
        let response = Secret::concat(&[b"\0", name, b"\0", password.as_bytes()]);
        self.begin(peer, Mechanism::Plain, Some(&response)).map(|(_, said)| said)
    }

    /// Returns the line of the log for an error.
    pub(crate) fn failed(&self, error: &io::Error) -> String {
        let why = reason(error);
        if why.contains("unix:") { why } else { format!("auth socket {}: {why}", self.name) }
    }

    /// Returns the account of a user with the name that the server has sent.
    pub(crate) fn account(names: Names, name: &[u8]) -> Option<Account> {
        let (gecos, home, shell) = Default::default();
        Some(Account { name: names.canonical(name)?, owner: None, gecos, home, shell })
    }
}

impl AuthServer {
    /// Returns the mechanism of the login.
    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Answers a challenge.
    pub(crate) fn respond(&mut self, response: &Secret) -> io::Result<Reply> {
        self.send(respond(ID, response).as_bytes())?;
        self.reply()
    }

    fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.lines.get_mut().write_all(text)
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some((ID, said)) = reply(&self.line(until)?) {
                return Ok(said);
            }
        }
    }

    /// Reads a line, without its LF.
    fn line(&mut self, until: Instant) -> io::Result<Vec<u8>> {
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut line = Vec::new();
        (&mut self.lines).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(io::Error::other("the server has ended, or its line is too long")),
        }
    }
}
