//! tftpc at its end: the last ACK that is lost, an interruption; and a network that loses a fifth.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::relay::{Fate, Passing, Relay, Way, Weather};
use testkit::{TempDir, run, wait_child};

use crate::tftpc::{Client, port_for, start};
use crate::udp::{Served, ack, data, noise, oack, rrq, wrq};

const TFTPC: &str = env!("CARGO_BIN_EXE_tftpc");

#[test]
fn tftpc_acknowledges_the_last_block_again_after_it_has_told_the_user_of_its_success() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    let mut port = port_for(&server);
    port.put_blocks(&noise(600, 1));
    client.succeeds(); // the prompt is back
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), noise(600, 1));
    for _ in 0..3 {
        port.send(data(2, &noise(600, 1)[512..]));
        port.expect(ack(2));
    }
    let client = Client::start(&server, &dir, &["-b", "100", "-w", "4", "get", "y"]);
    server.recv();
    let mut port = port_for(&server);
    port.send(oack("blksize 100 windowsize 4"));
    port.expect(ack(0));
    port.send(data(1, &[1; 100]));
    port.send(data(2, &[2; 7]));
    port.expect(ack(2));
    client.succeeds();
    port.send(data(2, &[2; 7]));
    port.expect(ack(2));
}

#[test]
fn a_lost_last_ack_of_a_get_is_sent_again_and_the_server_hears_it() {
    let served = Served::with(&[]);
    served.write("f", noise(1300, 1));
    let mut left = 1;
    let relay = Relay::start(served.daemon.addr(), move |passing: &Passing<'_>| {
        if passing.way == Way::ToServer && passing.bytes == ack(3) && left > 0 {
            left -= 1;
            return Fate::lost();
        }
        Fate::passes()
    });
    let dir = TempDir::new();
    let mut command = Command::new(TFTPC);
    command.arg(relay.addr().to_string()).args(["get", "f"]).current_dir(dir.path());
    assert!(run(command, b"").status.success());
    let line = served.wait_line("RRQ \"f\"", "complete");
    assert!(line.ends_with(": complete") && !line.contains(" 0 retransmissions"), "{line}");
    assert_eq!(relay.counts().lost, 1);
}

/// Starts tftpc so that it can be interrupted although these tests may run in the background of a shell.
fn interruptible(args: &[&str], dir: &TempDir) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", TFTPC]).args(args).current_dir(dir.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn an_interrupted_tftpc_tells_the_server_with_an_error() {
    let (mut server, dir) = start();
    let at = server.addr().to_string();
    fs::write(dir.path().join("f"), noise(2000, 1)).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for way in ["get", "put"] {
            let mut child = interruptible(&[&at, way, "f"], &dir).spawn().unwrap();
            server.recv();
            let mut port = port_for(&server);
            if way == "get" {
                port.send(data(1, &[1; 512]));
                port.expect(ack(1));
            } else {
                port.send(ack(0));
                port.expect(data(1, &noise(2000, 1)[..512]));
            }
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            let text = port.expect_error(0);
            assert_eq!(text, "Transfer cancelled by a signal");
            let status = wait_child(&mut child, "tftpc ends");
            assert_eq!(status.signal(), Some(signal as i32), "as a shell wants to see it");
            assert_eq!(fs::read(dir.path().join("f")).unwrap(), noise(2000, 1));
        }
    }
}

/// It reads standard input at that moment, not the socket.
#[test]
fn a_tftpc_that_is_interrupted_while_it_waits_for_input_tells_the_server() {
    let (mut server, dir) = start();
    let at = server.addr().to_string();
    let mut command = interruptible(&[&at, "put", "-", "x"], &dir);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &[7; 512]).unwrap();
    server.expect(wrq(b"x", "octet"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, &[7; 512]));
    port.send(ack(1)); // it has nothing to send now
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    while port.recv()[1] != 5 {}
    assert_eq!(wait_child(&mut child, "tftpc ends").signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn a_server_whose_client_was_interrupted_ends_at_once_and_says_why() {
    let served = Served::with(&["--create"]);
    let dir = TempDir::new();
    let blocks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&blocks);
    let relay = Relay::start(served.daemon.addr(), move |passing| {
        count.fetch_add(passing.bytes.starts_with(b"\0\x03").into(), Relaxed);
        Fate::passes()
    });
    let mut command = interruptible(&[&relay.addr().to_string(), "put", "-", "x"], &dir);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &[7; 5000]).unwrap();
    testkit::wait_until("it sends blocks", || blocks.load(Relaxed) > 0);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    wait_child(&mut child, "tftpc ends");
    served.wait_line("WRQ \"x\"", "failed: peer says: Transfer cancelled by a signal (ERROR 0)");
    assert!(served.names().is_empty());
}

/// With large blocks, so that what is judged is how many packets are lost and not how long that takes.
#[test]
fn at_20_percent_loss_a_transfer_of_1_mib_ends_both_ways() {
    let served = Served::with(&["--create"]);
    let file = noise(1 << 20, 7);
    let dir = TempDir::new();
    fs::write(dir.path().join("f"), &file).unwrap();
    for (args, seed) in [(&["put", "f", "up"][..], 1), (&["get", "up", "back"], 2)] {
        let relay =
            Relay::start(served.daemon.addr(), Weather { lost: 20, ..Weather::CALM }.script(seed));
        let mut command = Command::new(TFTPC);
        command.args(["-b", "8192"]).arg(relay.addr().to_string());
        command.args(args).current_dir(dir.path());
        let output = run(command, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(relay.counts().lost > 40, "{:?}", relay.counts());
    }
    assert!(served.read("up") == file && fs::read(dir.path().join("back")).unwrap() == file);
}
