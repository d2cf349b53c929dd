//! signal: what becomes of a slow system call when a signal is caught, slide "signal Function That
//! Enables System Call Restart"; and the three "POSIX signal semantics" of the slide after it.
//!
//! Run: `signal read restart`, and type nothing for a second.
//! You see SIGALRM caught, and read(2) goes on: a line that you type later is read.
//! `signal read interrupt`: read(2) fails, "Interrupted system call" (EINTR). `signal read slide`
//! decides as the slide's function does: SIGALRM interrupts, anything else (`kill -USR1 PID`) does
//! not. With `accept` in place of `read` it is the server's call; SECONDS is when the alarm comes,
//! 0: never. `signal stays`, `signal blocked` and `signal queued` show the three rules, in the
//! slide's order.
//! Wrong on purpose: an alarm that comes before the call has begun interrupts nothing, and the call
//! then waits for ever. A second is long enough only as a rule; tcpserv05 and 06 tell more.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use nix::unistd::{alarm, getpid, read};
use unp::{
    LISTENQ, Restart, Result, SAY_ITS_NAME, SEND_IT_AGAIN, SET_A_FLAG, Sigfunc, accept, err_sys,
    say, words,
};

const USAGE: &str = "usage: signal read|accept restart|interrupt|slide [SECONDS]
       signal stays|blocked|queued";

fn main() -> ExitCode {
    unp::main(|| {
        let line = words([], USAGE)?;
        match line.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [call, how @ ("restart" | "interrupt" | "slide"), seconds @ ..] => {
                let slow_call = match *call {
                    "read" => read_a_line,
                    "accept" => accept_a_client,
                    _ => return Err(line.wrong()),
                };
                let seconds = match seconds {
                    [] => Ok(1),
                    [seconds] => seconds.parse().map_err(|_| line.wrong()),
                    _ => Err(line.wrong()),
                };
                a_slow_call(how, seconds?, slow_call)
            }
            ["stays"] => a_handler_stays(),
            ["blocked"] => its_signal_is_blocked_meanwhile(),
            ["queued"] => signals_are_not_queued(),
            _ => Err(line.wrong()),
        }
    })
}

/// lib/signal.c: all system calls are restarted, except after SIGALRM, because an alarm is meant to
/// end a wait.
fn signal(signo: Signal, func: Sigfunc) -> nix::Result<()> {
    let restart = if signo == Signal::SIGALRM { Restart::No } else { Restart::Yes };
    unp::signal(signo, func, restart)
}

fn a_slow_call(how: &str, seconds: u32, slow_call: fn() -> Result) -> Result {
    for signo in [Signal::SIGALRM, Signal::SIGUSR1] {
        let handled = match how {
            "restart" => unp::signal(signo, SAY_ITS_NAME, Restart::Yes),
            "interrupt" => unp::signal(signo, SAY_ITS_NAME, Restart::No),
            _ => signal(signo, SAY_ITS_NAME),
        };
        handled.map_err(err_sys("signal error"))?;
    }
    say(format_args!("process {}", getpid()))?;
    if seconds > 0 {
        say(format_args!("SIGALRM comes in {seconds} s"))?;
        alarm::set(seconds);
    }
    slow_call()
}

fn read_a_line() -> Result {
    say(format_args!("read: waits for a line"))?;
    let mut line = [0; 80];
    let n = read(io::stdin(), &mut line).map_err(err_sys("read error"))?;
    say(format_args!("read: went on, {n} octets"))?;
    Ok(())
}

fn accept_a_client() -> Result {
    let listenfd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    let at: SockaddrIn = getsockname(listenfd.as_raw_fd()).map_err(err_sys("getsockname error"))?;
    say(format_args!("accept: waits for a client of {at}"))?;
    accept(&listenfd).map_err(err_sys("accept error"))?;
    say(format_args!("accept: went on, a client has come"))?;
    Ok(())
}

/// Rule 1: once a signal handler is installed, it remains installed. (The first Unix went back to the
/// default each time, and the second signal killed.)
fn a_handler_stays() -> Result {
    signal(Signal::SIGUSR1, SAY_ITS_NAME).map_err(err_sys("signal error"))?;
    for time in 1..=3 {
        say(format_args!("SIGUSR1 is sent, time {time}"))?;
        raise(Signal::SIGUSR1).map_err(err_sys("raise error"))?;
    }
    Ok(())
}

/// Rule 2: the signal being delivered is blocked while a signal handler is executing.
fn its_signal_is_blocked_meanwhile() -> Result {
    signal(Signal::SIGUSR1, SEND_IT_AGAIN).map_err(err_sys("signal error"))?;
    raise(Signal::SIGUSR1).map_err(err_sys("raise error"))
}

/// Rule 3: by default, signals are not queued: while one is pending, more of its kind are the same one.
fn signals_are_not_queued() -> Result {
    signal(Signal::SIGUSR1, SET_A_FLAG).map_err(err_sys("signal error"))?;
    let usr1: SigSet = [Signal::SIGUSR1].into_iter().collect();
    let mask = |how| sigprocmask(how, Some(&usr1), None).map_err(err_sys("sigprocmask error"));
    mask(SigmaskHow::SIG_BLOCK)?;
    for _ in 1..=5 {
        raise(Signal::SIGUSR1).map_err(err_sys("raise error"))?;
    }
    mask(SigmaskHow::SIG_UNBLOCK)?; // the pending one comes before this returns
    let times = unp::times(Signal::SIGUSR1);
    say(format_args!("SIGUSR1 was sent 5 times while it was blocked; the handler ran: {times}"))?;
    Ok(())
}
