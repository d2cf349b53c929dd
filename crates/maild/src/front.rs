//! The side of the process that talks to the client: it asks, and knows nothing of the accounts.

use std::io;
use std::time::Duration;

use accounts::sasl::{Authority, Denial, Exchange, Failure, Step, Terms, claimed_name};
use accounts::{Mechanism as Sasl, Secret, hex};
use forknet::{Answer, Line, Peer, reason};
use log::warn;

use crate::credentials::{Credentials, Denied, Mechanism, Proof};
use crate::question::{LoginQuestion, accepted_name};

/// Longest wait for an answer: dear hashes on a busy machine, and a maildrop on a slow disk.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Where questions are answered.
pub trait Keeper {
    /// What a process waits at that has answered and goes on.
    type Next;

    /// Asks a question.
    ///
    /// # Errors
    /// No answer came.
    fn ask(&mut self, question: &Secret) -> io::Result<Reply<Self::Next>>;
}

/// An answer, as [`Answer`] tells it of a [`Line`].
#[derive(Debug)]
pub enum Reply<N> {
    /// The last word.
    Final(Vec<u8>),
    /// The next question is awaited.
    More(Vec<u8>),
    /// The process that answered goes on there.
    GoesOn(Vec<u8>, N),
}

/// A server without a keeper answers nothing.
impl Keeper for Option<Line> {
    type Next = Line;

    fn ask(&mut self, question: &Secret) -> io::Result<Reply<Line>> {
        let line = self.as_ref().ok_or_else(|| io::Error::other("no keeper"))?;
        Ok(match line.ask(question.as_bytes(), ANSWER_WAIT)? {
            Answer::Final(answer) => Reply::Final(answer),
            Answer::More(answer) => Reply::More(answer),
            Answer::GoesOn(answer, line) => Reply::GoesOn(answer, line),
        })
    }
}

/// A login that was accepted.
#[derive(Debug)]
pub struct Accepted<N> {
    /// The user's name in its canonical form.
    pub name: Vec<u8>,
    /// What proves the login later, to the keeper's processes; it may be empty.
    pub token: Vec<u8>,
    /// Where the process waits that has answered, if it goes on.
    pub next: Option<N>,
}

/// Asks about the logins of one client.
#[derive(Debug)]
pub struct Asker<K: Keeper> {
    keeper: K,
    peer: Peer,
    /// The name and the mechanism of the last question, for the log.
    last: (Vec<u8>, Mechanism),
    accepted: Option<Accepted<K::Next>>,
    denied: Denied,
    /// The process that has answered waits for the next question of an exchange.
    is_awaited: bool,
}

impl<K: Keeper> Asker<K> {
    /// For the client of this address.
    pub fn new(keeper: K, peer: Peer) -> Asker<K> {
        let last = (Vec::new(), Mechanism::Pass);
        let (accepted, denied) = (None, Denied::NotChecked);
        Asker { keeper, peer, last, accepted, denied, is_awaited: false }
    }

    /// Asks whether credentials are right.
    ///
    /// # Errors
    /// They are not, or it cannot be known.
    pub fn log_in(&mut self, credentials: Credentials) -> Result<Accepted<K::Next>, Denied> {
        self.check(credentials)?;
        self.accepted.take().ok_or(Denied::NotChecked)
    }

    /// Ends an exchange that the client does not go on with, so that what is asked next over the same line, about
    /// something else, finds a process of its own.
    pub fn cancel(&mut self) {
        if self.is_awaited {
            let _denied = self.ask(&LoginQuestion::Cancel); // as it should be
        }
    }

    /// Returns the name that was asked about last, in printable form, and how it came.
    #[must_use]
    pub fn last(&self) -> (String, Mechanism) {
        (self.last.0.escape_ascii().to_string(), self.last.1)
    }

    fn check(&mut self, credentials: Credentials) -> Result<(), Denied> {
        self.last = (credentials.name.clone(), credentials.mechanism);
        self.expect_end(&LoginQuestion::Check(self.peer, credentials))
    }

    fn expect_end(&mut self, question: &LoginQuestion) -> Result<(), Denied> {
        match self.ask(question)? {
            None => Ok(()),
            Some(_) => Err(self.no_answer("an answer that is none")),
        }
    }

