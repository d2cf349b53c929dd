//! Stores a letter in the mailboxes of one user, with that user's rights: first safe in all, then visible
//! in all.

use accounts::{Account, Owner};
use maild::{MailOptions, Trouble};
use mailstore::{Draft, Maildir, Published, Synced};

use crate::delivery::mailbox;
use crate::delivery::text::Text;
use crate::protocol::question::Verdict;

/// Why a letter could not be stored, and in whose mailbox.
#[derive(Debug)]
pub struct Failure {
    /// The answer.
    pub verdict: Verdict,
    /// The reason, for the log.
    pub why: String,
}

impl Failure {
    fn of(account: &Account, error: &mailstore::Error) -> Failure {
        let why = format!("mailbox of '{}': {error}", account.name.escape_ascii());
        Failure { verdict: verdict(error.is_full()), why }
    }

    /// Returns the failure of a user's mailbox.
    #[must_use]
    pub fn of_mailbox(account: &Account, trouble: &Trouble) -> Failure {
        let why = format!("mailbox of '{}': {}", account.name.escape_ascii(), trouble.why);
        Failure { verdict: verdict(trouble.is_full), why }
    }
}

/// Returns the answer for what could not be stored: whether the disk is full (RFC 5321 §4.2.3).
#[must_use]
pub fn verdict(is_full: bool) -> Verdict {
    if is_full { Verdict::NoRoom } else { Verdict::Unusable }
}

/// Opens the mailboxes of one owner, by descriptor.
///
/// # Errors
/// One of them cannot take letters now.
pub fn open<'a>(
    options: &MailOptions,
    accounts: &'a [Account],
    owner: Owner,
) -> Result<Vec<(&'a Account, Maildir)>, Failure> {
    let open = |account| match mailbox::open(options, account, owner) {
        Ok(maildir) => Ok((account, maildir)),
        Err(trouble) => Err(Failure::of_mailbox(account, &trouble)),
    };
    accounts.iter().map(open).collect()
}

/// Writes the text into each mailbox; it is on the disk when this returns, and nothing is visible.
///
/// # Errors
/// It could not be written in one of them, and is in none.
pub fn write<'a>(
    mailboxes: &[(&'a Account, Maildir)],
    text: &Text,
) -> Result<Vec<(&'a Account, Synced)>, Failure> {
    let write = |(account, maildir): &(&'a Account, Maildir)| {
        let failed = |error: mailstore::Error| Failure::of(account, &error);
        let mut draft: Draft = maildir.draft().map_err(failed)?;
        if let Err(source) = text.copy_to(&mut draft) {
            let what = format!("write to {}", maildir.path().display());
            return Err(failed(mailstore::Error::Io { what, source }));
        }
        Ok((*account, draft.sync().map_err(failed)?))
    };
    mailboxes.iter().map(write).collect()
}

/// Makes the letter visible in each mailbox.
///
/// # Errors
/// It could not be made visible in one of them, and is in none.
pub fn publish(letters: Vec<(&Account, Synced)>) -> Result<Vec<(&Account, Published)>, Failure> {
    let mut done = Vec::with_capacity(letters.len());
    for (account, letter) in letters {
        match letter.publish() {
            Ok(published) => done.push((account, published)),
            Err(error) => {
                retract(done);
                return Err(Failure::of(account, &error));
            }
        }
    }
    Ok(done)
}

/// Takes a letter back, because it could not be delivered to all.
pub fn retract(letters: Vec<(&Account, Published)>) {
    for (account, letter) in letters {
        if let Err(error) = letter.retract() {
            let name = account.name.escape_ascii();
            log::error!("mailbox of '{name}': a refused letter could not be removed: {error}");
        }
    }
}
