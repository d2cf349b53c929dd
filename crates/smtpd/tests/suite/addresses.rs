//! MAIL and RCPT: from which sender, to which recipient (RFC 5321 §4.1.2, §4.1.3, §3.6).

use crate::common::*;

/// Each sender in a transaction of its own; the code that MAIL gets.
fn mail(daemon: &testkit::Daemon, argument: &str, code: &str) {
    let mut peer = introduced(daemon);
    peer.ask(&format!("MAIL {argument}"), code);
    peer.ask("RSET", "250 ");
}

#[test]
fn senders_of_every_lawful_shape_are_taken() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for from in [
        "FROM:<>",
        "from:<a@b.test>",
        "FROM: <a@b.test>",
        "FROM:<\"a b\"@d.test>",
        "FROM:<@x.test,@y.test:a@b.test>",
        "FROM:<a@[127.0.0.1]>",
        "FROM:<a@[IPv6:::1]>",
        "FROM:<frol>",
        "FROM:<o'brien>",
        "FROM:<\"a b\">",
        "FROM:<a+b=c@d.test>",
        "FROM:<a@b.test> SIZE=1 BODY=8BITMIME",
        "FROM:<a@b.test> body=7bit",
    ] {
        mail(&daemon, from, "250 2.1.0 ");
    }
}

#[test]
fn a_user_whose_domain_is_in_utf8_has_that_of_dns_too() {
    let fixture = Fixture::with("uma@b\u{fc}cher.test:{PLAIN}x:::Uma:HOME/levy:\n");
    let daemon = fixture.serve(&["--domain", "red.test", "--domain", "b\u{fc}cher.test"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test> SMTPUTF8", "250 ");
    for domain in
        ["b\u{fc}cher.test", "B\u{dc}CHER.test", "xn--bcher-kva.test", "XN--bcher-kva.TEST"]
    {
        peer.ask(&format!("RCPT TO:<uma@{domain}>"), "250 ");
        peer.ask(&format!("RCPT TO:<ivan@{domain}>"), "550 5.1.1 ");
    }
    peer.ask("RCPT TO:<uma@red.test>", "550 5.1.1 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letters("levy").len(), 1);
    peer.ask("VRFY uma SMTPUTF8", "250 2.1.5 Uma <uma@b\u{fc}cher.test>\r\n");
}

#[test]
fn senders_of_any_other_shape_are_501() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for from in [
        "FROM:",
        "FROM:<a@>",
        "FROM:<@b.test>",
        "FROM:<a@b.test",
        "FROM:<a b@c.test>",
        "TO:<a@b.test>",
        "<a@b.test>",
        "FROM<a@b.test>",
        "FROM:<a@b..test>",
        "FROM:<\"a@b.test>",
        "FROM:<\u{85}@b.test>",
        "FROM:<a@b.test>x",
        "FROM:<a@b.test> SIZE=x",
        "FROM:<a@b.test> BODY=9BIT",
        "FROM:<a@[1.2.3]>",
    ] {
        mail(&daemon, from, "501 5.");
    }
}

#[test]
fn what_devices_send_is_taken_where_it_does_no_harm_unless_it_is_strict() {
    let fixture = Fixture::new();
    let [liberal, strict] = [&[][..], &["--strict"]].map(|options| fixture.serve(options));
    for from in [
        "FROM:a@b.test",
        "FROM: a@b.test SIZE=10 BODY=8BITMIME",
        "FROM:frol",
        "FROM:<a..b@d.test>",
        "FROM:<.a.@d.test>",
        "FROM:<a@my_pc.test>",
        "FROM:<a@d.test.>",
    ] {
        mail(&liberal, from, "250 2.1.0 ");
        mail(&strict, from, "501 5.");
    }
    for (daemon, code) in [(&liberal, "250 2.1.5 "), (&strict, "501 5.1.3 ")] {
        let mut peer = introduced(daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:levy@red.test", code);
        for to in [
            "<le..vy@red.test>",
            "<.levy@red.test>",
            "<levy@red.test.>",
            "le..vy@red.test",
            "<levy@r_d.test>",
        ] {
            peer.ask(&format!("RCPT TO:{to}"), "501 5.1.3 ");
        }
    }
}

#[test]
fn a_sender_without_a_domain_gets_the_first_in_which_rcpt_finds_users() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--domain", "blue.test", "--domain", "green.test"]);
    let mut peer = introduced(&daemon);
    for line in ["MAIL FROM:<levy>", "RCPT TO:<levy@blue.test>"] {
        peer.ask(line, "250 ");
    }
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    let letter = fixture.letters("levy").remove(0);
    assert!(letter.starts_with("Return-Path: <levy@blue.test>\n"), "{letter}");
}

#[test]
fn unknown_parameters_are_555() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    mail(&daemon, "FROM:<a@b.test> FOO=bar", "555 5.5.4 ");
    mail(&daemon, "FROM:<a@b.test> AUTH=<>", "250 "); // RFC 4954 §5
    mail(&daemon, "FROM:<a@b.test> NOTIFY=NEVER", "555 5.5.4 ");
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test> SIZE=1", "555 5.5.4 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
}

#[test]
fn a_space_behind_from_and_to_is_taken_and_refused_on_wish() {
    let fixture = Fixture::new();
    for (option, code) in [(&[][..], "250 "), (&["--strict-space"][..], "501 ")] {
        let daemon = fixture.serve(option);
        mail(&daemon, "FROM: <a@b.test>", code);
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO: <levy@red.test>", code);
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
    }
}

#[test]
fn recipients_elsewhere_are_5_7_1_and_unknown_ones_here_5_1_1() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--domain", "red.test", "--domain", "Blue.Test"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for to in ["levy@red.test", "levy@RED.TEST", "LEVY@blue.test", "levy@localhost"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "250 2.1.5 ");
    }
    for to in ["levy@[127.0.0.1]", "levy@[IPv6:::1]", "\"levy\"@red.test", "@x.test:bob@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "250 2.1.5 ");
    }
    for to in ["levy@green.test", "levy@sub.red.test", "levy@[192.0.2.1]", "@red.test:levy@x.test"]
    {
        peer.ask(&format!("RCPT TO:<{to}>"), "550 5.7.1 ");
    }
    for to in
        ["nobody@red.test", "#@red.test", "le@red.test", "\"levy:x\"@red.test", "\"\"@red.test"]
    {
        peer.ask(&format!("RCPT TO:<{to}>"), "550 5.1.1 ");
    }
}

