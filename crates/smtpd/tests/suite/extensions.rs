//! The extensions that EHLO lists (RFC 2034, RFC 2920, RFC 3461, RFC 6531).

use crate::common::*;

/// Sends a short letter to those that RCPT has named.
fn send_letter(peer: &mut testkit::Peer) {
    peer.ask("DATA", "354 ");
    peer.send("Subject: x\r\n\r\nx\r\n.\r\n");
    peer.expect("250 2.0.0 ");
}

#[test]
fn addresses_in_utf8_need_smtputf8_and_then_arrive() {
    let fixture = Fixture::with("\u{444}\u{440}\u{43e}\u{43b}:{PLAIN}x::::HOME/levy:\n");
    let daemon = fixture.serve(&["--domain", "red.test", "--domain", "b\u{fc}cher.test"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<\u{444}@b.test>", "550 5.6.7 ");
    peer.ask("MAIL FROM:<a@b\u{fc}cher.test>", "550 5.6.7 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<\u{444}\u{440}\u{43e}\u{43b}@red.test>", "553 5.6.7 ");
    peer.ask("RCPT TO:<levy@b\u{fc}cher.test>", "553 5.6.7 ");
    peer.ask("RSET", "250 ");
    peer.ask("MAIL FROM:<\u{444}@b.test> SMTPUTF8 BODY=8BITMIME", "250 2.1.0 ");
    peer.ask("RCPT TO:<nobody\u{444}@red.test>", "550 5.1.1 ");
    peer.ask("RCPT TO:<a@r\u{e9}d.test>", "550 5.7.1 ");
    peer.ask("RCPT TO:<bob@B\u{dc}CHER.test>", "250 2.1.5 ");
    send_letter(&mut peer);
    peer.ask("MAIL FROM:<\u{444}> SMTPUTF8", "250 2.1.0 ");
    let recipient = "\u{444}\u{440}\u{43e}\u{43b}@xn--bcher-kva.test";
    peer.ask(&format!("RCPT TO:<{recipient}>"), "250 2.1.5 ");
    send_letter(&mut peer);
    assert_eq!(fixture.letter("bob"), "Subject: x\n\nx\n");
    let letter = fixture.letters("levy").remove(0);
    assert!(letter.starts_with("Return-Path: <\u{444}@red.test>\n"), "{letter}");
    assert!(letter.contains("with UTF8SMTP id "), "{letter}");
    assert!(letter.contains(&format!("for <{recipient}>;")), "{letter}");
}

#[test]
fn what_is_no_utf8_or_turns_the_line_of_the_log_is_501_with_smtputf8_too() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for bad in [&b"\xff@b.test"[..], b"\xc3@b.test", b"\xc0\xaf@b.test", b"a@\xff.test"] {
        peer.send([b"MAIL FROM:<", bad, b"> SMTPUTF8\r\n"].concat());
        peer.expect("501 5.1.7 ");
    }
    for bad in ['\u{85}', '\u{9b}', '\u{2028}', '\u{202e}', '\u{a0}', '\u{feff}', '\u{200b}'] {
        peer.ask(&format!("MAIL FROM:<a{bad}@b.test> SMTPUTF8"), "501 5.1.7 ");
    }
    peer.ask("MAIL FROM:<a@b.test> SMTPUTF8=1", "501 5.5.4 ");
}

#[test]
fn dsn_parameters_are_taken_with_good_values_and_501_with_bad_ones() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for bad in
        ["RET=ALL", "RET", "ENVID=a+2", "ENVID=\u{e9}", "RET=FULL RET=HDRS", "ENVID=a ENVID=b"]
    {
        peer.ask(&format!("MAIL FROM:<a@b.test> {bad}"), "501 5.5.4 ");
    }
    peer.ask("MAIL FROM:<a@b.test> RET=HDRS ENVID=QQ314159+2B", "250 2.1.0 ");
    for bad in ["NOTIFY=NEVER,DELAY", "NOTIFY=NOW", "ORCPT=levy", "NOTIFY=NEVER NOTIFY=NEVER"] {
        peer.ask(&format!("RCPT TO:<levy@red.test> {bad}"), "501 5.5.4 ");
    }
    peer.ask("RCPT TO:<levy@red.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;l@c.test", "250 2.1.5 ");
    peer.ask("RCPT TO:<bob@red.test> NOTIFY=never", "250 2.1.5 ");
    send_letter(&mut peer);
    assert_eq!(fixture.letter("levy"), fixture.letter("bob"));
}

