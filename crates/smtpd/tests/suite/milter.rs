//! Filters that speak the milter protocol (`--milter`): a scripted one stands for those that exist.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::Daemon;

use crate::common::*;
use crate::milter_fake::{Heard, Script, filter};

fn served(fixture: &Fixture, script: Script, more: &[&str]) -> (Daemon, Heard) {
    let (address, heard) = filter(script);
    (fixture.serve(&[&["--milter", &address.to_string()], more].concat()), heard)
}

#[test]
fn a_filter_hears_each_step_with_what_the_client_said_and_the_letter_arrives_as_it_was() {
    let fixture = Fixture::new();
    let (daemon, heard) = served(&fixture, Script::new(&[]), &[]);
    let mut peer = in_data(&daemon);
    peer.send("Subject: hello\r\n world\r\nX:y\r\n\r\nbody\r\n..dot\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
    assert_eq!(fixture.letter("levy"), "Subject: hello\n world\nX:y\n\nbody\n.dot\n");
    testkit::wait_until("the filter hears the end", || !heard.all(b'Q').is_empty());
    assert_eq!(heard.commands(), "OCHMRTLLNBEQ");
    let port = peer.stream().local_addr().unwrap().port().to_be_bytes();
    let port = String::from_utf8_lossy(&port).into_owned();
    assert_eq!(heard.all(b'C'), [format!("[127.0.0.1]\x004{port}127.0.0.1\0")]);
    assert_eq!(heard.all(b'H'), ["topaz.test\0"]);
    assert_eq!(heard.all(b'M'), ["<hedrick@topaz.test>\0"]);
    assert_eq!(heard.all(b'R'), ["<levy@red.test>\0"]);
    assert_eq!(heard.all(b'L'), ["Subject\0hello\n world\0", "X\0y\0"]);
    assert_eq!(heard.all(b'B'), ["body\r\n.dot\r\n"]);
    let macros = heard.all(b'D').concat();
    for part in ["Cj\0red.test\0", "{client_addr}\x00127.0.0.1\0", "{rcpt_addr}\0levy@red.test\0"] {
        assert!(macros.contains(part), "{macros:?}");
    }
    testkit::wait_until("the letter is logged", || daemon.log().contains("delivered id="));
    let log = daemon.log();
    let id = log.split("delivered id=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(macros.contains(&format!("Ei\0{id}\0")), "{macros:?}");
}

#[test]
fn each_step_may_be_refused_or_put_off_and_the_client_reads_why() {
    let fixture = Fixture::new();
    let own: &[(u8, &[u8])] = &[(b'y', b"554 5.7.0 Not today\0")];
    let go_on = "250 ";
    for (step, answer, replies) in [
        (b'C', &[(b'r', &b""[..])][..], ["554 5.7.1 red.test Not served", "", "", "", ""]),
        (b'C', &[(b't', b"")], ["421 4.7.1 red.test Not served now", "", "", "", ""]),
        (b'H', &[(b'r', b"")], ["550 5.7.1 ", "503 ", "503 ", "503 ", ""]),
        (b'M', &[(b't', b"")], [go_on, "451 4.7.1 ", "503 ", "503 ", ""]),
        (b'M', own, [go_on, "554 5.7.0 Not today", "503 ", "503 ", ""]),
        (b'R', own, [go_on, go_on, "554 5.7.0 Not today", "554 5.5.1 ", ""]),
        (b'T', own, [go_on, go_on, go_on, "554 5.7.0 Not today", ""]),
        (b'L', own, [go_on, go_on, go_on, "354 ", "554 5.7.0 Not today"]),
        (b'N', &[(b'r', b"")], [go_on, go_on, go_on, "354 ", "550 5.7.1 "]),
        (b'B', &[(b't', b"")], [go_on, go_on, go_on, "354 ", "451 4.7.1 "]),
        (
            b'E',
            &[(b'p', b""), (b'h', b"X\0y\0"), (b'r', b"")],
            [go_on, go_on, go_on, "354 ", "550 5.7.1 "],
        ),
    ] {
        let (daemon, _) = served(&fixture, Script::new(&[(step, answer)]), &[]);
        let mut peer = testkit::Peer::connect(daemon.addr());
        if step == b'C' {
            peer.expect(replies[0]);
            assert_eq!(peer.rest(), b"");
            continue;
        }
        peer.expect("220 ");
        for (line, reply) in
            ["HELO topaz.test", "MAIL FROM:<a@b.test>", "RCPT TO:<levy@red.test>", "DATA"]
                .iter()
                .zip(replies)
        {
            peer.ask(line, reply);
        }
        if !replies[4].is_empty() {
            peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
            peer.expect(replies[4]);
        }
        peer.ask("NOOP", "250 ");
        peer.ask("RSET", "250 "); // else the draft waits for another letter
        fixture.assert_nothing();
    }
}

#[test]
fn a_recipient_that_a_filter_refuses_is_left_out_and_the_other_gets_the_letter() {
    let fixture = Fixture::new();
    // It refuses all, and those that were accepted before stay.
    let (daemon, _) = served(&fixture, Script::new(&[(b'R', &[(b'r', b"")])]), &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "550 5.7.1 ");
    peer.ask("RCPT TO:<nobody@red.test>", "550 5.1.1 ");
    peer.ask("DATA", "554 5.5.1 ");
    peer.ask("QUIT", "221 ");
    fixture.assert_nothing();
}

#[test]
fn a_filter_adds_changes_and_removes_fields_and_none_of_ours() {
    let fixture = Fixture::new();
    let edits: &[(u8, &[u8])] = &[
        (b'h', b"X-Spam\0no,\r\n score=1\0"),
        (b'i', b"\0\0\0\x01DKIM-Signature\0v=1;\n\tb=abc\0"),
        (b'i', b"\0\0\0\0Top\0t\0"),
        (b'm', b"\0\0\0\x01Subject\0[spam] hello\0"),
        (b'm', b"\0\0\0\x02X-Old\0\0"),
        (b'm', b"\0\0\0\x01Received\0gone\0"),
        (b'h', b"Evil\0a\r\n\r\nnot a body\0"),
        (b'c', b""),
    ];
    let (daemon, _) = served(&fixture, Script::new(&[(b'E', edits)]), &[]);
    let mut peer = in_data(&daemon);
    peer.send("Subject: hello\r\nX-Old: 1\r\nX-Old: 2\r\n\r\nbody\r\n.\r\n");
    peer.expect("250 ");
    let letter = fixture.letters("levy").remove(0);
    assert!(
        letter.starts_with("Return-Path: <hedrick@topaz.test>\nTop: t\nReceived: from topaz.test "),
        "{letter}"
    );
    let rest = "DKIM-Signature: v=1;\n\tb=abc\nSubject: [spam] hello\nX-Old: 1\nX-Spam: no,\n score=1\n\
                Received: gone\nEvil: a\n\tnot a body\n\nbody\n";
    assert!(letter.ends_with(rest), "{letter}");
}

#[test]
fn a_long_letter_passes_a_filter_in_pieces_and_gets_its_field_and_a_new_body_takes_its_place() {
    let fixture = Fixture::new();
    let answers: &[(u8, &[u8])] = &[(b'h', b"X-Seen\0yes\0"), (b'c', b"")];
    let (daemon, heard) = served(&fixture, Script::new(&[(b'E', answers)]), &[]);
    let body = format!("{}\r\n", "m".repeat(998)).repeat(2000);
    let mut peer = in_data(&daemon);
    peer.send(format!("Subject: long\r\n\r\n{body}.\r\n"));
    peer.expect("250 ");
    assert_eq!(
        fixture.letter("levy"),
        format!("Subject: long\nX-Seen: yes\n\n{}", body.replace('\r', ""))
    );
    let pieces = heard.all(b'B');
    assert!(pieces.iter().all(|piece| piece.len() <= 65_535));
    assert_eq!(pieces.concat(), body);

    let fixture = Fixture::new();
    let answers: &[(u8, &[u8])] = &[(b'b', b"new\r\n"), (b'b', b"body"), (b'c', b"")];
    let (daemon, _) = served(&fixture, Script::new(&[(b'E', answers)]), &[]);
    let mut peer = in_data(&daemon);
    peer.send(format!("Subject: long\r\n\r\n{body}.\r\n"));
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "Subject: long\n\nnew\nbody\n");
}

#[test]
fn a_letter_that_a_filter_discards_is_answered_250_and_is_nowhere() {
    let fixture = Fixture::new();
    for step in [b'M', b'R', b'L', b'B', b'E'] {
        let (daemon, _) = served(&fixture, Script::new(&[(step, &[(b'd', b"")])]), &[]);
        let mut peer = in_data(&daemon);
        peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
        peer.expect("250 ");
        daemon.wait_log("discards the letter");
        fixture.assert_nothing();
    }
}

#[test]
fn a_filter_that_accepts_early_is_asked_no_more() {
    let fixture = Fixture::new();
    for (step, commands) in [(b'C', "OCQ"), (b'M', "OCHMMQ"), (b'B', "OCHMRTLNBMRTLNBQ")] {
        let (daemon, heard) = served(&fixture, Script::new(&[(step, &[(b'a', b"")])]), &[]);
        let mut peer = introduced(&daemon);
        for _ in 0..2 {
            peer.ask("MAIL FROM:<a@b.test>", "250 ");
            peer.ask("RCPT TO:<levy@red.test>", "250 ");
            peer.ask("DATA", "354 ");
            peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
            peer.expect("250 ");
        }
        peer.ask("QUIT", "221 ");
        testkit::wait_until("the filter hears the end", || !heard.all(b'Q').is_empty());
        let heard: String = heard.commands().chars().filter(|it| *it != 'A').collect();
        assert_eq!(heard, commands);
    }
}

#[test]
fn a_filter_that_wants_no_answers_and_no_bodies_is_served_so() {
    let fixture = Fixture::new();
    let script = Script { steps: 0x80 | 0x4000 | 0x10 | 0x02, ..Script::new(&[]) };
    let (daemon, heard) = served(&fixture, script, &[]);
    let mut peer = in_data(&daemon);
    peer.send("Subject: x\r\nX: y\r\n\r\nbody\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
    testkit::wait_until("the filter hears the end", || !heard.all(b'Q').is_empty());
    assert_eq!(heard.commands(), "OCMRTLLNEQ");
}

#[test]
fn a_letter_that_is_dropped_is_aborted_before_the_next() {
    let fixture = Fixture::new();
    let (daemon, heard) = served(&fixture, Script::new(&[]), &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RSET", "250 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("HELO again.test", "250 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("bare\rcr\r\n.\r\n");
    peer.expect("550 5.6.11 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    let commands = heard.commands();
    assert!(commands.starts_with("OCHMAMAHMRT") && commands.ends_with("AM"), "{commands}");
}

#[test]
fn without_its_filter_a_server_puts_letters_off_or_takes_them_as_it_was_started() {
    let fixture = Fixture::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let path = fixture.dir.path().join("none").display().to_string();
    for address in [gone, format!("unix:{path}")] {
        let daemon = fixture.serve(&["--milter", &address]);
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "451 4.7.1 ");
        daemon.wait_log(&format!("milter {address}: connect to {address}: "));
        let options = ["--milter", &address, "--milter-on-failure", "accept"];
        let daemon = fixture.serve(&options);
        let mut peer = in_data(&daemon);
        peer.send("Subject: x\r\n\r\nwithout\r\n.\r\n");
        peer.expect("250 ");
    }
    assert_eq!(fixture.letters("levy").len(), 2);
}

#[test]
fn a_filter_that_ends_or_answers_nonsense_at_any_step_is_a_failure_and_no_harm() {
    let nonsense: [&[(u8, &[u8])]; 4] =
        [&[(0, b"")], &[(b'?', b"")], &[(b'y', b"250 fine\0")], &[(b'O', b"\0\0")]];
    for step in [b'C', b'H', b'M', b'R', b'T', b'L', b'N', b'B', b'E'] {
        for answer in nonsense {
            let fixture = Fixture::new();
            let answers = [(step, answer)];
            let (daemon, _) = served(&fixture, Script::new(&answers), &[]);
            let mut peer = introduced(&daemon);
            let mut replies = Vec::new();
            peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n");
            for _ in 0..3 {
                replies.push(String::from_utf8(peer.line()).unwrap());
            }
            if replies[2].starts_with("354 ") {
                peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
                replies.push(String::from_utf8(peer.line()).unwrap());
            }
            let put_off = replies.iter().any(|reply| reply.starts_with("451 4.7.1 "));
            assert!(put_off, "{} {answer:?}: {replies:?}", char::from(step));
            daemon.wait_log("milter 127.0.0.1:");
            peer.ask("RSET", "250 "); // else the draft waits for another letter
            fixture.assert_nothing();
        }
    }
}

#[test]
fn a_change_that_was_not_offered_is_a_failure() {
    let fixture = Fixture::new();
    for action in [b'+', b'-', b'e'] {
        let answers: &[(u8, &[u8])] = &[(action, b"<bob@red.test>\0"), (b'c', b"")];
        let (daemon, _) = served(&fixture, Script::new(&[(b'E', answers)]), &[]);
        let mut peer = in_data(&daemon);
        peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
        peer.expect("451 4.7.1 ");
        daemon.wait_log("which is not done here");
        fixture.assert_nothing();
    }
}

#[test]
fn two_filters_are_asked_in_turn_over_a_socket_file_and_under_each_model() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("milter");
    let listener = UnixListener::bind(&path).unwrap();
    let add: &[(u8, &[u8])] = &[(b'h', b"X-One\x001\0"), (b'c', b"")];
    let script = Arc::new(Script::new(&[(b'E', add)]));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let script = Arc::clone(&script);
            thread::spawn(move || script.run(stream.unwrap(), &Heard::default()));
        }
    });
    let (one, add) =
        (format!("unix:{}", path.display()), &[(b'h', &b"X-Two\x002\0"[..]), (b'c', b"")]);
    let (two, _) = filter(Script::new(&[(b'E', add)]));
    testkit::each_model(&testkit::MODELS, |model| {
        let daemon =
            fixture.serve(&["--milter", &one, "--milter", &two.to_string(), "--model", model]);
        let mut peer = in_data(&daemon);
        peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
        peer.expect("250 ");
        assert_eq!(fixture.letter("levy"), "Subject: x\nX-One: 1\nX-Two: 2\n\nbody\n");
        std::fs::remove_dir_all(fixture.maildir("levy")).unwrap();
    });
}

