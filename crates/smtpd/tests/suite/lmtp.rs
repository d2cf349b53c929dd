//! LMTP (RFC 2033): LHLO, and a reply for each recipient.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use testkit::{Daemon, Peer, WATCHDOG, command, run};

use crate::common::*;

fn lmtp(fixture: &Fixture, more: &[&str]) -> Daemon {
    fixture.serve(&[&["--lmtp", "-l", "127.0.0.1:0"], more].concat())
}

fn introduced(daemon: &Daemon) -> Peer {
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 red.test LMTP ");
    lhlo(&mut peer);
    peer
}

fn lhlo(peer: &mut Peer) {
    peer.send("LHLO topaz.test\r\n");
    while peer.expect("250")[3] == b'-' {}
}

#[test]
fn lhlo_takes_the_place_of_helo_and_ehlo() {
    let fixture = Fixture::new();
    let daemon = lmtp(&fixture, &[]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    for hello in ["HELO topaz.test", "EHLO topaz.test", "HELO"] {
        peer.ask(hello, "500 5.5.1 ");
    }
    peer.ask("MAIL FROM:<a@b.test>", "503 5.5.1 Say LHLO");
    peer.ask("LHLO", "501 5.5.4 ");
    peer.ask("LHLO topaz.test", "250-red.test ");
    let mut extensions = Vec::new();
    loop {
        let line = String::from_utf8(peer.expect("250")).unwrap();
        extensions.push(line[4..].trim().to_owned());
        if line.as_bytes()[3] == b' ' {
            break;
        }
    }
    for needed in ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING"] {
        assert!(extensions.iter().any(|one| one == needed), "{extensions:?}");
    }
    peer.ask("HELP LHLO", "214 2.0.0 LHLO domain");
    peer.ask("HELP EHLO", "504 ");
}

#[test]
fn each_recipient_has_a_reply_in_the_order_of_rcpt() {
    let fixture = Fixture::new();
    let daemon = lmtp(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.send(
        "MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nRCPT TO:<nobody@red.test>\r\n\
         RCPT TO:<bob@red.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n",
    );
    for reply in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "354 "] {
        peer.expect(reply);
    }
    peer.send("Subject: x\r\n\r\nx\r\n.\r\nNOOP\r\n");
    for reply in ["250 2.0.0 Deliv", "250 2.0.0 Deliv", "250 2.0.0 Deliv", "250 2.0.0 OK"] {
        peer.expect(reply);
    }
    assert_eq!(fixture.letter("levy"), fixture.letter("bob"));
    assert!(fixture.letters("levy")[0].contains(" with LMTP id "));
}

#[test]
fn one_recipients_trouble_is_not_that_of_the_others() {
    let fixture = Fixture::two_users();
    let daemon = lmtp(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nRCPT TO:<bob@red.test>\r\n");
    for reply in ["250 2.1.0", "250 2.1.5", "250 2.1.5"] {
        peer.expect(reply);
    }
    // After RCPT, bob's mailbox becomes one that takes no letter.
    let _ = fs::remove_dir_all(fixture.maildir("bob"));
    fs::write(fixture.maildir("bob"), "no folder").unwrap();
    peer.send("BDAT 5 LAST\r\nx\r\n\r\n");
    peer.expect("250 2.0.0 Delivered");
    peer.expect("451 4.3.0 ");
    peer.ask("NOOP", "250 ");
    assert_eq!(fixture.letter("levy"), "x\n\n");
    daemon.wait_log("delivered id=");
    daemon.wait_log("letter refused id=");
}

#[test]
fn a_letter_that_is_refused_is_refused_for_each_recipient() {
    let fixture = Fixture::new();
    let daemon = lmtp(&fixture, &["--max-size", "100"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send(format!("{}\r\n.\r\nRSET\r\n", "x".repeat(200)));
    for reply in ["552 5.3.4 ", "552 5.3.4 ", "250 2.0.0 Forgotten"] {
        peer.expect(reply);
    }
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<nobody@red.test>", "550 ");
    peer.ask("DATA", "503 5.5.1 ");
    peer.send("BDAT 1 LAST\r\nx");
    peer.expect("503 5.5.1 ");
    fixture.assert_nothing();
}

#[test]
fn it_is_spoken_on_a_unix_socket_and_not_on_port_25() {
    let fixture = Fixture::new();
    let socket = fixture.dir.path().join("lmtp");
    let listen = format!("unix:{}", socket.display());
    let _daemon = fixture.serve(&["--lmtp", "-l", &listen]);
    let stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut replies = BufReader::new(&stream).lines();
    for (line, reply) in [
        ("", "220 red.test LMTP "),
        ("LHLO topaz.test\r\n", "250 "),
        ("MAIL FROM:<>\r\n", "250 "),
        ("RCPT TO:<levy@red.test>\r\n", "250 "),
        ("DATA\r\n", "354 "),
        ("x\r\n.\r\n", "250 2.0.0 "),
    ] {
        (&stream).write_all(line.as_bytes()).unwrap();
        let said = replies.by_ref().map(Result::unwrap).find(|said| !said.starts_with("250-"));
        assert!(said.as_ref().unwrap().starts_with(reply), "{line}: {said:?}");
    }
    assert_eq!(fixture.letter("levy"), "x\n");
    let users = fixture.users.display().to_string();
    for listen in ["127.0.0.1:25", "*:25"] {
        let args = with_root(&["--check", "--users", &users, "--lmtp", "-l", listen]);
        let output = run(command(SMTPD, &args), b"");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("not on port 25"), "{output:?}");
    }
}
