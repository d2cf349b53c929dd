//! What a notification is about.

/// What has become of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A server has refused it for good, or there is none.
    Failed,
    /// It has failed for now until it was too old.
    Expired,
    /// It is tried again, until this time in seconds since 1970.
    Delayed {
        /// When it will have expired.
        until: u64,
    },
    /// It is in the mailbox (LMTP).
    Delivered,
    /// A server has it that does not offer DSN. One that does was given `NOTIFY=`, and sends the notification itself.
    Relayed,
}

/// What an attempt has come to for a recipient.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Number of the recipient in the envelope, from 0.
    pub recipient: usize,
    /// What has become of it.
    pub what: What,
    /// The server that has said it, as `NAME` or `NAME[ADDRESS]`; empty where none has.
    pub remote: &'a [u8],
    /// The server's reply as it came, or what was in the way. A reason of our own may begin with a status code (RFC
    /// 3463), with or without a reply code before it: `550 5.1.2 no such domain`.
    pub reply: &'a [u8],
}