/// Commands, one of each kind of reply.
const COMMANDS: &[&str] = &[
    "FOO",
    "NOOP",
    "HELP",
    "HELP MAIL",
    "HELP FOO",
    "VRFY levy",
    "VRFY nobody",
    "VRFY a,b",
    "VRFY \u{444}",
    "EXPN staff",
    "EXPN levy",
    "SEND FROM:<a@b.test>",
    "TURN",
    "STARTTLS",
    "AUTH",
    "AUTH FOO",
    "EHLO",
    "HELO a\u{1}b",
    "RCPT TO:<levy@red.test>",
    "DATA",
    "BDAT",
    "BDAT 0",
    "MAIL",
    "MAIL FROM:<a@b.test> SIZE=2000",
    "MAIL FROM:<a@b.test> X=Y",
    "MAIL FROM:<a@b..test>",
    "MAIL FROM:<\u{e9}@b.test>",
    "MAIL FROM:<a@b.test>",
    "MAIL FROM:<a@b.test>",
    "DATA",
    "RCPT TO:<nobody@red.test>",
    "RCPT TO:<a@else.test>",
    "RCPT TO:<levy>",
    "RCPT TO:<levy@red.test> X",
    "RCPT TO:<levy@red.test>",
    "RCPT TO:<bob@red.test>",
    "BDAT 1001 LAST\r\nTEXT",
    "RSET x",
    "RSET",
    "LONG",
    "QUIT",
];

#[test]
fn every_reply_has_an_enhanced_status_but_the_greeting_that_to_ehlo_and_3yz() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000", "--max-recipients", "1"]);
    let mut peer = introduced(&daemon);
    let lines: String = COMMANDS.iter().map(|line| format!("{line}\r\n")).collect();
    let lines = lines.replace("LONG", &"x".repeat(2000));
    peer.send(lines.replace("TEXT\r\n", &"x".repeat(1001)));
    let all = String::from_utf8(peer.rest()).unwrap();
    let mut replies = 0;
    for line in all.lines() {
        let (code, rest) = line.split_at(3);
        let (status, _) = rest[1..].split_once(' ').unwrap();
        let parts: Vec<&str> = status.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        assert!(parts.len() == 3 && parts.iter().all(is_number), "{line}");
        assert_eq!(parts[0].as_bytes()[0], code.as_bytes()[0], "the class of {line}");
        replies += usize::from(rest.starts_with(' '));
    }
    assert_eq!(replies, COMMANDS.len(), "{all}");
}

#[test]
fn vrfy_and_expn_tell_utf8_to_a_client_that_allows_it_only() {
    let user = "\u{444}\u{440}\u{43e}\u{43b}";
    let full = "\u{424}\u{440}\u{43e}\u{43b} \u{418}\u{432}\u{430}\u{43d}\u{43e}\u{432}";
    let fixture = Fixture::with(&format!("{user}:x:::{full}:/h:\nivan:x:::{full}:/h:\n"));
    let group = format!("gruppa: ivan, {user}\n");
    let aliases = fixture.dir.file("aliases", &group).display().to_string();
    let daemon = fixture.serve(&["--aliases", &aliases]);
    let mut peer = greeted(&daemon);
    peer.ask("VRFY ivan", "250 2.1.5 <ivan@red.test>\r\n");
    peer.ask("VRFY ivan SMTPUTF8", &format!("250 2.1.5 {full} <ivan@red.test>\r\n"));
    peer.ask(&format!("VRFY {user}"), "252 2.6.8 ");
    let told = format!("{full} <{user}@red.test>\r\n");
    peer.ask(&format!("VRFY <{user}@red.test> smtputf8"), &format!("250 2.1.5 {told}"));
    peer.ask(&format!("VRFY {full}"), "252 2.6.8 ");
    peer.ask(&format!("VRFY {full} SMTPUTF8"), "553-5.1.4 Ambiguous");
    peer.expect(&format!("553-5.1.4 {told}"));
    peer.expect("553 5.1.4 ");
    peer.ask("EXPN gruppa", "252 2.6.8 ");
    peer.ask("EXPN gruppa SMTPUTF8", "250-2.1.5 ");
    peer.expect(&format!("250 2.1.5 {told}"));
}

