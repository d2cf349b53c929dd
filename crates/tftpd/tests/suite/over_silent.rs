//! `--over silent`: a request over a limit gets no answer, and the client asks again.

use std::time::{Duration, Instant};

use crate::udp::{Served, ack, data, noise, rrq};
use testkit::WATCHDOG;

/// How soon the client asks again.
const AGAIN: Duration = Duration::from_millis(50);

/// One client has the only place. Another one is refused, which the log tells, and asks again until the first
/// has ended. What it receives first of all is its file.
fn check(limits: &[&str], refusal: &str) {
    let served = Served::with(limits); // silent is the default
    let file = noise(1300, 1);
    served.write("x", &file);
    let mut first = served.peer();
    first.send(rrq(b"x", "octet"));
    first.expect(data(1, &file[..512]));
    first.send(ack(1)); // one that has not answered would give way
    first.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    let mut second = served.peer();
    second.send(rrq(b"x", "octet"));
    served.daemon.wait_log(refusal);
    first.send(ack(2));
    first.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    first.send(ack(3));
    let begin = Instant::now();
    let heard = loop {
        assert!(begin.elapsed() < WATCHDOG, "watchdog: {}", served.daemon.log());
        second.send(rrq(b"x", "octet"));
        if let Some(heard) = second.recv_for(AGAIN) {
            break heard;
        }
    };
    assert_eq!(heard, data(1, &file[..512]));
}

#[test]
fn a_request_over_a_limit_is_not_answered_and_one_that_comes_again_is() {
    for limit in [["-c", "1"], ["--max-per-ip", "1"]] {
        check(&limit, "refused: 1 clients");
        check(&[&limit[..], &["--single-port"]].concat(), "refused: 1 clients");
    }
}

#[test]
fn of_a_port_range_no_answer_means_no_free_port() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    check(&["--port-range", &format!("{port}:{port}")], "refused: ");
}

#[test]
fn another_word_is_refused() {
    let output = testkit::run(testkit::command(DAEMON, &["--over", "loud"]), b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--over 'loud': not busy, queue or silent"), "{said}");
}

const DAEMON: &str = env!("CARGO_BIN_EXE_tftpd");
