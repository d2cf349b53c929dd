//! Windows of blocks (RFC 7440), both ways.

use std::fs;
use std::process::Command;

use super::udp::{Served, Udp, ack, blocks, blocks_of, data, noise, oack, rrq, with, wrq};

/// A daemon that serves `x`, of this length, to a peer with windows of four that has got the OACK
/// and acknowledged it.
fn reading(length: usize) -> (Served, Udp, Vec<Vec<u8>>) {
    let served = Served::with(&[]);
    let file = noise(length, 3);
    served.write("x", &file);
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "windowsize 4"));
    peer.expect(oack("windowsize 4"));
    peer.send(ack(0));
    (served, peer, packets(&file))
}

fn packets(file: &[u8]) -> Vec<Vec<u8>> {
    blocks(file).zip(1..).map(|(octets, block)| data(block, octets)).collect()
}

/// A daemon and a peer with windows of four that has asked to write `x` and got the OACK.
fn writing() -> (Served, Udp) {
    let served = Served::writable();
    let mut peer = served.peer();
    peer.send(with(&wrq(b"x", "octet"), "windowsize 4"));
    peer.expect(oack("windowsize 4"));
    (served, peer)
}

/// The packet before is not sent again meanwhile.
fn expect_all(peer: &mut Udp, packets: &[Vec<u8>]) {
    packets.iter().for_each(|packet| peer.expect(packet));
}

/// What comes next is what was sent before, in its order and as often as you like, and then these.
fn expect_all_after(peer: &mut Udp, old: &[Vec<u8>], packets: &[Vec<u8>]) {
    let mut got = peer.recv();
    while old.contains(&got) && got != packets[0] {
        got = peer.recv();
    }
    assert_eq!(got, packets[0]);
    expect_all(peer, &packets[1..]);
}

#[test]
fn four_blocks_and_three_are_answered_by_one_ack_each() {
    let (served, mut peer, packets) = reading(512 * 6 + 100);
    expect_all(&mut peer, &packets[..4]);
    peer.send(ack(4));
    expect_all_after(&mut peer, &packets[..4], &packets[4..]);
    peer.send(ack(7));
    let line = served.wait_line("RRQ \"x\" octet windowsize=4", "complete");
    assert!(line.contains("3172 octets, 7 blocks"), "{line}");
}

#[test]
fn a_window_waits_for_the_ack_of_its_last_block() {
    let (_served, mut peer, packets) = reading(512 * 9);
    expect_all(&mut peer, &packets[..4]);
    peer.expect_silence();
    peer.send(ack(4));
    expect_all_after(&mut peer, &packets[..4], &packets[4..8]);
}

#[test]
fn an_ack_inside_the_window_begins_the_next_one_after_it() {
    let (served, mut peer, packets) = reading(512 * 9);
    expect_all(&mut peer, &packets[..4]);
    peer.send(ack(2));
    expect_all(&mut peer, &packets[2..6]);
    peer.send(ack(3));
    expect_all(&mut peer, &packets[3..7]);
    peer.send(ack(7));
    expect_all(&mut peer, &packets[7..]);
    peer.send(ack(10));
    let line = served.wait_line("RRQ \"x\"", "complete");
    assert!(line.contains("10 blocks, 5 retransmissions"), "{line}");
}

#[test]
fn a_duplicate_or_old_ack_never_causes_a_duplicate_window() {
    let (_served, mut peer, packets) = reading(512 * 9);
    expect_all(&mut peer, &packets[..4]);
    peer.send(ack(4));
    expect_all(&mut peer, &packets[4..8]);
    for old in [4, 4, 0, 3, 9, 65535] {
        peer.send(ack(old));
    }
    peer.expect_silence();
}

