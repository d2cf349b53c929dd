//! Task of lab 04, solved as tcpserv06 does it: SIGUSR1 is blocked but while ppoll waits, so none is lost.
//!
//! Without SA_RESTART, and with EINTR as a reason to go round, it answers at once too, but for the signal
//! that comes between the look at the flag and read.

use std::io::stdin;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::read;
use unp::{MAXLINE, Restart, Result, SET_A_FLAG, err_sys, note, say, signal, take};

fn main() -> ExitCode {
    unp::main(count)
}

fn count() -> Result {
    let usr1: SigSet = [Signal::SIGUSR1].into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&usr1), None).map_err(err_sys("sigprocmask error"))?;
    signal(Signal::SIGUSR1, SET_A_FLAG, Restart::Yes).map_err(err_sys("signal error"))?;
    note("counting");
    let mut octets = [0; MAXLINE];
    let mut total = 0;
    loop {
        if take(Signal::SIGUSR1) {
            say(format_args!("so far: {total}"))?;
        }
        let input = stdin();
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, None, Some(SigSet::empty())) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue, // to the flag
            Err(errno) => return Err(err_sys("ppoll error")(errno)),
        }
        match read(&input, &mut octets).map_err(err_sys("read error"))? {
            0 => return say(format_args!("in all: {total}")),
            n => total += n,
        }
    }
}
