//! The dialogue before and around a letter (RFC 5321 §4.1, §4.3.2).

use crate::common::*;

#[test]
fn bare_ehlo_is_501_and_helo_has_a_one_line_answer() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.ask("EHLO", "501 5.5.4 ");
    peer.ask("EHLO  ", "501 5.5.4 ");
    peer.ask("HELO 195.161.101.33", "250 red.test ");
    peer.ask("NOOP", "250 2.0.0 ");
    peer.ask("HELO [IPv6:::1]", "250 red.test ");
}

#[test]
fn any_printable_name_of_a_client_is_taken_and_none_in_helo_too_unless_it_is_strict() {
    let fixture = Fixture::new();
    let [liberal, strict] = [&[][..], &["--strict"]].map(|options| fixture.serve(options));
    let (mut peer, mut refused) = (greeted(&liberal), greeted(&strict));
    let longest = "l".repeat(255);
    for name in [
        "My_PC.home",
        "vm.",
        "x-",
        "a+b.eml",
        "two words",
        "a..b",
        "[::1]",
        "2001:db8::1",
        "00:11:22:aa:bb:cc",
        "[127.0.0.1",
        "-",
        ".",
        "a;b",
        "a(b)",
        "a@b",
        "b\u{fc}ro",
        "<a>",
        "\"",
        &longest,
    ] {
        peer.ask(&format!("HELO {name}"), "250 red.test greets ");
        peer.ask("RSET", "250 ");
        refused.ask(&format!("HELO {name}"), "501 5.5.4 ");
    }
    peer.ask("HELO", "250 red.test greets you");
    refused.ask("HELO", "501 5.5.4 ");
    for name in ["topaz.test", "[127.0.0.1]", "[IPv6:::1]", "topaz"] {
        peer.ask(&format!("HELO {name}"), "250 ");
        refused.ask(&format!("HELO {name}"), "250 ");
    }
    peer.ask(&format!("HELO l{longest}"), "501 5.5.4 ");
    for control in ["a\tb", "a\u{1b}[0m", "a\u{7f}", "a\rb", "a\0b"] {
        peer.ask(&format!("HELO {control}"), "501 5.5.");
    }
    peer.send(b"HELO b\xfcro\r\n");
    peer.expect("250 red.test greets b?ro");
}

#[test]
fn a_request_of_http_ends_the_session() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for request in ["GET / HTTP/1.1", "POST /x HTTP/1.0", "CONNECT mail.test:25 HTTP/1.1", "HEAD /"]
    {
        let mut peer = greeted(&daemon);
        peer.send(format!(
            "{request}\r\nHost: red.test\r\n\r\nHELO a.test\r\nMAIL FROM:<a@b.test>\r\n"
        ));
        peer.expect("421 4.7.0 ");
        assert!(peer.is_closed(), "{request}");
    }
}

#[test]
fn data_that_ends_in_lf_alone_is_answered_at_once_and_begins_no_letter() {
    let fixture = Fixture::new();
    for options in [&[][..], &["--accept-bare-lf"]] {
        let daemon = fixture.serve(options);
        let mut peer = introduced(&daemon);
        peer.send("MAIL FROM:<a@b.test>\nRCPT TO:<levy@red.test>\nDATA\n");
        for reply in ["250 2.1.0 ", "250 2.1.5 ", "501 5.5.2 "] {
            peer.expect(reply);
        }
        peer.ask("DATA", "354 ");
        peer.send("x\r\n.\r\n");
        peer.expect("250 ");
    }
}

#[test]
fn ehlo_lists_what_works_and_nothing_else() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000000"]);
    let mut peer = greeted(&daemon);
    peer.ask("EHLO topaz.test", "250-red.test ");
    for line in [
        "SIZE 1000000",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
    ] {
        peer.expect(&format!("250-{line}\r\n"));
    }
    peer.expect("250-VRFY\r\n");
    peer.expect("250-EXPN\r\n");
    peer.expect("250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\r\n");
    peer.expect("250 HELP\r\n");
}

#[test]
fn a_second_ehlo_works_as_rset_and_a_rejected_one_changes_nothing() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("EHLO", "501 ");
    peer.ask("EHLO a\u{1}b", "501 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("HELO topaz.test", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "503 5.5.1 ");
    peer.ask("DATA", "503 5.5.1 ");
    fixture.assert_nothing();
}

