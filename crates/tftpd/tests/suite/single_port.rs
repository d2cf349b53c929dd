//! `--single-port`: one process and one port for all transfers. Most of what is true of a process for
//! each transfer is true of it too: the same tests once more, and a few of its own.

#[path = "boards.rs"]
mod boards;
#[path = "files.rs"]
mod files;
#[path = "flow.rs"]
mod flow;
#[path = "icmp.rs"]
mod icmp;
#[path = "map.rs"]
mod map;
#[path = "options.rs"]
mod options;
#[path = "requests.rs"]
mod requests;
#[path = "roots.rs"]
mod roots;
#[path = "swaps.rs"]
mod swaps;
#[path = "udp/mod.rs"]
mod udp; // where `is_single` is true
#[path = "uploads.rs"]
mod uploads;
#[path = "windows.rs"]
mod windows;

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Daemon, TempDir, children, wait_title, wait_until, within_once};
use udp::{Served, ack, blocks, data, noise, oack, retransmissions, rrq, timed, with, wrq};

#[test]
fn many_transfers_go_on_at_once_over_one_port_and_in_one_process() {
    let served = Served::writable();
    let file = noise(1500, 1);
    served.write("x", &file);
    let at = served.daemon.addr();
    let mut readers: Vec<_> = (0..20).map(|_| served.peer()).collect();
    let mut writers: Vec<_> = (0..20).map(|_| served.peer()).collect();
    for (peer, n) in writers.iter_mut().zip(0..) {
        peer.send(wrq(format!("up{n}").as_bytes(), "octet"));
        peer.expect(ack(0));
    }
    readers.iter().for_each(|peer| peer.send(rrq(b"x", "octet")));
    wait_title(served.daemon.pid(), &format!("tftpd: parent, 40 of 4096 clients, {at}"));
    let mut before = Vec::new();
    for (octets, block) in blocks(&file).zip(1..) {
        for peer in &mut readers {
            peer.expect_after(&before, data(block, octets));
            assert_eq!(peer.peer, at);
            peer.send(ack(block));
        }
        for peer in &mut writers {
            peer.send(data(block, octets));
            peer.expect_after(&ack(block - 1), ack(block));
        }
        before = data(block, octets);
        assert!(block == 3 || children(served.daemon.pid()).is_empty());
    }
    for n in 0..20 {
        assert_eq!(served.read(&format!("up{n}")), file);
    }
}

#[test]
fn packets_of_nobody_meet_with_silence_and_disturb_nobody() {
    let served = Served::with(&[]);
    served.write("x", noise(600, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &noise(600, 1)[..512]));
    let mut stranger = served.peer();
    for packet in [ack(1), data(1, b"x"), crate::udp::error(0, "no"), oack("blksize 8")] {
        stranger.send(packet);
    }
    stranger.expect_silence();
    peer.send(ack(1));
    peer.expect_after(&data(1, &noise(600, 1)[..512]), data(2, &noise(600, 1)[512..]));
    peer.send(ack(2));
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn a_client_that_asks_for_something_else_from_the_same_port_has_given_up() {
    let served = Served::writable();
    served.write("x", noise(600, 1));
    served.write("y", "other");
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &noise(600, 1)[..512]));
    peer.send(rrq(b"y", "octet"));
    peer.expect_after(&data(1, &noise(600, 1)[..512]), data(1, b"other"));
    peer.send(ack(1));
    served.wait_line("RRQ \"x\"", "failed: peer sent a new request");
    served.wait_line("RRQ \"y\"", "complete");
}

/// A server that SIGTERM reaches while a peer reads.
fn stopping() -> (Served, udp::Udp) {
    let served = Served::with(&["--grace", "3600"]);
    served.write("x", noise(600, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &noise(600, 1)[..512]));
    served.daemon.signal(Signal::SIGTERM);
    served.daemon.wait_log("stopping: 1 clients");
    (served, peer)
}

