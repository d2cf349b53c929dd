//! tftpc and tftpd over a network that loses, doubles, delays and reorders packets.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::storm::{PLENTY, Storm};
use crate::udp::{Served, ack, noise};
use testkit::relay::{Fate, Passing, Relay, Way, Weather};
use tftpd::wire::requested_options::RequestedOptions;

const CALM: Weather = Weather::CALM;

fn tftpc(served: &Served, relay: &Relay, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
    command.arg(relay.addr().to_string()).args(args).current_dir(served.dir.path());
    testkit::run(command, b"")
}

#[track_caller]
fn succeeds(served: &Served, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", served.daemon.log());
}

/// A file there and back through the weather, in one mode.
fn there_and_back(weather: Weather, mode: &str, seed: u64) {
    let served = Served::with(&["--create", "--retries", "20", "-t", "600"]);
    let file = noise(20_000, seed);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    let relay = Relay::start(served.daemon.addr(), weather.script(seed));
    let patient = ["--retries", "20", "-t", "600", "-m", mode];
    succeeds(&served, &tftpc(&served, &relay, &[&patient[..], &["put", "f", "up"]].concat()));
    assert_eq!(served.read("up"), file);
    succeeds(&served, &tftpc(&served, &relay, &[&patient[..], &["get", "up", "back"]].concat()));
    assert_eq!(fs::read(served.dir.path().join("back")).unwrap(), file);
}

#[test]
fn files_come_whole_through_a_network_that_loses_packets() {
    there_and_back(Weather { lost: 10, ..CALM }, "octet", 11);
}

#[test]
fn files_come_whole_through_a_network_that_doubles_packets() {
    there_and_back(Weather { doubled: 50, ..CALM }, "octet", 22);
}

#[test]
fn files_come_whole_through_a_network_that_reorders_packets() {
    let by = Duration::from_millis(20);
    there_and_back(Weather { doubled: 20, late: 50, by, ..CALM }, "octet", 33);
}

#[test]
fn text_comes_whole_through_a_network_that_does_it_all() {
    let by = Duration::from_millis(20);
    let weather = Weather { lost: 5, doubled: 10, late: 20, by, ..CALM };
    there_and_back(weather, "netascii", 44);
}

// The last ACK.

/// Loses this number of first ACKs of a block, and nothing else.
fn loses_acks(block: u16, mut so_many: usize) -> impl FnMut(&Passing<'_>) -> Fate + Send {
    move |passing| {
        if passing.bytes != ack(block) || so_many == 0 {
            return Fate::passes();
        }
        so_many -= 1;
        Fate::lost()
    }
}

#[test]
fn lost_last_acks_never_lose_an_upload_and_the_client_hears_of_its_success() {
    for so_many in 1..=3 {
        let served = Served::with(&["--create"]);
        let file = noise(1300, 1);
        fs::write(served.dir.path().join("f"), &file).unwrap();
        let relay = Relay::start(served.daemon.addr(), loses_acks(3, so_many));
        succeeds(&served, &tftpc(&served, &relay, &["put", "f", "up"]));
        assert_eq!(served.read("up"), file);
        assert_eq!(relay.counts().lost, so_many as u64);
    }
}

#[test]
fn an_upload_none_of_whose_last_acks_comes_through_is_there_though_the_client_gives_up() {
    let served = Served::with(&["--create"]);
    let file = noise(1300, 1);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    let relay = Relay::start(served.daemon.addr(), loses_acks(3, usize::MAX));
    let output = tftpc(&served, &relay, &["--retries", "2", "put", "f", "up"]);
    assert_eq!(output.status.code(), Some(1));
    served.wait_line("WRQ \"up\"", "complete");
    assert_eq!((served.read("up"), served.names()), (file, vec!["up".to_owned()]));
}

// The Sorcerer's Apprentice (RFC 1123 §4.2.3.1).

#[test]
fn no_data_is_doubled_by_a_doubled_ack() {
    const BLOCKS: usize = 201;
    let served = Served::with(&["--create"]);
    let file = noise((BLOCKS - 1) * 512 + 100, 1);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    for way in [Way::ToServer, Way::ToClient] {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let relay = Relay::start(served.daemon.addr(), move |passing| {
            if passing.bytes.starts_with(b"\0\x03") {
                assert_eq!(passing.way, way);
                count.fetch_add(1, Relaxed);
            }
            Fate::twice()
        });
        let args = if way == Way::ToServer { ["put", "f", "up"] } else { ["get", "up", "back"] };
        succeeds(&served, &tftpc(&served, &relay, &args));
        // With every datagram doubled, the Apprentice would send each block twice. What the clock
        // sends again on a machine that stands still now and then is less.
        let sent = sent.load(Relaxed);
        assert!((BLOCKS..BLOCKS * 5 / 4).contains(&sent), "{sent} DATA for {BLOCKS} blocks");
    }
    assert_eq!(fs::read(served.dir.path().join("back")).unwrap(), file);
}

// Thousands of transfers.

/// One block at a time, as RFC 1350 has it: files about the edges of blocks.
const LOCK_STEP: Storm = Storm {
    transfers: 2400,
    at_once: 600,
    sizes: &[0, 1, 511, 512, 513, 1024, 1500, 2048],
    wishes: |_| RequestedOptions::default(),
};

/// Blocks and windows of many sizes, and mostly a time-out that was agreed upon.
const WINDOWS: Storm = Storm {
    transfers: 1600,
    at_once: 500,
    sizes: &[0, 1, 1467, 1468, 1469, 5872, 9000, 20_000],
    wishes: |number| RequestedOptions {
        blksize: Some([1468, 512, 1024, 4096, 700][number % 5]),
        windowsize: Some([4, 3, 16, 2, 64, 8, 5][number % 7]),
        utimeout: (number % 3 != 0).then_some(300_000),
        tsize: (number % 2 == 0).then_some(0),
        ..RequestedOptions::default()
    },
};

#[test]
fn of_thousands_of_transfers_with_up_to_a_fifth_of_all_packets_lost_each_ends_whole_or_says_why() {
    LOCK_STEP.over(&Served::in_memory(&PLENTY));
}

#[test]
fn of_thousands_of_transfers_with_windows_each_ends_whole_or_says_why() {
    WINDOWS.over(&Served::in_memory(&PLENTY));
}

#[test]
fn of_hundreds_of_transfers_over_one_port_each_ends_whole_or_says_why() {
    let one_port = [&["--single-port"], &PLENTY[..]].concat();
    Storm { transfers: 500, at_once: 100, ..WINDOWS }.over(&Served::in_memory(&one_port));
}
