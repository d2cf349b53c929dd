//! The outcome of a command: handlers return an [`Outcome`]. The protocol applies it and returns an
//! [`Action`] for the session.

use accounts::{Mechanism, Secret};

use crate::protocol::envelope::{Envelope, Hello, Recipient};
use crate::protocol::reply::Reply;

/// What BDAT announces (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its length in bytes.
    pub octets: u64,
    /// It is the letter's last.
    pub is_last: bool,
}

/// The result of a handler.
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
    /// RSET: the transaction is aborted.
    Reset(Reply),
    /// DATA was accepted: the letter follows.
    Data,
    /// BDAT was accepted: its bytes follow.
    Chunk(Chunk),
    /// BDAT was refused: its bytes follow nevertheless.
    RefusedChunk(Chunk, Reply),
    /// AUTH begins, with the decoded response that came with it.
    Auth(Mechanism, Option<Secret>),
    /// STARTTLS was accepted.
    StartTls(Reply),
    /// The last reply of the session.
    Close(Reply),
}

/// The session's next action.
#[derive(Debug)]
pub enum Action {
    /// Send a reply.
    Reply(Reply),
    /// Receive the letter. The envelope is complete.
    Letter,
    /// Receive a chunk of the letter.
    Chunk(Chunk),
    /// Drop the bytes of a chunk, and send a reply.
    SkipChunk(Chunk, Reply),
    /// Run the exchange of AUTH.
    Auth(Mechanism, Option<Secret>),
    /// Send a reply, and begin the handshake.
    StartTls(Reply),
    /// Send a reply and end the session.
    Close(Reply),
}
