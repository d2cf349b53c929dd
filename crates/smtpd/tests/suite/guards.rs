//! What keeps unwanted clients and letters away: pauses, limits, and the rules of `--access`.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testkit::{Daemon, Peer};

use crate::common::*;

/// A server with this file of rules.
fn with_rules(fixture: &Fixture, rules: &str, more: &[&str]) -> Daemon {
    let path = fixture.dir.file("access", rules);
    set_mode(&path, 0o600);
    fixture.serve(&[&["--access", &path.display().to_string()], more].concat())
}

#[test]
fn a_client_that_speaks_before_the_greeting_is_refused_and_one_that_waits_is_greeted() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--greet-pause", "2"]);
    let mut peer = Peer::connect(daemon.addr());
    peer.send("EHLO early.test\r\nMAIL FROM:<a@b.test>\r\n");
    peer.expect("554 5.5.1 red.test ");
    assert_eq!(peer.rest(), b"", "nothing else is answered");
    daemon.wait_log("not served: 554 5.5.1");
    let since = Instant::now();
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 red.test ");
    assert!(since.elapsed() >= Duration::from_secs(2), "{:?}", since.elapsed());
    peer.ask("EHLO patient.test", "250");
}

#[test]
fn a_pause_before_the_greeting_does_not_hold_up_the_end_of_the_server() {
    let fixture = Fixture::new();
    let mut daemon = fixture.serve(&["--greet-pause", "240"]);
    let peer = Peer::connect(daemon.addr());
    daemon.wait_log("start: pid ");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    drop(peer);
}

#[test]
fn each_further_unknown_name_is_answered_later_and_known_ones_at_once() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    let mut waits = Vec::new();
    for n in 0..9 {
        let since = Instant::now();
        let guess =
            if n % 2 == 0 { format!("VRFY x{n}") } else { format!("RCPT TO:<x{n}@red.test>") };
        peer.ask(&guess, "550 5.1.1 ");
        waits.push(since.elapsed());
    }
    // 3 at once, and then 100 ms more each.
    for (n, wait) in waits.iter().enumerate().skip(3) {
        assert!(*wait >= Duration::from_millis(100 * (n as u64 - 2)), "{n}: {waits:?}");
    }
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
}

#[test]
fn the_pause_of_guesses_that_come_in_one_packet_does_not_keep_earlier_replies_back() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.send("VRFY a\r\nVRFY b\r\nVRFY c\r\nVRFY d\r\nVRFY levy\r\n");
    for reply in ["550 ", "550 ", "550 ", "550 ", "250 "] {
        peer.expect(reply);
    }
}

#[test]
fn after_the_letters_of_a_session_mail_is_421_and_the_end() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-letters", "3"]);
    let mut peer = introduced(&daemon);
    for (text, reply) in [("one", "250 "), ("bare\rcr", "550 "), ("three", "250 ")] {
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        peer.ask("DATA", "354 ");
        peer.send(format!("{text}\r\n.\r\n"));
        peer.expect(reply);
    }
    peer.ask("MAIL FROM:<a@b.test>", "421 4.7.0 ");
    assert_eq!(peer.rest(), b"");
    assert_eq!(fixture.letters("levy").len(), 2);
    assert_alive(&daemon);
}

#[test]
fn a_rule_about_an_address_stands_in_place_of_the_greeting() {
    let fixture = Fixture::new();
    for (rule, reply) in [
        ("client 127.0.0.0/8 refuse", "554 5.7.1 red.test Not taken here"),
        ("client 127.0.0.1 refuse Go away", "554 5.7.1 red.test Go away"),
        ("client * defer", "421 4.7.1 red.test "),
        ("client 192.0.2.1 refuse\nclient 127.0.0.1 permit\nclient * refuse", "220 red.test "),
    ] {
        let daemon = with_rules(&fixture, rule, &[]);
        let mut peer = Peer::connect(daemon.addr());
        peer.expect(reply);
        if !reply.starts_with("220") {
            assert_eq!(peer.rest(), b"");
            daemon.wait_log("not served: ");
        }
    }
}

