//! Clients behind a proxy (`--proxy-from`): the test is the proxy, on this machine.

use testkit::{MODELS, Peer, each_model};

use crate::common::{Fixture, LETTER};

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 25\r\n";
/// A header of version 2 from the proxy itself (LOCAL).
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn the_address_that_a_proxy_has_sent_is_the_clients_in_log_and_trace() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "--proxy-from", "127.0.0.1"]);
        let mut peer = Peer::connect(daemon.addr());
        peer.send(HEADER);
        peer.expect("220 ");
        peer.ask("HELO client.test", "250");
        peer.ask("MAIL FROM:<a@client.test>", "250");
        peer.ask("RCPT TO:<levy@red.test>", "250");
        peer.ask("DATA", "354");
        peer.send(LETTER);
        peer.ask(".", "250");
        peer.ask("QUIT", "221");
        assert_eq!(peer.rest(), b"");
        daemon.wait_log("client 203.0.113.7:5210 end: pid ");
        let letter = fixture.letters("levy").remove(0);
        assert!(letter.contains("client.test ([203.0.113.7])"), "{letter}");
        assert!(!daemon.log().contains("client 127.0.0.1"), "{}", daemon.log());
    });
}

#[test]
fn a_client_behind_a_proxy_on_this_machine_may_not_do_what_loopback_may() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--vrfy", "loopback", "--proxy-from", "127.0.0.1"]);
    for header in [HEADER, b"PROXY TCP4 127.0.0.1 127.0.0.1 5210 25\r\n", b"PROXY UNKNOWN\r\n"] {
        let mut peer = Peer::connect(daemon.addr());
        peer.send(header);
        peer.expect("220 ");
        peer.ask("HELO client.test", "250");
        let reply = peer.ask("VRFY levy", "");
        assert!(!reply.starts_with(b"250"), "{}", reply.escape_ascii());
        peer.send("EHLO client.test\r\n");
        loop {
            let line = String::from_utf8(peer.line()).unwrap();
            assert!(!line.contains("PLAIN") && !line.contains("LOGIN"), "{line}");
            if line.starts_with("250 ") {
                break;
            }
        }
        peer.ask("AUTH PLAIN AGxldnkAeA==", "504 5.5.4 "); // right, but not to be sent in the clear
    }
    let direct = fixture.serve(&["--vrfy", "loopback"]);
    let mut peer = Peer::connect(direct.addr());
    peer.expect("220 ");
    peer.send("EHLO client.test\r\n");
    while peer.line().starts_with(b"250-") {}
    peer.ask("VRFY levy", "250");
    peer.ask("AUTH PLAIN AGxldnkAeA==", "235 2.7.0 ");
}

#[test]
fn health_checks_leave_no_line() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "--proxy-from", "127.0.0.1"]);
        let connect = |header: &[u8]| {
            let mut peer = Peer::connect(daemon.addr());
            peer.send(header);
            peer.expect("220 ");
            peer
        };
        let mut check = connect(LOCAL);
        check.ask("EHLO proxy.test", "250");
        drop(check);
        drop(connect(LOCAL));
        connect(LOCAL).reset();
        drop(Peer::connect(daemon.addr()));
        connect(HEADER).ask("QUIT", "221");
        daemon.wait_log("client 203.0.113.7:5210 end: pid ");
        let log = daemon.log();
        let of_checks = log.lines().filter(|line| line.contains(" 127.0.0.1:"));
        assert!(of_checks.clone().all(|line| line.contains("listening on ")), "{log}");
    });
}

#[test]
fn one_who_says_proxy_and_is_none_gets_an_error_and_the_end() {
    for options in [&["--proxy-from", "203.0.113.9"][..], &[]] {
        let fixture = Fixture::new();
        let daemon = fixture.serve(options);
        for header in [HEADER, LOCAL] {
            let mut peer = Peer::connect(daemon.addr());
            peer.expect("220 ");
            peer.send([header, b"EHLO client.test\r\n"].concat());
            peer.expect("554 5.7.0 red.test PROXY ");
            assert_eq!(peer.rest(), b"");
        }
        daemon.wait_log(" refused: it says PROXY, and --proxy-from does not name it");
    }
}
