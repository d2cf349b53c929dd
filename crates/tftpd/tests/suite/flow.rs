//! The flow of packets when a client reads: acknowledgements, retransmissions, strangers, ends.

use std::time::{Duration, Instant};

use super::udp::{
    MOMENT, Served, Udp, ack, blocks, data, error, noise, oack, retransmissions, rrq, with, wrq,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A daemon that serves `x`, three blocks of it, and the file.
fn three_blocks() -> (Served, Vec<u8>) {
    let served = Served::with(&[]);
    let file = noise(1300, 3);
    served.write("x", &file);
    (served, file)
}

#[test]
fn a_duplicate_ack_never_causes_a_duplicate_data() {
    let served = Served::with(&[]);
    let file = noise(512 * 60, 4);
    served.write("x", &file);
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    let (mut next, mut seen, mut copies) = (1, Vec::new(), 0);
    while next <= 61 {
        let packet = peer.recv_all();
        copies += 1;
        if packet[..4] == data(next, b"")[..] {
            seen.extend_from_slice(&packet[4..]);
            for block in [next, next, next - 1, next] {
                peer.send(ack(block)); // the Sorcerer's Apprentice waits for this
            }
            next += 1;
        }
    }
    assert_eq!(seen, file);
    while peer.recv_for(MOMENT).is_some() {
        copies += 1;
    }
    let line = served.wait_line("RRQ \"x\"", "complete");
    assert_eq!(copies, 61 + retransmissions(&line), "only the clock sends anything again: {line}");
}

#[test]
fn old_and_future_acks_are_ignored() {
    let (served, file) = three_blocks();
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &file[..512]));
    for wrong in [0, 2, 3, 65535] {
        peer.send(ack(wrong));
    }
    peer.expect_silence();
    peer.send(ack(1));
    peer.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    peer.send(ack(0));
    peer.send(ack(1));
    peer.expect_only(&data(2, &file[512..1024]));
    peer.send(ack(2));
    peer.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    peer.send(ack(3));
    served.wait_line("RRQ \"x\"", "complete");
}

/// A peer that has asked for `x` and got its first block, and one that has asked to write `up`.
fn reader_and_writer(served: &Served, file: &[u8]) -> (Udp, Udp) {
    let (mut reader, mut writer) = (served.peer(), served.peer());
    reader.send(rrq(b"x", "octet"));
    reader.expect(data(1, &file[..512]));
    writer.send(wrq(b"up", "octet"));
    writer.expect(ack(0));
    (reader, writer)
}

#[test]
fn a_peer_that_takes_half_a_second_gets_nothing_twice_before_something_was_lost() {
    let served = Served::writable();
    let file = noise(1300, 3);
    served.write("x", &file);
    let (mut reader, mut writer) = reader_and_writer(&served, &file);
    reader.send(ack(1));
    reader.expect(data(2, &file[512..1024]));
    writer.send(data(1, &file[..512]));
    writer.expect(ack(1));
    // What the kernel has noted tells, however late this test looks.
    for peer in [&mut reader, &mut writer] {
        let before = peer.came;
        if peer.recv_for(Duration::from_millis(500)).is_some() {
            let wait = peer.came - before;
            assert!(wait > Duration::from_millis(900), "sent again after {wait:?}");
        }
    }
}

#[test]
fn a_lost_packet_is_sent_again_with_backoff() {
    let (served, file) = three_blocks();
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &file[..512]));
    peer.send(ack(1));
    let second = data(2, &file[512..1024]);
    peer.expect(&second);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let before = peer.came;
        peer.expect(&second);
        waits.push(peer.came - before);
    }
    // A second, doubled each time; a busy machine may be late, and never early.
    let least = [900, 1800, 3600].map(Duration::from_millis);
    assert!(waits.iter().zip(least).all(|(wait, least)| *wait >= least), "{waits:?}");
    peer.send(ack(2));
    peer.expect_after(&second, data(3, &file[1024..]));
    peer.send(ack(3));
    let line = served.wait_line("RRQ \"x\"", "complete");
    assert!(retransmissions(&line) >= 3, "{line}");
}

#[test]
fn an_address_that_proves_nothing_gets_two_packets_at_most() {
    let served = Served::writable();
    let file = noise(1300, 3);
    served.write("x", &file);
    let (mut reader, mut writer) = (served.peer(), served.peer());
    reader.send(rrq(b"x", "octet"));
    writer.send(wrq(b"new", "octet"));
    for _ in 0..2 {
        reader.expect(data(1, &file[..512]));
        writer.expect(ack(0));
    }
    served.wait_idle();
    assert_eq!((reader.recv_for(MOMENT), writer.recv_for(MOMENT)), (None, None));
    served.wait_line("RRQ \"x\"", "failed: Connection timed out");
    served.wait_line("WRQ \"new\"", "failed: Connection timed out");
    assert_eq!(served.names(), ["x"]);
}

