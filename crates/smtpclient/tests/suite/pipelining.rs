//! One letter: refusals in a pipeline, letters one after the other, and what a server says out of turn.

use smtpclient::{Envelope, Stage, Status};
use testkit::Peer;

use super::{greet, hear, play, said, settings, take_letter, turn};

const TO: [&[u8]; 5] = [b"a@red.test", b"b@red.test", b"c@red.test", b"d@red.test", b"e@red.test"];

/// Reads MAIL and five RCPT, and answers each: at once, or all at the end.
fn answer_envelope(peer: &mut Peer, replies: &[&str; 6], at_once: bool) {
    for (number, reply) in replies.iter().enumerate() {
        match ["", "a", "b", "c", "d", "e"][number] {
            "" => hear(peer, "MAIL FROM:<x@topaz.test>"),
            name => hear(peer, &format!("RCPT TO:<{name}@red.test>")),
        }
        if at_once {
            peer.send(format!("{reply}\r\n"));
        }
    }
    if !at_once {
        peer.send(replies.join("\r\n") + "\r\n");
    }
}

#[test]
fn refusals_in_the_middle_of_a_pipeline_are_their_recipients_alone() {
    let replies =
        ["250 ok", "250 ok", "550 5.1.1 no", "450-busy\r\n450 4.2.1 now", "552 full", "251 on"];
    for offers in [&["PIPELINING"][..], &[]] {
        let server = play(move |peer| {
            greet(peer, offers);
            answer_envelope(peer, &replies, offers.is_empty());
            take_letter(peer, &["hello"], "250 2.0.0 taken");
            turn(peer, "QUIT", "221 bye");
        });
        let mut session = server.open(settings());
        let outcomes = session.send(&Envelope::new(b"x@topaz.test", TO), &mut &b"hello\n"[..]);
        assert_eq!(
            said(&outcomes),
            [
                "250 2.0.0 taken",
                "recipient <b@red.test>: 550 5.1.1 no",
                "recipient <c@red.test>: 450 busy 4.2.1 now",
                "recipient <d@red.test>: 552 full",
                "250 2.0.0 taken",
            ]
        );
        let failures: Vec<_> = outcomes.iter().filter_map(|it| it.as_ref().err()).collect();
        let codes: Vec<String> = failures.iter().map(|it| it.code.to_string()).collect();
        assert_eq!(codes, ["5.1.1", "4.2.1", "4.0.0"]);
        assert!(failures.iter().all(|it| it.stage == Stage::Recipient && !it.is_lost));
        assert!(session.is_usable());
        session.quit();
        server.end();
    }
}

#[test]
fn a_letter_that_all_are_refused_is_given_up_and_the_next_one_sent_on_the_same_connection() {
    let server = play(|peer| {
        greet(peer, &["PIPELINING"]);
        hear(peer, "MAIL FROM:<>");
        hear(peer, "RCPT TO:<a@red.test>");
        peer.send("250 ok\r\n550 no\r\n");
        turn(peer, "RSET", "250 ok");
        hear(peer, "MAIL FROM:<>");
        hear(peer, "RCPT TO:<b@red.test>");
        peer.send("250 ok\r\n250 ok\r\n");
        take_letter(peer, &["hello"], "250 one");
        hear(peer, "MAIL FROM:<>"); // without RSET
        hear(peer, "RCPT TO:<b@red.test>");
        peer.send("250 ok\r\n250 ok\r\n");
        take_letter(peer, &["hello"], "451 no room");
        turn(peer, "RSET", "250 ok");
        hear(peer, "MAIL FROM:<>");
        hear(peer, "RCPT TO:<b@red.test>");
        peer.send("550 no sender\r\n503 no mail\r\n");
        turn(peer, "QUIT", "221 bye");
    });
    let mut session = server.open(settings());
    let mut send = |to: &[u8]| said(&session.send(&Envelope::new(b"", [to]), &mut &b"hello"[..]));
    assert_eq!(send(b"a@red.test"), ["recipient <a@red.test>: 550 no"]);
    assert_eq!(send(b"b@red.test"), ["250 one"]);
    assert_eq!(send(b"b@red.test"), ["the letter was refused: 451 no room"]);
    assert_eq!(send(b"b@red.test"), ["sender <>: 550 no sender"]);
    session.quit();
    server.end();
}

