//! The slides' clients when their server dies: one blind, one that notices, one killed by SIGPIPE.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, Peer, only_child, run, sockets_in, state, wait_child, wait_until};

/// A client whose user types what the test says.
struct Client {
    process: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Client {
    fn start(binary: &str, args: &[&str], server: &Daemon) -> Client {
        let mut process = Command::new(binary)
            .args(args)
            .arg(server.addr().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let stderr = process.stderr.take().unwrap();
        Client { process, stdout, stderr }
    }

    /// False when the client has gone.
    fn types(&mut self, line: &str) -> bool {
        self.process.stdin.as_mut().unwrap().write_all(line.as_bytes()).is_ok()
    }

    fn says(&mut self, line: &str) {
        assert!(self.types(line));
        let mut echo = String::new();
        self.stdout.read_line(&mut echo).unwrap();
        assert_eq!(echo, line);
    }

    /// Its status, and what else it printed: standard output and standard error.
    fn ends(mut self) -> (ExitStatus, String, String) {
        let status = wait_child(&mut self.process, "the client ends");
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.read_to_string(&mut err).unwrap();
        (status, out, err)
    }
}

/// Kills the child that serves, and waits until its FIN has come to the client.
fn crash_of_server_process(server: &Daemon) {
    kill(Pid::from_raw(only_child(server.pid())), Signal::SIGKILL).unwrap();
    wait_until("the client's host has the FIN", || sockets_in("08", server.addr().port()) == 1);
}

const PREMATURELY: &str = "str_cli: server terminated prematurely\n";

#[test]
fn tcpcli01_does_not_notice_that_its_server_died_before_the_next_line() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let mut client = Client::start(env!("CARGO_BIN_EXE_tcpcli01"), &[], &server);
    client.says("hello\n");
    crash_of_server_process(&server);
    let until = Instant::now() + Duration::from_millis(200); // tcpcli02 needs less than one
    while Instant::now() < until {
        assert_eq!(state(client.process.id() as i32), Some('S'));
    }
    assert_eq!(sockets_in("08", server.addr().port()), 1); // CLOSE_WAIT still: nobody has closed
    assert!(client.types("are you there?\n"));
    let (status, out, err) = client.ends();
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    assert_eq!(err, format!("tcpcli01: {PREMATURELY}"));
}

#[test]
fn tcpcli02_notices_at_once_that_its_server_died() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let mut client = Client::start(env!("CARGO_BIN_EXE_tcpcli02"), &[], &server);
    client.says("hello\n");
    kill(Pid::from_raw(only_child(server.pid())), Signal::SIGKILL).unwrap();
    let input = client.process.stdin.take(); // nothing is typed, and no end of file
    let (status, out, err) = client.ends();
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    assert_eq!(err, format!("tcpcli02: {PREMATURELY}"));
    drop(input);
}

#[test]
fn tcpcli02_gets_every_answer_to_piped_input() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpcli02"));
    command.arg(server.addr().to_string());
    let line = [vec![b'x'; 4000], vec![b'\n']].concat();
    let input = [line.repeat(4000), b"no newline".to_vec()].concat(); // 16 MB, more than buffers hold
    let output = run(command, &input);
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    assert!(output.stdout == input, "{} octets came back", output.stdout.len());
}

#[test]
fn tcpcli02_says_so_when_answers_are_missing_at_the_end() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_iterative"), &[]);
    let _first = Peer::connect(server.addr()); // the one that is served, so that nobody answers
    let mut client = Client::start(env!("CARGO_BIN_EXE_tcpcli02"), &[], &server);
    assert!(client.types("hello\n"));
    drop(client.process.stdin.take());
    wait_until("it has half-closed", || sockets_in("05", server.addr().port()) == 1); // FIN_WAIT2
    server.signal(Signal::SIGKILL);
    let (status, _, err) = client.ends();
    assert_eq!(status.code(), Some(1), "{err}");
}

#[test]
fn tcpcli03_is_killed_by_sigpipe_without_a_word() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let mut client = Client::start(env!("CARGO_BIN_EXE_tcpcli03"), &[], &server);
    client.says("hello\n");
    crash_of_server_process(&server);
    client.types("are you there?\n");
    let (status, out, err) = client.ends();
    assert_eq!(status.signal(), Some(Signal::SIGPIPE as i32), "{status:?} {err}");
    assert_eq!((out, err), (String::new(), String::new()));
}

#[test]
fn tcpcli03_that_catches_sigpipe_is_told_epipe() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let mut client = Client::start(env!("CARGO_BIN_EXE_tcpcli03"), &["--catch"], &server);
    client.says("hello\n");
    crash_of_server_process(&server);
    client.types("are you there?\n");
    let (status, out, err) = client.ends();
    assert_eq!(status.code(), Some(1), "{status:?}");
    assert_eq!(out, "caught SIGPIPE\n");
    assert_eq!(err, "tcpcli03: writen error: Broken pipe\n");
}

#[test]
fn clients_say_what_is_wrong_with_their_command_line() {
    for binary in [env!("CARGO_BIN_EXE_tcpcli01"), env!("CARGO_BIN_EXE_tcpcli04")] {
        for args in [&[][..], &["localhost"], &["127.0.0.1", "9877"], &["-x"]] {
            let mut command = Command::new(binary);
            command.args(args);
            let output = run(command, b"");
            assert_eq!(output.status.code(), Some(2));
            assert!(output.stderr.starts_with(b"usage: tcpcli0"));
        }
    }
}
