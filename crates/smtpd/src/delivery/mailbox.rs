//! The mailbox of a user: whether it can take letters, and its Maildir, which is made where it may be.
//!
//! Nothing is made on the way to a mailbox: a home or a spool that is not there may be a disk that is not
//! mounted. The last folder of `--mail` is made in a folder of the user's own, with the user's rights; or
//! by root, for the user, in one that only root can change.

use accounts::{Account, Owner};
use maild::{MailOptions, Place, Trouble};
use mailstore::{Folder, Maildir, SafeMaildirs};
use nix::unistd::{Gid, Uid};

/// Makes the folder of a mailbox where that needs the rights of root, which this process has. It looks
/// for nothing in homes, where each user makes what is missing.
///
/// # Errors
/// Those that the user's own process will meet too.
pub fn make_for(options: &MailOptions, account: &Account, owner: Owner) -> Result<(), Trouble> {
    if options.mail.needs_home() {
        return Ok(());
    }
    match options.find_mailbox(account, owner)? {
        Place::Missing { parent, name, .. } if parent.is_roots_alone()? => {
            Ok(parent.make_for(&name, Uid::from_raw(owner.uid), Gid::from_raw(owner.gid))?)
        }
        _ => Ok(()),
    }
}

/// Opens the Maildir of an account with the rights of its owner, and makes what is missing of it. Of those in `safe`
/// no folder is waited for again.
///
/// # Errors
/// It cannot take letters now.
pub fn open(
    options: &MailOptions,
    account: &Account,
    owner: Owner,
    safe: &SafeMaildirs,
) -> Result<Maildir, Trouble> {
    let folder = match options.find_mailbox(account, owner)? {
        Place::There(folder) => folder,
        Place::Missing { parent, name, path } => {
            must_belong(&parent, owner, &path)?;
            parent.make(&name)?
        }
    };
    Ok(Maildir::make_with(folder, safe)?)
}

/// Checks that a folder is the owner's own, before something is made in it.
fn must_belong(folder: &Folder, owner: Owner, path: &std::path::Path) -> Result<(), Trouble> {
    let uid = folder.owner()?.0.as_raw();
    if uid == owner.uid {
        return Ok(());
    }
    let (path, folder) = (path.display(), folder.path().display());
    let why = format!("{path}: is not there, and {folder} belongs to uid {uid}, not {}", owner.uid);
    Err(Trouble::temporary(why))
}
