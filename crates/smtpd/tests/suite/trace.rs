//! The lines above a letter (RFC 5321 §4.4, §6.3).

use crate::common::*;

#[test]
fn return_path_and_received_stand_first_and_name_client_server_id_and_recipient() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send(format!("{LETTER}.\r\n"));
    let reply = String::from_utf8(peer.expect("250 ")).unwrap();
    let id = reply.trim_end().rsplit(' ').next().unwrap();
    let letter = fixture.letters("levy").remove(0);
    let lines: Vec<&str> = letter.lines().collect();
    assert_eq!(lines[0], "Return-Path: <hedrick@topaz.test>");
    assert_eq!(lines[1], "Received: from topaz.test ([127.0.0.1])");
    assert_eq!(lines[2], format!("\tby red.test with ESMTP id {id}"));
    assert_eq!(lines[3], "\tfor <levy@red.test>;");
    // Sun, 22 Nov 2026 19:28:03 +0000
    let date: Vec<&str> = lines[4].trim().split([' ', ':']).collect();
    assert!(date.len() == 8 && date[0].ends_with(',') && date[7].len() == 5, "{}", lines[4]);
    assert_eq!(lines[5..].join("\r\n") + "\r\n", LETTER);
}

#[test]
fn helo_is_smtp_and_a_null_sender_has_an_empty_return_path() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["-l", "[::1]:0"]);
    let mut peer = greeted(&daemon);
    peer.ask("HELO [IPv6:::1]", "250 ");
    peer.ask("MAIL FROM:<>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    let letter = fixture.letters("levy").remove(0);
    let start =
        "Return-Path: <>\nReceived: from [IPv6:::1] ([IPv6:::1])\n\tby red.test with SMTP id ";
    assert!(letter.starts_with(start), "{letter}");
}

#[test]
fn several_recipients_do_not_learn_of_each_other() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for to in ["levy@red.test", "bob@red.test", "LEVY@red.test", "levy@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "250 ");
    }
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    for user in ["levy", "bob"] {
        assert_eq!(fixture.letter(user), "x\n");
        let letter = fixture.letters(user).remove(0);
        assert!(!letter.contains("for <") && !letter.contains("@red.test"), "{letter}");
    }
}

#[test]
fn return_path_fields_that_a_letter_brings_are_replaced_by_one() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send("Return-Path: <forged@x.test>\r\nSubject: a\r\nreturn-path:\r\n <y>\r\n\r\nReturn-Path: body\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "Subject: a\n\nReturn-Path: body\n");
}

#[test]
fn a_letter_with_a_hundred_received_fields_goes_in_circles() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let hop = "Received: from a.test\r\n\tby b.test; Sun, 22 Nov 2026 19:28:03 +0000\r\n";
    for (hops, code) in [(100, "554 5.4.6 "), (500, "554 5.4.6 "), (99, "250 ")] {
        let mut peer = in_data(&daemon);
        peer.send(format!("{}Subject: x\r\n\r\n{LETTER}.\r\n", hop.repeat(hops)));
        peer.expect(code);
        peer.ask("QUIT", "221 ");
        assert_eq!(fixture.letters("levy").len(), usize::from(hops == 99));
    }
    // In the body they are text.
    let mut peer = in_data(&daemon);
    peer.send(format!("Subject: x\r\n\r\n{}.\r\n", hop.repeat(150)));
    peer.expect("250 ");
}

#[test]
fn the_log_has_one_line_for_a_letter_and_one_for_a_refusal() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send(format!("{LETTER}.\r\n"));
    let reply = String::from_utf8(peer.expect("250 ")).unwrap();
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<no\x1b[2J@red.test>", "501 ");
    peer.ask("RCPT TO:<nobody@red.test>", "550 ");
    let name = format!("127.0.0.1:{}", peer.stream().local_addr().unwrap().port());
    let size = LETTER.len();
    daemon.wait_log(&format!(
        "{name}: delivered id={id} from=<hedrick@topaz.test> to=<levy@red.test> size={size}"
    ));
    daemon.wait_log(&format!("{name}: refused \"RCPT TO:<nobody@red.test>\": 550 5.1.1"));
    daemon.wait_log("no\\x1b[2J@red.test");
    assert!(!daemon.log().contains('\x1b'));
}

#[test]
fn a_quoted_local_part_forges_no_field_of_the_log_and_a_name_of_helo_none_of_received() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.send("EHLO x) by evil.test id 1; Sun\r\n");
    while peer.expect("250")[3] == b'-' {}
    peer.ask("MAIL FROM:<\"x> to=<bob@red.test> size=1\"@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    daemon.wait_log("delivered id=");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(": delivered id=")).unwrap();
    for field in [" from=", " to=", " size=", " helo=", " where=maildir:1 ", " safe="] {
        assert_eq!(line.matches(field).count(), 1, "{field} in {line}");
    }
    assert!(line.contains(" to=<levy@red.test> size=3 "), "{line}");
    let letter = fixture.letters("levy").remove(0);
    let from = "\nReceived: from \"x) by evil.test id 1; Sun\" ([127.0.0.1])\n\tby red.test with ESMTP id ";
    assert!(letter.contains(from), "{letter}");
}

#[test]
fn a_letter_that_was_delivered_to_its_recipient_before_goes_in_circles() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let before = "Delivered-To: Levy@red.test\r\nSubject: x\r\n\r\nbody\r\n.\r\n";
    let mut peer = in_data(&daemon);
    peer.send(before);
    peer.expect("554 5.4.6 ");
    fixture.assert_nothing();
    // In the body it is text, and another recipient has not had the letter.
    let mut peer = in_data(&daemon);
    peer.send(format!("Subject: x\r\n\r\n{before}"));
    peer.expect("250 ");
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send(before);
    peer.expect("250 ");
    assert_eq!(fixture.letters("bob").len(), 1);
}

#[test]
fn a_text_without_a_header_is_not_read_as_one() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for (text, stored) in [
        ("Hello\r\nSubject: no\r\n", "\nHello\nSubject: no\n"),
        (" indented\r\n", "\n indented\n"),
        ("From levy Mon Nov 30\r\nA: b\r\n", "\nFrom levy Mon Nov 30\nA: b\n"),
        ("A: b\r\nthe text\r\n", "A: b\n\nthe text\n"),
        ("A: b\r\n\r\nthe text\r\n", "A: b\n\nthe text\n"),
        ("\r\nthe text\r\n", "\nthe text\n"),
    ] {
        let mut peer = in_data(&daemon);
        peer.send(format!("{text}.\r\n"));
        peer.expect("250 ");
        let letters = fixture.letters("levy");
        let lines: Vec<&str> = letters.last().unwrap().split_inclusive('\n').collect();
        let trace = 2 + lines[2..].iter().take_while(|line| line.starts_with('\t')).count();
        assert_eq!(lines[trace..].concat(), stored, "{text:?}");
    }
}