#[test]
fn after_a_time_out_the_window_begins_after_the_last_ack() {
    let (served, mut peer, packets) = reading(512 * 9);
    expect_all(&mut peer, &packets[..4]);
    expect_all(&mut peer, &packets[..4]);
    peer.send(ack(1));
    expect_all_after(&mut peer, &packets[..4], &packets[1..5]);
    expect_all(&mut peer, &packets[1..5]);
    peer.send(ack(5));
    expect_all_after(&mut peer, &packets[1..5], &packets[5..9]);
    peer.send(ack(9));
    expect_all_after(&mut peer, &packets[5..9], &packets[9..]);
    peer.send(ack(10));
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn files_of_every_size_about_the_window_travel_both_ways() {
    let served = Served::writable();
    let options = "windowsize 3 blksize 100";
    for length in [0, 1, 99, 100, 101, 299, 300, 301, 599, 600, 601, 10_000] {
        let file = noise(length, length as u64);
        let request = with(&wrq(b"f", "octet"), options);
        served.peer().put_with(&request, options, &file, 100, 3);
        assert_eq!(served.read("f"), file, "{length} octets");
        let request = with(&rrq(b"f", "octet"), options);
        assert_eq!(served.peer().get_with(&request, options, 100, 3), file, "{length} octets");
    }
}

#[test]
fn a_large_file_travels_in_large_windows_both_ways() {
    let served = Served::writable();
    let file = noise(3_000_000, 9);
    let options = "blksize 1468 windowsize 64 timeout 9";
    let request = with(&wrq(b"f", "octet"), options);
    served.peer().put_with(&request, options, &file, 1468, 64);
    assert!(served.read("f") == file);
    let request = with(&rrq(b"f", "octet"), options);
    assert!(served.peer().get_with(&request, options, 1468, 64) == file);
}

#[test]
fn the_last_block_of_a_window_is_acknowledged_and_no_other() {
    let (served, mut peer) = writing();
    let packets = packets(&noise(512 * 6 + 1, 1));
    for packet in &packets[..3] {
        peer.send(packet);
    }
    peer.expect_silence();
    peer.send(&packets[3]);
    peer.expect_after(&ack(3), ack(4));
    peer.send(&packets[4]);
    peer.send(&packets[5]);
    peer.send(&packets[6]);
    peer.expect_after(&ack(4), ack(7));
    assert_eq!(served.read("x"), noise(512 * 6 + 1, 1));
}

#[test]
fn a_short_block_ends_the_upload_at_once() {
    let (served, mut peer) = writing();
    peer.send(data(1, b"short"));
    peer.expect(ack(1));
    assert_eq!(served.read("x"), b"short");
    peer.send(data(1, b"short"));
    peer.expect(ack(1));
}

#[test]
fn a_gap_is_answered_by_one_ack_of_the_last_block_in_its_order() {
    let (served, mut peer) = writing();
    let packets = packets(&noise(512 * 9 + 1, 2));
    peer.send(&packets[0]);
    peer.send(&packets[2]);
    peer.expect(ack(1));
    peer.send(&packets[3]);
    peer.expect_only(&ack(1));
    for packet in &packets[1..5] {
        peer.send(packet);
    }
    peer.expect_after(&ack(1), ack(5));
    for packet in &packets[5..9] {
        peer.send(packet);
    }
    peer.expect_after(&ack(5), ack(9));
    peer.send(&packets[9]);
    peer.expect_after(&ack(9), ack(10));
    assert_eq!(served.read("x"), noise(512 * 9 + 1, 2));
}

#[test]
fn a_lost_end_of_a_window_is_asked_for_by_the_clock() {
    let (served, mut peer) = writing();
    let packets = packets(&noise(512 * 4 + 1, 2));
    peer.send(&packets[0]);
    peer.send(&packets[1]);
    peer.expect(ack(2));
    for packet in &packets[2..] {
        peer.send(packet);
    }
    peer.expect_after(&ack(2), ack(5));
    assert_eq!(served.read("x"), noise(512 * 4 + 1, 2));
}

#[test]
fn a_doubled_window_is_written_once_and_acknowledged_again() {
    let (served, mut peer) = writing();
    let packets = packets(&noise(512 * 4 + 9, 2));
    for packet in &packets[..4] {
        peer.send(packet);
    }
    peer.expect(ack(4));
    for packet in &packets[..4] {
        peer.send(packet);
    }
    peer.expect(ack(4));
    peer.expect_only(&ack(4));
    peer.send(&packets[4]);
    peer.expect_after(&ack(4), ack(5));
    assert_eq!(served.read("x"), noise(512 * 4 + 9, 2));
}

#[test]
fn block_numbers_wrap_inside_windows_both_ways() {
    let served = Served::writable();
    let file = noise(65_600 * 8 + 5, 7);
    let options = "blksize 8 windowsize 64 timeout 9";
    let request = with(&wrq(b"f", "octet"), options);
    served.peer().put_with(&request, options, &file, 8, 64);
    assert!(served.read("f") == file);
    let request = with(&rrq(b"f", "octet"), options);
    assert!(served.peer().get_with(&request, options, 8, 64) == file);
}

/// A block's number on the wire.
fn number(block: usize, rollover: usize) -> u16 {
    match (block, rollover) {
        (1.., 1) => ((block - 1) % 65_535 + 1) as u16,
        _ => block as u16, // cut to 16 bits
    }
}

/// These are lost once each.
const LOST: [usize; 3] = [65_534, 65_536, 65_537];

#[test]
fn a_loss_where_the_numbers_wrap_is_mended_under_either_rollover() {
    let served = Served::in_memory(&["--create", "--overwrite"]);
    let file = noise(65_599 * 8 + 3, 7);
    served.write("x", &file);
    for rollover in [0, 1] {
        let options = format!("blksize 8 windowsize 64 timeout 9 rollover {rollover}");
        let numbered = |(octets, block)| data(number(block, rollover), octets);
        let packets: Vec<_> = blocks_of(8, &file).zip(1..).map(numbered).collect();
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x", "octet"), &options));
        peer.expect(oack(&options));
        peer.send(ack(0));
        read_with_losses(&mut peer, &packets, rollover);
        peer = served.peer();
        peer.send(with(&wrq(b"up", "octet"), &options));
        peer.expect(oack(&options));
        write_with_losses(&mut peer, &packets, rollover);
        assert!(served.read("up") == file);
    }
}

fn read_with_losses(peer: &mut Udp, packets: &[Vec<u8>], rollover: usize) {
    let (mut last, mut since, mut told, mut lost) = (0, 0, false, LOST.to_vec());
    while last < packets.len() {
        let expected = peer.recv() == packets[last];
        if expected && lost.first() == Some(&(last + 1)) {
            lost.remove(0);
        } else if expected {
            (last, since, told) = (last + 1, since + 1, false);
            if since == 64 || last == packets.len() {
                peer.send(ack(number(last, rollover)));
                since = 0;
            }
        } else if !told {
            peer.send(ack(number(last, rollover)));
            (since, told) = (0, true);
        }
    }
    assert!(lost.is_empty());
}

fn write_with_losses(peer: &mut Udp, packets: &[Vec<u8>], rollover: usize) {
    let (mut last, mut lost) = (0, LOST.to_vec());
    while last < packets.len() {
        for block in last + 1..=packets.len().min(last + 64) {
            if lost.first() == Some(&block) {
                lost.remove(0);
            } else {
                peer.send(&packets[block - 1]);
            }
        }
        let answer = peer.recv();
        let is_it = |block: &usize| answer == ack(number(*block, rollover));
        last = (last..=last + 64).find(is_it).expect("an ACK of the window");
    }
    assert!(lost.is_empty());
}

#[test]
fn no_window_is_larger_than_the_socket_has_room_for() {
    let served = Served::with(&["--create", "--max-windowsize", "65535"]);
    let mut peer = served.peer();
    peer.send(with(&wrq(b"x", "octet"), "windowsize 65535 blksize 65464"));
    let opening = peer.recv();
    let granted = String::from_utf8(opening[2..].to_vec()).unwrap();
    let blocks: usize = granted.split('\0').nth(1).unwrap().parse().unwrap();
    assert!((1..=256).contains(&blocks), "{granted}");
    let file = noise(65464 * (blocks + 1), 1);
    for (octets, block) in file.chunks(65464).zip(1..).take(blocks) {
        peer.send(data(block, octets));
    }
    peer.expect_after(&opening, ack(blocks as u16));
}

#[test]
fn windows_that_the_kernel_hands_over_in_one_piece_come_whole() {
    let served = Served::writable();
    let dir = served.dir.path();
    for (blksize, windowsize) in [("8", "64"), ("1468", "64"), ("9000", "5"), ("65464", "3")] {
        let file = noise(if blksize == "8" { 100_000 } else { 3_000_000 }, 1);
        fs::write(dir.join("f"), &file).unwrap();
        for order in [["put", "f", "up"], ["get", "up", "back"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
            command.args(["-b", blksize, "-w", windowsize, &served.daemon.addr().to_string()]);
            command.args(order).current_dir(dir);
            let output = testkit::run(command, b"");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(served.read("up") == file);
        assert!(fs::read(dir.join("back")).unwrap() == file);
    }
}
