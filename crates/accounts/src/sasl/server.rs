//! The server's side of an exchange.

use super::binding::Bindings;
use super::message::{ClientFinal, ClientFirst, Flag};
use crate::challenge::{MD5, message_id};
use crate::encoding::{base64, from_hex};
use crate::mechanism::{Mechanism, Mechanisms};
use crate::names::MAX_NAME;
use crate::password::MAX_PASSWORD;
use crate::secret::{Secret, constant_time_eq};

/// Answers for the accounts: the keeper, as the process that talks to the client sees it. An exchange
/// asks at most two questions.
pub trait Authority {
    /// Whether this is the user's password.
    ///
    /// # Errors
    /// It is not, or it cannot be checked at present.
    fn password(&mut self, name: &[u8], password: &Secret) -> Result<(), Denial>;

    /// Whether this is the digest over the challenge and the user's secret (RFC 2195).
    ///
    /// # Errors
    /// As [`Authority::password`].
    fn cram_md5(&mut self, name: &[u8], challenge: &[u8], digest: &[u8; MD5])
    -> Result<(), Denial>;

    /// Returns SCRAM's `server-first-message` to a user: the client's part of the nonce and one of its
    /// own, salt and iterations (RFC 5802 §7). It is plausible for an unknown user too.
    ///
    /// # Errors
    /// The accounts cannot be read.
    fn scram_first(&mut self, name: &[u8], client_nonce: &[u8]) -> Result<Vec<u8>, Denial>;

    /// Checks the proof of the user that [`Authority::scram_first`] was asked about; returns the
    /// signature by which the server proves itself.
    ///
    /// # Errors
    /// As [`Authority::password`].
    fn scram_final(
        &mut self,
        client_first_bare: &[u8],
        client_final_without_proof: &[u8],
        proof: &[u8; 32],
    ) -> Result<[u8; 32], Denial>;
}

/// Why an authority does not say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The proof is wrong, or there is no such user.
    Rejected,
    /// A temporary error: the accounts cannot be read, the keeper is gone.
    Unavailable,
}

/// What a server offers on this connection.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What CAPA or EHLO listed: nothing else can be used.
    pub offered: Mechanisms,
    /// The bindings of the TLS connection.
    pub bindings: Bindings,
    /// The server's name, for CRAM-MD5's challenge.
    pub host: String,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this, in base64, and call [`Exchange::step`] with the response.
    Challenge(Vec<u8>),
    /// The client is this user.
    Done(Identity),
    /// The exchange is over without success.
    Failed(Failure),
}

/// The user that a client has proved to be, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name as the client gave it.
    pub name: Vec<u8>,
    /// The mechanism, for the log and the `with` clause of `Received:`.
    pub mechanism: Mechanism,
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The mechanism is not offered here (SMTP: 504).
    NotOffered,
    /// The client's message is malformed: what is wrong with it, as a text for the reply (SMTP: 501).
    Malformed(&'static str),
    /// The proof is wrong, or there is no such user (SMTP: 535; POP3: `[AUTH]`).
    Rejected,
    /// A temporary error (SMTP: 454; POP3: `[SYS/TEMP]`).
    Unavailable,
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Failure {
        match denial {
            Denial::Rejected => Failure::Rejected,
            Denial::Unavailable => Failure::Unavailable,
        }
    }
}

/// An exchange that has begun.
#[derive(Debug)]
pub struct Exchange {
    terms: Terms,
    mechanism: Mechanism,
    state: State,
}

/// What the next message of the client is.
#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword {
        name: Vec<u8>,
    },
    CramMd5 {
        challenge: String,
    },
    ScramFirst,
    ScramFinal(ScramFinal),
    /// The empty response to the server's signature.
    ScramEnd {
        name: Vec<u8>,
    },
    Over,
}

/// What SCRAM's last message is held against.
#[derive(Debug)]
struct ScramFinal {
    name: Vec<u8>,
    nonce: Vec<u8>,
    client_first_bare: Vec<u8>,
    /// The header and the channel binding.
    binding: Secret,
}