#[test]
fn a_sender_here_who_asks_is_notified_of_the_delivery_and_no_stranger_elsewhere() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for (sender, notify) in [
        ("bob@red.test", "SUCCESS,DELAY"),
        ("bob@red.test", "FAILURE"),
        ("bob@red.test", "NEVER"),
        ("a@else.test", "SUCCESS"),
        ("", "SUCCESS"),
    ] {
        peer.ask(&format!("MAIL FROM:<{sender}> ENVID=a+2Bb"), "250 ");
        let rcpt = format!("RCPT TO:<levy@red.test> NOTIFY={notify} ORCPT=rfc822;l+2Bx@c.test");
        peer.ask(&rcpt, "250 ");
        send_letter(&mut peer);
    }
    peer.ask("QUIT", "221 ");
    daemon.wait_log("no notification to <a@else.test>: 550 5.7.1");
    assert_eq!(fixture.letters("levy").len(), 5);
    let letters = fixture.letters("bob");
    assert_eq!(letters.len(), 1, "{letters:?}");
    for line in [
        "Return-Path: <>",
        "To: <bob@red.test>",
        "Auto-Submitted: auto-replied",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Content-Type: message/delivery-status",
        "Reporting-MTA: dns; red.test",
        "Original-Envelope-Id: a+b",
        "Original-Recipient: rfc822;l+x@c.test",
        "Final-Recipient: rfc822;levy@red.test",
        "Action: delivered",
        "Status: 2.0.0",
    ] {
        assert!(letters[0].lines().any(|it| it == line), "{line} is not in\n{}", letters[0]);
    }
}

#[test]
fn a_domain_in_utf8_in_the_aliases_is_the_one_that_dns_has() {
    let fixture = Fixture::new();
    let queue = fixture.dir.path().join("queue").display().to_string();
    let aliases = "info@B\u{dc}cher.test: levy\n@xn--bcher-kva.test: bob\nfar: ann@b\u{fc}cher.far.test\n\
                   near: levy@b\u{fc}cher.test\nlocal: \u{444}@far.test\n";
    let domains = ["--domain", "red.test", "--domain", "b\u{fc}cher.test", "--queue", &queue];
    let daemon = crate::aliases::serve(&fixture, aliases, &domains);
    let mut peer = introduced(&daemon);
    for (to, sent) in [
        ("info@xn--bcher-kva.test", "levy"),
        ("info@b\u{fc}cher.test", "levy"),
        ("x@xn--bcher-kva.test", "bob"),
        ("x@B\u{dc}CHER.test", "bob"),
        ("near@red.test", "levy"),
    ] {
        let before = fixture.letters(sent).len();
        let params = if to.is_ascii() { "" } else { " SMTPUTF8" };
        peer.ask(&format!("MAIL FROM:<a@b.test>{params}"), "250 ");
        peer.ask(&format!("RCPT TO:<{to}>"), "250 ");
        peer.ask("DATA", "354 ");
        peer.send("x\r\n.\r\n");
        peer.expect("250 ");
        assert_eq!(fixture.letters(sent).len(), before + 1, "{to}");
    }
    // What goes elsewhere needs no SMTPUTF8 where it can do without, and says so where it cannot.
    for (to, line, is_utf8) in [
        ("far@red.test", "to <ann@xn--bcher-kva.far.test>", false),
        ("local@red.test", "to <\u{444}@far.test>", true),
    ] {
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask(&format!("RCPT TO:<{to}>"), "25");
        peer.ask("DATA", "354 ");
        peer.send("x\r\n.\r\n");
        peer.expect("250 ");
        let letters = files(&std::path::Path::new(&queue).join("letters"));
        let texts = letters.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let text = texts.into_iter().find(|text| text.contains(line)).unwrap();
        assert_eq!(text.contains("\nsmtputf8\n"), is_utf8, "{text}");
    }
}
