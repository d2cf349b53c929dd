//! Detaches from the terminal, as in the slides on daemons: fork, setsid, chdir, descriptors 0 to 2
//! to /dev/null.

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

/// The command that has started the daemon and waits until it serves.
#[derive(Debug)]
pub(crate) struct Starter {
    pipe: File,
    /// /dev/null, opened before a chroot(2) hides it.
    null: OwnedFd,
    /// Says on the terminal where the log goes from then on.
    farewell: String,
}

/// fork: returns in the child only. The parent, the starting command, ends with exit code 0 after
/// [`Starter::ready`], or with the child's if that ends first. Until then the child's errors go to
/// the terminal, and its last line there is `farewell`, where warnings are logged.
///
/// # Errors
/// No /dev/null, descriptor or process. In the parent also: a signal has ended the child.
pub(crate) fn detach(farewell: String) -> Result<Starter> {
    let null = fd::null().map_err(Error::os("/dev/null"))?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::os("daemon: pipe"))?;
    let forked = OneTask::check().and_then(fork);
    match forked.map_err(Error::os("daemon: fork"))? {
        Fork::Parent(child) => {
            drop(writer);
            let _ = unblock(&SIGNALS); // on failure it waits with signals blocked
            exit_now(wait_until_ready(File::from(reader), child)?);
        }
        Fork::Child => Ok(Starter { pipe: File::from(writer), null, farewell }),
    }
}

/// Waits for a byte, which means that the daemon serves, or for end of file, which means that it
/// has ended; then it has printed why, unless a signal has killed it. Returns the exit code.
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
    /// setsid, chdir: leaves the session and the folder of the starting command.
    pub(crate) fn leave_session(&self) -> Result<()> {
        setsid().map_err(Error::os("daemon: setsid"))?;
        chdir("/").map_err(Error::os("daemon: chdir /"))
    }

    /// Leaves the terminal, and ends the starting command, because the daemon serves.
    pub(crate) fn ready(mut self) -> Result<()> {
        if log::log_enabled!(log::Level::Info) {
            let _ = writeln!(std::io::stderr(), "{}", self.farewell); // best effort
        }
        fd::replace_standard(&self.null, [true; 3]).map_err(Error::os("daemon: dup2"))?;
        self.pipe.write_all(b".").map_err(Error::io("daemon: pipe"))
    }
}
