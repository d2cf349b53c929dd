//! A session with a server up to the first letter: the greeting, EHLO, STARTTLS, AUTH; and its end, QUIT.

use std::sync::Arc;

use accounts::Mechanisms;
use accounts::sasl::{Binding, Bindings};
use forknet::{Error, printable};
use maild::client::{SaslLogin, is_loopback};

use crate::connection::ServerConnection;
use crate::extensions::Extensions;
use crate::failure::{Failure, Result, Stage, code};
use crate::letter::Facts;
use crate::reply::Reply;
use crate::route::Target;
use crate::settings::{EightBit, Login, Protocol, Settings, TlsUse};
use crate::status::Status;

/// Longest line of AUTH with a response in it, in bytes (RFC 5321 §4.5.3.1.4).
const MAX_AUTH_LINE: usize = 512;

/// A session, over one connection.
#[derive(Debug)]
pub struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) conn: ServerConnection,
    pub(crate) extensions: Extensions,
    /// The version and the cipher of TLS.
    pub(crate) tls: Option<String>,
    bindings: Bindings,
    pub(crate) next: Next,
    /// BDAT is offered, but the server does not know it or cannot take it.
    pub(crate) refuses_chunks: bool,
}

/// What may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// MAIL.
    Mail,
    /// RSET, and then MAIL: the last letter was given up.
    Reset,
    /// QUIT: a reply was none of its command's, so what the server thinks is not known.
    Quit,
}

/// How TLS begins with a server.
enum Tls {
    /// Not at all.
    Clear,
    /// Where it is offered; what fails is done again in the clear.
    Try(tls::Client),
    /// By STARTTLS, or not at all.
    Must(tls::Client),
    /// With the first byte.
    First(tls::Client),
}

impl Session {
    /// Connects to a server, and begins a session as the settings say. Where the handshake of an opportunistic STARTTLS
    /// fails, it is begun again in the clear (RFC 7435 §3).
    ///
    /// # Errors
    /// The server is not there, does not serve, or is not the one that it should be.
    pub fn open(settings: &Arc<Settings>, target: &Target) -> Result<Session> {
        let tls = Tls::with(settings, target)?;
        let may_fall_back = matches!(tls, Tls::Try(_));
        match Session::begin(settings, target, &tls) {
            Err(failure) if may_fall_back && failure.stage == Stage::Tls => {
                settings.show('D', format!("{failure}; again without TLS").as_bytes());
                Session::begin(settings, target, &Tls::Clear)
            }
            begun => begun,
        }
    }

    fn begin(settings: &Arc<Settings>, target: &Target, tls: &Tls) -> Result<Session> {
        let mut session = Session {
            conn: ServerConnection::connect(settings, target)?,
            settings: Arc::clone(settings),
            extensions: Extensions::default(),
            tls: None,
            bindings: Bindings::default(),
            next: Next::Mail,
            refuses_chunks: false,
        };
        match session.greet(tls) {
            Ok(()) => Ok(session),
            Err(failure) => {
                session.end();
                Err(failure)
            }
        }
    }

    /// Reads the greeting, begins TLS and logs in.
    fn greet(&mut self, tls: &Tls) -> Result<()> {
        if let Tls::First(client) = tls {
            self.begin_tls(client)?;
        }
        let limit = self.settings.timeouts.command;
        let greeting = self.conn.reply((Stage::Greeting, "the greeting"), limit)?;
        if !greeting.is_success() {
            return Err(self.conn.refused(Stage::Greeting, "the server does not serve", &greeting));
        }
        self.hello(Stage::Hello)?;
        match tls {
            Tls::Must(client) => self.start_tls(client)?,
            Tls::Try(client) if self.extensions.starttls => match self.start_tls(client) {
                // A server that refuses the command goes on in the clear.
                Err(failure)
                    if self.tls.is_none() && failure.reply.is_some() && !self.conn.is_lost => {}
                done => done?,
            },
            Tls::Clear | Tls::First(_) | Tls::Try(_) => {}
        }
        match self.settings.login.clone() {
            Some(login) => self.log_in(&login),
            None => Ok(()),
        }
    }

