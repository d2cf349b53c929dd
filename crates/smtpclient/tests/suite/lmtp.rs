//! LMTP (RFC 2033): a reply to the letter for each recipient that was taken.

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use smtpclient::{Envelope, Place, Protocol, Session, Settings, Target};
use testkit::{Peer, TempDir};

use super::{play, said, settings, take_letter, turn};

const TO: [&[u8]; 3] = [b"a@red.test", b"b@red.test", b"c@red.test"];

fn lmtp() -> Settings {
    Settings { protocol: Protocol::Lmtp, ..settings() }
}

fn introduce(peer: &mut Peer) {
    peer.send("220 red.test\r\n");
    turn(peer, "LHLO topaz.test", "250 red.test");
    turn(peer, "MAIL FROM:<>", "250 ok");
    turn(peer, "RCPT TO:<a@red.test>", "250 ok");
    turn(peer, "RCPT TO:<b@red.test>", "550 5.1.1 no");
    turn(peer, "RCPT TO:<c@red.test>", "250 ok");
}

#[test]
fn each_recipient_that_was_taken_has_a_reply_to_the_letter() {
    let server = play(|peer| {
        introduce(peer);
        take_letter(peer, &["x"], "250 one\r\n452 4.2.2 full");
        turn(peer, "RSET", "250 ok");
        turn(peer, "MAIL FROM:<>", "250 ok");
        turn(peer, "RCPT TO:<a@red.test>", "250 ok");
        take_letter(peer, &["y"], "250 again");
        turn(peer, "QUIT", "221 bye");
    });
    let mut session = server.open(lmtp());
    let outcomes = session.send(&Envelope::new(b"", TO), &mut &b"x\n"[..]);
    let no = "recipient <b@red.test>: 550 5.1.1 no";
    assert_eq!(said(&outcomes), ["250 one", no, "recipient <c@red.test>: 452 4.2.2 full"]);
    let outcomes = session.send(&Envelope::new(b"", [TO[0]]), &mut &b"y\n"[..]);
    assert_eq!(said(&outcomes), ["250 again"]);
    session.quit();
    server.end();
}

#[test]
fn those_without_a_reply_may_have_the_letter_and_the_others_do_or_do_not() {
    let server = play(|peer| {
        introduce(peer);
        take_letter(peer, &["x"], "250 one");
    });
    let mut session = server.open(lmtp());
    let outcomes = session.send(&Envelope::new(b"", TO), &mut &b"x\n"[..]);
    assert!(outcomes[0].is_ok());
    let failures = [&outcomes[1], &outcomes[2]].map(|it| it.as_ref().unwrap_err());
    assert_eq!(
        failures.map(|it| (it.may_have_letter(), it.is_temporary())),
        [(false, false), (true, true)]
    );
    assert!(!session.is_usable());
    server.end();
}

#[test]
fn a_server_without_lhlo_is_none_of_lmtp() {
    let server = play(|peer| {
        peer.send("220 red.test\r\n");
        turn(peer, "LHLO topaz.test", "500 what?");
        turn(peer, "QUIT", "221 bye");
    });
    assert_eq!(super::said_of(&server.refuses(lmtp())), "LHLO: 500 what?");
    server.end();
}

#[test]
fn a_recipient_is_asked_about_without_a_letter() {
    let dir = TempDir::new();
    let path = dir.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let name = forknet::UnixName::parse(path.to_str().unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let stream = listener.accept().unwrap().0;
        let (mut lines, mut out) = (BufReader::new(&stream).lines(), &stream);
        out.write_all(b"220 ready\r\n").unwrap();
        for (hears, says) in [
            ("LHLO topaz.test", "250 red.test"),
            ("MAIL FROM:<>", "250 ok"),
            ("RCPT TO:<a@red.test>", "452 4.2.2 full"),
            ("RSET", "250 ok"),
            ("MAIL FROM:<>", "451 later"),
            ("RSET", "250 ok"),
            ("NOOP", "250 ok"),
        ] {
            assert_eq!(lines.next().unwrap().unwrap(), hears);
            out.write_all(format!("{says}\r\n").as_bytes()).unwrap();
        }
    });
    let settings = Settings { label: Some("lmtp"), ..lmtp() };
    let target = Target::new(Place::Unix(name));
    let mut session = Session::open(&Arc::new(settings), &target).unwrap();
    assert_eq!(session.verify(TO[0]).unwrap().to_string(), "452 4.2.2 full");
    assert_eq!(session.verify(TO[0]).unwrap().to_string(), "451 later");
    assert!(session.is_alive());
    server.join().unwrap();
    assert!(!session.is_alive() && !session.is_usable());
}