#[test]
fn percent_bang_and_quoted_at_never_mean_another_machine() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for to in ["levy%x.test@red.test", "x.test!levy@red.test", "\"levy@x.test\"@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "550 5.1.1 ");
    }
    peer.ask("RCPT TO:<red.test!levy@x.test>", "550 5.7.1 ");
    peer.ask("RCPT TO:<levy%red.test@x.test>", "550 5.7.1 ");
}

#[test]
fn recipients_that_are_no_address_are_501() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for to in ["<>", "<levy>", "levy", "<le vy@red.test>", "<a..b@red.test>", ""] {
        peer.ask(&format!("RCPT TO:{to}"), "501 5.");
    }
}

#[test]
fn cr_lf_and_nul_inside_a_command_are_refused_and_nothing_of_them_runs() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.send("MAIL FROM:<a\rb@c.test>\r\nMAIL FROM:<a\0@c.test>\r\nMAIL FROM:<a@c.test>\r\r\n");
    for _ in 0..3 {
        peer.expect("501 5.5.2 ");
    }
    peer.send("MAIL FROM:<a@c.test\r>\r\nNOOP\0\r\nNOOP \rQUIT\r\n");
    peer.expect("501 ");
    peer.expect("500 ");
    peer.expect("501 ");
    // LF alone ends a command: what follows is a line of its own.
    peer.send("MAIL FROM:<a\nNOOP\n");
    peer.expect("501 ");
    peer.expect("250 ");
    peer.ask("RCPT TO:<levy@red.test>", "503 ");
}

#[test]
fn postmaster_always_has_a_mailbox() {
    let fixture = Fixture::new();
    for (option, user) in [(&[][..], "levy"), (&["--postmaster", "bob"][..], "bob")] {
        let daemon = fixture.serve(option);
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<>", "250 ");
        peer.ask("RCPT TO:<PostMaster>", "250 ");
        peer.ask("RCPT TO:<postmaster@red.test>", "250 ");
        peer.ask("RCPT TO:<postmaster@x.test>", "550 5.7.1 ");
        peer.ask("DATA", "354 ");
        peer.send("to postmaster\r\n.\r\n");
        peer.expect("250 ");
        assert_eq!(fixture.letter(user), "to postmaster\n");
    }
}
