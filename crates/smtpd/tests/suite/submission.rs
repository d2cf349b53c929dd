//! `--submission`: mail programs hand letters in (RFC 6409).

use testkit::{Daemon, Peer};

use crate::common::{Fixture, below_trace, introduced};

/// `NUL levy NUL x`.
const LEVY: &str = "AUTH PLAIN AGxldnkAeA==";

fn serve(fixture: &Fixture, more: &[&str]) -> Daemon {
    let folder = fixture.dir.path().join("queue").display().to_string();
    fixture.serve(&[&["--submission", "--queue", &folder, "--auth-delay", "0"], more].concat())
}

fn logged_in(daemon: &Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask(LEVY, "235 ");
    peer
}

/// Sends a letter from levy to bob; returns what bob has, below the trace.
fn submitted(header: &str) -> String {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = logged_in(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send(format!("{header}\r\ntext\r\n.\r\n"));
    peer.expect("250 ");
    let letter = fixture.letters("bob").remove(0);
    below_trace(&letter)
}

#[test]
fn a_client_that_has_not_logged_in_gets_530() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    for command in ["MAIL FROM:<levy@red.test>", "VRFY levy", "MAIL FROM:<>"] {
        peer.ask(command, "530 5.7.0 ");
    }
    peer.ask("RCPT TO:<bob@red.test>", "503 ");
    for command in ["NOOP", "RSET", "HELO topaz.test", "HELP"] {
        peer.ask(command, "2");
    }
    let mut peer = introduced(&daemon);
    peer.ask("AUTH PLAIN AGxldnkAeQ==", "535 "); // a wrong password
    peer.ask("MAIL FROM:<levy@red.test>", "530 ");
    peer.ask(LEVY, "235 ");
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("QUIT", "221 ");
}

#[test]
fn the_bytes_of_a_chunk_without_a_login_are_no_commands() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.send(format!("BDAT {} LAST\r\n{LEVY}\r\nNOOP\r\n", LEVY.len() + 2));
    peer.expect("530 5.7.0 ");
    peer.expect("250 2.0.0 OK");
    peer.ask("MAIL FROM:<levy@red.test>", "530 ");
    peer.ask("QUIT", "221 ");
}

#[test]
fn the_sender_must_be_the_users_own_or_empty() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &["--domain", "red.test", "--domain", "green.test"]);
    let mut peer = logged_in(&daemon);
    for own in ["<levy@red.test>", "<LEVY@green.test>", "<levy>", "<>"] {
        peer.ask(&format!("MAIL FROM:{own}"), "250 ");
        peer.ask("RSET", "250 ");
    }
    for other in ["bob@red.test", "bob", "levy@blue.test", "nobody@red.test", "\"levy@red.test\""] {
        peer.ask(&format!("MAIL FROM:<{other}>"), "553 5.7.1 ");
    }
}

#[test]
fn a_user_may_send_elsewhere() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = logged_in(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "250 ");
}

#[test]
fn date_message_id_and_from_are_added_where_they_are_missing() {
    let letter = submitted("Subject: a\r\n");
    let (header, text) = letter.split_once("\n\n").unwrap();
    assert_eq!(text, "text\n");
    let lines: Vec<&str> = header.lines().collect();
    assert_eq!(lines.len(), 4, "{letter}");
    assert_eq!((lines[0], lines[3]), ("Subject: a", "From: levy@red.test"), "{letter}");
    assert!(lines[1].starts_with("Date: ") && lines[1].contains(", "), "{letter}");
    let is_id = lines[2].starts_with("Message-ID: <") && lines[2].ends_with("@red.test>");
    assert!(is_id, "{letter}");
}

#[test]
fn what_a_mail_program_has_written_stays_and_a_name_in_from_gets_its_domain() {
    let header = "DATE: x\r\nMessage-Id: <7@b.test>\r\nFrom: levy\r\n";
    assert_eq!(submitted(header), "DATE: x\nMessage-Id: <7@b.test>\nFrom: levy@red.test\n\ntext\n");
    let header = "Date: x\r\nMessage-Id: <7@b.test>\r\nFrom: Levy\r\n <levy@red.test>\r\n";
    assert_eq!(submitted(header), header.replace("\r\n", "\n") + "\ntext\n");
}

#[test]
fn the_author_in_from_must_be_the_user() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &["--domain", "red.test", "--domain", "green.test"]);
    let mut peer = logged_in(&daemon);
    let pad = format!("X-Pad: {}\r\n", "x".repeat(900)).repeat(100); // more than is held at once
    for (header, reply) in [
        ("From: bob@red.test", "550 5.7.1 From: is not an address of yours"),
        ("From: \"levy@red.test\" <bob@red.test>", "550 5.7.1 "),
        ("From: levy@red.test, bob@red.test", "550 5.7.1 "),
        ("From: levy@red.test\r\nFrom: ann@blue.test", "550 5.7.1 "),
        ("From: levy@blue.test", "550 5.7.1 "),
        ("From: undisclosed:;", "550 5.7.1 From: names no author"),
        ("From: <levy@red.test", "550 5.7.1 From: has an address that is none"),
        (&format!("{pad}From: bob@red.test"), "550 5.7.1 "),
        (&format!("{pad}From: Levy\r\n\t<LEVY@green.test>, levy+x@red.test"), "250 "),
        ("From: bob <levy@red.test> (bob@red.test)", "250 "),
        ("Subject: none", "250 "),
    ] {
        peer.ask("MAIL FROM:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "250 ");
        peer.ask("DATA", "354 ");
        peer.send(format!("{header}\r\n\r\nFrom: eve@red.test\r\n.\r\n"));
        peer.expect(reply);
    }
    assert_eq!(fixture.letters("bob").len(), 3);
    daemon.wait_log("another author");
}

#[test]
fn bcc_is_taken_out() {
    let header =
        "Date: x\r\nMessage-Id: <7@b.test>\r\nFrom: levy@red.test\r\nBcc: ann@blue.test\r\n";
    let letter = submitted(header);
    assert!(!letter.contains("ann@blue.test"), "{letter}");
}

#[test]
fn a_letter_of_another_site_is_not_completed() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--relay-from", "none"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("From: frol\r\nBcc: levy@red.test\r\n\r\ntext\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "From: frol\nBcc: levy@red.test\n\ntext\n");
}
