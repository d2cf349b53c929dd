//! What a session asks about users, and where its letters go. It is implemented outside of the protocol,
//! because it needs the keeper.

use crate::protocol::address::Path;
use crate::protocol::envelope::Recipient;
use crate::protocol::reply::Reply;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalUser {
    /// The name in the users file.
    pub name: Vec<u8>,
    /// The full name, empty if the file has none.
    pub full_name: Vec<u8>,
}

/// The users and their mailboxes, as the process sees them that talks to a client.
pub trait Mailboxes {
    /// Finds the user of an address (VRFY).
    ///
    /// # Errors
    /// The reply to the client: 501, 550 or 451.
    fn find(&self, path: &Path) -> Result<LocalUser, Reply>;

    /// Finds users whose full name is `name` or has it as one of its words, ignoring case (VRFY): up to
    /// one more than [`crate::protocol::question::MAX_LISTED`].
    ///
    /// # Errors
    /// The reply to the client: 451.
    fn find_by_full_name(&self, name: &[u8]) -> Result<Vec<LocalUser>, Reply>;

    /// Finds the recipient of an address, whose disk has room for `bytes` (RCPT); returns it and the reply to the
    /// client, 250 or 251.
    ///
    /// # Errors
    /// The reply to the client: 501, 550, 551, 451 or 452.
    fn recipient(&self, path: &Path, bytes: u64) -> Result<(Recipient, Reply), Reply>;

    /// Checks that the disk has room for `bytes` before there is a recipient (MAIL).
    ///
    /// # Errors
    /// The reply to the client: 451 or 452.
    fn check_room(&self, bytes: u64) -> Result<(), Reply>;

    /// Ends the process that waits for the next question, so that what is asked then is answered by one that
    /// knows the failed logins of this moment.
    fn end_questions(&self) {}

    /// Begins the delivery of a letter to these recipients; `id` is its name in the log.
    fn letter<'a>(&'a self, id: &'a str, recipients: &'a [Recipient]) -> Box<dyn Delivery + 'a>;
}

/// The delivery of one letter. Dropped before [`Delivery::finish`], it leaves nothing.
pub trait Delivery {
    /// Adds a piece of the letter, whose lines end in LF.
    ///
    /// # Errors
    /// The letter cannot be delivered.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal>;

    /// Delivers the complete letter to all recipients or to none; when this returns, it is safe.
    ///
    /// # Errors
    /// It was delivered to none.
    fn finish(self: Box<Self>) -> Result<(), Refusal>;
}

/// Why a letter was refused.
#[derive(Debug)]
pub struct Refusal {
    /// The reply to the client.
    pub reply: Reply,
    /// The reason for the log.
    pub reason: String,
}
