//! AUTH (RFC 4954).

use std::fs;

use accounts::sasl::{Client, Server};
use accounts::{Mechanism, Secret, base64, from_base64};
use nix::sys::signal::Signal;
use testkit::{MODELS, Peer, each_model, wait_until};

use crate::common::{Fixture, LETTER};

/// The mechanisms that need no TLS.
const ALL: [Mechanism; 4] =
    [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];
/// `NUL levy NUL x`.
const RIGHT: &str = "AGxldnkAeA==";

fn introduced(daemon: &testkit::Daemon) -> Peer {
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    peer.send("EHLO topaz.test\r\n");
    while peer.line().starts_with(b"250-") {}
    peer
}

/// Logs levy in; returns the last reply.
fn log_in(peer: &mut Peer, mechanism: Mechanism, password: &str) -> String {
    let password = Secret::from(password.as_bytes());
    let mut client = Client::new(mechanism, b"levy", &password, &Server::default()).unwrap();
    let initial = client.initial().map(|it| base64(it.as_bytes())).unwrap_or_default();
    peer.send(format!("AUTH {mechanism} {initial}").trim_end().to_owned() + "\r\n");
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let Some(challenge) = line.strip_prefix("334 ") else { return line };
        let challenge = from_base64(challenge.trim_end().as_bytes()).unwrap();
        let response = client.respond(challenge.as_bytes()).unwrap();
        peer.send(format!("{}\r\n", base64(response.as_bytes())));
    }
}

#[test]
fn each_mechanism_logs_in_and_the_letter_says_so() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--auth-delay", "0"]);
    for (number, mechanism) in (1..).zip(ALL) {
        let mut peer = introduced(&daemon);
        let refused = log_in(&mut peer, mechanism, "wrong");
        assert!(refused.starts_with("535 5.7.8 "), "{mechanism}: {refused}");
        let reply = log_in(&mut peer, mechanism, "x");
        assert!(reply.starts_with("235 2.7.0 "), "{mechanism}: {reply}");
        daemon.wait_log(&format!("levy logged in (AUTH {mechanism})"));
        peer.ask(&format!("AUTH PLAIN {RIGHT}"), "503 5.5.1 ");
        peer.ask("MAIL FROM:<a@b.test> AUTH=a@b.test", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "250 ");
        peer.ask("DATA", "354 ");
        peer.send(format!("{LETTER}.\r\n"));
        peer.expect("250 ");
        let letters = fixture.letters("bob");
        assert_eq!(letters.len(), number);
        assert!(letters.iter().all(|letter| letter.contains(" with ESMTPA id ")), "{letters:?}");
    }
}

#[test]
fn what_is_wrong_with_auth_has_its_own_reply() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--auth-delay", "0"]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    peer.ask(&format!("AUTH PLAIN {RIGHT}"), "503 5.5.1 ");
    let mut peer = introduced(&daemon);
    for (line, reply) in [
        ("AUTH", "501 5.5.4 "),
        ("AUTH NTLM", "504 5.5.4 "),
        ("AUTH SCRAM-SHA-256-PLUS", "504 5.5.4 "),
        ("AUTH PLAIN ?", "501 5.5.2 "),
        ("AUTH PLAIN =", "501 5.5.2 "),
        ("AUTH PLAIN AGxldnkAeA== x", "501 5.5.4 "),
        ("AUTH CRAM-MD5 AAAA", "501 5.5.2 "),
    ] {
        peer.ask(line, reply);
    }
    peer.ask("AUTH PLAIN", "334 \r\n");
    peer.ask("*", "501 5.5.2 AUTH cancelled");
    peer.ask("AUTH PLAIN", "334 \r\n");
    peer.ask(&"A".repeat(5000), "500 5.5.6 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask(&format!("AUTH PLAIN {RIGHT}"), "503 5.5.1 ");
    peer.ask("RSET", "250 ");
    for _ in 0..4 {
        peer.ask("AUTH PLAIN AGxldnkAeQ==", "535 5.7.8 ");
    }
    peer.ask("AUTH PLAIN AGxldnkAeQ==", "421 4.7.0 ");
    assert!(peer.is_closed());
}

