//! Runs smtpq(8), for what is done with the queue as a whole.

use std::convert::Infallible;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use forknet::reason;

use crate::outbox::Named;
use crate::sendmail::failure::{Failure, Result};

const PROGRAM: &str = "smtpq";
/// Where it is looked for after the folder of this program and `sbin` beside it.
const FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Becomes smtpq with this option for this queue.
///
/// # Errors
/// No queue is named; the program is not there.
pub(super) fn run(option: &str, queue: Option<Named>) -> Result<()> {
    let why = "no queue: a line 'queue DIR' in the configuration file, FORKLORE_QUEUE or --queue names it";
    let queue = queue.ok_or_else(|| Failure::config(why))?;
    match become_it(option, queue)? {}
}

fn become_it(option: &str, queue: Named) -> Result<Infallible> {
    let program =
        program().ok_or_else(|| Failure::unavailable(format!("{PROGRAM} is not there")))?;
    let failed = Command::new(&program).arg(option).arg("--queue").arg(queue.folder).exec();
    Err(Failure::unavailable(format!("{}: {}", program.display(), reason(&failed))))
}

fn program() -> Option<PathBuf> {
    let own = env::current_exe().ok();
    let own = own.as_deref().and_then(std::path::Path::parent).map(PathBuf::from);
    let beside = own.clone().and_then(|folder| Some(folder.parent()?.join("sbin")));
    let folders = own.into_iter().chain(beside).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(PROGRAM)).find(|path| path.is_file())
}
