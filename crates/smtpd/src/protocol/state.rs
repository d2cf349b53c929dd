//! The states of a session, and the context of handlers.

use std::rc::Rc;

use crate::options::Config;
use crate::protocol::envelope::{ClientAddress, Envelope, Hello};
use crate::protocol::lookup::Mailboxes;
use crate::protocol::policy::Policy;
use crate::protocol::reply::Reply;

/// The state of a session (RFC 5321 §4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Before HELO or EHLO.
    Start,
    /// No transaction.
    Ready,
    /// MAIL was accepted, no recipient yet.
    Mail,
    /// At least one recipient was accepted.
    Rcpt,
    /// The letter follows; commands are not valid.
    Data,
    /// Chunks of the letter were received, and more follow (RFC 3030).
    Chunks,
}

impl State {
    /// Returns the reply to a command that is not valid in this state.
    #[must_use]
    pub fn out_of_order(self, config: &Config) -> Reply {
        let text = match self {
            State::Start if config.lmtp => "Say LHLO first",
            State::Start => "Say HELO or EHLO first",
            State::Ready => "Say MAIL first",
            State::Mail | State::Rcpt | State::Data => "A letter is in progress; RSET drops it",
            State::Chunks => "A letter comes in chunks; BDAT ends it, RSET drops it",
        };
        Reply::new(503, "5.5.1", text)
    }
}

/// The context of a handler: the session's data, read-only.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) users: &'a dyn Mailboxes,
    pub(super) policy: &'a dyn Policy,
    pub(super) client: ClientAddress,
    pub(super) state: State,
    pub(super) hello: Hello,
    /// Shared with the letter that is being received.
    pub(super) envelope: Rc<Envelope>,
    /// Letters accepted so far.
    pub(super) letters: u32,
    /// Letters read so far, refused ones too.
    pub(super) letters_read: u32,
}

impl Context<'_> {
    /// Returns whether this client may use VRFY and EXPN.
    pub(super) fn may_verify(&self) -> bool {
        self.config.may_verify(self.client.is_loopback)
    }
}
