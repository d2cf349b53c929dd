//! What a session asks about users, and where its letters go. It is implemented outside of the protocol,
//! because it needs the keeper.

use std::rc::Rc;

use crate::protocol::address::Path;
use crate::protocol::envelope::{Envelope, Login, Recipient, Way};
use crate::protocol::reply::Reply;
use crate::protocol::stored::Stored;

/// Who is behind an address: a user of this machine, or another address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalUser {
    /// The address, without brackets.
    pub address: Vec<u8>,
    /// The full name, empty if the file has none.
    pub full_name: Vec<u8>,
}

/// The users and their mailboxes, as the process sees them that talks to a client.
pub trait Mailboxes {
    /// Finds the user of an address, or the address itself where it is a group (VRFY).
    ///
    /// # Errors
    /// The reply to the client: 251, 501, 550, 551 or 451.
    fn find(&self, path: &Path) -> Result<LocalUser, Reply>;

    /// Finds the members of a group (EXPN). The last one has no address where there are more.
    ///
    /// # Errors
    /// The reply to the client: 501, 550 or 451.
    fn members(&self, path: &Path) -> Result<Vec<LocalUser>, Reply>;

    /// Finds users whose full name is `name` or has it as one of its words, ignoring case (VRFY): up to
    /// one more than [`crate::protocol::question::MAX_LISTED`].
    ///
    /// # Errors
    /// The reply to the client: 451.
    fn find_by_full_name(&self, name: &[u8]) -> Result<Vec<LocalUser>, Reply>;

    /// Finds the recipient of an address, who can get a letter of this many bytes, 0 where they are not known (RCPT): the
    /// mailbox is tried as a delivery will use it. Returns it and the reply to the
    /// client, 250 or 251.
    ///
    /// # Errors
    /// The reply to the client: 501, 550, 551, 451 or 452.
    fn recipient(&self, path: &Path, bytes: u64, way: Way) -> Result<(Recipient, Reply), Reply>;

    /// Checks that a sender is an address of the user who has logged in (MAIL under `--submission`).
    ///
    /// # Errors
    /// The reply to the client: 553 or 451.
    fn check_sender(&self, _path: &Path) -> Result<(), Reply> {
        Ok(())
    }

    /// Notes who has logged in, for later questions; the default value is no user.
    fn logged_in(&self, _login: Login) {}

    /// Forgets the recipients so far, who get no letter.
    fn forget(&self) {}

    /// Ends the process that waits for the next question, so that what is asked then is answered by one that
    /// knows the failed logins of this moment.
    fn end_questions(&self) {}

    /// Begins the delivery of a letter; `id` is its name in the log.
    fn letter<'a>(
        &'a self,
        id: &str,
        envelope: Rc<Envelope>,
        commit: Commit,
    ) -> Box<dyn Delivery + 'a>;
}

/// Who is to get a letter again that one of its recipients could not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// All: there is one reply for all (RFC 5321 §4.2.5), and the client sends the letter again to all.
    All,
    /// Those alone: each recipient has a reply (RFC 2033 §4.2).
    Each,
}

/// The delivery of one letter. Dropped before [`Delivery::finish`], it leaves nothing.
pub trait Delivery {
    /// Adds a piece of the letter, whose lines end in LF.
    ///
    /// # Errors
    /// The letter cannot be delivered.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal>;

    /// Puts these bytes before all that was written, once.
    ///
    /// # Errors
    /// The letter cannot be delivered.
    fn head(&mut self, bytes: &[u8]) -> Result<(), Refusal>;

    /// Forgets what was written.
    ///
    /// # Errors
    /// The letter cannot be delivered.
    fn clear(&mut self) -> Result<(), Refusal>;

    /// Has the letter kept back, for this reason, and not delivered.
    ///
    /// # Errors
    /// There is no place for it.
    fn quarantine(&mut self, reason: &str) -> Result<(), Refusal>;

    /// Delivers the complete letter. When this returns, the letter is safe for those whose answer is `Ok`, and the others
    /// do not have it.
    fn finish(self: Box<Self>) -> Delivered;
}

/// What has become of a letter.
#[derive(Debug, Clone, Default)]
pub struct Delivered {
    /// An answer for each of the envelope's recipients, in their order.
    pub answers: Vec<Result<(), Refusal>>,
    /// Where copies are.
    pub stored: Stored,
}

impl Delivered {
    /// Returns that no recipient has the letter.
    #[must_use]
    pub fn to_none(recipients: usize, refusal: Refusal) -> Delivered {
        Delivered { answers: vec![Err(refusal); recipients], ..Delivered::default() }
    }
}

/// Why a letter was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reply to the client.
    pub reply: Reply,
    /// The reason for the log.
    pub reason: String,
}
