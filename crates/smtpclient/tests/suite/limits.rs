//! What a server does not offer, and what follows for the letter.

use smtpclient::{EightBit, Envelope, Recipient, Settings, Status};

use super::{greet, hear, play, said, settings, take_letter, turn};

const TO: &[u8] = b"a@red.test";
const GREEN: &str = "A: b\n\ngr\u{fc}n\n";
const GREEN_HEADER: &str = "A: gr\u{fc}n\n\nb\n";

#[test]
fn a_letter_that_the_server_cannot_take_is_refused_for_good_and_not_sent() {
    let server = play(|peer| {
        greet(peer, &["SIZE 10"]);
        turn(peer, "QUIT", "221 bye");
    });
    let mut session = server.open(settings());
    let plain = Envelope::new(b"", [TO]);
    let utf8 = Envelope { is_utf8: true, ..plain.clone() };
    let sender = Envelope::new("\u{fc}@b.test".as_bytes(), [TO]);
    for (envelope, letter, code, why) in [
        (&plain, "0123456789", "5.3.4", "the letter has 12 octets, the server takes 10 at most"),
        (&plain, "\u{fc}", "5.6.3", "octets over 127 and the server does not offer 8BITMIME"),
        (
            &utf8,
            "\u{fc}: \n",
            "5.6.7",
            "the header is UTF-8 and the server does not offer SMTPUTF8",
        ),
        (&sender, "x", "5.6.7", "the sender or the header is UTF-8"),
    ] {
        let outcomes = session.send(envelope, &mut letter.as_bytes());
        let failure = outcomes[0].as_ref().unwrap_err();
        assert_eq!((failure.code.to_string().as_str(), failure.status), (code, Status::Data));
        assert!(failure.text.contains(why) && !failure.tries_another(), "{failure}");
        assert!(session.is_usable(), "the next letter may be one that it takes");
    }
    session.quit();
    server.end();
}

#[test]
fn of_several_recipients_those_in_utf8_alone_need_smtputf8() {
    let utf8 = "\u{fc}@red.test";
    let server = play(|peer| {
        greet(peer, &["8BITMIME"]);
        turn(peer, "MAIL FROM:<> BODY=8BITMIME", "250 ok");
        turn(peer, "RCPT TO:<a@red.test>", "250 ok");
        take_letter(peer, &["A: b", "", "gr\u{fc}n"], "250 taken");
    });
    let mut session = server.open(settings());
    let outcomes = session.send(&Envelope::new(b"", [utf8.as_bytes(), TO]), &mut GREEN.as_bytes());
    let why = format!("recipient <{utf8}>: it is UTF-8 and the server does not offer SMTPUTF8");
    assert_eq!(said(&outcomes), [why.as_str(), "250 taken"]);
    assert_eq!(outcomes[0].as_ref().unwrap_err().code.to_string(), "5.6.7");
    let outcomes = session.send(&Envelope::new(b"", [utf8.as_bytes()]), &mut &b"x"[..]);
    assert_eq!(said(&outcomes), [why.as_str()], "and nothing is sent");
    server.end();
}

#[test]
fn what_is_offered_is_used_and_all_parameters_go_along() {
    let server = play(|peer| {
        greet(peer, &["SIZE", "8BITMIME", "SMTPUTF8", "DSN"]);
        let mail = "MAIL FROM:<x@b.test> SIZE=15 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+2B1";
        turn(peer, mail, "250 ok");
        let rcpt = "RCPT TO:<\u{fc}@red.test> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;x@red.test";
        turn(peer, rcpt, "250 ok");
        take_letter(peer, &["A: gr\u{fc}n", "", "b"], "250 taken");
    });
    let mut session = server.open(settings());
    let to = "\u{fc}@red.test";
    let recipient =
        Recipient { address: to.as_bytes(), notify: b"SUCCESS,DELAY", orcpt: b"utf-8;x@red.test" };
    let envelope = Envelope {
        from: b"x@b.test",
        is_utf8: true,
        ret: b"HDRS",
        envid: b"Q+2B1",
        to: vec![recipient],
    };
    let outcomes = session.send(&envelope, &mut GREEN_HEADER.as_bytes());
    let delivered = outcomes[0].as_ref().unwrap();
    assert!(delivered.offers_dsn && delivered.host == "red.test" && delivered.tls.is_none());
    server.end();
}

#[test]
fn a_server_of_ones_own_gets_the_letter_as_it_is() {
    let server = play(|peer| {
        greet(peer, &[]);
        turn(peer, "MAIL FROM:<>", "250 ok");
        turn(peer, "RCPT TO:<\u{fc}@red.test>", "250 ok");
        take_letter(peer, &["A: b", "", "gr\u{fc}n"], "250 taken");
    });
    let mut session = server.open(Settings { eight_bit: EightBit::Send, ..settings() });
    let to = "\u{fc}@red.test";
    let outcomes = session.send(&Envelope::new(b"", [to.as_bytes()]), &mut GREEN.as_bytes());
    assert_eq!(said(&outcomes), ["250 taken"]);
    server.end();
}

#[test]
fn a_server_that_refuses_ehlo_gets_helo_and_no_parameters() {
    let server = play(|peer| {
        peer.send("220-red.test\r\n220 old\r\n");
        turn(peer, "EHLO topaz.test", "500 what?");
        turn(peer, "HELO topaz.test", "250-red.test\r\n250 DSN");
        turn(peer, "MAIL FROM:<>", "250 ok");
        turn(peer, "RCPT TO:<a@red.test>", "250 ok");
        take_letter(peer, &["x"], "250 taken");
        hear(peer, "QUIT");
    });
    let mut session = server.open(settings());
    let envelope = Envelope { ret: b"FULL", ..Envelope::new(b"", [TO]) };
    assert_eq!(said(&session.send(&envelope, &mut &b"x"[..])), ["250 taken"]);
    session.quit();
    server.end();
}

#[test]
fn a_server_that_does_not_serve_is_left_with_quit() {
    for (greeting, code, is_temporary) in
        [("421 4.3.2 busy", "4.3.2", true), ("554 no", "5.0.0", false)]
    {
        let server = play(move |peer| {
            peer.send(format!("{greeting}\r\n"));
            if greeting.starts_with('5') {
                turn(peer, "QUIT", "221 bye");
            } else {
                assert!(peer.is_closed());
            }
        });
        let failure = server.refuses(settings());
        assert_eq!(super::said_of(&failure), format!("the server does not serve: {greeting}"));
        assert_eq!(
            (failure.code.to_string().as_str(), failure.is_temporary()),
            (code, is_temporary)
        );
        assert!(failure.tries_another());
        server.end();
    }
}