    /// Sends EHLO, or HELO to a server that refuses EHLO (RFC 5321 §3.2).
    fn hello(&mut self, stage: Stage) -> Result<()> {
        let helo = self.settings.helo.clone();
        let word = match self.settings.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        let reply = self.ask(format!("{word} {helo}").as_bytes(), stage)?;
        if reply.is_success() {
            self.extensions = Extensions::parse(reply.lines().skip(1));
            return Ok(());
        }
        if !reply.is_permanent() || self.settings.protocol == Protocol::Lmtp {
            return Err(self.conn.refused(stage, word, &reply));
        }
        self.extensions = Extensions::default();
        let reply = self.ask(format!("HELO {helo}").as_bytes(), stage)?;
        if reply.is_success() { Ok(()) } else { Err(self.conn.refused(stage, "HELO", &reply)) }
    }

    /// Begins TLS by STARTTLS (RFC 3207).
    fn start_tls(&mut self, client: &tls::Client) -> Result<()> {
        if !self.extensions.starttls {
            let why = "STARTTLS is not offered";
            return Err(self.conn.failure(Stage::Tls, Status::Protocol, code(4, 7, 4), why));
        }
        let reply = self.ask(b"STARTTLS", Stage::Tls)?;
        if !reply.is_success() {
            return Err(self.conn.refused(Stage::Tls, "STARTTLS", &reply));
        }
        self.begin_tls(client)?;
        self.hello(Stage::Tls) // RFC 3207 §4.2: what was offered in the clear proves nothing
    }

    /// Makes the handshake. Nothing that was read before may be left. After a failure the connection is of no use.
    fn begin_tls(&mut self, client: &tls::Client) -> Result<()> {
        if self.conn.has_unread() {
            let why = "the server sends more before TLS begins";
            self.conn.is_lost = true;
            let failure = self.conn.failure(Stage::Tls, Status::Protocol, code(4, 7, 5), why);
            return Err(failure.and_lost());
        }
        let (host, limit) = (self.conn.host.clone(), self.settings.timeouts.command);
        self.conn.inner().begin_turn(false, limit);
        let agreed = client.start(&host, self.conn.inner()).map_err(|error| {
            self.conn.is_lost = true;
            let failure =
                Failure::new(Stage::Tls, Status::Protocol, code(4, 7, 5), error.to_string());
            failure.of_host(&host).and_lost()
        })?;
        let exporter = agreed.exporter.as_ref().map(<[u8; 32]>::as_slice);
        self.bindings = Bindings::default().with(Binding::Exporter, exporter.unwrap_or_default());
        self.tls = Some(agreed.description);
        Ok(())
    }

    /// Logs in. What the library finds wrong is a refusal too.
    fn log_in(&mut self, login: &Login) -> Result<()> {
        let is_private = self.conn.inner_ref().is_under_tls() || is_loopback(self.conn.inner_ref());
        let sasl = SaslLogin {
            user: &login.user,
            password: &login.password,
            allowed: login.mechanisms,
            offered: self.extensions.auth,
            bindings: self.bindings.clone(),
            is_private,
            max_line: MAX_AUTH_LINE,
        };
        let mut failed = None;
        let done = sasl.run(|line, shown| {
            self.exchange(line, shown).map_err(|failure| {
                let error = Error::Refused(failure.text.clone());
                failed = Some(failure);
                error
            })
        });
        done.map_err(|error| match failed {
            Some(failure) => failure,
            None => {
                let (text, host) = (error.to_string(), &self.conn.host);
                let failure = Failure::new(Stage::Login, Status::NoPermission, code(4, 7, 0), text);
                failure.of_host(host)
            }
        })
    }

