//! Clients that cannot be served, told so in the words of SMTP (RFC 5321 §3.8, RFC 3463).

use crate::common::{Fixture, assert_alive, greeted};
use testkit::{CONCURRENT, Daemon, MODELS, Peer, each_model, wait_until};

/// A client receives 421, and the connection is closed.
fn is_told_421(daemon: &Daemon) {
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("421 4.3.2 red.test too many clients");
    assert_eq!(peer.rest(), b"");
}

#[test]
fn case_24_over_the_limit_of_clients_the_answer_is_421() {
    each_model(&CONCURRENT, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "-n", "1", "-c", "1"]);
        let first = greeted(&daemon);
        is_told_421(&daemon);
        drop(first);
        wait_until("there is a place again", || {
            Peer::connect(daemon.addr()).line().starts_with(b"220")
        });
    });
}

#[test]
fn case_24_over_the_limit_of_its_address_the_answer_is_421() {
    each_model(&CONCURRENT, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "--max-per-ip", "1"]);
        let _first = greeted(&daemon);
        is_told_421(&daemon);
    });
}

#[test]
fn case_24_an_address_that_comes_too_often_is_told_421() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "--rate", "1/3600"]);
        assert_alive(&daemon);
        is_told_421(&daemon);
    });
}

#[test]
fn case_24_with_over_queue_the_next_client_waits_for_its_greeting() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "-n", "1", "-c", "1", "--over", "queue"]);
        let first = greeted(&daemon);
        let mut second = Peer::connect(daemon.addr());
        assert!(second.is_silent(), "two are served");
        drop(first);
        second.expect("220 red.test ");
    });
}
