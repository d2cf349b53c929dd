//! The check of a login, in the process that answers, with the keeper's rights.

use std::io;
use std::time::Duration;

use accounts::dovecot_auth::Reply;
use accounts::password::Unusable;
use accounts::sasl::{Authority, Denial, claimed_name};
use accounts::{Account, Accounts, Checker, Login, Mechanism as Sasl, Refusal, Secret, from_hex};
use forknet::{Peer, Question, reason};
use log::{debug, warn};

use crate::auth_socket::{AuthServer, AuthSocket};
use crate::credentials::{Credentials, Denied, Mechanism, Proof};
use crate::options::{Logins, MailOptions};
use crate::question::LoginQuestion;

/// Longest wait for the next message of an exchange. The client may take its time, but this process has
/// the keeper's rights.
const NEXT_WAIT: Duration = Duration::from_secs(60);
/// Exit code of a process that does not answer: the keeper closes the line.
const LIED: i32 = 1;
/// Exit code of a process that has answered.
const ANSWERED: i32 = 0;

/// A login that was proved.
#[derive(Debug)]
pub struct Proved {
    /// The client's address, as the process says that talks to it: for the log.
    pub peer: Peer,
    /// The user.
    pub account: Account,
    /// How the login was proved.
    pub mechanism: Mechanism,
}

/// Answers the questions about one login, up to its end. Returns who has logged in, and the question that
/// is to be answered: by [`crate::accepted`], or why that cannot be.
///
/// # Errors
/// The login was not accepted, which was answered; the exit code of this process.
pub fn prove(options: &MailOptions, mut asked: Question) -> Result<(Question, Proved), i32> {
    let first = Secret::new(asked.take_text());
    prove_from(options, asked, first)
}

/// As [`prove`], where the first question was taken already.
///
/// # Errors
/// As [`prove`].
pub fn prove_from(
    options: &MailOptions,
    mut asked: Question,
    first: Secret,
) -> Result<(Question, Proved), i32> {
    let mut answering = Answering::new(options);
    let (mut first, mut guesser, mut unnamed) = (Some(first), None, None);
    loop {
        let text = first.take().unwrap_or_else(|| Secret::new(asked.take_text()));
        let question = LoginQuestion::decode(&text);
        drop(text);
        let begins = |it: &LoginQuestion| it.begins().or_else(|| it.claims(&unnamed));
        if let Some((peer, name)) = question.as_ref().and_then(begins) {
            if !asked.may_be_from(peer) {
                warn!("{peer}: a question about another client than that of the process that asks");
                return Err(LIED);
            }
            unnamed = match (&question, &name) {
                (Some(LoginQuestion::Relay { mechanism, .. }), None) => Some((peer, *mechanism)),
                _ => None,
            };
            let who = guesser.insert(options.guesser(peer, name.as_deref()));
            asked = options.await_turn(asked, who)?;
        }
        match answering.answer(question) {
            Said::Accepted(proved) => {
                let who = (proved.peer, &proved.account.name[..]);
                return Ok((options.admit(asked, who)?, proved));
            }
            Said::Denied(denied) => {
                if let (Denied::Rejected, Some(who)) = (denied, &guesser) {
                    options.note_failure(&asked, who);
                }
                return Err(asked.answer(&denied.encode()));
            }
            Said::More(more) => {
                if let Err(error) = asked.ask_back(&more, NEXT_WAIT) {
                    debug!("a login was not finished: {}", reason(&error));
                    return Err(ANSWERED);
                }
            }
        }
    }
}

/// The questions about one login, in turn.
#[derive(Debug)]
pub struct Answering<'a> {
    options: &'a MailOptions,
    state: State,
}

/// The answer to a question.
#[derive(Debug)]
pub enum Said {
    /// No.
    Denied(Denied),
    /// This, and then the next question is awaited.
    More(Vec<u8>),
    /// Yes, once the mailbox is open.
    Accepted(Proved),
}

#[derive(Debug)]
enum State {
    Start,
    /// Of SCRAM the first message was answered.
    Scram {
        attempt: Attempt,
        checker: Box<Checker<Accounts>>,
    },
    /// Another program has the exchange.
    Relayed {
        attempt: Attempt,
        server: Box<AuthServer>,
    },
    /// The proof is right; the client is to see that ours is too.
    Proved(Proved),
}

/// Who tries to log in, and how, for the log.
#[derive(Clone, Debug)]
struct Attempt {
    peer: Peer,
    name: Vec<u8>,
    mechanism: Mechanism,
}