    /// Sends a line of AUTH, of which `shown` is shown; returns the server's next challenge in base64, or `None` once it
    /// has accepted the login (RFC 4954 §4).
    fn exchange(&mut self, line: &[u8], shown: &[u8]) -> Result<Option<Vec<u8>>> {
        let limit = self.settings.timeouts.command;
        self.settings.show('C', shown);
        self.conn.send(&[line, b"\r\n"].concat(), (Stage::Login, "AUTH"), limit)?;
        let reply = self.conn.reply((Stage::Login, "the reply to AUTH"), limit)?;
        if reply.is_intermediate() {
            return Ok(Some(reply.lines().next().unwrap_or_default().as_bytes().to_vec()));
        }
        match reply.is_success() {
            true => Ok(None),
            false => Err(self.conn.refused(Stage::Login, "AUTH", &reply)),
        }
    }

    /// Sends a command and reads its reply, whatever that is.
    pub(crate) fn ask(&mut self, command: &[u8], stage: Stage) -> Result<Reply> {
        let limit = self.settings.timeouts.command;
        self.settings.show('C', command);
        let shown = printable(command);
        self.conn.send(&[command, b"\r\n"].concat(), (stage, &shown), limit)?;
        self.conn.reply((stage, &format!("the reply to {shown}")), limit)
    }

    /// Returns what the server offers.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns the version and the cipher of TLS; `None` in the clear.
    #[must_use]
    pub fn tls(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// Returns the server's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.conn.host
    }

    /// Returns whether the server would not get a letter like this one, because of bytes over 127 in it.
    pub(crate) fn needs_seven_bits(&self, facts: Facts) -> bool {
        let converts = self.settings.eight_bit == EightBit::Refuse;
        facts.eight_bit && !self.extensions.eight_bit && converts
    }

    /// Returns whether another letter can be sent. Looks whether the server has closed the connection meanwhile; asks
    /// nothing.
    pub fn is_usable(&mut self) -> bool {
        self.next != Next::Quit && self.conn.is_quiet()
    }

    /// Asks whether the server still serves (NOOP).
    pub fn is_alive(&mut self) -> bool {
        self.is_usable() && self.ask(b"NOOP", Stage::Mail).is_ok_and(|reply| reply.is_success())
    }

    /// Ends the session with QUIT. Failures are ignored, because every letter is taken or refused by then.
    pub fn quit(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.conn.is_lost {
            return;
        }
        let limit = self.settings.timeouts.quit;
        self.settings.show('C', b"QUIT");
        let sent = self.conn.send(b"QUIT\r\n", (Stage::Mail, "QUIT"), limit);
        let _ = sent.and_then(|()| self.conn.reply((Stage::Mail, "the reply to QUIT"), limit));
        self.conn.is_lost = true;
    }
}

impl Tls {
    /// Decides how TLS begins with this server.
    fn with(settings: &Settings, target: &Target) -> Result<Tls> {
        let dane = |trusted: Option<&tls::Client>| {
            // Secure records that cannot be used ask for TLS too (RFC 7672 §2.2).
            let client = tls::Client::dane(&target.tlsa, &target.names, trusted);
            client.map(Tls::Must).map_err(|error| {
                let text = error.to_string();
                Failure::new(Stage::Tls, Status::Protocol, code(4, 7, 5), text)
                    .of_host(target.host())
            })
        };
        let any = || {
            tls::Client::any().map(Tls::Try).map_err(|error| {
                Failure::new(Stage::Tls, Status::Protocol, code(4, 7, 5), error.to_string())
            })
        };
        match &settings.tls {
            TlsUse::Never => Ok(Tls::Clear),
            TlsUse::Implicit(client) => Ok(Tls::First(client.clone())),
            TlsUse::Opportunistic if target.tlsa.is_empty() => any(),
            TlsUse::Opportunistic => dane(None),
            TlsUse::Required(client) if target.tlsa.is_empty() => Ok(Tls::Must(client.clone())),
            TlsUse::Required(client) => dane(Some(client)),
        }
    }
}

impl Login {
    /// Makes a login with every mechanism.
    #[must_use]
    pub fn new(user: impl Into<String>, password: accounts::Secret) -> Login {
        Login { user: user.into(), password, mechanisms: Mechanisms::all() }
    }
}
