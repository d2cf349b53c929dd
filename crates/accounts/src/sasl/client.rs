//! The client's side of an exchange.

use std::fmt;

use super::binding::Bindings;
use super::message::{ServerFirst, auth_message, escaped, key};
use crate::challenge::cram_md5_digest;
use crate::encoding::{base64, hex};
use crate::error::{Error, Result};
use crate::mechanism::{Mechanism, Mechanisms};
use crate::password::{client_key, hmac, salted_password, sha256, xor};
use crate::prepared::prepared;
use crate::secret::{Secret, constant_time_eq, random};

/// Random part of a nonce in bytes; in base64 it is a third longer.
const NONCE: usize = 18;

/// What a client knows of the server and of the connection.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// What CAPA or EHLO listed, read under TLS if there is TLS.
    pub offered: Mechanisms,
    /// The bindings of the TLS connection.
    pub bindings: Bindings,
}

/// Chooses the strongest mechanism that a server offers. One that sends the password is taken only
/// where `is_private`: under TLS, or where the user said so.
#[must_use]
pub fn choose(server: &Server, is_private: bool) -> Option<Mechanism> {
    let may = |mechanism: &Mechanism| match mechanism {
        Mechanism::ScramSha256Plus => !server.bindings.is_empty(),
        mechanism => is_private || !mechanism.sends_password(),
    };
    server.offered.iter().find(may)
}

/// Why a client ends an exchange: it sends `*`, and does not trust the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server's message is malformed, or none is expected: what is wrong.
    Malformed(&'static str),
    /// The server does not know the password: it is not the one it claims to be.
    FalseServer,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Malformed(why) => f.write_str(why),
            ClientError::FalseServer => f.write_str("the server could not prove that it knows you"),
        }
    }
}

impl std::error::Error for ClientError {}

/// An exchange on the client's side.
#[derive(Debug)]
pub struct Client {
    mechanism: Mechanism,
    name: Vec<u8>,
    password: Secret,
    /// SCRAM's `gs2-header`, and what is bound.
    header: Vec<u8>,
    binding: Secret,
    nonce: String,
    state: State,
}

/// What the server's next message is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// An empty challenge, or none where the response goes with the command.
    First,
    LoginPassword,
    ScramFirst,
    /// The server's signature.
    ScramFinal([u8; 32]),
    /// The reply to the command.
    Over,
    /// Nothing: the exchange was cancelled.
    Failed,
}

impl Client {
    /// Begins an exchange.
    ///
    /// # Errors
    /// [`Error::Refused`] for an empty name or a NUL in name or password (RFC 4616 §2), and for
    /// SCRAM-SHA-256-PLUS without a binding; [`Error::Io`] when the system has no random numbers.
    pub fn new(
        mechanism: Mechanism,
        name: &[u8],
        password: &Secret,
        server: &Server,
    ) -> Result<Client> {
        let nonce = base64(&random::<NONCE>()?);
        Client::with_nonce(mechanism, name, password, server, nonce)
    }

    pub(super) fn with_nonce(
        mechanism: Mechanism,
        name: &[u8],
        password: &Secret,
        server: &Server,
        nonce: String,
    ) -> Result<Client> {
        let refused = |why: &str| Err(Error::Refused(why.to_owned()));
        if name.is_empty() || name.contains(&0) || password.as_bytes().contains(&0) {
            return refused("the name is empty, or there is a NUL in name or password");
        }
        let (mut header, mut binding) = (b"n,,".to_vec(), Secret::default());
        match (mechanism, server.bindings.best()) {
            (Mechanism::ScramSha256Plus, Some((kind, data))) => {
                header = format!("p={},,", kind.name()).into_bytes();
                binding = Secret::from(data);
            }
            (Mechanism::ScramSha256Plus, None) => {
                return refused("SCRAM-SHA-256-PLUS needs a channel binding");
            }
            // We could, but the server seems not to: it will object if its list was forged.
            (_, Some(_)) if !server.offered.contains(Mechanism::ScramSha256Plus) => {
                header = b"y,,".to_vec();
            }
            _ => {}
        }
        let (name, password, state) = (name.to_vec(), password.clone(), State::First);
        Ok(Client { mechanism, name, password, header, binding, nonce, state })
    }

