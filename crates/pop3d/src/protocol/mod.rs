//! The server's side of POP3, without a socket and without a process. It takes lines and returns
//! outcomes.
//!
//! A session goes through three states (RFC 1939 §3): AUTHORIZATION, TRANSACTION, UPDATE. Each of
//! the first two has a table of commands, whose handlers return an [`Outcome`]; UPDATE is
//! [`Protocol::update`].

// The order of the modules; each imports from its left only:
//   reply apop top mask | outcome | command | authorization transaction |
//   (this file)

pub mod apop;
pub mod authorization;
pub mod command;
pub mod mask;
pub mod outcome;
pub mod reply;
pub mod top;
pub mod transaction;

use accounts::sasl::MAX_LINE as MAX_RESPONSE;
use log::{debug, info};
use maild::{AuthFailure, Denied, Mechanism};
use mailstore::Maildrop;

use authorization::{Authorization, MAX_FAILED_LOGINS, Offers, no_such_mechanism};
use command::{MAX_COMMAND, dispatch};
use mask::{STARS, masked};
use outcome::{Column, Outcome};
use reply::{Code, Reply, err, err_code, ok};
use transaction::Transaction;

/// Consecutive bad commands that end the session, because the client does not speak POP3.
const MAX_BAD_COMMANDS: u32 = 100;

/// The IMPLEMENTATION capability (RFC 2449 §6.9).
const IMPLEMENTATION: &str = concat!("forklore-pop3d-", env!("CARGO_PKG_VERSION"));

enum State {
    Authorization(Authorization),
    Transaction(Transaction),
}

/// The protocol of one session.
pub struct Protocol {
    state: State,
    peer: String,
    host: String,
    offers: Offers,
    bad_commands: u32,
    is_check: bool,
}

impl Protocol {
    /// Begins a session in AUTHORIZATION. `peer` is the client's name in the log.
    #[must_use]
    pub fn new(peer: String, host: String, offers: Offers) -> Protocol {
        let state = State::Authorization(Authorization::new(offers.clone()));
        Protocol { state, peer, host, offers, bad_commands: 0, is_check: false }
    }

    /// Says whether this is a proxy that looks whether the server lives, which ends without a log line.
    #[must_use]
    pub fn with_check(mut self, is_check: bool) -> Protocol {
        self.is_check = is_check;
        self
    }

    /// Goes on under TLS, after [`Outcome::StartTls`], with what is offered there.
    #[must_use]
    pub fn secured(mut self, offers: Offers) -> Protocol {
        if let State::Authorization(state) = &self.state {
            self.state = State::Authorization(state.secured(offers.clone()));
        }
        self.offers = offers;
        self
    }

    /// Begins a session in TRANSACTION, after the login of this user, whose name is printable, in another
    /// process; returns the reply to that, too.
    #[must_use]
    pub fn logged_in(
        (peer, host): (String, String),
        offers: Offers,
        user: String,
        maildrop: Maildrop,
    ) -> (Protocol, Reply) {
        let mut protocol = Protocol::new(peer, host, offers);
        let reply = protocol.enter(Transaction::new(user, maildrop));
        (protocol, reply)
    }

    /// Returns the greeting (RFC 1939 §4), with the timestamp if APOP is offered (RFC 1939 §7).
    #[must_use]
    pub fn greeting(&self) -> Reply {
        match &self.offers.timestamp {
            Some(stamp) => ok(format_args!("{} POP3 server ready {stamp}", self.host)),
            None => ok(format_args!("{} POP3 server ready", self.host)),
        }
    }

    /// Returns the longest next line in bytes, including its end.
    #[must_use]
    pub fn max_line(&self) -> usize {
        if self.awaits_response() { MAX_RESPONSE } else { MAX_COMMAND }
    }

    /// Returns the next line with its secrets masked, for a transcript.
    #[must_use]
    pub fn masked(&self, line: &[u8]) -> Vec<u8> {
        if self.awaits_response() && line != b"*" { STARS.to_vec() } else { masked(line) }
    }