impl<'a> Answering<'a> {
    /// Begins.
    #[must_use]
    pub fn new(options: &'a MailOptions) -> Answering<'a> {
        Answering { options, state: State::Start }
    }

    /// Takes a question. One that begins a login ends what was before it.
    pub fn take(&mut self, record: &Secret) -> Said {
        self.answer(LoginQuestion::decode(record))
    }

    /// As [`Answering::take`]; `None` is a question that is malformed.
    fn answer(&mut self, question: Option<LoginQuestion>) -> Said {
        let state = std::mem::replace(&mut self.state, State::Start);
        match (question, state) {
            (Some(LoginQuestion::Check(peer, credentials)), _) => self.check(peer, &credentials),
            (Some(LoginQuestion::ScramFirst { peer, name, nonce, mechanism }), _) => {
                self.scram_first(Attempt::new(peer, name, mechanism), &nonce)
            }
            (
                Some(LoginQuestion::ScramFinal { first_bare, without_proof, proof }),
                State::Scram { attempt, mut checker },
            ) => {
                let signature = checker.scram_final(&first_bare, &without_proof, &proof);
                match (attempt.result(signature.map(drop), *checker), signature) {
                    (Ok(account), Ok(signature)) => {
                        self.state = State::Proved(attempt.proved(account));
                        Said::More(signature.to_vec())
                    }
                    (Err(denied), _) => Said::Denied(denied),
                    (Ok(_), Err(_)) => Said::Denied(Denied::NotChecked),
                }
            }
            (Some(LoginQuestion::Relay { peer, mechanism, initial }), _) => {
                let mut attempt = Attempt::new(peer, Vec::new(), mechanism);
                initial.iter().for_each(|it| attempt.note_claim(mechanism, it));
                let Logins::Socket(socket) = &self.options.logins else {
                    return Said::Denied(Denied::NotChecked);
                };
                let begun = socket.begin(peer, mechanism, initial.as_ref());
                let begun = begun.map(|(server, said)| (Some(Box::new(server)), said));
                self.relayed(attempt, begun)
            }
            (
                Some(LoginQuestion::RelayNext(response)),
                State::Relayed { mut attempt, mut server },
            ) => {
                attempt.note_claim(server.mechanism(), &response);
                let said = server.respond(&response);
                self.relayed(attempt, said.map(|said| (Some(server), said)))
            }
            (Some(LoginQuestion::Open), State::Proved(proved)) => Said::Accepted(proved),
            (Some(LoginQuestion::Cancel), _) => Said::Denied(Denied::NotChecked),
            (Some(_), _) => {
                debug!("a question about a login out of turn, or too late");
                Said::Denied(Denied::NotChecked)
            }
            (None, _) => {
                warn!("a malformed question about a login");
                Said::Denied(Denied::NotChecked)
            }
        }
    }

    /// What another program has said.
    fn relayed(
        &mut self,
        attempt: Attempt,
        said: io::Result<(Option<Box<AuthServer>>, Reply)>,
    ) -> Said {
        match said {
            Ok((Some(server), Reply::Challenge(challenge))) => {
                self.state = State::Relayed { attempt, server };
                Said::More(challenge)
            }
            Ok((None, Reply::Challenge(_))) => Said::Denied(attempt.not_checked(&"a challenge")),
            Ok((_, Reply::Accepted { name })) => {
                match AuthSocket::account(self.options.names, &name) {
                    Some(account) => Said::Accepted(attempt.proved(account)),
                    None => Said::Denied(attempt.not_checked(&"auth socket: not a name")),
                }
            }
            Ok((_, Reply::Rejected)) => Said::Denied(Denied::Rejected),
            Ok((_, Reply::Unavailable)) => {
                let why = "auth socket: a temporary error of the server";
                Said::Denied(attempt.not_checked(&why))
            }
            Err(error) => match &self.options.logins {
                Logins::Socket(socket) => Said::Denied(attempt.not_checked(&socket.failed(&error))),
                _ => Said::Denied(Denied::NotChecked),
            },
        }
    }

    /// Checks a password where the users are another program's; `None` where they are not.
    fn by_program(&mut self, attempt: &Attempt, proof: &Proof) -> Option<Said> {
        let (options, peer) = (self.options, attempt.peer);
        if !matches!(options.logins, Logins::Program(_) | Logins::Socket(_)) {
            return None;
        }
        let Proof::Password(password) = proof else {
            return Some(Said::Denied(Denied::Rejected)); // no digest is offered
        };
        Some(match &options.logins {
            Logins::Program(program) => {
                match program.log_in(options.names, &attempt.name, password) {
                    Ok(account) => Said::Accepted(attempt.proved(account)),
                    Err((Denied::Rejected, _)) => Said::Denied(Denied::Rejected),
                    Err((_, why)) => Said::Denied(attempt.not_checked(&why)),
                }
            }
            Logins::Socket(socket) => match options.names.canonical(&attempt.name) {
                Some(name) => {
                    let said = socket.password(peer, &name, password);
                    self.relayed(attempt.clone(), said.map(|said| (None, said)))
                }
                None => Said::Denied(Denied::Rejected),
            },
            _ => return None,
        })
    }

    fn check(&mut self, peer: Peer, credentials: &Credentials) -> Said {
        let Credentials { name, proof, mechanism } = credentials;
        let attempt = Attempt { peer, name: name.clone(), mechanism: *mechanism };
        if let Some(said) = self.by_program(&attempt, proof) {
            return said;
        }
        let mut checker = match self.checker(&attempt) {
            Ok(checker) => checker,
            Err(denied) => return Said::Denied(denied),
        };
        let proved = match proof {
            Proof::Password(password) => checker.password(name, password),
            Proof::Digest { challenge, digest } => match from_hex(digest) {
                None => Err(Denial::Rejected), // the same for every name
                Some(digest) if credentials.mechanism == Mechanism::Auth(Sasl::CramMd5) => {
                    checker.cram_md5(name, challenge, &digest)
                }
                Some(digest) => checker.apop(name, challenge, &digest),
            },
        };
        match attempt.result(proved, checker) {
            Ok(account) => Said::Accepted(attempt.proved(account)),
            Err(denied) => Said::Denied(denied),
        }
    }

    fn scram_first(&mut self, attempt: Attempt, nonce: &[u8]) -> Said {
        let mut checker = match self.checker(&attempt) {
            Ok(checker) => checker,
            Err(denied) => return Said::Denied(denied),
        };
        match checker.scram_first(&attempt.name, nonce) {
            Ok(message) => {
                self.state = State::Scram { attempt, checker: Box::new(checker) };
                Said::More(message)
            }
            Err(denial) => match attempt.result(Err(denial), checker) {
                Err(denied) => Said::Denied(denied),
                Ok(_) => Said::Denied(Denied::NotChecked),
            },
        }
    }

    fn checker(&self, attempt: &Attempt) -> Result<Checker<Accounts>, Denied> {
        let checker = self.options.accounts().and_then(|accounts| {
            let decoy = self.options.decoy()?;
            Ok(Checker::new(accounts, &decoy))
        });
        checker.map_err(|error| attempt.not_checked(&error))
    }
}

impl Attempt {
    fn new(peer: Peer, name: Vec<u8>, mechanism: Sasl) -> Attempt {
        Attempt { peer, name, mechanism: Mechanism::Auth(mechanism) }
    }

