//! The server's side of SMTP, without a socket and without a process. It takes lines and returns
//! actions.
//!
//! The table in `commands` has the handler of each command. Handlers read the session's state and
//! return an [`Outcome`], which [`Protocol`] applies.

// The order of the modules; each imports from its left only:
//   help reply literal | address params | envelope | forms lookup policy outcome | question | origin | state |
//   auth hello transaction verify | chunks | commands mask | (this file)

pub mod address;
pub mod auth;
mod chunks;
mod commands;
pub mod envelope;
pub mod forms;
mod hello;
mod help;
pub mod literal;
pub mod lookup;
pub mod mask;
pub mod origin;
pub mod outcome;
pub mod params;
pub mod policy;
pub mod question;
pub mod records;
pub mod reply;
pub mod state;
pub mod stored;
mod transaction;
mod verify;

use std::rc::Rc;
use std::time::Duration;

use accounts::Mechanisms;
use envelope::{ClientAddress, Envelope, Hello, StartTls};
use lookup::Mailboxes;
use outcome::{Action, Outcome};
use params::MAX_MAIL_EXTRA;
use policy::{Open, Policy};
use reply::Reply;
use state::{Context, State};

use crate::options::Config;

/// Longest command line in bytes, its CRLF included (RFC 5321 §4.5.3.1.4).
const MAX_COMMAND: usize = 512;
/// Longest command line of any command, in bytes: its parameters may make MAIL and RCPT longer.
pub const MAX_LINE: usize = MAX_COMMAND + MAX_MAIL_EXTRA;
/// Bad commands since the last letter that end the session.
const MAX_BAD_COMMANDS: u32 = 50;
/// Unknown names in RCPT and VRFY that end the session, because the client is guessing.
const MAX_UNKNOWN_NAMES: u32 = 100;
/// Number of unknown names that are answered at once, because they may be slips.
const FREE_UNKNOWN_NAMES: u32 = 3;
/// What each further one is answered later than the one before.
const PAUSE_STEP: Duration = Duration::from_millis(100);
/// Longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// Whether a line begins with a command that is known.
#[must_use]
pub fn is_command(line: &[u8]) -> bool {
    commands::find(line).is_some()
}

/// The protocol of one session.
pub struct Protocol<'a> {
    context: Context<'a>,
    bad_commands: u32,
    unknown_names: u32,
    /// A line was read in this session.
    is_begun: bool,
    /// See [`Protocol::pause`].
    pause: Duration,
}

