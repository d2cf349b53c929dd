//! daemonise: a server leaves its terminal, step by step, as the Spanish slides tell: "La
//! desconexion mata a todos los procesos hijos, a no ser que se desacople del proceso padre", and
//! "Desvincular la terminal del servidor tambien significa eliminar esos descriptores" 0, 1 and 2.
//!
//! Run: `daemonise`.
//! You see, from /proc, what each step changes: process, parent, group, session, terminal, umask,
//! folder, descriptors. The daemon lives on, until `kill PID` or for ten minutes.
//! `daemonise undetached &` does none of it. Close the terminal, or run both in one that `hangup`
//! makes: SIGHUP kills the undetached one, and the daemon does not get it.
//! `daemonise why-twice` shows what the second fork is for: a session leader that opens a terminal
//! gets it as its controlling terminal, and with it the SIGHUP of a terminal it has nothing to do
//! with.
//! It is right, but prints to the terminal it leaves up to the last step; echod's `-d` (forknet's
//! daemonize.rs) reports to the starting command that it serves, or why it does not.

mod row;

use std::fs::File;
use std::io::{Read, Write, pipe, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitCode, exit};
use std::thread::yield_now;

use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    alarm, chdir, dup2_stderr, dup2_stdin, dup2_stdout, getpgrp, getpid, getppid, setsid,
};
use unp::{Fork, Result, err_sys, fork, say, words};

use row::{HEADER, row};

const USAGE: &str = "usage: daemonise [undetached|why-twice]";

/// Time in seconds after which it ends by itself.
const LIFETIME: u32 = 600;

fn main() -> ExitCode {
    unp::main(|| {
        let line = words([], USAGE)?;
        match line.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => daemonise(),
            ["undetached"] => {
                say(HEADER)?;
                say(row("undetached")?)?;
                serve()
            }
            ["why-twice"] => why_twice(),
            _ => Err(line.wrong()),
        }
    })
}

fn daemonise() -> Result {
    say(HEADER)?;
    say(row("as started")?)?;
    if getpid() == getpgrp()
        && let Err(errno) = setsid()
    {
        say(format_args!("setsid: {errno:?}, who leads a group cannot lead a session too"))?;
    }
    let (mut reader, writer) = pipe().map_err(err_sys("pipe error"))?;
    if let Fork::Parent(child) = fork().map_err(err_sys("fork error"))? {
        drop(writer); //                            the command that was typed waits for the end of the
        waitpid(child, None).map_err(err_sys("waitpid error"))?;
        let ended = reader.read_to_end(&mut Vec::new()); //   table only, so that it comes in one piece
        return ended.map(drop).map_err(err_sys("read error"));
    }
    drop(reader);
    say(row("fork")?)?; //                          no leader of a group; the shell thinks it has ended

    setsid().map_err(err_sys("setsid error"))?;
    say(row("setsid")?)?; //                        a session of its own, without a terminal

    let leader = getpid();
    if let Fork::Parent(_) = fork().map_err(err_sys("fork error"))? {
        exit(0);
    }
    while getppid() == leader {
        yield_now(); //                             until the leader has gone, and we are adopted
    }
    say(row("fork again")?)?; //                    no leader of a session: no terminal ever again

    chdir("/").map_err(err_sys("chdir error"))?;
    say(row("chdir /")?)?; //                       no file system is kept from being unmounted

    umask(Mode::empty());
    say(row("umask 0")?)?; //                       the daemon sets the modes of its files itself

    let mut terminal = File::from(copy_of_stdout()?);
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(err_sys("open /dev/null"))?;
    dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null)).map_err(err_sys("dup2"))?;
    let written = writeln!(terminal, "{}", row("0, 1, 2 to null")?);
    written.map_err(err_sys("standard output"))?; //   nothing is left that leads to a terminal

    drop((null, terminal, writer));
    serve()
}

/// Stands for a daemon's work: waits for SIGTERM, ten minutes at most.
fn serve() -> Result {
    let end: SigSet = [Signal::SIGTERM, Signal::SIGALRM].into_iter().collect();
    end.thread_block().map_err(err_sys("sigprocmask error"))?;
    alarm::set(LIFETIME);
    end.wait().map(drop).map_err(err_sys("sigwait error"))
}

fn copy_of_stdout() -> Result<OwnedFd> {
    stdout().as_fd().try_clone_to_owned().map_err(err_sys("dup error"))
}

/// Opens a new terminal, once as a session leader and once as its child.
fn why_twice() -> Result {
    say(HEADER)?;
    in_a_child(|| {
        setsid().map_err(err_sys("setsid error"))?;
        say(row("setsid")?)?;
        in_a_child(|| open_a_terminal("its child opens"))?;
        open_a_terminal("the leader opens")
    })
}

fn in_a_child(life: impl FnOnce() -> Result) -> Result {
    match fork().map_err(err_sys("fork error"))? {
        Fork::Parent(child) => waitpid(child, None).map(drop).map_err(err_sys("waitpid error")),
        Fork::Child => {
            unp::complain(life());
            exit(0);
        }
    }
}

/// Opens a terminal without O_NOCTTY, as a daemon might that writes to the console.
fn open_a_terminal(step: &str) -> Result {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).map_err(err_sys("openpt error"))?;
    grantpt(&master).and(unlockpt(&master)).map_err(err_sys("openpt error"))?;
    let path = ptsname_r(&master).map_err(err_sys("ptsname error"))?;
    let terminal = open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let _open_until_it_is_told = terminal.map_err(err_sys(path))?;
    say(row(step)?)
}
