//! The server's side of POP3, without a socket and without a process. It takes lines and returns
//! outcomes.
//!
//! A session goes through three states (RFC 1939 §3): AUTHORIZATION, TRANSACTION, UPDATE. Each of
//! the first two has a table of commands, whose handlers return an [`Outcome`]; UPDATE is
//! [`Protocol::update`].

// The order of the modules; each imports from its left only:
//   reply apop top mask end_line surrogate | outcome | command | language | authorization transaction |
//   (this file)

pub mod apop;
pub mod authorization;
pub mod command;
pub mod end_line;
mod language;
pub mod mask;
pub mod outcome;
pub mod reply;
mod surrogate;
pub mod top;
pub mod transaction;

use accounts::sasl::MAX_LINE as MAX_RESPONSE;
use log::{debug, info};
use maild::{AuthFailure, Denied, Mechanism};
use mailstore::Maildrop;

use authorization::{Authorization, MAX_FAILED_LOGINS, Offers, no_such_mechanism};
use command::{MAX_COMMAND, dispatch};
use end_line::Login;
use mask::{STARS, masked};
use outcome::{Column, Message, Outcome};
use reply::{Code, Reply, err, err_code, ok};
use transaction::{Header, Transaction};

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

    /// Begins a session in TRANSACTION, after a login in another process; returns the reply to that, too.
    #[must_use]
    pub fn logged_in(
        (peer, host): (String, String),
        offers: Offers,
        login: Login,
        maildrop: Maildrop,
    ) -> (Protocol, Reply) {
        let offers_last = offers.last;
        let mut protocol = Protocol::new(peer, host, offers);
        let reply = protocol.enter(Transaction::new(login, maildrop, offers_last));
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

    /// Returns whether the client has said UTF8 before the login.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        matches!(&self.state, State::Authorization(state) if state.is_utf8())
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
            Denied::TooSoon => {
                err_code(Code::LoginDelay, "the last login is too short a time ago, try later")
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

    /// Begins to send a message whose text begins with `start`, all of it if `is_whole`. Returns the reply, and
    /// the header that is sent in place of the first bytes.
    ///
    /// # Errors
    /// The refusal.
    pub fn begin_message(
        &mut self,
        message: &Message,
        start: &[u8],
        is_whole: bool,
    ) -> Result<(Reply, Option<Header>), Reply> {
        match &mut self.state {
            State::Transaction(state) => state.begin_message(message, (start, is_whole)),
            State::Authorization(_) => Err(err("not logged in")),
        }
    }

    /// Returns the refusal of a message whose text cannot be read.
    pub fn cannot_read(&mut self, index: usize, error: std::io::Error) -> Reply {
        let error = mailstore::Error::Io { what: "read".to_owned(), source: error };
        match &self.state {
            State::Transaction(state) => state.cannot_read(index, &error),
            State::Authorization(_) => err("not logged in"),
        }
    }

    /// Logs why a message that has begun is cut off; returns the same error.
    pub fn cut_off(&mut self, index: usize, error: std::io::Error) -> std::io::Error {
        let number = error.raw_os_error();
        let same = number.map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
        let _too_late = self.cannot_read(index, error);
        same
    }

    /// Counts the bytes of a message, with CRLF line ends and without dot-stuffing, that were sent for TOP or RETR.
    pub fn count_sent(&mut self, is_top: bool, octets: u64) {
        if let State::Transaction(state) = &mut self.state {
            state.count_sent(is_top, octets);
        }
    }

    /// Records that a message was sent to its end, and its size with CRLF line ends and without
    /// dot-stuffing.
    pub fn sent(&mut self, index: usize, octets: u64) {
        if let State::Transaction(state) = &mut self.state {
            state.sent(index, octets);
        }
    }

    /// Returns the reply to CAPA (RFC 2449 §5, §6), the same in both states but for STLS, which is listed
    /// while it can be used. Commands that are not allowed to this client are left out.
    #[must_use]
    pub fn capabilities(&self) -> Vec<u8> {
        let Offers { plaintext, mechanisms, login_delay, .. } = &self.offers;
        let offers_stls = matches!(&self.state, State::Authorization(state) if state.offers_stls());
        let optional = [
            plaintext.then(|| "USER".to_owned()),
            (!mechanisms.is_empty()).then(|| format!("SASL {mechanisms}")),
            offers_stls.then(|| "STLS".to_owned()),
            login_delay.map(|seconds| format!("LOGIN-DELAY {seconds}")),
        ];
        let always = ["RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8", "LANG", "EXPIRE NEVER"];
        let mut list = String::from("+OK capability list follows\r\nTOP\r\nUIDL\r\n");
        for capability in optional.iter().flatten().map(String::as_str).chain(always) {
            list.push_str(capability);
            list.push_str("\r\n");
        }
        list.push_str(&format!("IMPLEMENTATION {IMPLEMENTATION}\r\n.\r\n"));
        list.into_bytes()
    }

    /// Whether UPDATE removes messages.
    pub(crate) fn removes(&self) -> bool {
        matches!(&self.state, State::Transaction(state) if state.removes())
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