impl<'a> Protocol<'a> {
    /// Begins a session.
    #[must_use]
    pub fn new(
        config: &'a Config,
        users: &'a dyn Mailboxes,
        client: ClientAddress,
    ) -> Protocol<'a> {
        let context = Context {
            config,
            users,
            policy: &Open,
            client,
            state: State::Start,
            hello: Hello::default(),
            envelope: Rc::default(),
            letters: 0,
            letters_read: 0,
        };
        Protocol {
            context,
            bad_commands: 0,
            unknown_names: 0,
            is_begun: false,
            pause: Duration::ZERO,
        }
    }

    /// Has these rules and filters asked too.
    #[must_use]
    pub fn with_policy(mut self, policy: &'a dyn Policy) -> Protocol<'a> {
        self.context.policy = policy;
        self
    }

    /// Returns the rules and filters.
    #[must_use]
    pub fn policy(&self) -> &'a dyn Policy {
        self.context.policy
    }

    /// Returns the time to wait before the reply to the last command is sent: it grows with each unknown name, so
    /// that guessing is slow.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Notes the user who has logged in, in printable form.
    pub fn logged_in(&mut self, user: String) {
        self.context.client.user = Some(user);
    }

    /// Goes on under TLS, after [`Action::StartTls`], with these mechanisms of AUTH: what the client has said in the clear is forgotten
    /// (RFC 3207 §4.2), but what it has done wrong.
    #[must_use]
    pub fn secured(mut self, mechanisms: Mechanisms) -> Protocol<'a> {
        (self.context.hello, self.context.envelope) = (Hello::default(), Rc::default());
        self.context.client.tls = StartTls::UnderTls;
        (self.context.client.mechanisms, self.context.client.user) = (mechanisms, None);
        self.enter(State::Start);
        self
    }

    /// Returns the greeting.
    #[must_use]
    pub fn greeting(&self) -> Reply {
        let Config { hostname, lmtp, .. } = self.context.config;
        let protocol = if *lmtp { "LMTP" } else { "ESMTP" };
        Reply::plain(220, format!("{hostname} {protocol} forklore ready"))
    }

    /// Returns the client's address.
    #[must_use]
    pub fn client(&self) -> &ClientAddress {
        &self.context.client
    }

    /// Returns the client's HELO or EHLO.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.context.hello
    }

    /// Returns the transaction in progress.
    #[must_use]
    pub fn envelope(&self) -> &Rc<Envelope> {
        &self.context.envelope
    }

    /// Returns the state of the session.
    #[must_use]
    pub fn state(&self) -> State {
        self.context.state
    }

    /// Returns the number of letters accepted so far.
    #[must_use]
    pub fn letters(&self) -> u32 {
        self.context.letters
    }

    /// Runs one command line, given without its line end. A letter of which a chunk was refused has failed as a whole, and
    /// the chunks behind it are refused too (RFC 3030 §2).
    pub fn line(&mut self, line: &[u8]) -> Action {
        let in_chunks = self.state() == State::Chunks;
        let action = self.run(line);
        let is_bdat = || commands::find(line).is_some_and(|(it, _)| it.verb == "BDAT");
        if in_chunks && !matches!(action, Action::Chunk(_)) && is_bdat() {
            self.reset();
        }
        action
    }

    fn run(&mut self, line: &[u8]) -> Action {
        self.pause = Duration::ZERO;
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let found = commands::find(line);
        let Some((command, rest)) = found.filter(|(it, _)| it.is_known(self.context.config)) else {
            if is_first && commands::is_http(line) {
                return Action::Close(Reply::new(421, "4.7.0", "This is SMTP and not HTTP"));
            }
            if line.len() + 2 > MAX_COMMAND {
                return self.line_too_long();
            }
            return self.bad(Reply::new(500, "5.5.1", "Command not recognized"));
        };
        if line.len() + 2 > MAX_COMMAND + command.extra_length {
            return self.line_too_long();
        }
        if rest.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return self.bad(Reply::new(501, "5.5.2", "CR or NUL in a command"));
        }
        if let Some(refusal) = command.refusal(self.context.config) {
            return self.bad(refusal);
        }
        let argument = commands::without_blanks(rest);
        if command.is_argument_wrong(argument) {
            return self.bad(Reply::new(501, "5.5.4", format!("Syntax: {}", command.usage)));
        }
        if !command.states.contains(&self.context.state) {
            return Action::Reply(self.context.state.out_of_order(self.context.config));
        }
        if let Some(reply) = auth::needed(&self.context, command.verb) {
            return Action::Reply(reply);
        }
        let outcome = (command.handler)(&self.context, argument);
        match self.apply(outcome) {
            Action::Reply(reply) => self.counted(reply),
            other => other,
        }
    }

    /// Counts a reply to a command that violates the protocol.
    fn counted(&mut self, reply: Reply) -> Action {
        if reply.is_bad_command() { self.bad(reply) } else { Action::Reply(reply) }
    }

    /// Runs a command line that ended in LF alone, as lines typed into a terminal do. Not DATA: a client that ends
    /// it so would end its letter in the same way, and wait for a reply to what is no end.
    pub fn line_of_lf(&mut self, line: &[u8]) -> Action {
        match commands::find(line) {
            Some((command, _)) if command.verb == "DATA" => {
                let text = "End DATA with CRLF: only CRLF.CRLF ends a letter";
                self.bad(Reply::new(501, "5.5.2", text))
            }
            _ => self.line(line),
        }
    }

    /// Handles a line over the limit, which was discarded.
    pub fn line_too_long(&mut self) -> Action {
        self.bad(Reply::new(500, "5.5.2", "Line too long"))
    }

    /// Ends the transaction after the letter. `accepted`: at least one recipient has it.
    pub fn letter_done(&mut self, accepted: bool) {
        self.context.letters_read = self.context.letters_read.saturating_add(1);
        if accepted {
            self.bad_commands = 0;
            self.context.letters = self.context.letters.saturating_add(1);
        }
        self.reset();
    }

    /// Applies the outcome of a command.
    fn apply(&mut self, outcome: Outcome) -> Action {
        let context = &mut self.context;
        match outcome {
            Outcome::Reply(reply) => Action::Reply(reply),
            Outcome::Hello(hello, reply) => {
                context.users.forget();
                (context.hello, context.envelope) = (hello, Rc::default());
                self.enter(State::Ready);
                Action::Reply(reply)
            }
            Outcome::Sender(envelope, reply) => {
                context.envelope = Rc::new(envelope);
                self.enter(State::Mail);
                Action::Reply(reply)
            }
            Outcome::Recipient(recipient, reply) => {
                Rc::make_mut(&mut context.envelope).add(recipient);
                self.enter(State::Rcpt);
                Action::Reply(reply)
            }
            Outcome::NoRecipient(reply) => {
                Rc::make_mut(&mut context.envelope).count_refusal(reply.code());
                if context.envelope.recipients.is_empty() {
                    context.users.forget(); // a filter may have refused one that was tried
                }
                self.count_unknown(reply)
            }
            Outcome::Verified(reply) => self.count_unknown(reply),
            Outcome::Reset(reply) => {
                self.reset();
                Action::Reply(reply)
            }
            Outcome::Data => {
                self.enter(State::Data);
                Action::Letter
            }
            Outcome::Chunk(chunk) => {
                self.enter(State::Chunks);
                Action::Chunk(chunk)
            }
            Outcome::RefusedChunk(chunk, reply) => match self.counted(reply) {
                Action::Reply(reply) => Action::SkipChunk(chunk, reply),
                other => other,
            },
            Outcome::Auth(mechanism, initial) => Action::Auth(mechanism, initial),
            Outcome::StartTls(reply) => Action::StartTls(reply),
            Outcome::Close(reply) => Action::Close(reply),
        }
    }

    /// Aborts the transaction.
    fn reset(&mut self) {
        self.context.users.forget();
        self.context.envelope = Rc::default();
        if self.state() != State::Start {
            self.enter(State::Ready);
        }
    }

    /// Changes the state. No other function does.
    fn enter(&mut self, state: State) {
        self.context.state = state;
    }

    /// Counts a command that violates the protocol. The last one allowed ends the session.
    fn bad(&mut self, reply: Reply) -> Action {
        self.count_bad().map_or(Action::Reply(reply), Action::Close)
    }

    /// Counts a bad command whose reply is given elsewhere: returns the farewell of a session that ends.
    pub fn count_bad(&mut self) -> Option<Reply> {
        self.bad_commands += 1;
        let is_last = self.bad_commands >= MAX_BAD_COMMANDS;
        is_last.then(|| Reply::new(421, "4.7.0", "Too many bad commands, closing"))
    }

    /// Counts an unknown name. The last one allowed ends the session.
    fn count_unknown(&mut self, reply: Reply) -> Action {
        if !reply.is_unknown_name() {
            return Action::Reply(reply);
        }
        self.unknown_names += 1;
        let late = self.unknown_names.saturating_sub(FREE_UNKNOWN_NAMES);
        self.pause = PAUSE_STEP.saturating_mul(late).min(MAX_PAUSE);
        if self.unknown_names >= MAX_UNKNOWN_NAMES {
            return Action::Close(Reply::new(421, "4.7.0", "Too many unknown names, closing"));
        }
        Action::Reply(reply)
    }
}