#[test]
fn a_header_that_never_ends_is_not_held_in_memory() {
    let fixture = Fixture::new();
    let (daemon, _) = served(&fixture, Script::new(&[]), &[]);
    let mut peer = in_data(&daemon);
    peer.send(format!("X: {}\r\n", "h".repeat(900)).repeat(1000));
    peer.send("\r\nbody\r\n.\r\n");
    peer.expect("552 5.3.4 The header is too large");
    fixture.assert_nothing();
}

#[test]
fn the_process_that_talks_to_a_client_has_the_connection_to_a_filter_and_no_other_process_has() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("milter");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = fixture.serve(&["--milter", &format!("unix:{}", path.display())]);
    let client = testkit::Peer::connect(daemon.addr());
    let (mut filter, _) = listener.accept().unwrap();
    let mut options = [0; 17];
    filter.read_exact(&mut options).unwrap(); // of the front: it has the connection
    let front = testkit::only_child(daemon.pid());
    testkit::wait_until("front has no right but its descriptors", || {
        testkit::rights_left(front).is_empty()
    });
    // The process that has connected waits for the next question, and has the connection no more.
    kill(Pid::from_raw(front), Signal::SIGKILL).unwrap();
    assert_eq!(filter.read(&mut [0]).unwrap(), 0, "no other process keeps it open");
    drop(client);
}