#[test]
fn hundreds_of_recipients_go_in_groups_whose_replies_fit() {
    let server = play(|peer| {
        greet(peer, &["PIPELINING"]);
        // MAIL and 99 RCPT, then 100 and 51.
        for group in [100, 100, 51] {
            (0..group).for_each(|_| drop(peer.line()));
            assert!(peer.is_silent());
            peer.send("250 ok\r\n".repeat(group));
        }
        take_letter(peer, &[], "250 taken");
    });
    let mut session = server.open(settings());
    let to = vec![&b"a@red.test"[..]; 250];
    let outcomes = session.send(&Envelope::new(b"", to), &mut &b""[..]);
    assert_eq!(said(&outcomes), vec!["250 taken"; 250]);
    server.end();
}

#[test]
fn only_a_354_is_followed_by_the_letter_and_an_odd_reply_by_no_other_letter() {
    for (says, status, temporary, goes_on) in [
        ("250 ok", Status::Protocol, true, false),
        ("334 go", Status::Protocol, true, false),
        ("451 later", Status::Temporary, true, true),
        ("554 5.7.1 no", Status::Unavailable, false, true),
    ] {
        let server = play(move |peer| {
            greet(peer, &[]);
            turn(peer, "MAIL FROM:<>", "250 ok");
            turn(peer, "RCPT TO:<a@red.test>", "250 ok");
            turn(peer, "DATA", says);
            turn(peer, "QUIT", "221 bye");
        });
        let mut session = server.open(settings());
        let outcomes = session.send(&Envelope::new(b"", [TO[0]]), &mut &b"hello"[..]);
        let failure = outcomes[0].as_ref().unwrap_err();
        assert_eq!((failure.status, failure.is_temporary()), (status, temporary), "{says}");
        assert_eq!((failure.stage, session.is_usable()), (Stage::Data, goes_on), "{says}");
        session.quit();
        server.end();
    }
}

#[test]
fn a_server_that_answers_what_was_not_asked_gets_nothing_more() {
    let server = play(|peer| {
        greet(peer, &[]);
        turn(peer, "MAIL FROM:<>", "250 ok");
        turn(peer, "RCPT TO:<a@red.test>", "250 ok\r\n354 go\r\n250 taken");
        assert!(peer.is_closed());
    });
    let mut session = server.open(settings());
    let outcomes = session.send(&Envelope::new(b"", [TO[0]]), &mut &b"hello"[..]);
    assert_eq!(said(&outcomes), ["the server answers what was not asked"]);
    let failure = outcomes[0].as_ref().unwrap_err();
    assert!(failure.is_temporary() && failure.is_lost && !failure.may_have_letter());
    drop(session);
    server.end();
}

#[test]
fn what_is_no_reply_is_a_temporary_failure() {
    let long = format!("250 {}\r\n", "x".repeat(5000));
    let endless = "250-x\r\n".repeat(1000);
    for (bytes, says) in [
        ("250-a\r\n251 b\r\n", "a reply with two codes"),
        ("hello\r\n", "hello"),
        ("25\r\n", "25"),
        ("250+ok\r\n", "250+ok"),
        (&long, "a line that is too long"),
        (&endless, "a reply without an end"),
    ] {
        let bytes = bytes.to_owned();
        let server = play(move |peer| {
            greet(peer, &[]);
            hear(peer, "MAIL FROM:<>");
            let _ = peer.try_send(bytes); // the client may have gone
            assert!(peer.is_closed());
        });
        let mut session = server.open(settings());
        let outcomes = session.send(&Envelope::new(b"", [TO[0]]), &mut &b"hello"[..]);
        assert_eq!(said(&outcomes), [format!("not an SMTP reply: {says}")]);
        let failure = outcomes[0].as_ref().unwrap_err();
        assert_eq!((failure.code.to_string().as_str(), failure.is_lost), ("4.5.0", true));
        drop(session);
        server.end();
    }
}