    /// Returns the response that goes with the command; `None` where the server speaks first. LOGIN
    /// waits to be asked, as old servers expect it.
    #[must_use]
    pub fn initial(&mut self) -> Option<Secret> {
        match self.mechanism {
            Mechanism::Login | Mechanism::CramMd5 => None,
            _ => Some(self.first(b"")),
        }
    }

    /// Takes the server's next challenge; returns the response.
    ///
    /// # Errors
    /// The exchange is to be cancelled.
    pub fn respond(&mut self, challenge: &[u8]) -> std::result::Result<Secret, ClientError> {
        let response = self.respond_to(challenge);
        if response.is_err() {
            self.state = State::Failed; // whatever the server says next is not believed
        }
        response
    }

    fn respond_to(&mut self, challenge: &[u8]) -> std::result::Result<Secret, ClientError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => Ok(self.first(challenge)),
            State::LoginPassword => Ok(self.password.clone()),
            State::ScramFirst => self.scram_proof(challenge).map_err(ClientError::Malformed),
            State::ScramFinal(expected) => {
                let signature = challenge.strip_prefix(b"v=").and_then(key);
                let is_right = signature.is_some_and(|given| constant_time_eq(&expected, &given));
                if is_right { Ok(Secret::default()) } else { Err(ClientError::FalseServer) }
            }
            State::Over | State::Failed => {
                Err(ClientError::Malformed("a challenge where none is expected"))
            }
        }
    }

    /// Takes the server's word that the login was successful.
    ///
    /// # Errors
    /// [`ClientError::FalseServer`] if a server of SCRAM has not proved itself before, and after an exchange that
    /// was to be cancelled.
    pub fn finish(&self) -> std::result::Result<(), ClientError> {
        if self.state == State::Over { Ok(()) } else { Err(ClientError::FalseServer) }
    }

    fn first(&mut self, challenge: &[u8]) -> Secret {
        let (name, password) = (&self.name[..], self.password.as_bytes());
        let (state, response) = match self.mechanism {
            Mechanism::Plain => (State::Over, Secret::concat(&[b"\0", name, b"\0", password])),
            Mechanism::Login => (State::LoginPassword, Secret::from(name)),
            Mechanism::CramMd5 => {
                let digest = hex(&cram_md5_digest(challenge, password));
                (State::Over, Secret::concat(&[name, b" ", digest.as_bytes()]))
            }
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                (State::ScramFirst, Secret::concat(&[&self.header, &self.first_bare()]))
            }
        };
        self.state = state;
        response
    }

    /// `client-first-message-bare` (RFC 5802 §7)
    fn first_bare(&self) -> Vec<u8> {
        let name = escaped(prepared(&self.name).as_bytes());
        [b"n=", &name[..], b",r=", self.nonce.as_bytes()].concat()
    }

    /// Returns `client-final-message` (RFC 5802 §3, §7).
    fn scram_proof(&mut self, challenge: &[u8]) -> std::result::Result<Secret, &'static str> {
        let first = ServerFirst::parse(challenge)?;
        let nonce = self.nonce.as_bytes();
        if first.nonce.len() <= nonce.len() || !first.nonce.starts_with(nonce) {
            return Err("SCRAM: the server's nonce does not begin with ours");
        }
        let bound = Secret::concat(&[&self.header, self.binding.as_bytes()]);
        let bound = base64(bound.as_bytes());
        let without_proof = [b"c=", bound.as_bytes(), b",r=", first.nonce].concat();
        let salted =
            salted_password(self.password.as_bytes(), first.salt.as_bytes(), first.iterations);
        let client = client_key(&salted);
        let message = auth_message(&self.first_bare(), challenge, &without_proof);
        let proof = base64(&xor(&client, &hmac(&sha256(&*client), &message)));
        self.state = State::ScramFinal(hmac(&hmac(&salted, b"Server Key"), &message));
        Ok(Secret::concat(&[&without_proof, b",p=", proof.as_bytes()]))
    }
}
