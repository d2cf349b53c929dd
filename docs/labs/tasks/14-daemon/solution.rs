//! Task of lab 14, solved with the steps of `daemonise`. The file is written last: who reads it finds a
//! daemon. (An error would be told to nobody by then; it only ends the program.)

use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, exit};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, getpid, pause, setsid};
use unp::{Fork, Result, err_quit, err_sys, fork};

fn main() -> ExitCode {
    unp::main(detach)
}

fn detach() -> Result {
    let pid_file = std::env::args_os().nth(1).map(PathBuf::from);
    let pid_file = pid_file.ok_or_else(|| err_quit("usage: detach FILE"))?;
    go_on_in_a_child()?; //                         leads no group
    setsid().map_err(err_sys("setsid error"))?; //  no terminal
    go_on_in_a_child()?; //                         leads no session
    let pid_file = std::path::absolute(pid_file).map_err(err_sys("pid file"))?;
    chdir("/").map_err(err_sys("chdir error"))?;
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let null = open("/dev/null", flags, Mode::empty()).map_err(err_sys("open /dev/null"))?;
    dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null)).map_err(err_sys("dup2"))?;
    drop(null);
    fs::write(pid_file, format!("{}\n", getpid())).map_err(err_sys("pid file"))?; // it is one
    pause();
    Ok(())
}

fn go_on_in_a_child() -> Result {
    match fork().map_err(err_sys("fork error"))? {
        Fork::Parent(_) => exit(0),
        Fork::Child => Ok(()),
    }
}