#[test]
fn noop_rset_vrfy_help_and_quit_need_no_ehlo_and_mail_does() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.ask("NOOP", "250 ");
    peer.ask("RSET", "250 ");
    peer.ask("VRFY levy", "250 ");
    peer.ask("HELP NOOP", "214 ");
    peer.ask("MAIL FROM:<a@b.test>", "503 ");
    peer.ask("RSET", "250 ");
    peer.ask("MAIL FROM:<a@b.test>", "503 ");
    peer.ask("QUIT", "221 2.0.0 ");
    assert_eq!(peer.rest(), b"");
}

#[test]
fn verbs_are_taken_in_any_case_and_with_spaces_behind() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.ask("eHlO topaz.test  ", "250-");
    while peer.expect("250")[3] == b'-' {}
    peer.ask("mail  from:<A@b.test>   ", "250 ");
    peer.ask("rcPT tO:<Levy@RED.test> ", "250 ");
    peer.ask("data \t ", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("noop\t", "250 ");
    peer.ask("quit ", "221 ");
    assert_eq!(fixture.letter("levy"), "x\n");
    assert!(fixture.letters("levy")[0].starts_with("Return-Path: <A@b.test>\n"));
}

#[test]
fn unknown_verbs_are_500_known_ones_that_are_not_done_502_and_the_session_goes_on() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for line in ["FOO", "", " NOOP", "MAILFROM:<a@b>", "NOOPS", "GET / HTTP/1.1", "\u{e9}\u{e8}"] {
        peer.ask(line, "500 5.5.1 ");
    }
    peer.ask("TURN", "502 5.5.1 ");
    for verb in ["SEND FROM:<a@b>", "SOML FROM:<a@b>", "SAML FROM:<a@b>", "send"] {
        let reply = peer.ask(verb, "502 5.5.1 ");
        assert!(String::from_utf8_lossy(&reply).contains("--terminal"));
    }
    peer.ask("STARTTLS", "502 5.5.1 ");
    peer.ask("LHLO topaz.test", "500 5.5.1 ");
    peer.ask("NOOP", "250 ");
}

#[test]
fn commands_out_of_order_are_503() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "503 5.5.1 ");
    peer.ask("DATA", "503 5.5.1 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("MAIL FROM:<c@d.test>", "503 5.5.1 ");
    peer.ask("DATA", "554 5.5.1 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("MAIL FROM:<c@d.test>", "503 5.5.1 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("RCPT TO:<bob@red.test>", "503 ");
    peer.ask("DATA", "503 ");
    assert!(fixture.letters("levy")[0].starts_with("Return-Path: <a@b.test>\n"));
}

#[test]
fn arguments_where_none_belong_are_501_and_noop_takes_any() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    for line in ["DATA x", "RSET x", "QUIT x", "VRFY", "MAIL", "RCPT"] {
        peer.ask(line, "501 5.5.4 ");
    }
    peer.ask("NOOP x y z", "250 ");
    peer.ask("DATA", "354 ");
}

#[test]
fn vrfy_tells_full_names_and_keeps_the_transaction() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("VRFY levy", "250 2.1.5 Levy Red <levy@red.test>\r\n");
    peer.ask("VRFY <levy@red.test>", "250 2.1.5 Levy Red <levy@red.test>\r\n");
    peer.ask("VRFY bob@red.test", "250 2.1.5 <bob@red.test>\r\n");
    peer.ask("VRFY nobody", "550 5.1.1 ");
    peer.ask("VRFY levy@other.test", "550 5.7.1 ");
    peer.ask("VRFY a b", "550 5.1.1 ");
    peer.ask("VRFY a..b@red.test", "501 ");
    peer.ask("VRFY a,b", "501 ");
    peer.ask("VRFY <levy@red.test> b", "501 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
}

