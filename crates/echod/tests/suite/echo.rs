//! What a client sees of echod, and what echoc makes of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use crate::common::{echod, echod_as, hello};
use nix::sys::signal::Signal;
use testkit::{Daemon, MODELS, Peer, TempDir, children, each_model, run, wait_child, wait_until};

const ECHOC: &str = env!("CARGO_BIN_EXE_echoc");

fn echoc(daemon: &Daemon, stdin: &[u8]) -> Output {
    let mut command = Command::new(ECHOC);
    command.args(["127.0.0.1", &daemon.addr().port().to_string()]);
    run(command, stdin)
}

/// Every byte value, in an order that repeats at no power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 ^ (i / 251 % 256) as u8).collect()
}

#[test]
fn what_comes_in_goes_out_again() {
    let daemon = echod(&[]);
    let mut peer = Peer::connect(daemon.addr());
    peer.send("hello\r\n");
    peer.expect("hello\r\n");
    peer.send([0, 255, 13, 10]);
    assert_eq!(peer.take(4), [0, 255, 13, 10]);
}

#[test]
fn case_21_after_a_half_close_every_byte_comes_back_and_then_the_end() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let mut peer = Peer::connect(daemon.addr());
        let sent = pattern(100_000);
        peer.send(&sent);
        peer.shutdown_write();
        assert_eq!(peer.rest(), sent);
    });
}

#[test]
fn case_21_a_mebibyte_to_a_slow_reader_is_byte_exact() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let peer = Peer::connect(daemon.addr());
        let sent = pattern(1 << 20);
        let mut writer = peer.stream().try_clone().unwrap();
        let to_send = sent.clone();
        let sender = std::thread::spawn(move || {
            writer.write_all(&to_send).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let (mut reader, mut got) = (peer.stream(), Vec::new());
        let mut chunk = [0; 1000]; // small reads keep the window nearly shut
        loop {
            match reader.read(&mut chunk).unwrap() {
                0 => break,
                n => got.extend_from_slice(&chunk[..n]),
            }
        }
        sender.join().unwrap();
        assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    });
}

#[test]
fn case_22_a_client_that_vanishes_in_mid_write_ends_only_its_own_session_without_sigpipe() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let other = (model != "iterative").then(|| Peer::connect(daemon.addr()));
        let mut vanishing = Peer::connect(daemon.addr());
        vanishing.send(pattern(500_000)); // more than it will read
        vanishing.reset();
        wait_until("its session has failed", || {
            daemon.log().lines().any(|line| line.contains(" end: ") && !line.contains("exit 0"))
        });
        assert!(!daemon.log().contains("signal 13"), "{}", daemon.log());
        hello(&mut other.unwrap_or_else(|| Peer::connect(daemon.addr())));
    });
}

#[test]
fn case_23_a_silent_client_is_timed_out() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["-t", "0.2"]);
        let mut peer = Peer::connect(daemon.addr());
        assert_eq!(peer.rest(), b"");
        daemon.wait_log("Connection timed out");
    });
}

#[test]
fn the_transcript_holds_both_sides_and_escapes_what_does_not_print() {
    let dir = TempDir::new();
    let file = dir.path().join("transcript");
    let daemon = echod(&["--transcript", file.to_str().unwrap()]);
    let mut peer = Peer::connect(daemon.addr());
    peer.send("hi \x1b[2J\n");
    peer.expect("hi");
    drop(peer);
    wait_until("the child has ended", || children(daemon.pid()).is_empty());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("C: hi \\u{1b}[2J"), "{text}");
    assert!(text.contains("S: hi \\u{1b}[2J"), "{text}");
}

#[test]
fn echoc_sends_its_input_and_prints_the_echo() {
    let daemon = echod(&[]);
    let sent = pattern(3_000_000);
    let output = echoc(&daemon, &sent);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == sent);
}

#[test]
fn echoc_says_when_nobody_listens() {
    let daemon = echod(&[]);
    let port = daemon.addr().port();
    drop(daemon);
    let mut command = Command::new(ECHOC);
    command.args(["127.0.0.1", &port.to_string()]);
    let output = run(command, b"");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("echoc: connect to 127.0.0.1:{port}: Connection refused\n"));
}

/// Slide "Crashing of Server Process": blocked in fgets the client would not notice.
#[test]
fn echoc_reports_a_server_that_dies_while_it_waits_for_typing() {
    let daemon = echod(&[]);
    let mut command = Command::new(ECHOC);
    command.args(["127.0.0.1", &daemon.addr().port().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut typing = client.stdin.take().unwrap();
    typing.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    for child in children(daemon.pid()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }
    let status = wait_child(&mut client, "the client ends");
    drop(typing); // only now: the user never typed again
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "echoc: str_cli: server terminated prematurely\n");
    assert_eq!(status.code(), Some(1));
}
