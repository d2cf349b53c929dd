//! TLS, implicit and by STARTTLS (RFC 3207): nothing said before counts after it.

use std::net::SocketAddr;

use testkit::{Authority, Daemon, MODELS, Peer, TLS_VERSIONS, TlsClient, each_model, wait_until};

use crate::common::{Fixture, LETTER};

/// A server with TLS, and who trusts it.
struct Site {
    fixture: Fixture,
    daemon: Daemon,
    client: TlsClient,
}

impl Site {
    fn new(options: &[&str]) -> Site {
        let authority = Authority::new();
        let pair = authority.pair("red.test").options();
        let mut all: Vec<&str> = pair.iter().map(String::as_str).collect();
        all.extend(["--tls-listen", "127.0.0.1:0"]);
        all.extend(options);
        let fixture = Fixture::new();
        let daemon = fixture.serve(&all);
        Site { fixture, daemon, client: authority.client(&TLS_VERSIONS) }
    }

    /// Where clients begin with a handshake.
    fn tls_addr(&self) -> SocketAddr {
        self.daemon.listening_for(" (tls)").parse().unwrap()
    }

    /// A client that has received the greeting in the clear.
    fn clear(&self) -> Peer {
        let mut peer = Peer::connect(self.daemon.addr());
        peer.expect("220 ");
        peer
    }

    /// A client under TLS by STARTTLS.
    fn starttls(&self) -> Peer {
        let mut peer = self.clear();
        peer.ask("STARTTLS", "220 2.0.0 ");
        peer.start_tls(&self.client, "red.test").unwrap();
        peer
    }
}

/// Says EHLO; returns what is offered.
fn extensions(peer: &mut Peer) -> Vec<String> {
    peer.send("EHLO topaz.test\r\n");
    let mut all = Vec::new();
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        assert!(line.starts_with("250"), "{line}");
        all.push(line[4..].trim_end().to_owned());
        if line.starts_with("250 ") {
            return all;
        }
    }
}

fn deliver(peer: &mut Peer) {
    peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n");
    peer.expect("250 ");
    peer.expect("250 ");
    peer.expect("354 ");
    peer.send(format!("{LETTER}.\r\n"));
    peer.expect("250 2.0.0 ");
}

#[test]
fn a_letter_is_taken_under_tls_and_its_trace_says_so() {
    each_model(&MODELS, |model| {
        let site = Site::new(&["-m", model]);
        let mut peer = site.starttls();
        let inside = extensions(&mut peer);
        assert!(!inside.contains(&"STARTTLS".into()), "{inside:?}");
        deliver(&mut peer);
        peer.ask("QUIT", "221 ");
        assert!(peer.is_closed());
        drop(peer);
        let mut peer = Peer::connect(site.tls_addr());
        peer.start_tls(&site.client, "red.test").unwrap();
        assert!(peer.is_resumed(), "a ticket of another process");
        peer.expect("220 red.test ESMTP");
        let inside = extensions(&mut peer);
        assert!(!inside.contains(&"STARTTLS".into()), "{inside:?}");
        deliver(&mut peer);
        peer.ask("QUIT", "221 ");
        let letters = site.fixture.letters("levy");
        assert_eq!(letters.len(), 2);
        for letter in letters {
            assert!(letter.contains("\tby red.test with ESMTPS id "), "{letter}");
        }
    });
}

#[test]
fn what_is_said_before_starttls_does_not_count_after_it() {
    each_model(&MODELS, |model| {
        let site = Site::new(&["-m", model]);
        let mut peer = site.clear();
        assert!(extensions(&mut peer).contains(&"STARTTLS".into()));
        // An intruder in the middle puts commands behind STARTTLS (CVE-2011-0411).
        peer.send("STARTTLS\r\nNOOP\r\nRSET\r\nEHLO evil.test\r\nMAIL FROM:<evil@evil.test>\r\n");
        peer.expect("220 2.0.0 ");
        peer.start_tls(&site.client, "red.test").unwrap();
        peer.ask("MAIL FROM:<a@b.test>", "503 ");
        extensions(&mut peer);
        deliver(&mut peer);
        peer.ask("QUIT", "221 ");
        assert!(!site.fixture.letter("levy").contains("evil"));
    });
}

#[test]
fn starttls_is_refused_within_a_transaction_under_tls_and_without_a_certificate() {
    let site = Site::new(&[]);
    let mut peer = site.clear();
    extensions(&mut peer);
    peer.ask("STARTTLS now", "501 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("STARTTLS", "503 ");
    peer.ask("RSET", "250 ");
    peer.ask("STARTTLS", "220 ");
    peer.start_tls(&site.client, "red.test").unwrap();
    extensions(&mut peer);
    peer.ask("STARTTLS", "503 5.5.1 The session is under TLS already");
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    assert!(!extensions(&mut peer).contains(&"STARTTLS".into()));
    peer.ask("STARTTLS", "502 ");
}

#[test]
fn a_handshake_that_stalls_or_fails_ends_the_session_with_one_line_of_the_log() {
    let hasty = Site::new(&["-t", "0.2"]);
    let mut silent = Peer::connect(hasty.tls_addr());
    assert!(silent.is_closed());
    let site = Site::new(&[]);
    let mut clear = site.clear();
    clear.ask("STARTTLS", "220 ");
    clear.send("EHLO topaz.test\r\n");
    assert!(!clear.rest().starts_with(b"250"));
    for (site, peer) in [(&hasty, silent), (&site, clear)] {
        let name = peer.stream().local_addr().unwrap();
        wait_until("the end is logged", || {
            let log = site.daemon.log();
            let lines = log.lines().filter(|line| line.contains(&format!("{name}: ")));
            let handshake = format!("{name}: TLS handshake: ");
            log.contains(&format!("client {name} end: "))
                && lines.count() == 1
                && log.contains(&handshake)
        });
    }
    site.fixture.assert_nothing();
}

#[test]
fn a_letter_that_breaks_off_under_tls_leaves_nothing() {
    let site = Site::new(&[]);
    let mut peer = site.starttls();
    extensions(&mut peer);
    peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\nSubject: half\r\n\r\n");
    peer.expect("250 ");
    peer.expect("250 ");
    peer.expect("354 ");
    drop(peer); // without close_notify, as one who cuts the connection would
    site.daemon.wait_log("broke off");
    site.fixture.assert_nothing();
}
