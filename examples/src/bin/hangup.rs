//! hangup: runs a command in a terminal of its own, and hangs that up; the Spanish slide: "La
//! desconexion mata a todos los procesos hijos, a no ser que se desacople del proceso padre".
//!
//! Run: `hangup daemonise undetached`, then Ctrl-D, which is the end of the wire here; and the same
//! with `hangup daemonise`.
//! You see what the command prints, and how it ends: the kernel sends SIGHUP to the leader of the
//! terminal's session, and to the foreground process group. Closing a window, ending ssh, and a
//! modem that loses its carrier do the same.
//! It is right: with posix_openpt, as xterm and sshd do it.

use std::ffi::CString;
use std::io::{Write, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execvp, read, setsid};
use unp::{Fork, MAXLINE, Restart, Result, SIG_DFL, err_quit, err_sys, fork, say, signal};

const USAGE: &str = "usage: hangup COMMAND [ARGUMENT ...]";

fn main() -> ExitCode {
    unp::main(hangup)
}

fn hangup() -> Result {
    let command = std::env::args_os().skip(1).map(|word| CString::new(word.into_vec()));
    let command: Vec<CString> = command.collect::<std::result::Result<_, _>>().unwrap_or_default();
    if command.first().is_none_or(|name| name.to_bytes().starts_with(b"-")) {
        return Err(unp::words([], USAGE)?.wrong());
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).map_err(err_sys("openpt error"))?;
    grantpt(&master).and(unlockpt(&master)).map_err(err_sys("openpt error"))?;
    let Fork::Parent(child) = fork().map_err(err_sys("fork error"))? else {
        return in_the_terminal(&master, &command);
    };
    pass_on(&master)?;
    drop(master); // the last to hold that end: the terminal hangs up
    match waitpid(child, None).map_err(err_sys("waitpid error"))? {
        WaitStatus::Signaled(_, signal, _) => say(format_args!("hung up: killed by {signal}")),
        WaitStatus::Exited(_, code) => say(format_args!("hung up: had ended, exit code {code}")),
        other => Err(err_quit(format!("waitpid: {other:?}"))),
    }
}

/// The command's side: a session leader gets the terminal that it opens first.
fn in_the_terminal(master: &PtyMaster, command: &[CString]) -> Result {
    let path = ptsname_r(master).map_err(err_sys("ptsname error"))?;
    // An ignored SIGHUP is inherited, for example from nohup.
    signal(Signal::SIGHUP, SIG_DFL, Restart::Yes).map_err(err_sys("signal error"))?;
    setsid().map_err(err_sys("setsid error"))?;
    let terminal = open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let tty: OwnedFd = terminal.map_err(err_sys(path))?;
    dup2_stdin(&tty).and(dup2_stdout(&tty)).and(dup2_stderr(&tty)).map_err(err_sys("dup2"))?;
    let name = command.first().ok_or_else(|| err_quit(USAGE))?;
    match execvp(name, command) {
        Err(errno) => Err(err_sys(format!("exec {}", name.to_string_lossy()))(errno)),
    }
}

/// Prints the terminal's output, until standard input ends or no process has the terminal open.
fn pass_on(master: &PtyMaster) -> Result {
    let mut octets = [0; MAXLINE];
    loop {
        let input = stdin();
        let mut fds = [input.as_fd(), master.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE).map_err(err_sys("poll error"))?;
        let [wire_is_cut, terminal] = fds.map(|fd| fd.any().unwrap_or(false));
        if terminal {
            match read(master, &mut octets) {
                Ok(n) => print(octets.get(..n).unwrap_or_default())?,
                Err(Errno::EIO) => return Ok(()),
                Err(errno) => return Err(err_sys("read error")(errno)),
            }
        } else if wire_is_cut && read(&input, &mut octets).map_err(err_sys("read error"))? == 0 {
            return Ok(());
        }
    }
}

/// Prints without the carriage returns of a terminal.
fn print(octets: &[u8]) -> Result {
    let octets: Vec<u8> = octets.iter().copied().filter(|octet| *octet != b'\r').collect();
    stdout().write_all(&octets).and_then(|()| stdout().flush()).map_err(err_sys("standard output"))
}