#[test]
fn vrfy_finds_full_names_and_tells_of_ambiguous_ones() {
    let fixture = Fixture::new();
    let line = |name: &str, full: &str| format!("{name}:x:::{full}:/nowhere:\n");
    let mut users = line("o'brien", "Miles O'Brien") + &line("a b", "Two Words");
    users += &line("fred", "Fred Smith");
    users += &line("smith2", "Jane SMITH,room 2");
    for n in 0..30 {
        users += &line(&format!("u{n}"), "Legion");
    }
    std::fs::write(&fixture.users, users).unwrap();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.ask("VRFY O'Brien", "250 2.1.5 Miles O'Brien <o'brien@red.test>\r\n");
    peer.ask("VRFY Words", "250 2.1.5 Two Words <\"a b\"@red.test>\r\n");
    peer.ask("VRFY Jane", "250 2.1.5 Jane SMITH <smith2@red.test>\r\n");
    peer.ask("VRFY fred smith", "250 2.1.5 Fred Smith <fred@red.test>\r\n");
    peer.ask("VRFY Fred", "250 2.1.5 Fred Smith <fred@red.test>\r\n");
    peer.ask("VRFY Smith", "553-5.1.4 Ambiguous");
    peer.expect("553-5.1.4 Fred Smith <fred@red.test>\r\n");
    peer.expect("553 5.1.4 Jane SMITH <smith2@red.test>\r\n");
    peer.ask("VRFY Legion", "553-");
    for _ in 0..10 {
        peer.expect("553-5.1.4 Legion <u");
    }
    peer.expect("553 5.1.4 and others\r\n");
    peer.ask("VRFY Smi", "550 5.1.1 ");
    peer.ask("VRFY Smith@red.test", "550 5.1.1 ");
}

#[test]
fn vrfy_can_be_hidden_from_strangers_and_is_not_listed_then() {
    let fixture = Fixture::new();
    for (who, answer, listed) in [("none", "252 2.5.2 ", false), ("loopback", "250 ", true)] {
        let daemon = fixture.serve(&["--vrfy", who]);
        let mut peer = greeted(&daemon);
        peer.send("EHLO topaz.test\r\nVRFY levy\r\nVRFY nobody\r\nQUIT\r\n");
        let all = String::from_utf8(peer.rest()).unwrap();
        assert_eq!(all.contains("250-VRFY\r\n"), listed, "{all}");
        assert!(all.contains(&format!("250 HELP\r\n{answer}")), "{all}");
    }
}

#[test]
fn help_tells_the_commands_and_how_each_is_written() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.ask("HELP", "214-2.0.0 ");
    let verbs = String::from_utf8(peer.expect("214-2.0.0 ")).unwrap();
    peer.expect("214 2.0.0 ");
    for verb in verbs.trim_end().split(' ').skip(1) {
        let line = peer.ask(&format!("HELP {}", verb.to_lowercase()), "214 2.0.0 ");
        assert!(line[10..].starts_with(verb.as_bytes()), "{}", line.escape_ascii());
    }
    peer.ask("HELP TURN", "504 ");
    peer.ask("HELP FOO", "504 ");
}

#[test]
fn too_many_bad_commands_end_the_session_with_421() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.send("FOO\r\n".repeat(200));
    let all = String::from_utf8(peer.rest()).unwrap();
    assert_eq!(all.matches("500 ").count(), 49, "{all}");
    assert!(all.ends_with("421 4.7.0 Too many bad commands, closing\r\n"), "{all}");
    assert_alive(&daemon);
}

#[test]
fn a_refused_mail_with_a_thousand_recipients_behind_it_does_not_end_the_session() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    let mut peer = introduced(&daemon);
    peer.send("MAIL FROM:<a@b.test> SIZE=2000\r\n");
    peer.send("RCPT TO:<levy@red.test>\r\n".repeat(1000) + "DATA\r\nQUIT\r\n");
    peer.expect("552 ");
    for _ in 0..1001 {
        peer.expect("503 ");
    }
    peer.expect("221 ");
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    peer.send("EHLO t.test\r\n");
    while peer.expect("250")[3] == b'-' {}
    peer.send(
        "RSET\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<no@red.test>\r\nRCPT TO:<levy@red.test>\r\n\
         RCPT TO:<bob@red.test>\r\nDATA\r\n",
    );
    for reply in ["250 2.0.0", "250 2.1.0", "550 5.1.1", "250 2.1.5", "250 2.1.5", "354 "] {
        peer.expect(reply);
    }
    peer.send("one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n");
    for reply in ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354 "] {
        peer.expect(reply);
    }
    peer.send("two\r\n.\r\nQUIT\r\n");
    peer.expect("250 ");
    peer.expect("221 ");
    assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (2, 1));
}

