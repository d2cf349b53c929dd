//! `--deliver lmtp:…`: the mail of users goes to another server, an smtpd that speaks LMTP, and others that the test
//! plays.

use std::net::TcpListener;
use std::thread;

use crate::common::*;
use testkit::{Daemon, Peer, command, run};

/// A server in front of the one at this address.
fn front(fixture: &Fixture, to: &str, more: &[&str]) -> Daemon {
    fixture.serve(&[&["--deliver", &format!("lmtp:{to}")], more].concat())
}

#[test]
fn letters_go_to_the_server_and_its_answer_about_each_recipient_is_ours() {
    let (fixture, behind) = (Fixture::two_users(), Fixture::two_users());
    let lmtp = behind.serve(&["--lmtp", "-l", "127.0.0.1:0"]);
    let daemon = front(&fixture, &lmtp.addr().to_string(), &[]);
    let broken = behind.maildir("bob");
    std::fs::write(&broken, "a file").unwrap();
    for _ in 0..2 {
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "451 ");
        peer.ask("DATA", "354 ");
        peer.send("Subject: x\r\n\r\n..dots\r\n\u{fc}\r\n.\r\n");
        peer.expect("250 ");
        peer.ask("QUIT", "221 ");
    }
    let letters = behind.letters("levy");
    assert_eq!(letters.len(), 2);
    assert!(letters[0].starts_with("Return-Path: <a@b.test>\n"), "{}", letters[0]);
    assert!(letters[0].contains("\n\n.dots\n"), "{}", letters[0]);
    assert_eq!(letters[0].matches("\nReceived: ").count(), 2, "{}", letters[0]);
    fixture.assert_nothing();
    daemon.wait_log("recipient <bob@red.test>: 451 ");
}

#[test]
fn a_server_that_is_not_there_is_a_temporary_failure_until_it_is() {
    let (fixture, behind) = (Fixture::two_users(), Fixture::two_users());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let daemon = front(&fixture, &port, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "451 ");
    daemon.wait_log(&format!("lmtp {port}: connect to {port}: Connection refused"));
    let _lmtp = behind.serve(&["--lmtp", "-l", &port]);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(behind.letters("levy").len(), 1);
}

/// A server that the test plays on one connection: what it answers to words, 250 to all others.
fn played(replies: &'static [(&'static str, &'static str)]) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send("220 ready\r\n");
        loop {
            let line = String::from_utf8(peer.line()).unwrap();
            if line.is_empty() {
                return;
            }
            let reply = replies.iter().find(|(word, _)| line.starts_with(word));
            let word = line.get(..4).unwrap_or_default();
            let known = matches!(word, "LHLO" | "MAIL" | "RCPT" | "RSET" | "NOOP" | "DATA");
            match reply {
                Some((_, "")) => return,
                Some((_, reply)) => peer.send(format!("{reply}\r\n")),
                None if line == ".\r\n" || known => peer.send("250 ok\r\n"),
                None => {}
            }
        }
    });
    (address, server)
}

fn answer_to(replies: &'static [(&'static str, &'static str)]) -> (String, String) {
    let fixture = Fixture::two_users();
    let (address, server) = played(replies);
    let daemon = front(&fixture, &address, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.send("RCPT TO:<levy@red.test>\r\n");
    let rcpt = String::from_utf8(peer.line()).unwrap();
    let mut end = String::new();
    if rcpt.starts_with("250") {
        peer.ask("DATA", "354 ");
        peer.send("x\r\n.\r\n");
        end = String::from_utf8(peer.line()).unwrap();
    }
    drop(peer);
    drop(daemon);
    server.join().unwrap();
    (rcpt, end)
}

#[test]
fn what_the_server_says_decides_the_reply() {
    let code = |text: &str| text.get(..3).unwrap_or_default().to_owned();
    for (replies, rcpt, end) in [
        (&[("RCPT", "550 5.1.1 no"), ("DATA", "503 no")][..], "550", ""),
        (&[("RCPT", "452 4.2.2 full")], "452", ""),
        (&[("RCPT", "421 bye")], "451", ""),
        (&[("DATA", "354 go"), (".", "452 4.2.2 full")], "250", "452"),
        (&[("DATA", "354 go"), (".", "554 5.6.0 no")], "250", "550"),
        (&[("DATA", "354 go"), (".", "")], "250", "451"),
        (&[("DATA", "451 later")], "250", "451"),
        (&[("DATA", "nonsense")], "250", "451"),
    ] {
        let (heard_rcpt, heard_end) = answer_to(replies);
        assert_eq!((code(&heard_rcpt), code(&heard_end)), (rcpt.into(), end.into()), "{replies:?}");
    }
}

#[test]
fn another_value_is_named() {
    for wrong in ["smtp:red.test", "lmtp:", "lmtp:red.test:0", "/var/mail"] {
        let output = run(command(env!("CARGO_BIN_EXE_smtpd"), &["--deliver", wrong]), b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("--deliver '{wrong}': not lmtp:unix:PATH")), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}
