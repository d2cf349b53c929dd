//! `signal`: SA_RESTART and EINTR, and the three rules of the slide "POSIX signal semantics".

use std::net::TcpStream;

use nix::sys::signal::Signal;
use testkit::{Program, run, wait_until};

const SIGNAL: &str = env!("CARGO_BIN_EXE_signal");

/// `signal CALL HOW`, blocked in that call, and the line that says so; no alarm comes by itself.
fn blocked_in(call: &str, how: &str) -> (Program, String) {
    let mut program = Program::start(SIGNAL, &[call, how, "0"]);
    let line = program.line_with(&format!("{call}: waits for"));
    wait_until("it is blocked", || program.is_blocked());
    (program, line)
}

/// Sends a signal and waits until the handler has run and the program is blocked again.
fn restarts(program: &mut Program, signal: Signal) {
    program.signal(signal);
    assert_eq!(program.line(), Some(format!("caught {signal}")));
    wait_until("the call waits again", || program.is_blocked());
    assert!(program.is_running(), "after {signal}");
}

/// Sends a signal until the call fails; the first may have come just before the call.
fn interrupts(program: &mut Program, call: &str, signal: Signal) {
    wait_until("the call is interrupted", || {
        program.signal(signal);
        !program.is_running()
    });
    assert_eq!(program.wait().code(), Some(1));
    assert_eq!(program.line(), Some(format!("caught {signal}")));
    assert_eq!(program.errors(), format!("signal: {call} error: Interrupted system call\n"));
}

#[test]
fn with_sa_restart_a_read_goes_on_after_the_handler() {
    let (mut program, _) = blocked_in("read", "restart");
    for signal in [Signal::SIGUSR1, Signal::SIGALRM, Signal::SIGUSR1] {
        restarts(&mut program, signal);
    }
    assert_eq!(program.ask("hello"), "read: went on, 6 octets");
    assert!(program.wait().success());
}

#[test]
fn with_sa_restart_an_accept_goes_on_after_the_handler() {
    let (mut program, line) = blocked_in("accept", "restart");
    for signal in [Signal::SIGUSR1, Signal::SIGALRM] {
        restarts(&mut program, signal);
    }
    let _client = TcpStream::connect(line.rsplit_once(' ').unwrap().1).unwrap();
    assert_eq!(program.line().unwrap(), "accept: went on, a client has come");
    assert!(program.wait().success());
}

#[test]
fn without_sa_restart_both_calls_end_with_eintr() {
    for call in ["read", "accept"] {
        for signal in [Signal::SIGUSR1, Signal::SIGALRM] {
            interrupts(&mut blocked_in(call, "interrupt").0, call, signal);
        }
    }
}

#[test]
fn the_slides_signal_restarts_for_all_but_an_alarm() {
    for call in ["read", "accept"] {
        let (mut program, _) = blocked_in(call, "slide");
        restarts(&mut program, Signal::SIGUSR1);
        interrupts(&mut program, call, Signal::SIGALRM);
    }
}

#[test]
fn the_alarm_comes_after_a_second_by_itself() {
    let mut program = Program::start(SIGNAL, &["read", "restart"]);
    program.line_with("caught SIGALRM");
    assert!(program.wait().success());
}

fn printed(rule: &str) -> String {
    let mut command = std::process::Command::new(SIGNAL);
    command.arg(rule);
    let output = run(command, b"");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_handler_stays_installed() {
    assert_eq!(printed("stays").matches("caught SIGUSR1\n").count(), 3);
}

#[test]
fn a_signal_is_blocked_while_its_own_handler_runs() {
    let (begins, ends) = ("handler of SIGUSR1 begins\n", "handler of SIGUSR1 ends\n");
    let sends = "    sends itself SIGUSR1\n";
    assert_eq!(printed("blocked"), [begins, sends, ends, begins, ends].concat());
}

#[test]
fn signals_are_not_queued() {
    assert!(printed("queued").ends_with("the handler ran: 1\n"));
}

#[test]
fn a_wrong_command_line_is_told_the_usage() {
    for wrong in [&["read"][..], &["read", "fast"], &["read", "slide", "x"], &["other"], &[]] {
        let mut command = std::process::Command::new(SIGNAL);
        command.args(wrong);
        let output = run(command, b"");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stderr.starts_with(b"usage: signal "), "{wrong:?}");
    }
}