/// Returns the name that a client's message claims, where another program has the exchange: for the log, as
/// nothing proves it. `None` where the message shows none.
#[must_use]
pub fn claimed_name(mechanism: Mechanism, message: &[u8]) -> Option<Vec<u8>> {
    let name = match mechanism {
        Mechanism::CramMd5 => name_and_digest(message).0.to_vec(),
        Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
            ClientFirst::parse(message).ok()?.name
        }
        Mechanism::Plain => message.split(|&byte| byte == 0).nth(1)?.to_vec(),
        Mechanism::Login => return None, // the name's message looks as the password's
    };
    (1..=MAX_NAME).contains(&name.len()).then_some(name)
}

/// Takes CRAM-MD5's response apart; the digest still has its space.
fn name_and_digest(response: &[u8]) -> (&[u8], &[u8]) {
    let space = response.iter().rposition(|&byte| byte == b' ').unwrap_or(0);
    response.split_at_checked(space).unwrap_or_default()
}

type Outcome = Result<(State, Step), Failure>;

impl Exchange {
    /// Begins an exchange; `initial` is the decoded response that came with the command.
    pub fn start(
        terms: &Terms,
        mechanism: Mechanism,
        initial: Option<&Secret>,
        authority: &mut dyn Authority,
    ) -> (Exchange, Step) {
        let mut exchange = Exchange { terms: terms.clone(), mechanism, state: State::Over };
        let is_offered = terms.offered.contains(mechanism);
        let has_binding = !terms.bindings.is_empty() || mechanism != Mechanism::ScramSha256Plus;
        if !is_offered || !has_binding {
            return (exchange, Step::Failed(Failure::NotOffered));
        }
        if initial.is_some() && !mechanism.takes_initial_response() {
            let why = "the mechanism takes no initial response";
            return (exchange, Step::Failed(Failure::Malformed(why)));
        }
        let (state, challenge) = match mechanism {
            Mechanism::Plain => (State::Plain, Vec::new()),
            Mechanism::Login => (State::LoginName, b"Username:".to_vec()),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => (State::ScramFirst, Vec::new()),
            Mechanism::CramMd5 => match message_id(&terms.host) {
                Ok(challenge) => {
                    let text = challenge.clone().into_bytes();
                    (State::CramMd5 { challenge }, text)
                }
                Err(_) => return (exchange, Step::Failed(Failure::Unavailable)),
            },
        };
        exchange.state = state;
        let step = match initial {
            Some(response) => exchange.step(response, authority),
            None => Step::Challenge(challenge),
        };
        (exchange, step)
    }