    /// Returns the answer after which the next question is awaited, or `None` when the login is accepted.
    fn ask(&mut self, question: &LoginQuestion) -> Result<Option<Vec<u8>>, Denied> {
        let Some(record) = question.encode() else {
            return Err(self.no_answer("a question that is too long"));
        };
        let answer = self.keeper.ask(&record);
        self.is_awaited = matches!(answer, Ok(Reply::More(_)));
        let (answer, next) = match answer {
            Ok(Reply::More(message)) => return Ok(Some(message)),
            Ok(Reply::Final(answer)) => (answer, None),
            Ok(Reply::GoesOn(answer, next)) => (answer, Some(next)),
            Err(error) => return Err(self.no_answer(&reason(&error))),
        };
        match (accepted_name(&answer), Denied::decode(&answer)) {
            (Some((name, token)), _) => {
                let (name, token) = (name.to_vec(), token.to_vec());
                self.accepted = Some(Accepted { name, token, next });
                Ok(None)
            }
            (None, Some(denied)) => Err(denied),
            (None, None) => Err(self.no_answer("an answer that is none")),
        }
    }

    /// Notes the name that a message claims which is passed on.
    fn note_claim(&mut self, mechanism: Sasl, message: &Secret) {
        if self.last.0.is_empty() {
            self.last.0 = claimed_name(mechanism, message.as_bytes()).unwrap_or_default();
        }
    }

    fn no_answer(&self, why: &str) -> Denied {
        let (peer, name) = (self.peer, self.last.0.escape_ascii());
        warn!("{peer}: login of '{name}': keeper: {why}");
        Denied::NotChecked
    }

    /// Keeps why a question of the exchange was denied.
    fn denial(&mut self, denied: Denied) -> Denial {
        self.denied = denied;
        if denied == Denied::Rejected { Denial::Rejected } else { Denial::Unavailable }
    }
}

/// The exchange asks the keeper.
struct OfExchange<'a, K: Keeper> {
    asker: &'a mut Asker<K>,
    mechanism: Sasl,
}

impl<K: Keeper> OfExchange<'_, K> {
    fn check(&mut self, name: &[u8], proof: Proof) -> Result<(), Denial> {
        let mechanism = Mechanism::Auth(self.mechanism);
        let credentials = Credentials { mechanism, name: name.to_vec(), proof };
        self.asker.check(credentials).map_err(|denied| self.asker.denial(denied))
    }

    fn more(&mut self, question: &LoginQuestion) -> Result<Vec<u8>, Denial> {
        let more = match self.asker.ask(question) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.asker.no_answer("an answer that is none")),
            Err(denied) => Err(denied),
        };
        more.map_err(|denied| self.asker.denial(denied))
    }
}

impl<K: Keeper> Authority for OfExchange<'_, K> {
    fn password(&mut self, name: &[u8], password: &Secret) -> Result<(), Denial> {
        self.check(name, Proof::Password(password.clone()))
    }

    fn cram_md5(&mut self, name: &[u8], challenge: &[u8], digest: &[u8; 16]) -> Result<(), Denial> {
        let digest = hex(digest).into_bytes();
        self.check(name, Proof::Digest { challenge: challenge.to_vec(), digest })
    }

    fn scram_first(&mut self, name: &[u8], client_nonce: &[u8]) -> Result<Vec<u8>, Denial> {
        let mechanism = self.mechanism;
        self.asker.last = (name.to_vec(), Mechanism::Auth(mechanism));
        let (peer, name, nonce) = (self.asker.peer, name.to_vec(), client_nonce.to_vec());
        self.more(&LoginQuestion::ScramFirst { peer, mechanism, name, nonce })
    }

    fn scram_final(
        &mut self,
        client_first_bare: &[u8],
        client_final_without_proof: &[u8],
        proof: &[u8; 32],
    ) -> Result<[u8; 32], Denial> {
        let signature = self.more(&LoginQuestion::ScramFinal {
            first_bare: client_first_bare.to_vec(),
            without_proof: client_final_without_proof.to_vec(),
            proof: *proof,
        })?;
        signature.try_into().map_err(|_| {
            let denied = self.asker.no_answer("an answer that is none");
            self.asker.denial(denied)
        })
    }
}

