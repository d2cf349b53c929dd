//! A connection that breaks or a server that is silent: how far the session had come, and what was waited for.

use std::time::Duration;

use smtpclient::{Envelope, Failure, Session, Settings, Stage, Status, Timeouts};
use testkit::Peer;

use super::{Server, greet, hear, play, said_of, settings, turn};

/// Sends a letter; returns why it was not taken.
fn send(session: &mut Session, letter: &[u8]) -> Failure {
    let envelope = Envelope::new(b"", [&b"a@red.test"[..]]);
    let mut outcomes = session.send(&envelope, &mut &*letter);
    assert!(!session.is_usable());
    outcomes.remove(0).unwrap_err()
}

/// The dialogue up to here; the server ends then, or is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Connected,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Letter,
}

const ALL: [(Until, Stage, &str); 6] = [
    (Until::Connected, Stage::Greeting, "the greeting"),
    (Until::Ehlo, Stage::Hello, "the reply to EHLO topaz.test"),
    (Until::Mail, Stage::Mail, "the reply to MAIL FROM:<>"),
    (Until::Rcpt, Stage::Recipient, "the reply to RCPT TO:<a@red.test>"),
    (Until::Data, Stage::Data, "the reply to DATA"),
    (Until::Letter, Stage::End, "the reply to the letter"),
];

fn dialogue(peer: &mut Peer, until: Until) {
    if until == Until::Connected {
        return;
    }
    if until == Until::Ehlo {
        peer.send("220 red.test\r\n");
        return hear(peer, "EHLO topaz.test");
    }
    greet(peer, &[]);
    let lines = [
        (Until::Mail, "MAIL FROM:<>", "250 ok"),
        (Until::Rcpt, "RCPT TO:<a@red.test>", "250 ok"),
        (Until::Data, "DATA", "354 go"),
    ];
    for (at, line, reply) in lines {
        if at == until {
            return hear(peer, line);
        }
        turn(peer, line, reply);
    }
    hear(peer, "hello");
    hear(peer, ".");
}

/// Runs the dialogue, whose server does this at its end.
fn failure(until: Until, settings: Settings, end: fn(Peer)) -> Failure {
    let server = Server::start(move |listener| {
        let mut peer = super::accept(listener);
        dialogue(&mut peer, until);
        end(peer);
    });
    let failure = if until <= Until::Ehlo {
        server.refuses(settings)
    } else {
        send(&mut server.open(settings), b"hello")
    };
    server.end();
    failure
}

