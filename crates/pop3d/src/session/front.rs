//! Front: the process that talks to strangers, in AUTHORIZATION. It has no rights and no files; it asks.

use std::io::{self, Read, Write};
use std::time::Instant;

use accounts::message_id;
use accounts::sasl::{Bindings, Terms};
use forknet::{Client, Leftover, Peer, in_title};
use maild::{Accepted, Asker, Auth, AuthFailure, AuthStep, Denied, Keeper, Offer};

use crate::options::Config;
use crate::protocol::Protocol;
use crate::protocol::authorization::{Offers, Stls};
use crate::protocol::outcome::{Attempt, Outcome};
use crate::session::dialogue::{BUFFER, End, Session};
use crate::session::told::Told;

/// Most bytes of replies that another process sends, together with its own.
const MAX_UNSENT: usize = 8 * 1024;

/// Serves one client until QUIT or the end of the connection; after the login by handing it over. A
/// client that disconnects without QUIT is not an error, and its deletions are discarded (RFC 1939 §6).
///
/// # Errors
/// Errors of the stream; the process that has taken the client over has ended.
pub fn pop3_session(config: &Config, client: &mut Client) -> io::Result<()> {
    let peer = client.peer;
    let (mut bindings, mut tls) = (Bindings::default(), String::new());
    if client.is_tls {
        match begin_tls(config, client) {
            Some(of_tls) => (bindings, tls) = of_tls,
            None => return Ok(()),
        }
    }
    let known = (config, Offer::decode(&client.facts));
    let protocol = new_protocol(known, peer, client.is_tls, &bindings);
    let mut protocol = protocol.with_check(peer.is_proxy());
    let mut greeting = protocol.greeting();
    loop {
        // Nothing that was read before a handshake and not used is taken over.
        let nothing = Leftover::default();
        let mut session =
            Session::new(BUFFER, (&nothing, &mut client.conn), &mut client.transcript)
                .with_title(client.title.clone());
        session.queue(&greeting)?;
        let asker = Asker::new(client.keeper.clone(), peer);
        let (offered, host) = (protocol.offers().mechanisms, config.host.clone());
        let terms = Terms { offered, bindings, host };
        match session.authorize(config, protocol, Logins::new(config, asker, terms))? {
            Left::Nothing => return Ok(()),
            Left::LoggedIn(line, left, is_utf8) => {
                client.facts = Told::new(offered, is_utf8, &tls).encode().into();
                return client.hand_over(&line, &left);
            }
            Left::StartTls(before) => {
                let Some(of_tls) = begin_tls(config, client) else { return Ok(()) };
                (bindings, tls) = of_tls;
                let offers = offers(known, peer.is_loopback(), true, &bindings);
                // No other greeting is sent, and APOP goes by the one that was.
                let timestamp = before.offers().timestamp.clone();
                protocol = before.secured(Offers { timestamp, ..offers });
                greeting.clear();
            }
        }
    }
}

/// Makes the handshake; returns what a login can be bound to, and what was agreed on. `None` if it fails, which
/// ends the session.
fn begin_tls(config: &Config, client: &mut Client) -> Option<(Bindings, String)> {
    let agreed = config.tls.as_ref()?.begin(client)?;
    let exporter = agreed.exporter.as_ref().map(|it| &it[..]);
    Some((config.mail.bindings(exporter), agreed.description))
}

/// What a session in AUTHORIZATION leaves.
pub enum Left<T> {
    /// It has ended.
    Nothing,
    /// A login, what is left to the process of the mailbox, and whether the client has said UTF8.
    LoggedIn(T, Leftover, bool),
    /// TLS begins.
    StartTls(Box<Protocol>),
}

/// Begins AUTHORIZATION: what is offered to this client, where users could log in by `offer`.
pub fn new_protocol(
    (config, offer): (&Config, Offer),
    peer: Peer,
    is_tls: bool,
    bindings: &Bindings,
) -> Protocol {
    let offers = offers((config, offer), peer.is_loopback(), is_tls, bindings);
    Protocol::new(peer.to_string(), config.host.clone(), offers)
}

/// Returns what a client is offered, where users could log in by `offer`.
fn offers(
    (config, offer): (&Config, Offer),
    is_loopback: bool,
    is_tls: bool,
    bindings: &Bindings,
) -> Offers {
    let plaintext = is_tls || config.mail.plaintext.allows(is_loopback);
    Offers {
        plaintext,
        // A predictable timestamp is worse than no APOP.
        timestamp: offer.apop.then(|| message_id(&config.host).ok()).flatten(),
        mechanisms: offer.for_client(plaintext, bindings),
        stls: match (is_tls, &config.tls) {
            (true, _) => Stls::UnderTls,
            (false, Some(_)) => Stls::Offered,
            (false, None) => Stls::Never,
        },
        login_delay: config.login_delay(),
        last: config.last,
    }
}