/// An exchange of AUTH: our own side of it, or that of another program, for which messages are passed on.
#[derive(Debug)]
pub struct Auth {
    mechanism: Sasl,
    /// `None` where messages are passed on.
    exchange: Option<Exchange>,
}

/// What is to be done next.
#[derive(Debug)]
pub enum AuthStep<N> {
    /// Send this, in base64, and take the response.
    Challenge(Vec<u8>),
    /// The client is logged in.
    Accepted(Accepted<N>),
    /// The exchange is over without success.
    Failed(AuthFailure),
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The mechanism is not offered.
    NotOffered,
    /// The client's message is malformed: what is wrong with it, as a text for the reply.
    Malformed(&'static str),
    /// The login is not accepted.
    Denied(Denied),
}

impl Auth {
    /// Begins an exchange; `initial` is the decoded response that came with the command. `is_relayed`: the
    /// accounts are another program's, to which all but passwords are passed on.
    pub fn start<K: Keeper>(
        (terms, is_relayed): (&Terms, bool),
        mechanism: Sasl,
        initial: Option<Secret>,
        asker: &mut Asker<K>,
    ) -> (Auth, AuthStep<K::Next>) {
        if !is_relayed || mechanism.sends_password() {
            let mut authority = OfExchange { asker, mechanism };
            let (exchange, step) =
                Exchange::start(terms, mechanism, initial.as_ref(), &mut authority);
            let auth = Auth { mechanism, exchange: Some(exchange) };
            return (auth, after(step, asker));
        }
        let auth = Auth { mechanism, exchange: None };
        if !terms.offered.contains(mechanism) {
            return (auth, AuthStep::Failed(AuthFailure::NotOffered));
        }
        asker.last = (Vec::new(), Mechanism::Auth(mechanism));
        if let Some(initial) = &initial {
            asker.note_claim(mechanism, initial);
        }
        let question = LoginQuestion::Relay { peer: asker.peer, mechanism, initial };
        (auth, relayed(&question, asker))
    }

    /// Takes the client's response.
    pub fn step<K: Keeper>(&mut self, response: Secret, asker: &mut Asker<K>) -> AuthStep<K::Next> {
        match &mut self.exchange {
            Some(exchange) => {
                let mut authority = OfExchange { asker, mechanism: self.mechanism };
                let step = exchange.step(&response, &mut authority);
                after(step, asker)
            }
            None => {
                asker.note_claim(self.mechanism, &response);
                relayed(&LoginQuestion::RelayNext(response), asker)
            }
        }
    }
}

fn relayed<K: Keeper>(question: &LoginQuestion, asker: &mut Asker<K>) -> AuthStep<K::Next> {
    match asker.ask(question) {
        Ok(Some(challenge)) => AuthStep::Challenge(challenge),
        Ok(None) => accepted(asker),
        Err(denied) => AuthStep::Failed(AuthFailure::Denied(denied)),
    }
}

fn after<K: Keeper>(step: Step, asker: &mut Asker<K>) -> AuthStep<K::Next> {
    match step {
        Step::Challenge(challenge) => AuthStep::Challenge(challenge),
        Step::Done(_) => {
            // After SCRAM the client has seen our proof: now the mailbox is opened.
            if asker.accepted.is_none()
                && let Err(denied) = asker.expect_end(&LoginQuestion::Open)
            {
                return AuthStep::Failed(AuthFailure::Denied(denied));
            }
            accepted(asker)
        }
        Step::Failed(failure) => AuthStep::Failed(match failure {
            Failure::NotOffered => AuthFailure::NotOffered,
            Failure::Malformed(why) => AuthFailure::Malformed(why),
            Failure::Rejected => AuthFailure::Denied(Denied::Rejected),
            Failure::Unavailable => AuthFailure::Denied(match asker.denied {
                Denied::Rejected => Denied::NotChecked,
                other => other,
            }),
        }),
    }
}

fn accepted<K: Keeper>(asker: &mut Asker<K>) -> AuthStep<K::Next> {
    match asker.accepted.take() {
        Some(accepted) => AuthStep::Accepted(accepted),
        None => AuthStep::Failed(AuthFailure::Denied(Denied::NotChecked)),
    }
}