    fn proved(&self, account: Account) -> Proved {
        Proved { peer: self.peer, account, mechanism: self.mechanism }
    }

    /// Notes the name that the first message claims which shows one.
    fn note_claim(&mut self, mechanism: Sasl, message: &Secret) {
        if self.name.is_empty() {
            self.name = claimed_name(mechanism, message.as_bytes()).unwrap_or_default();
        }
    }

    /// Returns the account, if the check has succeeded; logs what the administrator has to repair.
    fn result(
        &self,
        proved: Result<(), Denial>,
        checker: Checker<Accounts>,
    ) -> Result<Account, Denied> {
        match (proved, checker.into_result()) {
            (Ok(()), Ok(Login::Accepted(account))) => Ok(account),
            (_, Ok(Login::Refused(why))) => {
                let is_to_repair = matches!(why, Refusal::Field(why) if why != Unusable::None);
                if is_to_repair || matches!(why, Refusal::Mechanism | Refusal::Closed(_)) {
                    let Attempt { peer, name, .. } = self;
                    warn!("{peer}: login of '{}': {why}", name.escape_ascii());
                }
                Err(Denied::Rejected)
            }
            (Err(_), Ok(Login::Accepted(_))) => Err(Denied::Rejected),
            (_, Err(error)) => Err(self.not_checked(&error)),
        }
    }

    fn not_checked(&self, why: &dyn std::fmt::Display) -> Denied {
        warn!("{}: login of '{}': {why}", self.peer, self.name.escape_ascii());
        Denied::NotChecked
    }
}
