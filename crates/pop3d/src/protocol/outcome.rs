//! What a command leads to. Handlers return it, the session carries it out.

use std::fs::File;

use crate::protocol::credentials::Credentials;
use crate::protocol::reply::Reply;

/// What a command leads to.
pub enum Outcome {
    /// A reply.
    Reply(Reply),
    /// A refusal of a line that is not a command of this state; these are counted.
    BadCommand(Reply),
    /// A reply that a list of all messages follows.
    Listing(Reply, Column),
    /// The list of capabilities.
    Capabilities,
    /// A reply that a message follows.
    Message(Reply, Message),
    /// A login to be checked; its result goes to [`super::Protocol::login`].
    LogIn(Credentials),
    /// QUIT: the replies before it must reach the client, then [`super::Protocol::update`] ends the
    /// session.
    Quit,
    /// The last reply of the session.
    Close(Reply),
}

/// What a listing shows of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its size in octets (LIST).
    Size,
    /// Its unique id (UIDL).
    Uid,
}

/// A message to be sent.
pub struct Message {
    /// Its index, from 0.
    pub index: usize,
    /// The open file, as it lies on disk.
    pub file: File,
    /// Lines of the body that TOP asked for; `None` for the whole message.
    pub lines: Option<u64>,
}
