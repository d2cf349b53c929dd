//! Memory that a transfer has for itself, while it waits for its client.

use std::fs;

use testkit::{can_take_over, only_child};

use crate::udp::{Served, Udp, ack, noise, oack, rrq, with};

/// A page in KiB.
const PAGE: u64 = 4;
/// Windows that a client fetches.
const WINDOWS: u16 = 12;

/// KiB of a process's heap and data that no other process has. The stack is left out: it is as long as a build makes it.
fn own_memory(pid: i32) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut own, mut counts) = (0, false);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, size, "kB"] if counts && name.starts_with("Private_") => {
                own += size.parse::<u64>().unwrap();
            }
            [range, rights, ..] if range.contains('-') => {
                counts = rights.contains('w') && !line.ends_with("[stack]");
            }
            _ => {}
        }
    }
    own
}

/// Asks for `x`, and fetches [`WINDOWS`]; the third is acknowledged once it has come `times`, and the last
/// never.
fn begin(served: &Served, window: u16, times: u32) -> Udp {
    let options = format!("blksize 1468 windowsize {window}");
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), &options));
    peer.expect(oack(&options));
    peer.send(ack(0));
    for turn in 1..=WINDOWS {
        let mut left = if turn == 3 { times } else { 1 };
        while left > 0 {
            left -= u32::from(peer.recv_all()[2..4] == (turn * window).to_be_bytes());
        }
        if turn < WINDOWS {
            peer.send(ack(turn * window));
        }
    }
    peer
}

#[test]
fn the_process_of_a_transfer_has_its_window_and_a_few_pages_more() {
    let served = Served::with(&[]);
    served.write("x", noise(1 << 20, 1));
    let pid = served.daemon.pid();
    if !can_take_over(pid) {
        return;
    }
    // One page more than is needed: the parent may have written to it since, and left it to the process alone.
    for (window, pages) in [(1, 5), (16, 10)] {
        let peer = begin(&served, window, 2);
        let own = own_memory(only_child(pid));
        assert!(own <= pages * PAGE, "window {window}: {own} KiB");
        peer.send(crate::udp::error(0, "that is all"));
        served.wait_idle();
    }
}

#[test]
fn a_transfer_of_a_single_port_has_its_window_and_little_more() {
    const TRANSFERS: u64 = 50;
    let served = Served::with(&["--single-port"]);
    served.write("x", noise(1 << 20, 1));
    let pid = served.daemon.pid();
    if !can_take_over(pid) {
        return;
    }
    let first = begin(&served, 1, 1);
    let before = own_memory(pid);
    let peers: Vec<Udp> = (0..TRANSFERS).map(|_| begin(&served, 1, 1)).collect();
    let each = (own_memory(pid) - before) / TRANSFERS;
    assert!(each <= 2 * PAGE, "{each} KiB");
    drop((first, peers));
}
