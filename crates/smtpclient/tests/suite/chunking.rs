//! A letter in one write with its envelope (RFC 2920, RFC 3030).

use smtpclient::{Envelope, Settings, Stage};

use super::{greet, hear, play, said, settings, take_letter, turn};

fn chunking() -> Settings {
    Settings { use_chunking: true, ..settings() }
}

/// Reads MAIL, two RCPT and a chunk before it replies.
fn hear_all(peer: &mut testkit::Peer) {
    hear(peer, "MAIL FROM:<x@topaz.test>");
    hear(peer, "RCPT TO:<a@red.test>");
    hear(peer, "RCPT TO:<b@red.test>");
    hear(peer, "BDAT 7 LAST");
    hear(peer, "hello");
}

#[test]
fn one_wait_a_letter_and_each_recipient_has_its_own_reply() {
    for (replies, expected, has_letter) in [
        ("250 a\r\n250 b\r\n250 c\r\n250 d\r\n", ["250 d", "250 d"], true),
        ("250 a\r\n550 b\r\n250 c\r\n250 d\r\n", ["recipient <a@red.test>: 550 b", "250 d"], true),
        (
            "250 a\r\n550 b\r\n450 c\r\n554 none\r\n",
            ["recipient <a@red.test>: 550 b", "recipient <b@red.test>: 450 c"],
            false,
        ),
        (
            "550 a\r\n503 b\r\n503 c\r\n503 d\r\n",
            ["sender <x@topaz.test>: 550 a", "sender <x@topaz.test>: 550 a"],
            false,
        ),
        (
            "250 a\r\n250 b\r\n250 c\r\n552 5.3.4 d\r\n",
            ["the letter was refused: 552 5.3.4 d", "the letter was refused: 552 5.3.4 d"],
            false,
        ),
    ] {
        let server = play(move |peer| {
            greet(peer, &["PIPELINING", "CHUNKING"]);
            hear_all(peer);
            peer.send(replies);
            if !has_letter {
                turn(peer, "RSET", "250 ok");
            }
            hear_all(peer);
            peer.send("250 a\r\n250 b\r\n250 c\r\n250 again\r\n");
            turn(peer, "QUIT", "221 bye");
        });
        let mut session = server.open(chunking());
        let to = [&b"a@red.test"[..], b"b@red.test"];
        let envelope = Envelope::new(b"x@topaz.test", to);
        assert_eq!(said(&session.send(&envelope, &mut &b"hello"[..])), expected);
        assert_eq!(said(&session.send(&envelope, &mut &b"hello"[..])), ["250 again"; 2]);
        session.quit();
        server.end();
    }
}

#[test]
fn a_connection_that_breaks_when_all_was_sent_may_have_brought_the_letter() {
    for replies in ["", "250 a\r\n", "250 a\r\n250 b\r\n250 c\r\n", "250 a\r\n250 b\r\n250 c\r\n25"]
    {
        let server = play(move |peer| {
            greet(peer, &["PIPELINING", "CHUNKING"]);
            hear_all(peer);
            peer.send(replies);
        });
        let mut session = server.open(chunking());
        let to = [&b"a@red.test"[..], b"b@red.test"];
        let outcomes = session.send(&Envelope::new(b"x@topaz.test", to), &mut &b"hello"[..]);
        for outcome in outcomes {
            let failure = outcome.unwrap_err();
            assert!(failure.may_have_letter() && failure.is_lost, "{replies:?}: {failure}");
            assert_eq!((failure.stage, failure.tries_another()), (Stage::End, false));
            assert!(failure.text.ends_with("it may or may not have been delivered"), "{failure}");
        }
        server.end();
    }
}

#[test]
fn a_server_that_goes_before_it_has_taken_all_is_no_doubt() {
    let server = play(|peer| {
        greet(peer, &["PIPELINING", "CHUNKING"]);
        hear_all(peer);
        peer.send("421 4.3.2 going down\r\n");
    });
    let mut session = server.open(chunking());
    let to = [&b"a@red.test"[..], b"b@red.test"];
    let outcomes = session.send(&Envelope::new(b"x@topaz.test", to), &mut &b"hello"[..]);
    for outcome in outcomes {
        let failure = outcome.unwrap_err();
        assert!(!failure.may_have_letter() && failure.tries_another(), "{failure}");
        assert_eq!(failure.code.to_string(), "4.3.2");
    }
    server.end();
}

#[test]
fn data_is_used_without_pipelining_for_long_letters_and_where_it_is_asked_for() {
    let long = "x".repeat(100_000);
    for (offers, uses, letter) in [
        (&["CHUNKING"][..], true, "hello"),
        (&["PIPELINING"], true, "hello"),
        (&["CHUNKING", "PIPELINING"], false, "hello"),
        (&["CHUNKING", "PIPELINING"], true, &long),
    ] {
        let expected = letter.to_owned();
        let server = play(move |peer| {
            greet(peer, offers);
            let group = if offers.contains(&"PIPELINING") { 2 } else { 1 };
            for _ in 0..2 / group {
                (0..group).for_each(|_| drop(peer.line()));
                peer.send("250 ok\r\n".repeat(group));
            }
            take_letter(peer, &[&expected], "250 taken");
        });
        let settings = Settings { use_chunking: uses, ..settings() };
        let mut session = server.open(settings);
        let envelope = Envelope::new(b"", [&b"a@red.test"[..]]);
        assert_eq!(said(&session.send(&envelope, &mut letter.as_bytes())), ["250 taken"]);
        server.end();
    }
}
