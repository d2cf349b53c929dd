//! The log lines that strangers cause: some a second, and a sum of the others.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{children, wait_until};

use crate::udp::{Served, noise, rrq, wrq};

/// Requests of each kind: many more than lines a second.
const REQUESTS: usize = 100;
/// Lines of one kind in a second.
const RATE: usize = 20;

/// Lines that have all these words.
fn lines(log: &str, words: &[&str]) -> usize {
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// The sum of the numbers of lines that were left out.
fn left_out(log: &str) -> usize {
    let numbers = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" more requests refused, or not answered")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    numbers.sum()
}

/// Requests that are refused with an ERROR.
fn refused(options: &[&str]) {
    let served = Served::with(options);
    let file = noise(1300, 1);
    served.write("x", &file);
    let begin = Instant::now();
    for number in 0..REQUESTS {
        let mut peer = served.peer();
        let (request, code) = match number % 4 {
            0 => (rrq(b"none", "octet"), 1),
            1 => (rrq(b"x", "octets"), 4),
            2 => (b"\0\x01x".to_vec(), 4),
            _ => (wrq(b"new", "octet"), 2),
        };
        peer.send(request);
        peer.expect_error(code);
    }
    let mut honest = served.peer();
    assert_eq!(honest.get(&rrq(b"x", "octet")), file);
    let address = honest.addr();
    served.wait_line(&format!("{address} RRQ \"x\""), "complete");
    // Each request has its line, or is counted.
    wait_until("the last second is summed up", || {
        let log = served.daemon.log();
        lines(&log, &[": refused: "]) + left_out(&log) >= REQUESTS
    });
    let (log, most) = (served.daemon.log(), RATE * (begin.elapsed().as_secs() as usize + 2));
    assert_eq!(lines(&log, &[": refused: "]) + left_out(&log), REQUESTS);
    assert!(lines(&log, &[": refused: "]) <= most, "{log}");
    if options.is_empty() {
        served.daemon.wait_log(&format!("client {address} end: "));
        let log = served.daemon.log();
        assert!(lines(&log, &[" start: pid "]) <= most + 1, "{log}");
        assert_eq!(lines(&log, &[&format!("client {address} start: pid ")]), 1, "{log}");
        wait_until("every client with a start line has an end line", || {
            let log = served.daemon.log();
            lines(&log, &[" start: pid "]) == lines(&log, &["client ", " end: pid "])
        });
    }
}

#[test]
fn refused_and_malformed_requests_have_some_lines_a_second_and_are_counted() {
    refused(&[]);
    refused(&["--single-port"]);
}

/// Clients that never answer, of which each gives way to the next.
fn silent(options: &[&str]) {
    let served = Served::with(&[&["-c", "4"], options].concat());
    let file = noise(1300, 1);
    served.write("x", &file);
    let begin = Instant::now();
    for _ in 0..REQUESTS {
        let mut peer = served.peer();
        peer.send(rrq(b"x", "octet"));
        peer.recv();
    }
    let mut honest = served.peer();
    assert_eq!(honest.get(&rrq(b"x", "octet")), file);
    let address = honest.addr();
    served.wait_line(&format!("{address} RRQ \"x\""), "complete");
    let most = 4 * RATE * (begin.elapsed().as_secs() as usize + 2);
    let log = served.daemon.log();
    assert!(lines(&log, &["tftpd["]) <= most + 10, "{log}");
    if options.is_empty() {
        served.daemon.wait_log(&format!("client {address} end: "));
    }
}

#[test]
fn clients_that_never_answer_have_some_lines_a_second() {
    silent(&[]);
    silent(&["--single-port"]);
}

#[test]
fn a_process_that_a_fault_has_ended_has_its_lines_whatever_the_rate() {
    let served = Served::with(&[]);
    served.write("x", b"x");
    let request = [rrq(b"x", "octet"), b"timeout\x00255\0".to_vec()].concat();
    let clients = || {
        let mut peer = served.peer();
        peer.send(&request);
        peer.recv(); // an OACK, which it acknowledges only when the test is over
        peer
    };
    let peers: Vec<_> = (0..2 * RATE).map(|_| clients()).collect();
    let pids = children(served.daemon.pid());
    assert_eq!(pids.len(), peers.len());
    for pid in &pids {
        kill(Pid::from_raw(*pid), Signal::SIGSEGV).unwrap();
    }
    for pid in pids {
        served.daemon.wait_log(&format!(" end: pid {pid}, signal 11 (SIGSEGV)"));
    }
}

#[test]
fn what_is_no_request_has_some_lines_a_second_with_v() {
    for options in [&["-v"][..], &["-v", "--single-port"]] {
        let served = Served::with(options);
        served.write("x", b"x");
        let (begin, peer) = (Instant::now(), served.peer());
        for _ in 0..REQUESTS {
            peer.send(b"\0\x09garbage");
        }
        served.daemon.wait_log(" more datagrams, not requests");
        let most = RATE * (begin.elapsed().as_secs() as usize + 2);
        let written = lines(&served.daemon.log(), &["bytes, not a request"]);
        assert!(written > 0 && written <= most, "{}", served.daemon.log());
        assert_eq!(served.peer().get(&rrq(b"x", "octet")), b"x");
    }
}