#[test]
fn an_exchange_that_is_not_finished_leaves_nothing_in_the_way_of_a_letter() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model, "-n", "1", "--auth-delay", "0"]);
        let first = format!("AUTH SCRAM-SHA-256 {}", base64(b"n,,n=levy,r=abcdefgh"));
        for (next, reply) in [("*", "501 5.5.2 "), ("?", "501 5.5.2 "), ("AAAA", "501 5.5.2 ")] {
            let mut peer = introduced(&daemon);
            peer.ask(&first, "334 ");
            peer.ask(next, reply);
            peer.ask("MAIL FROM:<a@b.test>", "250 ");
            peer.ask("RCPT TO:<bob@red.test>", "250 ");
        }
        let mut gone = introduced(&daemon);
        gone.ask(&first, "334 ");
        drop(gone);
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "250 ");
        drop(peer);
        assert!(!daemon.log().contains("malformed question"), "{model}: {}", daemon.log());
    });
}

#[test]
fn passwords_are_not_taken_where_plaintext_is_not_allowed() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--plaintext", "never"]);
    let mut peer = introduced(&daemon);
    peer.ask(&format!("AUTH PLAIN {RIGHT}"), "504 5.5.4 ");
    peer.ask("AUTH LOGIN", "504 5.5.4 ");
    assert!(log_in(&mut peer, Mechanism::ScramSha256, "x").starts_with("235 "));
    peer.send("EHLO topaz.test\r\n");
    loop {
        let line = peer.line();
        assert!(!line.windows(4).any(|four| four == b"AUTH"), "after a login none is listed");
        if line.starts_with(b"250 ") {
            break;
        }
    }
}

#[test]
fn no_response_is_in_the_transcript_or_in_the_log() {
    let fixture = Fixture::new();
    let file = fixture.dir.path().join("transcript");
    let daemon =
        fixture.serve(&["--auth-delay", "0", "-vv", "--transcript", file.to_str().unwrap()]);
    let secret = "aHVzaC1odXNo";
    for form in [
        "AUTH PLAIN ~",
        "auth plain ~",
        "AUTH  PLAIN ~",
        "AUTH\tPLAIN\t~",
        " AUTH PLAIN ~",
        "\rAUTH PLAIN ~",
        "\0AUTH PLAIN ~",
        "AUTH ~",
        "AUTH ~\r\n~",
        "AUTH NTLM ~",
        "AUTH NTLM\r\n~",
        "AUTH PLAIN\r\n~",
        "AUTH PLAIN\r\n ~",
        "AUTH PLAIN\r\n*\r\n~",
        "AUTH PLAIN ?\r\n~",
        "AUTH PLAIN ~ ~",
        "AUTH LOGIN\r\n~\r\n~",
        "AUTH LOGIN ~\r\n~\r\n~",
        "AUTH LOGIN\r\n!\r\n~",
        "AUTH CRAM-MD5\r\n~",
        "AUTH CRAM-MD5 ~",
        "AUTH SCRAM-SHA-256\r\n~\r\n~",
        "XAUTH PLAIN ~",
    ] {
        let mut peer = introduced(&daemon);
        peer.send(form.replace('~', secret) + "\r\nRSET\r\nQUIT\r\n");
        peer.rest();
        let written = fs::read_to_string(&file).unwrap() + &daemon.log();
        assert!(!written.contains(secret), "{form:?}\n{written}");
    }
    assert!(fs::read_to_string(&file).unwrap().contains("C: AUTH PLAIN ***"));
}

#[test]
fn what_is_offered_follows_the_users_file_at_sighup() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let with = fs::read_to_string(&fixture.users).unwrap();
        fs::write(&fixture.users, with.replace("{PLAIN}x", "*")).unwrap();
        let daemon = fixture.serve(&["-m", model, "-n", "2"]);
        let is_offered = || {
            let mut peer = Peer::connect(daemon.addr());
            peer.expect("220 ");
            peer.send("EHLO topaz.test\r\nQUIT\r\n");
            String::from_utf8(peer.rest()).unwrap().contains("AUTH SCRAM-SHA-256 CRAM-MD5 ")
        };
        fs::write(&fixture.users, &with).unwrap();
        assert!(!is_offered(), "not before SIGHUP");
        daemon.signal(Signal::SIGHUP);
        wait_until("new clients are offered AUTH", is_offered);
        assert!(log_in(&mut introduced(&daemon), Mechanism::CramMd5, "x").starts_with("235 "));
    });
}
