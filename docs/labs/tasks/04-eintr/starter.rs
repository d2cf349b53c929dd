//! Task of lab 04: counts the octets of its standard input, and on SIGUSR1 says how many it has got so
//! far. It does so when the next line comes; it shall do so at once.

use std::io::stdin;
use std::process::ExitCode;

use nix::sys::signal::Signal;
use nix::unistd::read;
use unp::{MAXLINE, Restart, Result, SET_A_FLAG, err_sys, note, say, signal, take};

fn main() -> ExitCode {
    unp::main(count)
}

fn count() -> Result {
    signal(Signal::SIGUSR1, SET_A_FLAG, Restart::Yes).map_err(err_sys("signal error"))?;
    note("counting"); // from here on it may be asked
    let mut octets = [0; MAXLINE];
    let mut total = 0;
    loop {
        if take(Signal::SIGUSR1) {
            say(format_args!("so far: {total}"))?;
        }
        match read(stdin(), &mut octets).map_err(err_sys("read error"))? {
            0 => return say(format_args!("in all: {total}")),
            n => total += n,
        }
    }
}