#[test]
fn sigterm_lets_transfers_end_and_takes_no_new_ones() {
    let (served, mut peer) = stopping();
    let mut late = served.peer();
    late.send(rrq(b"x", "octet"));
    late.expect_silence();
    peer.send(ack(1));
    peer.expect_after(&data(1, &noise(600, 1)[..512]), data(2, &noise(600, 1)[512..]));
    peer.send(ack(2));
    let Served { daemon, dir: _dir } = served;
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn after_sigterm_a_client_that_asks_for_something_else_is_served_no_more() {
    let (served, mut peer) = stopping();
    peer.send(rrq(b"missing", "octet"));
    served.wait_line("RRQ \"x\"", "failed: peer sent a new request");
    served.daemon.wait_log("stopped");
    peer.expect_only(&data(1, &noise(600, 1)[..512]));
}

#[test]
fn sigterm_ends_transfers_after_the_grace() {
    within_once(Duration::from_secs(10), || {
        let served = Served::with(&["--grace", "0.2"]);
        served.write("x", noise(600, 1));
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x", "octet"), "timeout 255"));
        peer.recv();
        let Served { daemon, dir: _dir } = served;
        let (status, took) = timed(|| Daemon::stop(daemon));
        assert_eq!(status.code(), Some(0));
        took
    });
}

#[test]
fn sigusr1_shows_who_is_served() {
    let served = Served::with(&[]);
    served.write("x", noise(600, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.recv();
    served.daemon.signal(Signal::SIGUSR1);
    served.daemon.wait_log("1 of 4096 clients");
    served.daemon.wait_log(&format!("client {} RRQ \"x\" octet: 512 octets", peer.addr()));
}

#[test]
fn an_upload_is_kept_by_a_process_that_nobody_waits_for() {
    let served = Served::writable();
    served.write("x", noise(600, 1));
    let mut peers: Vec<_> = (0..30).map(|_| served.peer()).collect();
    for (peer, n) in peers.iter_mut().zip(0..) {
        peer.send(wrq(format!("up{n}").as_bytes(), "octet"));
        peer.expect(ack(0));
    }
    peers.iter().for_each(|peer| peer.send(data(1, b"all at once")));
    assert_eq!(served.peer().get(&rrq(b"x", "octet")), noise(600, 1));
    peers.iter_mut().for_each(|peer| peer.expect_after(&ack(0), ack(1)));
    wait_until("no process is left", || children(served.daemon.pid()).is_empty());
    for n in 0..30 {
        assert_eq!(served.read(&format!("up{n}")), b"all at once");
        served.wait_line(&format!("WRQ \"up{n}\""), "complete");
    }
}

#[test]
fn windows_are_bounded_because_all_of_them_are_one_processs_memory() {
    let served = Served::with(&["--max-windowsize", "65535"]);
    served.write("x", noise(600, 1));
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "blksize 8192 windowsize 65535"));
    peer.expect(oack("blksize 8192 windowsize 32"));
    peer.send(crate::udp::error(8, "that is all"));
}

#[test]
fn under_inetd_it_serves_until_nobody_comes() {
    let dir = TempDir::new();
    fs::write(dir.path().join("x"), noise(600, 1)).unwrap();
    let service = UdpSocket::bind("127.0.0.1:0").unwrap();
    let root = dir.path().to_str().unwrap();
    let args = ["-i", "-t", "3", "-q", "--single-port", "--root", root];
    let mut command = testkit::command(env!("CARGO_BIN_EXE_tftpd"), &args);
    let mut peer = udp::Udp::new(service.local_addr().unwrap());
    peer.send(rrq(b"x", "octet"));
    let mut daemon = command.stdin(Stdio::from(OwnedFd::from(service))).spawn().unwrap();
    peer.expect(data(1, &noise(600, 1)[..512]));
    peer.send(ack(1));
    peer.expect_after(&data(1, &noise(600, 1)[..512]), data(2, &noise(600, 1)[512..]));
    peer.send(ack(2));
    assert_eq!(testkit::wait_child(&mut daemon, "tftpd gives the socket back").code(), Some(0));
}

#[test]
fn a_port_range_makes_no_sense_with_a_single_port() {
    let dir = testkit::TempDir::new();
    fs::create_dir(dir.path().join("root")).unwrap();
    let args = ["--single-port", "--port-range", "5000:5001", "--root", "/"];
    let output = testkit::run(testkit::command(env!("CARGO_BIN_EXE_tftpd"), &args), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("only one of them"));
}

/// A peer whose port closes is noticed at once, and no other suffers.
#[test]
fn a_closed_port_ends_its_own_transfer_and_no_other() {
    assert!((0..20).any(|_| retransmitted_to_a_closed_port() == 0), "never at once");
}

/// Returns how often a packet was sent again to a client that has gone, while another one stays.
fn retransmitted_to_a_closed_port() -> usize {
    let served = Served::with(&[]);
    served.write("x", noise(1100, 1));
    let (mut gone, mut stays) = (served.peer(), served.peer());
    for peer in [&mut gone, &mut stays] {
        peer.send(rrq(b"x", "octet"));
        peer.recv();
    }
    gone.send(ack(1));
    drop(gone); // an answer that comes before that meets an open port, and is sent again
    let line = served.wait_line("RRQ \"x\"", "failed: Connection refused");
    stays.send(ack(1));
    let file = noise(1100, 1);
    stays.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    stays.send(ack(2));
    stays.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    stays.send(ack(3));
    served.wait_line("RRQ \"x\"", "complete");
    retransmissions(&line)
}

#[test]
fn a_request_that_is_cut_short_ends_no_transfer_on_the_port_of_all() {
    let served = Served::with(&[]);
    let file = noise(600, 1);
    served.write("x", &file);
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &file[..512]));
    for cut in [&b"\0\x01"[..], b"\0\x02x", b"\0\x01x\0oct", b"\0\x02\0"] {
        peer.send(cut);
    }
    peer.send(ack(1));
    peer.expect_after(&data(1, &file[..512]), data(2, &file[512..]));
    peer.send(ack(2));
    let line = served.wait_line("RRQ \"x\"", "complete");
    assert!(line.contains(" 4 unexpected packets,"), "{line}");
}
