//! What is looked at before the first client: accounts, the queue, and what letters need later.

use std::fmt::Display;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forknet::reason;
use nix::errno::Errno;

use crate::delivery::command_line;
use crate::delivery::order::Command;
use crate::delivery::queue;
use crate::options::Config;
use crate::options::terminal::Terminals;

/// Looks at the accounts and the folders at the start, and again after SIGHUP, with the keeper's rights; returns what
/// those must know who cannot look themselves. Makes nothing if that is only to be checked. Of what letters need later, and a start
/// can do without, it warns.
///
/// # Errors
/// As [`Config::start`]; the queue cannot be used.
pub fn start(config: &Config, is_checked: bool) -> forknet::Result<Vec<u8>> {
    let facts = config.start()?;
    if let Some(options) = &config.relay.queue {
        let refused = |error: mailstore::Error| forknet::Error::Refused(format!("queue: {error}"));
        queue::make(options, is_checked).map_err(refused)?;
    }
    warn_of_mda(config);
    warn_of_quarantine(config);
    warn_of_terminals(config);
    Ok(facts)
}

fn warn_of_mda(config: &Config) {
    let Some(mda) = &config.mda else { return };
    let nothing = Vec::new;
    let command = Command {
        text: mda.clone(),
        is_shell: false,
        may_forward: false,
        name: nothing(),
        home: PathBuf::new(),
        recipient: nothing(),
        extension: nothing(),
    };
    if let Err(failure) = command_line::check(&command) {
        log::warn!("--mda: {}: letters will be refused for now", failure.why);
    }
}

fn warn_of_quarantine(config: &Config) {
    let Some(folder) = &config.guards.milters.quarantine else { return };
    let why = match folder.symlink_metadata().and_then(|found| owner(&found)) {
        Ok(0) => "belongs to root, and not to an ordinary user".to_owned(),
        Ok(_) => return,
        Err(error) => reason(&error),
    };
    warn("quarantine", folder, why, "letters that a filter keeps back will be refused for now");
}

fn warn_of_terminals(config: &Config) {
    let Some(Terminals::Folder(folder)) = &config.terminal else { return };
    if let Err(error) = folder.metadata().and_then(|found| owner(&found)) {
        warn("terminal", folder, reason(&error), "there are no terminals for now");
    }
}

/// Returns whose a folder is.
fn owner(found: &Metadata) -> io::Result<u32> {
    match found.is_dir() {
        true => Ok(found.uid()),
        false => Err(Errno::ENOTDIR.into()),
    }
}

fn warn(what: &str, folder: &Path, why: impl Display, then: &str) {
    log::warn!("--{what} {}: {why}: {then}", folder.display());
}