impl PartialOrd for Until {
    fn partial_cmp(&self, other: &Until) -> Option<std::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

#[test]
fn a_connection_that_breaks_says_what_was_waited_for_and_whether_the_letter_may_have_come() {
    for (until, stage, what) in ALL {
        for (end, why) in [
            (drop as fn(Peer), "the server closed the connection"),
            (Peer::reset, "Connection reset by peer"),
        ] {
            let failure = failure(until, settings(), end);
            let mut text = format!("waiting for {what}: {why}");
            if stage == Stage::End {
                text += ": no reply to the letter, it may or may not have been delivered";
            }
            assert_eq!(said_of(&failure), text);
            assert_eq!((failure.stage, failure.status), (stage, Status::Temporary));
            assert_eq!(failure.may_have_letter(), stage == Stage::End, "{failure}");
            assert_eq!(failure.tries_another(), stage != Stage::End, "{failure}");
            assert_eq!((failure.code.to_string().as_str(), failure.is_lost), ("4.4.2", true));
        }
    }
}

#[test]
fn a_server_that_is_silent_is_given_up_at_each_stage_after_its_limit() {
    let limits = Timeouts::all(super::PATIENT);
    for (until, stage, what) in ALL {
        // What comes before the silence has the same limit, of which a slow machine needs more.
        let mut tries = (0..12).map(|power| Duration::from_millis(100 << power));
        let failure = tries.find_map(|limit| {
            let timeouts = match stage {
                Stage::Data => Timeouts { data: limit, ..limits },
                Stage::End => Timeouts { end: limit, ..limits },
                _ => Timeouts { command: limit, ..limits },
            };
            let failure = silence(until, Settings { timeouts, ..settings() });
            (failure.stage == stage).then_some(failure)
        });
        let failure = failure.expect("time enough for what comes before");
        let text = said_of(&failure);
        assert!(text.starts_with(&format!("waiting for {what}: nothing within ")), "{text}");
        assert_eq!(failure.may_have_letter(), stage == Stage::End);
    }
}

/// Runs the dialogue with a server that is silent at its end.
fn silence(until: Until, settings: Settings) -> Failure {
    let server = Server::start(move |listener| {
        let mut peer = super::accept(listener);
        dialogue(&mut peer, until);
        assert!(peer.is_closed());
    });
    match Session::open(&std::sync::Arc::new(settings), &server.target()) {
        Ok(mut session) => send(&mut session, b"hello"),
        Err(failure) => failure,
    }
}

/// A reply comes every half second, which is within two seconds for each, and not for all six. A try in which one was late
/// says nothing.
#[test]
fn each_reply_of_a_group_has_the_whole_limit() {
    testkit::judged_within(Duration::from_millis(4500), |watch| {
        let server = play(|peer| {
            greet(peer, &["PIPELINING"]);
            (0..6).for_each(|_| drop(peer.line()));
            for _ in 0..6 {
                std::thread::sleep(Duration::from_millis(500));
                if peer.try_send(b"550 no\r\n").is_err() {
                    return; // the client has waited too long for one
                }
            }
        });
        let timeouts =
            Timeouts { command: Duration::from_secs(2), ..Timeouts::all(super::PATIENT) };
        let mut session = server.open(Settings { timeouts, ..settings() });
        let envelope = Envelope::new(b"", [&b"a@red.test"[..]; 5]);
        let outcomes = session.send(&envelope, &mut &b"hello"[..]);
        watch.stop();
        assert_eq!(super::said(&outcomes), ["sender <>: 550 no"; 5]);
        server.end();
    });
}

#[test]
fn a_server_that_goes_in_the_middle_of_a_letter_has_not_taken_it() {
    let large = "x".repeat(70).repeat(500_000);
    for (says, expected) in [
        ("", None),
        ("552 5.3.4 too large\r\n", Some("while sending the letter: 552 5.3.4 too large")),
    ] {
        let server = play(move |peer| {
            greet(peer, &[]);
            turn(peer, "MAIL FROM:<>", "250 ok");
            turn(peer, "RCPT TO:<a@red.test>", "250 ok");
            turn(peer, "DATA", "354 go");
            drop(peer.take(1000));
            peer.send(says);
            peer.shutdown_write();
            // The client still sends; what it does not get rid of is lost, and then it looks for a reply.
            std::thread::sleep(Duration::from_millis(50));
        });
        let mut session = server.open(settings());
        let failure = send(&mut session, large.as_bytes());
        assert_eq!(failure.stage, Stage::Text, "{failure}");
        assert!(!failure.may_have_letter() && failure.is_lost);
        if let Some(expected) = expected.filter(|_| failure.reply.is_some()) {
            assert_eq!(said_of(&failure), expected);
        } else {
            assert!(said_of(&failure).starts_with("sending the letter: "), "{failure}");
        }
        server.end();
    }
}

/// A letter that cannot be read to its end.
struct Broken;

impl smtpclient::Letter for Broken {
    fn facts(&self) -> smtpclient::Facts {
        smtpclient::Facts::default()
    }

    fn reader(&mut self) -> std::io::Result<Box<dyn std::io::Read + '_>> {
        Ok(Box::new(Broken))
    }
}

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::from_raw_os_error(nix::libc::EIO))
    }
}

#[test]
fn half_a_letter_has_no_end() {
    let server = play(|peer| {
        greet(peer, &[]);
        turn(peer, "MAIL FROM:<>", "250 ok");
        turn(peer, "RCPT TO:<a@red.test>", "250 ok");
        turn(peer, "DATA", "354 go");
        assert_eq!(peer.rest(), b"", "no dot");
    });
    let mut session = server.open(settings());
    let outcomes = session.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut Broken);
    let failure = outcomes[0].as_ref().unwrap_err();
    assert_eq!(
        (failure.text.as_str(), failure.status),
        ("the letter: Input/output error", Status::Io)
    );
    assert!(failure.is_temporary() && !failure.may_have_letter());
    session.quit();
    server.end();
}

#[test]
fn a_host_that_is_not_there_is_told_by_its_address() {
    let server = play(|_| {});
    let target = server.target();
    drop(std::net::TcpStream::connect(server.address));
    server.end();
    let failure = Session::open(&std::sync::Arc::new(settings()), &target).unwrap_err();
    assert!(failure.text.starts_with("connect to 127.0.0.1:"), "{failure}");
    assert_eq!((failure.stage, failure.code.to_string().as_str()), (Stage::Connect, "4.4.1"));
    assert_eq!(failure.host.as_deref(), Some("red.test"));
}