#[test]
fn rules_about_names_senders_and_recipients_answer_their_commands() {
    let fixture = Fixture::new();
    let rules = "helo .dyn.test refuse No dial-up\nhelo slow.test defer\n\
                 from friend@spam.test permit\nfrom @spam.test refuse\nfrom <> defer No notes\n\
                 to bob@red.test refuse Members only\nto levy@ permit\n";
    let daemon = with_rules(&fixture, rules, &[]);
    let mut peer = greeted(&daemon);
    peer.ask("HELO a.DYN.test", "550 5.7.1 No dial-up");
    peer.ask("MAIL FROM:<a@b.test>", "503 ");
    peer.ask("HELO slow.test", "450 4.7.1 ");
    peer.ask("HELO topaz.test", "250 ");
    peer.ask("MAIL FROM:<x@SPAM.test>", "550 5.7.1 ");
    peer.ask("MAIL FROM:<>", "450 4.7.1 No notes");
    peer.ask("RCPT TO:<levy@red.test>", "503 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<Bob@red.test>", "550 5.7.1 Members only");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RSET", "250 ");
    // A sender who is permitted may write to all.
    peer.ask("MAIL FROM:<friend@spam.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("RSET", "250 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "550 5.7.1 ");
    daemon.wait_log("550 5.7.1 Members only");
}

#[test]
fn refused_commands_have_a_line_of_the_log_each_up_to_a_rate() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.send("DATA\r\n".repeat(1000));
    for _ in 0..1000 {
        peer.expect("503 ");
    }
    peer.ask("QUIT", "221 ");
    daemon.wait_log(" more commands");
    daemon.wait_log(" end: ");
    let lines = daemon.log().matches("refused \"DATA\"").count();
    assert!((100..1000).contains(&lines), "{lines}");
}

#[test]
fn malformed_logins_are_bad_commands() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for bad in ["AUTH PLAIN AAAA", "AUTH PLAIN\r\n*"] {
        peer.send(format!("{bad}\r\n").repeat(24));
        for _ in 0..24 {
            while !peer.line().starts_with(b"501 ") {}
        }
    }
    peer.send("AUTH PLAIN AAAA\r\nAUTH PLAIN AAAA\r\n");
    for reply in ["501 ", "501 ", "421 4.7.0 Too many bad commands"] {
        peer.expect(reply);
    }
    assert_eq!(peer.rest(), b"");
}

