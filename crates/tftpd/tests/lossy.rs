//! tftpc and tftpd over a network that loses, doubles, delays and reorders packets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod udp;

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testkit::relay::{Fate, Passing, Relay, Way, Weather};
use tftpd::client::Order;
use tftpd::negotiation::Wishes;
use tftpd::packet::{Direction, Mode};
use tftpd::timer::Limits;
use udp::{Served, ack, noise};

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
    let served = Served::with(&["--create", "--retries", "20"]);
    let file = noise(20_000, seed);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    let relay = Relay::start(served.daemon.addr(), weather.script(seed));
    let patient = ["--retries", "20", "-t", "60", "-m", mode];
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

/// Loses the first so many ACKs of a block, and nothing else.
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
        // sends again on a machine that stands still now and then is not so much.
        let sent = sent.load(Relaxed);
        assert!((BLOCKS..BLOCKS * 5 / 4).contains(&sent), "{sent} DATA for {BLOCKS} blocks");
    }
    assert_eq!(fs::read(served.dir.path().join("back")).unwrap(), file);
}

// Thousands of transfers.

/// How many transfers there are, how many of them at once, and how many kinds of weather.
const TRANSFERS: usize = 3000;
const AT_ONCE: usize = 500;
const WEATHERS: u32 = 4;
const RESTLESS: Weather = Weather { doubled: 3, late: 10, by: Duration::from_millis(50), ..CALM };
/// Sizes of files: about the edges of blocks, several blocks at most.
const SIZES: [usize; 8] = [0, 1, 511, 512, 513, 1024, 1500, 2048];

/// One of the transfers: gets or puts a file of its own. Here tftpc is not run but called: a
/// thousand processes at once would take most of the time.
fn transfer(served: &Served, service: SocketAddr, number: usize) -> Result<(), String> {
    let file = noise(SIZES[number % SIZES.len()], 1 + (number % SIZES.len()) as u64);
    // Names of their own, because the weather hangs on the request.
    let (source, fetched) = (format!("g{number}"), format!("l{number}"));
    let uploaded = format!("p{number}");
    fs::hard_link(served.path(&format!("f{}", number % SIZES.len())), served.path(&source))
        .unwrap();
    let direction = if number % 16 < 8 { Direction::Read } else { Direction::Write };
    let (remote, local, result) = match direction {
        Direction::Read => (&source, served.dir.path().join(&fetched), fetched.clone()),
        Direction::Write => (&uploaded, served.path(&source), format!("root/{uploaded}")),
    };
    let idle = Duration::from_secs(12);
    let order = Order {
        direction,
        remote: remote.clone().into_bytes(),
        local: local.to_str().unwrap().to_owned(),
        mode: Mode::Octet,
        wishes: Wishes::default(),
        limits: Limits { retries: 6, unproven_sends: 7, idle, whole: idle },
    };
    let outcome = order.run(service, Box::new(|_, _| ()), || ()).unwrap();
    let there = fs::read(served.dir.path().join(result)).ok();
    let Err(failure) = outcome.result else {
        assert!(there == Some(file), "transfer {number} ended well and its file is another");
        return Ok(());
    };
    // An upload whose last ACKs were all lost is there, and whole; a file of the client's is not.
    let whole = there.is_none_or(|there| direction == Direction::Write && there == file);
    assert!(whole, "transfer {number} left a half: {failure}");
    Err(format!("{number}: {failure}"))
}

#[test]
fn of_thousands_of_transfers_with_up_to_a_fifth_of_all_packets_lost_each_ends_whole_or_says_why() {
    let served = Served::with(&["--create", "-c", "2000", "--max-per-ip", "2000"]);
    for (number, size) in SIZES.into_iter().enumerate() {
        served.write(&format!("f{number}"), noise(size, 1 + number as u64));
    }
    let weathers = (1..=WEATHERS).map(|n| Weather { lost: n * 20 / WEATHERS, ..RESTLESS });
    let mut scripts: Vec<_> = weathers.map(|weather| weather.script(5)).collect();
    let relay = Relay::start(served.daemon.addr(), move |passing| {
        scripts[passing.transfer as usize % WEATHERS as usize](passing)
    });
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= TRANSFERS {
                        return;
                    }
                    if let Err(said) = transfer(&served, relay.addr(), number) {
                        failures.lock().unwrap().push(said);
                    }
                }
            });
        }
    });
    let (counts, failures) = (relay.counts(), failures.into_inner().unwrap());
    eprintln!("{} of {TRANSFERS} failed; {counts:?}", failures.len());
    let clear = |said: &String| said.contains("timed out") || said.contains("refused");
    assert!(failures.iter().all(clear), "{failures:?}");
    assert!(failures.len() * 20 < TRANSFERS, "{failures:?}");
    assert!(counts.lost * 9 > counts.came && counts.late * 20 > counts.came, "{counts:?}");
    let unfinished = served.names().iter().filter(|name| name.starts_with('.')).count();
    assert_eq!(unfinished, 0, "a temporary is left");
}