#[test]
fn where_all_recipients_are_refused_data_is_too_and_nothing_is_stored() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<x@red.test>\r\nRCPT TO:<y@z.test>\r\nDATA\r\n");
    for reply in ["250 ", "550 5.1.1 ", "550 5.7.1 ", "554 5.5.1 "] {
        peer.expect(reply);
    }
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("QUIT", "221 ");
    fixture.assert_nothing();
}

#[test]
fn where_all_recipients_are_refused_for_now_data_is_too() {
    let fixture = Fixture::new();
    // A user without a home has no mailbox, for now.
    let levy = std::fs::read_to_string(&fixture.users).unwrap();
    std::fs::write(&fixture.users, levy + "homeless:x\n").unwrap();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<homeless@red.test>", "451 4.3.0 ");
    peer.ask("DATA", "451 4.3.0 ");
    peer.ask("RCPT TO:<x@red.test>", "550 5.1.1 ");
    peer.ask("DATA", "554 5.5.1 ");
    peer.ask("RSET", "250 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("DATA", "554 5.5.1 ");
    peer.ask("RCPT TO:<homeless@red.test>", "451 4.3.0 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
}

#[test]
fn the_transcript_has_every_line_of_both_sides() {
    let fixture = Fixture::new();
    let file = fixture.dir.path().join("transcript");
    let daemon = fixture.serve(&["--transcript", &file.display().to_string()]);
    let mut peer = in_data(&daemon);
    peer.send("Subject: x\r\n\r\n..dot\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("auth PLAIN c2VjcmV0", "501 ");
    peer.ask("QUIT", "221 ");
    assert_eq!(peer.rest(), b"");
    let text = std::fs::read_to_string(file).unwrap();
    for line in [
        "S: 220 red.test",
        "C: EHLO topaz.test",
        "S: 250 HELP",
        "C: DATA",
        "S: 354 ",
        "C: Subject: x",
        "C: ..dot",
        "C: .\n",
        "S: 250 2.0.0 Delivered",
        "C: QUIT",
        "S: 221 ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("C: auth PLAIN ***\n") && !text.contains("c2VjcmV0"), "{text}");
    assert!(!daemon.log().contains("c2VjcmV0"), "a password is in the log");
}

/// Greek slides, the dialogue of TOPAZ and RED: a program of mail keeps a log of each dialogue, and if there is a
/// problem that can be mailed to the server's administrator.
#[test]
fn the_transcript_of_the_slides_dialogue_is_the_dialogue_line_by_line() {
    let fixture = Fixture::new();
    let file = fixture.dir.path().join("transcript");
    let daemon = fixture.serve(&["--transcript", &file.display().to_string()]);
    let mut peer = greeted(&daemon);
    peer.ask("HELO topaz.rutgers.edu", "250 ");
    peer.ask("MAIL From:<hedrick@topaz.rutgers.edu>", "250 ");
    peer.ask("RCPT To:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    let letter = "Date: Sat, 27 Jun 87 13:26:31 EDT\r\nFrom: hedrick@topaz.rutgers.edu\r\n\
        To: levy@red.rutgers.edu\r\nSubject: meeting\r\n\r\nLet's get together Monday at 1pm.\r\n.\r\n";
    peer.send(letter);
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
    assert_eq!(peer.rest(), b"");
    let text = std::fs::read_to_string(file).unwrap();
    let said: Vec<&str> = text.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    let mut expected = vec![
        "S: 220 red.test ",
        "C: HELO topaz.rutgers.edu",
        "S: 250 ",
        "C: MAIL From:<hedrick@topaz.rutgers.edu>",
        "S: 250 ",
        "C: RCPT To:<levy@red.test>",
        "S: 250 ",
        "C: DATA",
        "S: 354 ",
    ];
    let lines: Vec<String> = letter.lines().map(|line| format!("C: {line}")).collect();
    expected.extend(lines.iter().map(String::as_str));
    expected.extend(["S: 250 ", "C: QUIT", "S: 221 "]);
    assert_eq!(said.len(), expected.len(), "{text}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said} is not {expected}");
    }
}
