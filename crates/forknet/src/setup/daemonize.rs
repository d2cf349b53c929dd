//! Detaching from the terminal, as the slides on daemons tell: fork, setsid, chdir, descriptors
//! 0 to 2 to /dev/null.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, pipe2, setsid};

use sys::fd;
use sys::fork::{Fork, OneTask, exit_now, fork};
use sys::signal::unblock;

use crate::error::{Error, Result};
use crate::options::SIGNALS;

/// The command that started the daemon and waits to hear that it serves.
#[derive(Debug)]
pub(crate) struct Starter {
    pipe: File,
    /// /dev/null, opened while it can be seen.
    null: OwnedFd,
}

/// fork. Returns in the child only. The parent, which is the starting command, ends with exit code 0
/// once [`Starter::ready`] is called, and with the child's if that ends first; until then the child's
/// errors still go to the terminal.
///
/// # Errors
/// There is no /dev/null, descriptor or process; in the parent, too: a signal has ended the child, which
/// could say nothing of it.
pub(crate) fn detach() -> Result<Starter> {
    let null = fd::null().map_err(Error::os("/dev/null"))?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::os("daemon: pipe"))?;
    let forked = OneTask::check().and_then(fork);
    match forked.map_err(Error::os("daemon: fork"))? {
        Fork::Parent(child) => {
            drop(writer);
            let _ = unblock(&SIGNALS); // else it only waits deaf
            exit_now(wait_until_ready(File::from(reader), child)?);
        }
        Fork::Child => Ok(Starter { pipe: File::from(writer), null }),
    }
}

/// Waits for a byte, which means that the daemon serves. End of file means that it has ended: then it has
/// said why, unless it was killed. Gives the exit code.
fn wait_until_ready(mut pipe: File, child: Pid) -> Result<i32> {
    if pipe.read_exact(&mut [0]).is_ok() {
        return Ok(0);
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) if code != 0 => Ok(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            Err(Error::Refused(format!("daemon: ended by {signal} before it served")))
        }
        _ => Ok(1), // ECHILD where SIGCHLD is ignored
    }
}

impl Starter {
    /// setsid, chdir: the daemon leaves the session and the folder of the starting command.
    pub(crate) fn leave_session(&self) -> Result<()> {
        setsid().map_err(Error::os("daemon: setsid"))?;
        chdir("/").map_err(Error::os("daemon: chdir /"))
    }

    /// The daemon serves: it lets go of the terminal and of the starting command.
    pub(crate) fn ready(mut self) -> Result<()> {
        fd::replace_standard(&self.null, [true; 3]).map_err(Error::os("daemon: dup2"))?;
        self.pipe.write_all(b".").map_err(Error::io("daemon: pipe"))
    }
}
