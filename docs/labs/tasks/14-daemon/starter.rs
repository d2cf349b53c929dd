//! Task of lab 14: thinks that it is a daemon, writes its process id to the file that it is given, and
//! lives until SIGTERM, or until its terminal goes. It shall be a daemon.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, exit};

use nix::unistd::{getpid, pause};
use unp::{Fork, Result, err_quit, err_sys, fork};

fn main() -> ExitCode {
    unp::main(detach)
}

fn detach() -> Result {
    let pid_file = std::env::args_os().nth(1).map(PathBuf::from);
    let pid_file = pid_file.ok_or_else(|| err_quit("usage: detach FILE"))?;
    if let Fork::Parent(_) = fork().map_err(err_sys("fork error"))? {
        exit(0);
    }
    fs::write(pid_file, format!("{}\n", getpid())).map_err(err_sys("pid file"))?;
    pause(); // until a signal comes
    Ok(())
}
