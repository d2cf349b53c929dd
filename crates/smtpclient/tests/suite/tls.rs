//! STARTTLS against servers that cannot, or will not. Handshakes that succeed are tested with smtpd's own.

use std::net::TcpListener;

use smtpclient::{Envelope, Login, Settings, Stage, TlsUse};
use testkit::{Authority, Peer};

use super::{Server, accept, greet, play, said, said_of, settings, take_letter, turn};

fn opportunistic() -> Settings {
    Settings { tls: TlsUse::Opportunistic, ..settings() }
}

fn required(authority: &Authority) -> Settings {
    let client = tls::Client::new(Some(&authority.file())).unwrap();
    Settings { tls: TlsUse::Required(client), ..settings() }
}

fn takes_in_the_clear(peer: &mut Peer) {
    turn(peer, "MAIL FROM:<>", "250 ok");
    turn(peer, "RCPT TO:<a@red.test>", "250 ok");
    take_letter(peer, &["x"], "250 taken");
}

fn sends(server: Server, settings: Settings) {
    let mut session = server.open(settings);
    assert_eq!(session.tls(), None);
    let outcomes = session.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut &b"x\n"[..]);
    assert_eq!(said(&outcomes), ["250 taken"]);
    server.end();
}

#[test]
fn a_handshake_that_fails_is_followed_by_a_connection_in_the_clear() {
    let plays: [fn(&mut Peer); 4] = [
        |peer| peer.send("220 go\r\nthis is no record of TLS, and long enough\r\n"),
        |peer| peer.send("220 go\r\n"), // and hangs up
        |peer| {
            peer.send("220 go\r\n");
            let _hello = peer.take(100);
            peer.send("this is no record of TLS, and long enough to be one\r\n");
        },
        |_| {}, // hangs up in place of a reply
    ];
    for play in plays {
        let server = Server::start(move |listener: &TcpListener| {
            let mut first = accept(listener);
            greet(&mut first, &["STARTTLS"]);
            super::hear(&mut first, "STARTTLS");
            play(&mut first);
            drop(first);
            let mut second = accept(listener);
            greet(&mut second, &["STARTTLS"]);
            takes_in_the_clear(&mut second);
        });
        sends(server, opportunistic());
    }
}

#[test]
fn a_server_that_refuses_or_does_not_offer_starttls_is_spoken_to_in_the_clear() {
    for reply in ["454 4.7.0 no certificate", "500 what?", "502 not done"] {
        let server = play(move |peer| {
            greet(peer, &["STARTTLS"]);
            turn(peer, "STARTTLS", reply);
            takes_in_the_clear(peer);
        });
        sends(server, opportunistic());
    }
    let server = play(|peer| {
        greet(peer, &[]);
        takes_in_the_clear(peer);
    });
    sends(server, opportunistic());
}

#[test]
fn where_tls_is_required_nothing_is_sent_in_the_clear_and_the_letter_waits() {
    let authority = Authority::new();
    let server = play(|peer| {
        greet(peer, &[]);
        turn(peer, "QUIT", "221 bye");
    });
    let failure = server.refuses(required(&authority));
    assert_eq!(said_of(&failure), "STARTTLS is not offered");
    assert_eq!((failure.code.to_string().as_str(), failure.stage), ("4.7.4", Stage::Tls));
    assert!(failure.is_temporary() && failure.tries_another());
    server.end();

    let server = play(|peer| {
        greet(peer, &["STARTTLS"]);
        turn(peer, "STARTTLS", "454 no");
        turn(peer, "QUIT", "221 bye");
    });
    assert_eq!(said_of(&server.refuses(required(&authority))), "STARTTLS: 454 no");
    server.end();

    let server = play(|peer| {
        greet(peer, &["STARTTLS"]);
        turn(peer, "STARTTLS", "220 go\r\n250 and more");
        assert!(peer.is_closed());
    });
    let failure = server.refuses(required(&authority));
    assert_eq!(said_of(&failure), "the server sends more before TLS begins");
    server.end();
}

#[test]
fn a_host_with_secure_tlsa_records_gets_nothing_in_the_clear() {
    let server = play(|peer| {
        greet(peer, &[]);
        turn(peer, "QUIT", "221 bye");
    });
    // Also where none of them can be used (RFC 7672 §2.2).
    let tlsa = dns::Tlsa { usage: 1, selector: 9, matching: 9, data: vec![0] };
    let target = smtpclient::Target { tlsa: vec![tlsa], ..server.target() };
    let settings = std::sync::Arc::new(opportunistic());
    let failure = smtpclient::Session::open(&settings, &target).unwrap_err();
    assert_eq!(said_of(&failure), "STARTTLS is not offered");
    server.end();
}

#[test]
fn a_login_that_fails_is_no_reason_to_return_letters() {
    let server = play(|peer| {
        greet(peer, &["AUTH PLAIN"]);
        peer.expect("AUTH PLAIN ");
        peer.send("535 5.7.8 no\r\n");
        turn(peer, "QUIT", "221 bye");
    });
    let login = Login::new("levy", accounts::Secret::from(&b"x"[..]));
    let failure = server.refuses(Settings { login: Some(login), ..settings() });
    assert_eq!(said_of(&failure), "AUTH: 535 5.7.8 no");
    assert!(failure.is_temporary() && failure.stage == Stage::Login);
    assert_eq!(failure.status, smtpclient::Status::NoPermission);
    server.end();
}