    /// Returns the mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next message. After the exchange's end every message is malformed.
    pub fn step(&mut self, response: &Secret, authority: &mut dyn Authority) -> Step {
        let response = response.as_bytes();
        let outcome = match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => self.plain(response, authority),
            State::LoginName => login_name(response),
            State::LoginPassword { name } => self.password(name, response, authority),
            State::CramMd5 { challenge } => self.cram_md5(&challenge, response, authority),
            State::ScramFirst => self.scram_first(response, authority),
            State::ScramFinal(known) => scram_final(known, response, authority),
            State::ScramEnd { name } if response.is_empty() => self.done(name),
            State::ScramEnd { .. } => Err(Failure::Malformed("SCRAM: nothing more is expected")),
            State::Over => Err(Failure::Malformed("the exchange is over")),
        };
        match outcome {
            Ok((state, step)) => {
                self.state = state;
                step
            }
            Err(failure) => Step::Failed(failure),
        }
    }

    fn done(&self, name: Vec<u8>) -> Outcome {
        Ok((State::Over, Step::Done(Identity { name, mechanism: self.mechanism })))
    }

    /// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
    fn plain(&self, response: &[u8], authority: &mut dyn Authority) -> Outcome {
        let mut fields = response.split(|&byte| byte == 0);
        let all = (fields.next(), fields.next(), fields.next(), fields.next());
        let (Some(authzid), Some(name @ [_, ..]), Some(password @ [_, ..]), None) = all else {
            return Err(Failure::Malformed("PLAIN is [authzid] NUL authcid NUL passwd"));
        };
        as_themselves(authzid, name)?;
        self.password(name.to_vec(), password, authority)
    }

    fn password(&self, name: Vec<u8>, given: &[u8], authority: &mut dyn Authority) -> Outcome {
        if name.len() > MAX_NAME || given.len() > MAX_PASSWORD {
            return Err(Failure::Malformed("a name and a password have at most 255 bytes"));
        }
        authority.password(&name, &Secret::from(given))?;
        self.done(name)
    }

    /// `name SP digest` (RFC 2195 §2); a name may have spaces.
    fn cram_md5(&self, challenge: &str, response: &[u8], authority: &mut dyn Authority) -> Outcome {
        let (name, digest) = name_and_digest(response);
        let digest = digest.strip_prefix(b" ").and_then(from_hex);
        let (Some(digest), 1..=MAX_NAME) = (digest, name.len()) else {
            return Err(Failure::Malformed("CRAM-MD5 is a name, a space and a digest"));
        };
        authority.cram_md5(name, challenge.as_bytes(), &digest)?;
        self.done(name.to_vec())
    }

    fn scram_first(&self, response: &[u8], authority: &mut dyn Authority) -> Outcome {
        let first = ClientFirst::parse(response).map_err(Failure::Malformed)?;
        let binding = self.binding(&first.flag).map_err(Failure::Malformed)?;
        as_themselves(&first.authzid, &first.name)?;
        let challenge = authority.scram_first(&first.name, first.nonce)?;
        let nonce = challenge.strip_prefix(b"r=").unwrap_or_default();
        let nonce = nonce.split(|&byte| byte == b',').next().unwrap_or_default();
        if nonce.len() <= first.nonce.len() || !nonce.starts_with(first.nonce) {
            return Err(Failure::Unavailable);
        }
        let state = State::ScramFinal(ScramFinal {
            nonce: nonce.to_vec(),
            client_first_bare: first.bare.to_vec(),
            binding: Secret::concat(&[first.header, binding]),
            name: first.name,
        });
        Ok((state, Step::Challenge(challenge)))
    }

    /// Returns the data that the client's flag needs (RFC 5802 §6). A client that has a binding and thinks
    /// we have none has seen a forged list of mechanisms, if we offered -PLUS.
    fn binding(&self, flag: &Flag<'_>) -> Result<&[u8], &'static str> {
        let is_bound = self.mechanism == Mechanism::ScramSha256Plus;
        let offers_plus = self.terms.offered.contains(Mechanism::ScramSha256Plus)
            && !self.terms.bindings.is_empty();
        match flag {
            Flag::Bound(name) if is_bound => {
                self.terms.bindings.by_name(name).ok_or("SCRAM: no such channel binding here")
            }
            Flag::Bound(_) => Err("SCRAM: channel binding is for SCRAM-SHA-256-PLUS"),
            Flag::None | Flag::Unused if is_bound => {
                Err("SCRAM-SHA-256-PLUS needs a channel binding")
            }
            Flag::Unused if offers_plus => Err("SCRAM: SCRAM-SHA-256-PLUS was offered"),
            Flag::None | Flag::Unused => Ok(b""),
        }
    }
}

fn login_name(response: &[u8]) -> Outcome {
    if !(1..=MAX_NAME).contains(&response.len()) {
        return Err(Failure::Malformed("LOGIN: the name is empty or too long"));
    }
    let state = State::LoginPassword { name: response.to_vec() };
    Ok((state, Step::Challenge(b"Password:".to_vec())))
}

fn scram_final(known: ScramFinal, response: &[u8], authority: &mut dyn Authority) -> Outcome {
    let last = ClientFinal::parse(response).map_err(Failure::Malformed)?;
    if last.nonce != known.nonce {
        return Err(Failure::Malformed("SCRAM: the nonce is another one"));
    }
    if !constant_time_eq(known.binding.as_bytes(), last.binding.as_bytes()) {
        // There is a third party between the client and us (RFC 5802 §6).
        return Err(Failure::Rejected);
    }
    let signature =
        authority.scram_final(&known.client_first_bare, last.without_proof, &last.proof)?;
    let challenge = format!("v={}", base64(&signature)).into_bytes();
    Ok((State::ScramEnd { name: known.name }, Step::Challenge(challenge)))
}

/// No user acts for another: an authorization identity is empty or the name itself (RFC 4422 §3.4.1).
fn as_themselves(authzid: &[u8], name: &[u8]) -> Result<(), Failure> {
    let is_own = authzid.is_empty() || authzid == name;
    if is_own { Ok(()) } else { Err(Failure::Malformed("no user may act for another")) }
}