#[test]
fn a_letter_that_a_filter_keeps_back_is_in_the_quarantine_alone() {
    let fixture = Fixture::new();
    let kept = fixture.dir.path().join("kept");
    make_home(&kept, OWNER);
    let answers: &[(u8, &[u8])] =
        &[(b'h', b"X-Virus\0yes\0"), (b'q', b"a virus\r\nEvil: x\0"), (b'c', b"")];
    let folder = kept.display().to_string();
    let (daemon, _) = served(&fixture, Script::new(&[(b'E', answers)]), &["--quarantine", &folder]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
    peer.expect("250 ");
    fixture.assert_nothing();
    let files = files(&kept.join("new"));
    assert_eq!(files.len(), 1);
    let letter = std::fs::read_to_string(&files[0]).unwrap();
    let top = "X-Quarantine: a virus??Evil: x\nX-Envelope-To: <levy@red.test>\nX-Envelope-To: <bob@red.test>\n";
    assert!(
        letter.starts_with(top) && letter.ends_with("Subject: x\nX-Virus: yes\n\nbody\n"),
        "{letter}"
    );
    daemon.wait_log("kept back: a virus??Evil: x");
    // Without the option, or without the folder, the letter waits with the client.
    for options in [&[][..], &["--quarantine", "/no/such/folder"]] {
        let (daemon, _) = served(&fixture, Script::new(&[(b'E', answers)]), options);
        let mut peer = in_data(&daemon);
        peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
        peer.expect("451 4.");
        fixture.assert_nothing();
    }
}
