//! The outcome of a command, returned by handlers and performed by the session.

use crate::protocol::reply::Reply;
use accounts::{Mechanism, Secret};
use maild::Credentials;
use mailstore::LetterText;

/// The outcome of a command.
pub enum Outcome {
    /// A reply.
    Reply(Reply),
    /// A refusal of a line that is not a command of this state. Such lines are counted.
    BadCommand(Reply),
    /// A reply followed by a list of all messages.
    Listing(Reply, Column),
    /// The list of capabilities.
    Capabilities,
    /// A message, with the reply of [`super::Protocol::begin_message`] before it.
    Message(Message),
    /// A login to be checked. Its failure is passed to [`super::Protocol::denied`].
    LogIn(Attempt),
    /// STLS, with its reply, after which the handshake begins.
    StartTls(Reply),
    /// QUIT. The replies before it must reach the client, then [`super::Protocol::update`] ends the
    /// session.
    Quit,
    /// The last reply of the session.
    Close(Reply),
}

/// An attempt to log in, or a step of one.
#[derive(Debug)]
pub enum Attempt {
    /// By these credentials.
    By(Credentials),
    /// By AUTH with this mechanism, and the decoded response that came with it.
    Auth(Mechanism, Option<Secret>),
    /// The next response of the exchange.
    Response(Secret),
}

/// The column of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The size in bytes (LIST).
    Size,
    /// The unique id (UIDL).
    Uid,
}

/// A message to be sent.
pub struct Message {
    /// The index, from 0.
    pub index: usize,
    /// Its text.
    pub text: LetterText,
    /// Lines of the body requested by TOP, `None` for the whole message.
    pub lines: Option<u64>,
}