    /// Returns the user's name in printable form, `None` before the login.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match &self.state {
            State::Authorization(_) => None,
            State::Transaction(state) => Some(state.user()),
        }
    }

    fn awaits_response(&self) -> bool {
        matches!(&self.state, State::Authorization(state) if state.awaits_response())
    }

    /// Runs one command line, given without its end.
    pub fn line(&mut self, line: &[u8]) -> Outcome {
        let outcome = match &mut self.state {
            State::Authorization(state) if state.awaits_response() => state.response(Some(line)),
            State::Authorization(state) => {
                state.next_command();
                dispatch(authorization::COMMANDS, transaction::COMMANDS, state, line)
            }
            State::Transaction(state) => {
                dispatch(transaction::COMMANDS, authorization::COMMANDS, state, line)
            }
        };
        self.count_bad(outcome)
    }

    /// Handles a line over the limit, which was discarded.
    pub fn line_too_long(&mut self) -> Outcome {
        let outcome = match &mut self.state {
            State::Authorization(state) if state.awaits_response() => state.response(None),
            State::Authorization(state) => {
                state.next_command();
                too_long()
            }
            State::Transaction(_) => too_long(),
        };
        self.count_bad(outcome)
    }

    /// Counts consecutive bad commands. The last one allowed ends the session.
    fn count_bad(&mut self, outcome: Outcome) -> Outcome {
        let Outcome::BadCommand(reply) = outcome else {
            self.bad_commands = 0;
            return outcome;
        };
        self.bad_commands += 1;
        if self.bad_commands >= MAX_BAD_COMMANDS {
            info!("{}: {MAX_BAD_COMMANDS} bad commands in a row, session ended", self.peer);
            return Outcome::Close(err("too many bad commands, goodbye"));
        }
        Outcome::BadCommand(reply)
    }

    /// Returns what is offered.
    #[must_use]
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Sends a challenge of AUTH.
    pub fn challenge(&mut self, challenge: &[u8]) -> Outcome {
        match &mut self.state {
            State::Authorization(state) => state.challenge(challenge),
            State::Transaction(_) => already_logged_in(),
        }
    }

    /// Handles the failure of AUTH and returns the reply; `last` is the name and how it came.
    pub fn auth_failed(&mut self, last: (String, Mechanism), failure: AuthFailure) -> Outcome {
        match failure {
            AuthFailure::NotOffered => no_such_mechanism(),
            AuthFailure::Malformed(why) => {
                self.count_bad(Outcome::BadCommand(err(format_args!("AUTH: {why}"))))
            }
            AuthFailure::Denied(denied) => self.denied(last, denied),
        }
    }

    /// Handles the failure of an [`Outcome::LogIn`] and returns the reply; `last` is the name, in printable
    /// form, and how it came.
    pub fn denied(&mut self, last: (String, Mechanism), denied: Denied) -> Outcome {
        let cannot_open = "the maildrop cannot be opened";
        Outcome::Reply(match denied {
            Denied::Rejected => return self.login_rejected(last),
            Denied::NotChecked => {
                err_code(Code::Temporary, "login is not possible now, try again later")
            }
            Denied::InUse => err_code(Code::InUse, "the maildrop is locked by another session"),
            Denied::Temporary => err_code(Code::Temporary, cannot_open),
            Denied::Permanent => err_code(Code::Permanent, cannot_open),
        })
    }

    fn login_rejected(&mut self, (name, mechanism): (String, Mechanism)) -> Outcome {
        info!("{}: login of '{name}' failed ({mechanism})", self.peer);
        let outcome = match &mut self.state {
            State::Authorization(state) => state.login_failed(),
            State::Transaction(_) => already_logged_in(),
        };
        if matches!(outcome, Outcome::Close(_)) {
            info!("{}: {MAX_FAILED_LOGINS} failed logins, session ended", self.peer);
        }
        outcome
    }

    /// Changes the state to TRANSACTION. No other function changes the state.
    fn enter(&mut self, transaction: Transaction) -> Reply {
        let summary = transaction.summary();
        info!("{}: {} logged in, {summary}", self.peer, transaction.user());
        self.state = State::Transaction(transaction);
        ok(format_args!("maildrop has {summary}"))
    }

    /// Calls `each` with every line of a listing.
    ///
    /// # Errors
    /// Errors of `each`.
    pub fn listing(
        &mut self,
        column: Column,
        each: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        match &mut self.state {
            State::Transaction(state) => state.listing(column, each),
            State::Authorization(_) => Ok(()),
        }
    }

    /// Records that a message was sent to its end, and its size with CRLF line ends and without
    /// dot-stuffing.
    pub fn sent(&mut self, index: usize, octets: u64) {
        if let State::Transaction(state) = &mut self.state {
            state.sent(index, octets);
        }
    }

    /// Returns the reply to CAPA (RFC 2449 §5, §6), the same in both states but for STLS.
    #[must_use]
    pub fn capabilities(&self) -> Vec<u8> {
        let mut list = String::from("+OK capability list follows\r\nTOP\r\nUIDL\r\n");
        if self.offers.plaintext {
            list.push_str("USER\r\n");
        }
        if !self.offers.mechanisms.is_empty() {
            list.push_str(&format!("SASL {}\r\n", self.offers.mechanisms));
        }
        if matches!(&self.state, State::Authorization(state) if state.offers_stls()) {
            list.push_str("STLS\r\n");
        }
        list.push_str("RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n");
        list.push_str("IMPLEMENTATION ");
        list.push_str(IMPLEMENTATION);
        list.push_str("\r\n.\r\n");
        list.into_bytes()
    }

    /// UPDATE (RFC 1939 §6): removes the marked messages, releases the lock, and only then returns
    /// the last reply. A QUIT in AUTHORIZATION removes nothing.
    #[must_use]
    pub fn update(self) -> Reply {
        match self.state {
            State::Authorization(_) => ok(format_args!("{} POP3 server signing off", self.host)),
            State::Transaction(state) => state.update(&self.peer, &self.host),
        }
    }

    /// Ends the session without QUIT: nothing is removed (RFC 1939 §6).
    pub fn abandon(self, why: &str) {
        match self.state {
            State::Authorization(_) if self.is_check => debug!("{}: {why}", self.peer),
            State::Authorization(_) => info!("{}: {why}", self.peer),
            State::Transaction(state) => state.abandon(&self.peer, why),
        }
    }
}

fn already_logged_in() -> Outcome {
    Outcome::BadCommand(err("already logged in"))
}

fn too_long() -> Outcome {
    Outcome::BadCommand(err(format!("the line is longer than {MAX_COMMAND} octets")))
}
