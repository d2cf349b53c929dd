//! What a command leads to: handlers return an [`Outcome`], the protocol applies it and tells the
//! session by an [`Action`] what to do.

use crate::protocol::envelope::{Envelope, Hello, Recipient};
use crate::protocol::reply::Reply;

/// What a handler returns.
#[derive(Debug)]
pub enum Outcome {
    /// A reply that changes nothing.
    Reply(Reply),
    /// HELO or EHLO was accepted.
    Hello(Hello, Reply),
    /// MAIL was accepted: a transaction begins.
    Sender(Envelope, Reply),
    /// RCPT was accepted.
    Recipient(Recipient, Reply),
    /// RCPT was refused.
    NoRecipient(Reply),
    /// The answer to VRFY.
    Verified(Reply),
    /// RSET: the transaction is dropped.
    Reset(Reply),
    /// DATA was accepted: the letter follows.
    Data,
    /// The last reply of the session.
    Close(Reply),
}

/// What the session does about a command.
#[derive(Debug)]
pub enum Action {
    /// Sends a reply.
    Reply(Reply),
    /// Receives the letter; the envelope is complete.
    Letter,
    /// Sends a reply and ends the session.
    Close(Reply),
}
