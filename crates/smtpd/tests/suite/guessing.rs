//! Too many failed logins make answers wait. The test is a proxy, for clients of other addresses; the log
//! says what was checked.

use std::time::Duration;

use testkit::{Daemon, Peer, Stopwatch, each_model, judged_within, wait_until};

use crate::common::Fixture;

/// `NUL levy NUL x`, `NUL levy NUL y`, `NUL bob NUL x`, `NUL bob NUL y`.
const LEVY: [&str; 2] = ["AGxldnkAeA==", "AGxldnkAeQ=="];
const BOB: [&str; 2] = ["AGJvYgB4", "AGJvYgB5"];

const CHECKED_LATER: &str = "too many logins have failed, checked later";
const NOT_CHECKED: &str = "too many logins have failed, not checked";

/// Most time from the first failure to the last login of a try, so that all count as of one minute.
const QUICK: Duration = Duration::from_secs(40);

fn serve(fixture: &Fixture, model: &str) -> Daemon {
    let options = ["--auth-delay", "0", "--plaintext", "always", "--proxy-from", "127.0.0.1"];
    fixture.serve(&[&options[..], &["-m", model, "-n", "4", "--vrfy", "all"]].concat())
}

fn introduced(daemon: &Daemon, address: &str) -> Peer {
    let mut peer = Peer::connect(daemon.addr());
    peer.send(format!("PROXY TCP4 {address} 192.0.2.1 5210 25\r\n"));
    peer.expect("220 ");
    peer.send("EHLO topaz.test\r\n");
    while peer.line().starts_with(b"250-") {}
    peer
}

fn log_in(daemon: &Daemon, address: &str, response: &str, expected: &str) {
    introduced(daemon, address).ask(&format!("AUTH PLAIN {response}"), expected);
}

fn lines(daemon: &Daemon, text: &str) -> usize {
    daemon.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn after_ten_failures_of_an_address_its_logins_wait_and_letters_and_others_do_not() {
    each_model(&["fork", "prefork"], |model| {
        judged_within(QUICK, |watch| its_logins_wait(model, watch));
    });
}

fn its_logins_wait(model: &str, watch: &Stopwatch) {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, model);
    for n in 0..10 {
        let wrong = if n % 2 == 0 { LEVY[1] } else { BOB[1] };
        log_in(&daemon, "203.0.113.7", wrong, "535 5.7.8 ");
        log_in(&daemon, "203.0.113.8", LEVY[0], "235 2.7.0 ");
    }
    let mut refused = introduced(&daemon, "203.0.113.7");
    refused.send(format!("AUTH PLAIN {}\r\n", LEVY[0]));
    watch.stop();
    wait_until("it waits", || lines(&daemon, NOT_CHECKED) == 1);
    log_in(&daemon, "203.0.113.8", LEVY[0], "235 2.7.0 ");
    let mut stranger = introduced(&daemon, "203.0.113.7");
    stranger.ask("MAIL FROM:<a@b.test>", "250 ");
    stranger.ask("RCPT TO:<levy@red.test>", "250 ");
    refused.expect("454 4.7.0 ");
    refused.ask("MAIL FROM:<a@b.test>", "250 ");
    assert_eq!(lines(&daemon, CHECKED_LATER), 0);
}

#[test]
fn a_process_that_was_there_before_the_failures_checks_no_login() {
    judged_within(QUICK, |watch| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, "fork");
        let mut early = introduced(&daemon, "203.0.113.7");
        early.ask("VRFY levy", "250 "); // a process waits for its next question
        for n in 0..10 {
            log_in(&daemon, "203.0.113.7", if n % 2 == 0 { LEVY[1] } else { BOB[1] }, "535 5.7.8 ");
        }
        early.send(format!("AUTH PLAIN {}\r\n", LEVY[0]));
        watch.stop();
        daemon.wait_log(NOT_CHECKED);
        early.expect("454 4.7.0 ");
        early.ask("VRFY levy", "250 ");
    });
}

#[test]
fn the_owner_of_a_name_that_many_addresses_guess_at_gets_in() {
    judged_within(QUICK, |watch| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, "fork");
        (0..10).for_each(|n| log_in(&daemon, &format!("203.0.113.{n}"), BOB[1], "535 5.7.8 "));
        let mut owner = introduced(&daemon, "203.0.113.77");
        owner.send(format!("AUTH PLAIN {}\r\n", BOB[0]));
        watch.stop();
        daemon.wait_log(CHECKED_LATER);
        log_in(&daemon, "203.0.113.78", LEVY[0], "235 2.7.0 ");
        owner.expect("235 2.7.0 ");
    });
}