/// What an attempt to log in has led to.
enum Turn<N> {
    LoggedIn(Accepted<N>),
    /// A reply; that to a wrong password waits.
    Reply(Outcome, Option<Denied>),
}

/// The logins of one session.
pub struct Logins<'a, K: Keeper> {
    asker: Asker<K>,
    terms: Terms,
    config: &'a Config,
    /// The exchange of AUTH that has begun.
    auth: Option<Auth>,
}

impl<'a, K: Keeper> Logins<'a, K> {
    /// For a client that may use what `terms` offer.
    pub fn new(config: &'a Config, asker: Asker<K>, terms: Terms) -> Logins<'a, K> {
        Logins { asker, terms, config, auth: None }
    }

    fn attempt(&mut self, protocol: &mut Protocol, attempt: Attempt) -> Turn<K::Next> {
        let step = match attempt {
            Attempt::By(credentials) => match self.asker.log_in(credentials) {
                Ok(accepted) => AuthStep::Accepted(accepted),
                Err(denied) => AuthStep::Failed(AuthFailure::Denied(denied)),
            },
            Attempt::Auth(mechanism, initial) => {
                let how = (&self.terms, self.config.mail.is_relayed());
                let (auth, step) = Auth::start(how, mechanism, initial, &mut self.asker);
                self.auth = Some(auth);
                step
            }
            Attempt::Response(response) => match &mut self.auth {
                Some(auth) => auth.step(response, &mut self.asker),
                None => AuthStep::Failed(AuthFailure::NotOffered),
            },
        };
        match step {
            AuthStep::Accepted(accepted) => Turn::LoggedIn(accepted),
            AuthStep::Challenge(challenge) => Turn::Reply(protocol.challenge(&challenge), None),
            AuthStep::Failed(failure) => {
                self.auth = None;
                let denied = match failure {
                    AuthFailure::Denied(denied) => Some(denied),
                    _ => None,
                };
                Turn::Reply(protocol.auth_failed(self.asker.last(), failure), denied)
            }
        }
    }
}

impl<S: Read + Write> Session<'_, S> {
    /// Runs AUTHORIZATION.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn authorize<K: Keeper>(
        mut self,
        config: &Config,
        mut protocol: Protocol,
        mut logins: Logins<'_, K>,
    ) -> io::Result<Left<K::Next>> {
        self.has_challenges = true;
        self.show(&protocol, "AUTHORIZATION");
        let mut end = self.converse(&mut protocol);
        while let Ok(End::LogIn(attempt)) = end {
            let due = Instant::now() + config.mail.auth_delay;
            match logins.attempt(&mut protocol, attempt) {
                Turn::LoggedIn(Accepted { name, next: Some(next), .. }) => {
                    let user = name.escape_ascii().to_string();
                    self.title.set(format_args!("{} TRANSACTION", in_title(user.as_bytes())));
                    if self.out.len() > MAX_UNSENT
                        && let Err(error) = self.flush()
                    {
                        return self.end(protocol, Err(error)).map(|()| Left::Nothing);
                    }
                    let unread = self.reader.buffered().to_vec();
                    let left = Leftover { unread, unsent: self.out };
                    return Ok(Left::LoggedIn(next, left, protocol.is_utf8()));
                }
                Turn::LoggedIn(Accepted { next: None, .. }) => {
                    let reply = protocol.denied(logins.asker.last(), Denied::NotChecked);
                    end = self.go_on(&mut protocol, reply, None);
                }
                Turn::Reply(reply, denied) => {
                    let due = (denied == Some(Denied::Rejected)).then_some(due);
                    end = self.go_on(&mut protocol, reply, due);
                }
            }
        }
        match end {
            Ok(End::StartTls) => Ok(Left::StartTls(Box::new(protocol))),
            end => self.end(protocol, end).map(|()| Left::Nothing),
        }
    }

    /// Sends a reply, and goes on. That to a wrong password is sent at a fixed time after the command, so
    /// that guessing is slow and the time does not reveal whether the user exists.
    fn go_on(
        &mut self,
        protocol: &mut Protocol,
        reply: Outcome,
        due: Option<Instant>,
    ) -> io::Result<End> {
        if let Some(due) = due {
            self.flush()?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        match self.perform(protocol, reply)? {
            Some(end) => Ok(end),
            None => self.converse(protocol),
        }
    }
}
