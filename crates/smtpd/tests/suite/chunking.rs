//! BDAT: letters in chunks (RFC 3030).

use testkit::Peer;

use crate::common::*;

const ENVELOPE: &str = "MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\n";

/// A client in a transaction with a recipient.
fn with_recipient(daemon: &testkit::Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer
}

/// Sends a chunk.
fn bdat(peer: &mut Peer, text: &str, last: &str, reply: &str) {
    peer.send(format!("BDAT {}{last}\r\n{text}", text.len()));
    peer.expect(reply);
}

#[test]
fn a_letter_in_pieces_arrives_as_one_whatever_is_in_them() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = with_recipient(&daemon);
    bdat(&mut peer, "Subject: x\r", "", "250 2.0.0 11 octets");
    bdat(&mut peer, "\n\r\n.\r\n..\r\nQUIT\r\nMAIL FROM:<x@y.test>\r\n", "", "250 2.0.0 ");
    bdat(&mut peer, "", "", "250 2.0.0 0 octets");
    peer.ask("NOOP", "250 ");
    peer.ask("VRFY levy", "252 "); // the process that knows is busy with the letter
    peer.ask("HELP", "214-");
    while peer.expect("214")[3] == b'-' {}
    bdat(&mut peer, "end", " LAST", "250 2.0.0 Delivered");
    peer.ask("VRFY levy", "250 ");
    assert_eq!(fixture.letter("levy"), "Subject: x\n\n.\n..\nQUIT\nMAIL FROM:<x@y.test>\nend\n");
}

#[test]
fn the_last_chunk_may_be_empty_and_the_next_letter_follows_in_the_same_packet() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    let one = "BDAT 9\r\none\r\n\r\n\r\nBDAT 0 LAST\r\n";
    let two = "bdat 3 last\r\ntwo";
    let three = "DATA\r\n";
    peer.send(format!("{ENVELOPE}{one}{ENVELOPE}{two}{ENVELOPE}{three}"));
    for reply in ["250 2.1.0", "250 2.1.5", "250 2.0.0 9 ", "250 2.0.0 Deliv"] {
        peer.expect(reply);
    }
    for reply in ["250 2.1.0", "250 2.1.5", "250 2.0.0 Deliv", "250 2.1.0", "250 2.1.5", "354 "] {
        peer.expect(reply);
    }
    peer.send("three\r\n.\r\nQUIT\r\n");
    peer.expect("250 ");
    peer.expect("221 ");
    let mut letters: Vec<String> =
        fixture.letters("levy").iter().map(|it| below_trace(it)).collect();
    letters.sort();
    assert_eq!(letters, ["one\n\n\n", "three\n", "two\n"]);
}

#[test]
fn the_octets_of_a_refused_bdat_are_consumed_and_never_run() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let evil = "MAIL FROM:<evil@x.test>\r\nRCPT TO:<bob@red.test>\r\nBDAT 1 LAST\r\nx";
    let mut peer = greeted(&daemon);
    bdat(&mut peer, evil, " LAST", "503 5.5.1 ");
    peer.ask("EHLO topaz.test", "250-");
    while peer.expect("250")[3] == b'-' {}
    bdat(&mut peer, evil, "", "503 5.5.1 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    bdat(&mut peer, evil, " LAST", "554 5.5.1 ");
    peer.ask("RCPT TO:<nobody@red.test>", "550 ");
    bdat(&mut peer, evil, "", "554 5.5.1 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    bdat(&mut peer, evil, " FIRST", "501 5.5.4 ");
    bdat(&mut peer, evil, " LAST x", "501 5.5.4 ");
    for bad in ["BDAT", "BDAT x", "BDAT -1", "BDAT LAST", "BDAT 1x", "BDAT +1"] {
        peer.ask(bad, "501 5.5.4 ");
    }
    bdat(&mut peer, "x", " LAST", "250 ");
    bdat(&mut peer, evil, " LAST", "503 5.5.1 "); // after the last one
    peer.ask("NOOP", "250 ");
    assert_eq!((fixture.letter("levy"), fixture.letters("bob")), ("x\n".into(), vec![]));
}

#[test]
fn data_after_bdat_is_503_and_so_is_another_recipient() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = with_recipient(&daemon);
    bdat(&mut peer, "half", "", "250 ");
    for command in ["DATA", "MAIL FROM:<a@b.test>", "RCPT TO:<bob@red.test>", "AUTH PLAIN"] {
        peer.ask(command, "503 5.5.1 ");
    }
    peer.ask("RSET", "250 ");
    peer.ask("DATA", "503 ");
    bdat(&mut peer, "rest", " LAST", "503 ");
    fixture.assert_nothing();
    peer.send(format!("{ENVELOPE}BDAT 1\r\nxEHLO topaz.test\r\n"));
    for reply in ["250 ", "250 ", "250 2.0.0 1 "] {
        peer.expect(reply);
    }
    while peer.expect("250")[3] == b'-' {}
    fixture.assert_nothing();
    assert_alive(&daemon);
}

#[test]
fn a_letter_that_is_refused_is_refused_in_each_of_its_chunks_and_read_to_its_end() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    let mut peer = introduced(&daemon);
    for (text, reply) in [
        ("x".repeat(1001), "552 5.3.4 "),
        ("a\nb\r\n".into(), "550 5.6.11 "),
        ("a\rb\r\n".into(), "550 5.6.11 "),
        ("a\r\n.\nb".into(), "550 5.6.11 "),
    ] {
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        let (length, pieces) = (text.len(), "BDAT 1\r\nx".repeat(2));
        peer.send(format!("BDAT {length}\r\n{text}{pieces}BDAT 3 LAST\r\nabcNOOP\r\n"));
        for _ in 0..4 {
            peer.expect(reply);
        }
        peer.expect("250 2.0.0 OK");
    }
    // A CR at the end of a chunk, and no LF after it.
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    bdat(&mut peer, "a\r", "", "250 ");
    bdat(&mut peer, "b", " LAST", "550 5.6.11 ");
    fixture.assert_nothing();
}

#[test]
fn a_connection_lost_in_a_chunk_or_between_chunks_leaves_nothing() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for part in
        ["BDAT 10 LAST\r\n12345", "BDAT 5\r\n12345", "BDAT 0\r\n", "BDAT 5\r\n12345QUIT\r\n"]
    {
        let mut peer = with_recipient(&daemon);
        peer.send(part);
        drop(peer);
        let mut peer = with_recipient(&daemon);
        peer.send(part);
        peer.shutdown_write();
        let rest = String::from_utf8(peer.rest()).unwrap();
        assert!(!rest.contains("Delivered"), "{rest}");
    }
    fixture.assert_nothing();
    assert_alive(&daemon);
}

#[test]
fn a_chunk_without_a_letter_and_without_an_end_ends_the_session() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    let mut peer = introduced(&daemon);
    peer.ask("BDAT 99999999999999999999 LAST", "421 4.7.0 ");
    assert!(peer.is_closed());
}

#[test]
fn a_letter_of_which_a_chunk_was_refused_is_never_delivered_without_it() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for refused in ["BDAT 4 FOO\r\nQUIT", "BDAT x\r\n", "BDAT\r\n", "BDAT 4\0\r\n"] {
        let mut peer = introduced(&daemon);
        peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\n");
        peer.send(format!("BDAT 3\r\nabc{refused}BDAT 4 LAST\r\nQUITNOOP\r\n"));
        for reply in ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 3 ", "501 5.5.", "503 5.5.1 ", "250 "]
        {
            peer.expect(reply);
        }
        fixture.assert_nothing();
    }
    assert_alive(&daemon);
}