#[test]
fn another_form_of_an_address_meets_the_same_rule() {
    let user = "uma:{PLAIN}x::::HOME/levy:\n";
    let fixture = Fixture::with(user);
    let rules = "from spam@b.test refuse\nto bob@red.test refuse\nto uma@b\u{fc}cher.test refuse\n";
    let domains = ["--domain", "red.test", "--domain", "b\u{fc}cher.test"];
    let daemon = with_rules(&fixture, rules, &domains);
    let mut peer = introduced(&daemon);
    for from in ["<\"spam\"@b.test>", "<\"s\\pam\"@B.test>", "<@x.test:spam@b.test>", "spam@b.test"]
    {
        peer.ask(&format!("MAIL FROM:{from}"), "550 5.7.1 ");
    }
    peer.ask("MAIL FROM:<\"spam@b.test\"@c.test> SMTPUTF8", "250 ");
    for to in [
        "<\"bob\"@red.test>",
        "<\"b\\ob\"@RED.test>",
        "<bob+books@red.test>",
        "<\"bob+\"@red.test>",
        "<bob@localhost>",
        "<bob@[127.0.0.1]>",
        "<uma@xn--bcher-kva.test>",
        "<uma@B\u{dc}CHER.test>",
    ] {
        peer.ask(&format!("RCPT TO:{to}"), "550 5.7.1 ");
    }
    peer.ask("RCPT TO:<bob@b\u{fc}cher.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
}

#[test]
fn a_client_or_name_that_is_permitted_meets_no_later_rule_and_no_pause() {
    let fixture = Fixture::new();
    let all = "helo * refuse\nfrom * refuse\nto * refuse\n";
    let daemon =
        with_rules(&fixture, &format!("client 127.0.0.1 permit\n{all}"), &["--greet-pause", "240"]);
    let mut peer = in_data(&daemon);
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    let daemon = with_rules(&fixture, &format!("helo topaz.test permit\n{all}"), &[]);
    let mut peer = in_data(&daemon);
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("HELO other.test", "550 5.7.1 ");
}

#[test]
fn new_rules_hold_from_sighup_on_and_a_mistake_in_them_leaves_the_old_ones() {
    let fixture = Fixture::new();
    testkit::each_model(&["fork", "prefork", "thread"], |model| {
        let daemon = with_rules(&fixture, "from @one.test refuse\n", &["--model", model]);
        let path = fixture.dir.path().join("access");
        let refused = |sender: &str| {
            let mut peer = introduced(&daemon);
            peer.send(format!("MAIL FROM:<a@{sender}>\r\n"));
            peer.line().starts_with(b"550 5.7.1 ")
        };
        assert!(refused("one.test") && !refused("two.test"));
        fs::write(&path, "from @two.test refuse\n").unwrap();
        assert!(refused("one.test") && !refused("two.test"), "not before SIGHUP");
        daemon.signal(Signal::SIGHUP);
        testkit::wait_until("the new rules hold", || refused("two.test"));
        assert!(!refused("one.test"));
        fs::write(&path, "from @one.test refuse\nfrom @two.test rufuse\n").unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.wait_log(&format!("access {}:2: 'rufuse' is not permit", path.display()));
        assert!(refused("two.test") && !refused("one.test"));
    });
}

#[test]
fn a_mistake_in_the_rules_is_found_at_the_start_and_by_check_with_file_and_line() {
    let fixture = Fixture::new();
    let path = fixture.dir.file("access", "# rules\nclient 127.0.0.1/99 refuse\n");
    set_mode(&path, 0o600);
    let (users, rules) = (fixture.users.display().to_string(), path.display().to_string());
    for check in [&[][..], &["--check"]] {
        let args =
            ["--users", &users, "--hostname", "red.test", "-l", "127.0.0.1:0", "--access", &rules];
        let args = with_root(&[&args[..], check].concat());
        let ended = testkit::run(testkit::command(SMTPD, &args), b"");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("access {rules}:2: '127.0.0.1/99': not an address")),
            "{said}"
        );
    }
}

#[test]
fn rules_that_others_may_write_to_are_not_taken() {
    let fixture = Fixture::new();
    let path = fixture.dir.file("access", "client * permit\n");
    set_mode(&path, 0o666);
    let (users, rules) = (fixture.users.display().to_string(), path.display().to_string());
    let args = with_root(&["--users", &users, "--access", &rules, "-l", "127.0.0.1:0"]);
    let ended = testkit::run(testkit::command(SMTPD, &args), b"");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("is writable by others"), "{said}");
}

#[test]
fn a_long_list_of_rules_reaches_the_processes_of_clients_whole() {
    let fixture = Fixture::new();
    let mut rules: String =
        (0..7000).map(|n| format!("from @n{n}.test refuse list {n}\n")).collect();
    rules += "from @last.test refuse The last one\n";
    assert!(rules.len() > 200_000 && rules.len() < 256 * 1024, "{}", rules.len());
    let daemon = with_rules(&fixture, &rules, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@last.test>", "550 5.7.1 The last one");
    peer.ask("MAIL FROM:<a@n6999.test>", "550 5.7.1 list 6999");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
}
