//! The states of a session (RFC 1939 §3): AUTHORIZATION, TRANSACTION, UPDATE.
//!
//! Lines go in, outcomes come out; nothing here knows of a socket.

use std::time::Instant;

use forknet::{Title, in_title};
use log::info;

use crate::apop;
use crate::authorization::{self, Authorization, Config};
use crate::command::{LINE_LIMIT, STARS, dispatch, masked};
use crate::reply::{Reply, err, ok};
use crate::sasl::RESPONSE_LIMIT;
use crate::transaction::{self, Column, Transaction};

/// So many bad commands in a row, and the session ends: whoever speaks is no POP3 client.
const MAX_BAD_COMMANDS: u32 = 100;

/// What a command leads to.
pub enum Outcome {
    /// A reply.
    Say(Reply),
    /// A refusal of a line that is no command, or not one of this state.
    Bad(Reply),
    /// A list of all messages follows the reply.
    Listing(Reply, Column),
    /// The list of capabilities.
    Capabilities,
    /// A message follows the reply.
    Message(Reply, transaction::Message),
    /// A login failed; the reply is kept back to this moment, so that its time tells nothing.
    Refused(Reply, Instant),
    /// The same, and the session ends with it.
    Banned(Reply, Instant),
    /// A login succeeded: the session enters TRANSACTION.
    Welcome(Transaction),
    /// QUIT: what was replied before has to reach the client first, then [`Protocol::update`] ends
    /// the session.
    Quit,
    /// The reply is the last one.
    Bye(Reply),
}

enum State {
    Authorization(Authorization),
    Transaction(Transaction),
}

/// One session's protocol.
pub struct Protocol {
    state: State,
    peer: String,
    host: String,
    timestamp: Option<String>,
    plaintext: bool,
    title: Title,
    bad: u32,
}

impl Protocol {
    /// A session in AUTHORIZATION. `peer` is for the log; `local` tells that what is said cannot
    /// be overheard. `title` tells `ps` the state from now on.
    #[must_use]
    pub fn new(config: Config, peer: String, local: bool, host: String, title: Title) -> Protocol {
        let plaintext = config.plaintext.allows(local);
        let timestamp =
            if authorization::apop_is_offered(&config) { apop::timestamp(&host) } else { None };
        let state = Authorization::new(config, peer.clone(), plaintext, timestamp.clone());
        let state = State::Authorization(state);
        title.set("AUTHORIZATION");
        Protocol { state, peer, host, timestamp, plaintext, title, bad: 0 }
    }

    /// The first thing said (RFC 1939 §4), with the timestamp where APOP is offered (§7).
    #[must_use]
    pub fn greeting(&self) -> Reply {
        match &self.timestamp {
            Some(stamp) => ok(format_args!("{} POP3 server ready {stamp}", self.host)),
            None => ok(format_args!("{} POP3 server ready", self.host)),
        }
    }

    /// How long the next line may be, its end included.
    #[must_use]
    pub fn line_limit(&self) -> usize {
        if self.awaits_response() { RESPONSE_LIMIT } else { LINE_LIMIT }
    }

    /// The next line as it may stand in a transcript.
    #[must_use]
    pub fn masked(&self, line: &[u8]) -> Vec<u8> {
        if self.awaits_response() && line != b"*" { STARS.to_vec() } else { masked(line) }
    }

    fn awaits_response(&self) -> bool {
        matches!(&self.state, State::Authorization(state) if state.awaits_response())
    }

    /// Runs one command line, its end taken off.
    pub fn line(&mut self, line: &[u8]) -> Outcome {
        let outcome = match &mut self.state {
            State::Authorization(state) if state.awaits_response() => state.response(Some(line)),
            State::Authorization(state) => {
                state.next_command();
                dispatch(authorization::TABLE, transaction::KEYWORDS, state, line)
            }
            State::Transaction(state) => {
                dispatch(transaction::TABLE, authorization::KEYWORDS, state, line)
            }
        };
        self.judge(outcome)
    }

    /// A line over the limit came; it was thrown away.
    pub fn too_long(&mut self) -> Outcome {
        if let State::Authorization(state) = &mut self.state {
            if state.awaits_response() {
                let outcome = state.response(None);
                return self.judge(outcome);
            }
            state.next_command();
        }
        let why = format!("the line is longer than {LINE_LIMIT} octets");
        self.judge(Outcome::Bad(err(why)))
    }

    /// Counts bad commands, and lets a login change the state.
    fn judge(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Bad(_) if self.bad + 1 >= MAX_BAD_COMMANDS => {
                info!("{}: {MAX_BAD_COMMANDS} bad commands in a row, session ended", self.peer);
                Outcome::Bye(err("too many bad commands, goodbye"))
            }
            Outcome::Bad(reply) => {
                self.bad += 1;
                Outcome::Bad(reply)
            }
            Outcome::Welcome(transaction) => {
                self.bad = 0;
                self.enter(transaction)
            }
            other => {
                self.bad = 0;
                other
            }
        }
    }

    /// TRANSACTION begins. Only now the title shows a name: one that is said before may be a
    /// password typed too early, and everybody on the machine reads titles.
    fn enter(&mut self, transaction: Transaction) -> Outcome {
        let summary = transaction.summary();
        info!("{}: {} logged in, {summary}", self.peer, transaction.user());
        self.title.set(format_args!("{} TRANSACTION", in_title(transaction.user().as_bytes())));
        self.state = State::Transaction(transaction);
        Outcome::Say(ok(format_args!("maildrop has {summary}")))
    }

    /// The lines of a listing, one after the other.
    ///
    /// # Errors
    /// What `each` says.
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

    /// A message was sent whole; this is its size with CRLF line ends, stuffing not counted.
    pub fn sent(&mut self, index: usize, octets: u64) {
        if let State::Transaction(state) = &mut self.state {
            state.sent(index, octets);
        }
    }

    /// The capabilities that work now (RFC 2449 §5, §6), the same in both states.
    #[must_use]
    pub fn capabilities(&self) -> Vec<u8> {
        let mut list = String::from("+OK capability list follows\r\nTOP\r\nUIDL\r\n");
        if self.plaintext {
            list.push_str("USER\r\nSASL PLAIN\r\n");
        }
        list.push_str("RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n");
        list.push_str("IMPLEMENTATION ");
        list.push_str(crate::IMPLEMENTATION);
        list.push_str("\r\n.\r\n");
        list.into_bytes()
    }

    /// UPDATE (RFC 1939 §6): removes what was marked, frees the lock, and only then gives the last
    /// reply. A QUIT in AUTHORIZATION removes nothing.
    #[must_use]
    pub fn update(self) -> Reply {
        match self.state {
            State::Authorization(_) => ok(format_args!("{} POP3 server signing off", self.host)),
            State::Transaction(state) => {
                self.title.set(format_args!("{} UPDATE", in_title(state.user().as_bytes())));
                state.update(&self.peer, &self.host)
            }
        }
    }

    /// The session ends without QUIT: nothing is removed (RFC 1939 §6).
    pub fn abandon(self, why: &str) {
        match self.state {
            State::Authorization(_) => info!("{}: {why}", self.peer),
            State::Transaction(state) => state.abandon(&self.peer, why),
        }
    }
}
