//! Where an account's mail lies: the folder, walked to by descriptor, and its owner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use accounts::{Account, Owner};
use mailstore::Folder;

use crate::options::MailOptions;
use crate::rights::Trouble;

/// Where the walk to a mailbox has ended.
#[derive(Debug)]
pub enum Place {
    /// The folder of the mailbox, which belongs to its owner.
    There(Folder),
    /// No mail yet: only the last folder of the path is missing, and it is no home.
    Missing {
        /// The folder that it would be in.
        parent: Folder,
        /// The name that it would have.
        name: OsString,
        /// The whole path, for messages.
        path: PathBuf,
    },
}

impl MailOptions {
    /// Walks to the mailbox of an account with the rights that this process has. Nothing is made.
    ///
    /// # Errors
    /// A home is not there, or more than the last folder; the mailbox belongs to another user than `owner`.
    pub fn find_mailbox(&self, account: &Account, owner: Owner) -> Result<Place, Trouble> {
        let path = self.mail.path(&account.name, &account.home)?;
        let mut walked = Folder::find(&path)?;
        let is_home = self.mail.needs_home() && path == account.home;
        match walked.missing.as_slice() {
            [] => {}
            [_] if !is_home => {
                let name = walked.missing.pop().unwrap_or_default();
                return Ok(Place::Missing { parent: walked.folder, name, path });
            }
            [first, ..] => {
                // A disk that is not mounted yet, more likely than mail that never was.
                let what = walked.folder.path().join(first);
                let why = format!("{}: No such file or directory", what.display());
                return Err(Trouble::temporary(why));
            }
        }
        let uid = walked.folder.owner()?.0.as_raw();
        if uid != owner.uid {
            let path = walked.folder.path().display();
            let why = format!("{path}: belongs to uid {uid}, not {}", owner.uid);
            return Err(Trouble::temporary(why));
        }
        Ok(Place::There(walked.folder))
    }

    /// Decides whether a mailbox that is missing in this folder is one that was not made yet, so that the user has no
    /// mail. It is, in a home that belongs to `owner` or to root; and in another folder that has mailboxes of other
    /// users, or anything else, because an empty one looks like a disk that is not mounted.
    ///
    /// # Errors
    /// It may be elsewhere: a temporary trouble, because a client that sees an empty mailbox forgets which letters
    /// it has.
    pub fn check_missing(&self, parent: &Folder, path: &Path, owner: Owner) -> Result<(), Trouble> {
        let missing = format!("{}: No such file or directory", path.display());
        if self.mail.needs_home() {
            let uid = parent.owner()?.0.as_raw();
            if uid == 0 || uid == owner.uid {
                return Ok(());
            }
            let parent = parent.path().display();
            return Err(Trouble::temporary(format!(
                "{missing}, and {parent} belongs to uid {uid}"
            )));
        }
        if parent.is_empty().unwrap_or(true) {
            let parent = parent.path().display();
            let why = format!("{missing}, and {parent} is empty or cannot be read: is it mounted?");
            return Err(Trouble::temporary(why));
        }
        Ok(())
    }
}
