//! An account's mbox: its locks are another process's.
//!
//! Who makes a lock in /var/mail, which is root's and the group `mail`'s, needs the rights of that group, and
//! with them could read the mail of every user. So a process of its own has them, which receives messages of a
//! few bytes and sees no letter. The one that reads letters has the rights of the user, and can open nothing.

use std::path::Path;

use accounts::{Account, Owner};
use forknet::{Question, become_member, confine_to_spool, in_title};
use log::warn;
use mailstore::{Error, Folder, MailKind, Spool, SpoolLine, serve_spool};
use nix::unistd::geteuid;

use crate::options::MailOptions;
use crate::rights::Trouble;

impl MailOptions {
    /// Starts the process that has the locks of an account's mbox; then this one becomes the owner of the
    /// mailbox, for good.
    ///
    /// # Errors
    /// The question, and why the mbox cannot be used.
    pub fn open_spool(
        &self,
        asked: Question,
        account: &Account,
    ) -> (Question, Result<SpoolLine, Trouble>) {
        let found = self.owner(account).and_then(|owner| {
            let path = self.mail.path(&account.name, &account.home)?;
            let group = self.spool_group(&path)?;
            Ok((owner, path, group))
        });
        let (owner, path, group) = match found {
            Ok(found) => found,
            Err(trouble) => return (asked, Err(trouble)),
        };
        let name = account.name.escape_ascii().to_string();
        let title = format!("mbox lock of {}", in_title(name.as_bytes()));
        let (asked, line) = asked.start_beside(title, |line| {
            serve_spool(spool(&path, self.mail.needs_home(), owner, group), &line);
        });
        let line = line.map_err(|errno| Trouble::temporary(format!("fork: {}", errno.desc())));
        let opened = line.and_then(|line| {
            self.become_owner(account)?;
            Ok(SpoolLine::new(line, &path)?)
        });
        (asked, opened)
    }

    /// Logs what is wrong with the folder of all mboxes, if there is one folder of them.
    pub fn warn_of_spool(&self) {
        if self.mail.kind() != MailKind::Mbox || self.mail.needs_home() || !geteuid().is_root() {
            return;
        }
        let Ok(path) = self.mail.path(b"user", Path::new("/")) else { return };
        match folder_of(&path).and_then(|folder| Ok((folder.is_roots_alone()?, folder))) {
            Ok((true, folder)) => {
                let folder = folder.path().display();
                warn!("--mail: {folder}: no user can make a lock there (chgrp mail, chmod 2775)");
            }
            Ok((false, _)) => {}
            Err(error) => warn!("--mail: {error}"),
        }
    }

    /// Returns the group that may make files in the folder of an mbox, where its owner may not. Looks for
    /// nothing in homes.
    ///
    /// # Errors
    /// The folder is not there, or cannot be looked at.
    pub fn spool_group(&self, path: &Path) -> Result<Option<u32>, Trouble> {
        if !geteuid().is_root() || self.mail.needs_home() {
            return Ok(None);
        }
        Ok(folder_of(path)?.spool_group()?.map(nix::unistd::Gid::as_raw))
    }
}

/// Opens the folder of an mbox, which must be there: it may be a disk that is not mounted yet.
fn folder_of(path: &Path) -> mailstore::Result<Folder> {
    let walked = Folder::walk(path.parent().unwrap_or(path), |_| Ok(()))?;
    match walked.missing.first() {
        None => Ok(walked.folder),
        Some(first) => {
            let what = walked.folder.path().join(first);
            Err(Error::Temporary(format!("{}: No such file or directory", what.display())))
        }
    }
}

/// Takes the rights that the locks of an mbox need, for good, and no others.
fn spool(
    path: &Path,
    is_in_home: bool,
    owner: Owner,
    group: Option<u32>,
) -> mailstore::Result<Spool> {
    let temporary = |error: forknet::Error| Error::Temporary(error.to_string());
    become_member(owner.uid, owner.gid, group).map_err(temporary)?;
    let folder = folder_of(path)?;
    if !is_in_home && folder.is_empty().unwrap_or(true) {
        let folder = folder.path().display();
        let why = format!("{folder} is empty or cannot be read: is it mounted?");
        return Err(Error::Temporary(format!("{}: {why}", path.display())));
    }
    let spool = Spool::new(&folder, path.file_name().unwrap_or_default(), owner.uid)?;
    confine_to_spool(&folder).map_err(temporary)?;
    Ok(spool)
}
