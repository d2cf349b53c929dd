//! Detaching from the terminal, as the slides on daemons tell: fork, setsid, chdir, descriptors
//! 0 to 2 to /dev/null.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, pipe2, setsid};

use crate::error::{Error, Result};
use crate::fork::{Fork, exit_now, fork};
use crate::inherit::null_is;
use crate::signals::Signals;

/// The command that started the daemon and waits to hear that it serves.
#[derive(Debug)]
pub(crate) struct Starter {
    pipe: File,
    /// /dev/null, opened while it can be seen.
    null: OwnedFd,
}

/// fork, setsid, chdir. Returns in the child only. The parent, which is the starting command,
/// ends with exit code 0 once [`Starter::ready`] is called, and with 1 if the child ends first;
/// until then the child's errors still go to the terminal.
pub(crate) fn detach(signals: &Signals) -> Result<Starter> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::os("daemon: pipe"))?;
    match fork().map_err(Error::os("daemon: fork"))? {
        Fork::Parent(child) => {
            drop(writer);
            let _or_wait_deaf = signals.release();
            exit_now(wait_until_ready(File::from(reader), child));
        }
        Fork::Child => {
            drop(reader);
            setsid().map_err(Error::os("daemon: setsid"))?;
            chdir("/").map_err(Error::os("daemon: chdir /"))?;
            let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
            let null = null.map_err(Error::os("daemon: /dev/null"))?;
            Ok(Starter { pipe: File::from(writer), null })
        }
    }
}

/// One octet means that the daemon serves; end of file, that it has ended and said why.
fn wait_until_ready(mut pipe: File, child: Pid) -> i32 {
    let mut octet = [0];
    if pipe.read_exact(&mut octet).is_ok() {
        return 0;
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) if code != 0 => code,
        _ => 1,
    }
}

impl Starter {
    /// The daemon serves: it lets go of the terminal and of the starting command.
    pub(crate) fn ready(mut self) -> Result<()> {
        null_is(&self.null, [true; 3]).map_err(Error::os("daemon: dup2"))?;
        self.pipe.write_all(b".").map_err(Error::io("daemon: pipe"))
    }
}
