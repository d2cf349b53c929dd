//! Lookups of this machine's users. They are implemented outside of the protocol, because they need
//! the users file and the disk.

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

/// Looks up users and the free space for their mail.
pub trait UserLookup {
    /// Finds the user of an address (VRFY).
    ///
    /// # Errors
    /// The reply to the client: 501, 550 or 451.
    fn find(&self, path: &Path) -> Result<LocalUser, Reply>;

    /// Finds up to `max` users whose full name is `name` or has it as one of its words, ignoring
    /// case (VRFY).
    ///
    /// # Errors
    /// The reply to the client: 451.
    fn find_by_full_name(&self, name: &[u8], max: usize) -> Result<Vec<LocalUser>, Reply>;

    /// Finds the recipient of an address (RCPT).
    ///
    /// # Errors
    /// The reply to the client: 501, 550 or 451.
    fn recipient(&self, path: &Path) -> Result<Recipient, Reply>;

    /// Returns whether the disk has room for `bytes` before there is a recipient (MAIL).
    fn has_room(&self, bytes: u64) -> bool;

    /// Returns whether the disk of a recipient has room for `bytes` (RCPT).
    fn has_room_for(&self, recipient: &Recipient, bytes: u64) -> bool;
}