#[test]
fn retries_are_bounded() {
    let served = Served::with(&["--retries", "2"]);
    served.write("x", noise(600, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.recv();
    peer.send(ack(1));
    let second = peer.recv();
    peer.expect(&second);
    peer.expect(&second);
    served.wait_idle();
    assert_eq!(peer.recv_for(MOMENT), None);
}

#[test]
fn silence_ends_the_transfer_at_the_time_limit() {
    let served = Served::with(&["-t", "0.5", "--retries", "100"]);
    served.write("x", noise(1025, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.recv();
    peer.send(ack(1));
    served.wait_line("RRQ \"x\"", "failed: Connection timed out"); // the tries would outlast the watchdog
}

#[test]
fn the_deadline_ends_the_transfer_long_before_the_client_was_silent_for_too_long() {
    let served = Served::with(&["--deadline", "0.5", "-t", "3600"]);
    served.write("x", noise(1025, 1));
    let peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "timeout 255")); // a single one outlasts the watchdog
    served.wait_line("RRQ \"x\"", "failed: Connection timed out");
}

#[test]
fn a_client_that_only_chatters_reaches_the_limit_too() {
    let served = Served::with(&["-t", "1"]);
    served.write("x", noise(1025, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    let until = Instant::now() + testkit::WATCHDOG;
    while !served.daemon.log().contains("Connection timed out") {
        assert!(Instant::now() < until, "old ACKs keep the transfer alive");
        while peer.recv_for(Duration::from_millis(20)).is_some() {}
        peer.send(ack(0));
    }
}

#[test]
fn a_request_sent_again_is_the_same_transfer() {
    let (served, file) = three_blocks();
    let mut peer = served.peer();
    let request = rrq(b"x", "octet");
    for _ in 0..5 {
        peer.send(&request);
    }
    peer.expect(data(1, &file[..512]));
    let port = peer.peer;
    peer.expect_only(&data(1, &file[..512]));
    peer.send(ack(1));
    peer.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    assert_eq!(peer.peer, port);
    peer.send(ack(2));
    peer.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    peer.send(ack(3));
    served.wait_line("RRQ \"x\"", "complete");
    served.assert_one_transfer();
    assert_eq!(Udp { peer: served.daemon.addr(), ..peer }.get(&request), file, "a new one now");
}

#[test]
fn a_request_sent_again_is_answered_soon_but_seven_times_at_most_and_never_after_an_ack() {
    let served = Served::with(&["--create", "--overwrite", "--retries", "6"]);
    let file = noise(1300, 3);
    served.write("x", &file);
    for request in [rrq(b"x", "octet"), wrq(b"new", "octet")] {
        let mut peer = served.peer();
        let (request, opening) = (with(&request, "timeout 255"), oack("timeout 255"));
        for _ in 0..7 {
            peer.peer = served.daemon.addr();
            peer.send(&request);
            peer.expect(&opening); // before the clock, which the watchdog does not wait for
        }
        let ask_again = |peer: &mut Udp| {
            peer.socket.send_to(&request, served.daemon.addr()).unwrap();
            peer.expect_silence();
            assert_eq!(peer.recv_for(MOMENT * 2), None, "not even after a moment");
        };
        ask_again(&mut peer);
        if request[1] == 1 {
            peer.send(ack(0));
            peer.expect(data(1, &file[..512]));
        } else {
            peer.send(data(1, &file[..512]));
            peer.expect(ack(1));
        }
        ask_again(&mut peer);
        peer.send(error(0, "enough"));
    }
    served.wait_idle();
}

#[test]
fn a_client_that_was_switched_off_and_on_and_asks_from_the_same_port_begins_anew() {
    let served = Served::writable();
    let file = noise(1300, 3);
    served.write("x", &file);
    let (mut reader, mut writer) = reader_and_writer(&served, &file);
    reader.send(ack(1));
    writer.send(data(1, &[b'x'; 512]));
    writer.expect_after(&ack(0), ack(1));
    let silence = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < silence {
        reader.recv_for(MOMENT);
    }
    reader.peer = served.daemon.addr();
    reader.send(rrq(b"x", "octet"));
    writer.peer = served.daemon.addr();
    writer.send(wrq(b"up", "octet"));
    while writer.recv() == ack(1) {} // the clock's
    writer.put_blocks(b"new");
    assert_eq!(served.read("up"), b"new");
    served.wait_line("WRQ \"up\"", "failed: peer sent a new request");
    while reader.recv() != data(1, &file[..512]) {}
    reader.send(ack(1));
    reader.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    reader.send(ack(2));
    reader.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    reader.send(ack(3));
    served.wait_line("RRQ \"x\"", "failed: peer sent a new request");
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn a_request_sent_again_before_the_last_ack_is_no_second_transfer() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    let (mut peer, request) = (served.peer(), rrq(b"x", "octet"));
    peer.send(&request);
    peer.expect(data(1, b"hello"));
    peer.socket.send_to(&request, served.daemon.addr()).unwrap();
    peer.send(ack(1));
    served.wait_idle();
    peer.expect_only(&data(1, b"hello"));
    served.assert_one_transfer();
}

#[test]
fn a_request_after_the_last_ack_is_a_new_transfer_however_late_that_ack_is_seen() {
    if super::udp::is_single() {
        return; // no transfer overtakes another one in one process
    }
    let served = Served::with(&[]);
    served.write("x", "hello");
    let (mut peer, request) = (served.peer(), rrq(b"x", "octet"));
    peer.send(&request);
    peer.expect(data(1, b"hello"));
    let child = Pid::from_raw(testkit::children(served.daemon.pid())[0]);
    kill(child, Signal::SIGSTOP).unwrap();
    peer.send(ack(1));
    peer.socket.send_to(&request, served.daemon.addr()).unwrap();
    peer.expect_silence();
    kill(child, Signal::SIGCONT).unwrap();
    peer.expect(data(1, b"hello"));
    peer.send(ack(1));
    served.wait_idle();
}

#[test]
fn strangers_get_error_5_and_the_transfer_goes_on() {
    if super::udp::is_single() {
        return; // at the service's port no sender is a stranger
    }
    let (served, file) = three_blocks();
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &file[..512]));
    let mut port = Udp::new(peer.peer);
    port.send(ack(1));
    port.expect_error(5);
    let socket = std::net::UdpSocket::bind(("127.0.0.3", peer.addr().port())).unwrap();
    let mut address = Udp::on(socket, peer.peer);
    for packet in [ack(1), data(1, b"x"), rrq(b"x", "octet"), b"junk".to_vec()] {
        address.send(packet);
        address.expect_error(5);
    }
    port.send(error(0, "an ERROR is never answered"));
    port.expect_silence();
    peer.send(ack(1));
    peer.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    peer.send(ack(2));
    peer.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    peer.send(ack(3));
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn an_error_ends_the_transfer_and_is_never_answered() {
    let (served, _) = three_blocks();
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.recv();
    peer.send(error(0, "no \x1b thanks"));
    served.wait_line("RRQ \"x\"", r"failed: peer says: no \x1b thanks (ERROR 0)");
    served.wait_idle();
    assert_eq!(peer.recv_for(MOMENT), None);
}

#[test]
fn an_error_that_is_cut_off_anywhere_is_never_answered() {
    let (served, _) = three_blocks();
    let whole = error(3, "Disk full");
    for length in [2, 3, 4, 5, whole.len() - 1] {
        let mut peer = served.peer();
        peer.send(rrq(b"x", "octet"));
        peer.recv();
        peer.send(&whole[..length]);
        served.wait_idle();
        assert_eq!(peer.recv_for(MOMENT), None, "{length} octets");
    }
}

#[test]
fn packets_of_the_wrong_kind_or_cut_short_end_nothing_and_are_counted() {
    let (served, file) = three_blocks();
    let mut wrong = vec![data(1, b"x"), b"\0\x09".to_vec(), b"".to_vec(), b"\0\x04\0".to_vec()];
    wrong.extend([oack("blksize 8"), b"\0".to_vec(), noise(600, 1)]);
    if !super::udp::is_single() {
        wrong.push(rrq(b"x", "octet")); // at the service's port it is the same request once more
    }
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    for (number, block) in (1..).zip(blocks(&file)) {
        let packet = data(number, block);
        peer.expect_after(&data(number - 1, b""), &packet);
        wrong.iter().for_each(|wrong| peer.send(wrong));
        peer.send(ack(number));
    }
    let count = wrong.len() * 3;
    let line = served.wait_line("RRQ \"x\"", "complete");
    assert!(line.contains(&format!(" {count} unexpected packets, ")), "{line}");
}

/// As LiteX does (its `tftp.c` acknowledges the OACK of its upload).
#[test]
fn a_client_that_acknowledges_the_oack_of_its_upload_may_send_it() {
    let served = Served::writable();
    let mut peer = served.peer();
    peer.send(with(&wrq(b"new", "octet"), "blksize 1024"));
    peer.expect(oack("blksize 1024"));
    peer.send(ack(0));
    peer.send(data(1, b"hello"));
    peer.expect_after(&oack("blksize 1024"), ack(1));
    assert_eq!(served.read("new"), b"hello");
}

#[test]
fn a_closed_port_of_the_clients_ends_the_transfer_at_once() {
    let retransmitted = || {
        let (served, _) = three_blocks();
        let mut peer = served.peer();
        peer.send(rrq(b"x", "octet"));
        peer.recv();
        peer.send(ack(1));
        drop(peer); // an answer that comes before that meets an open port, and is sent again
        retransmissions(&served.wait_line("RRQ \"x\"", "failed: Connection refused"))
    };
    assert!((0..20).any(|_| retransmitted() == 0), "never at once");
}

#[test]
fn a_missing_last_ack_ends_quietly() {
    let (served, file) = three_blocks();
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    for block in blocks(&file).zip(1..).map(|(_, block)| block).take(2) {
        peer.recv();
        peer.send(ack(block));
    }
    let last = peer.recv();
    assert_eq!(last.len(), 4 + 1300 - 1024);
    drop(peer);
    served.wait_line("RRQ \"x\"", "complete, but for the last ACK");
    if !super::udp::is_single() {
        served.daemon.wait_log("exit 0");
    }
}
