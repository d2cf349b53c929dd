//! The client against servers of every kind, played by the test.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

use testkit::{Peer, run};

/// Runs smtpc to two recipients against a server that the test plays.
fn against(letter: &[u8], more: &[&str], play: fn(&mut Peer)) -> (Option<i32>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || play(&mut Peer::new(listener.accept().unwrap().0)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtpc"));
    command.args(["-s", &addr, "-f", "a@b.test", "--helo", "topaz.test"]).args(more);
    command.args(["x@red.test", "y@red.test"]);
    let output: Output = run(command, letter);
    server.join().expect("the play went as written");
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.replace(&addr, "SERVER"))
}

/// Reads a line, answers it.
fn turn(server: &mut Peer, hears: &str, says: &str) {
    assert_eq!(String::from_utf8(server.line()).unwrap(), format!("{hears}\r\n"));
    server.send(format!("{says}\r\n"));
}

fn envelope(server: &mut Peer) {
    server.send("220 red.test\r\n");
    turn(server, "EHLO topaz.test", "250 red.test");
    turn(server, "MAIL FROM:<a@b.test>", "250 ok");
    turn(server, "RCPT TO:<x@red.test>", "250 ok");
    turn(server, "RCPT TO:<y@red.test>", "250 ok");
}

fn hears_letter(server: &mut Peer) {
    turn(server, "DATA", "354 go on");
    for line in ["hello", "..", "end", "."] {
        assert_eq!(server.line(), format!("{line}\r\n").as_bytes());
    }
}

const LETTER: &[u8] = b"hello\n.\nend";

#[test]
fn a_server_without_ehlo_gets_helo_and_no_parameters() {
    let (code, text) = against(LETTER, &[], |server| {
        server.send("220-red.test is slow\r\n220 today\r\n");
        turn(server, "EHLO topaz.test", "500 what?");
        turn(server, "HELO topaz.test", "250 red.test SIZE 1");
        turn(server, "MAIL FROM:<a@b.test>", "250 ok");
        turn(server, "RCPT TO:<x@red.test>", "250 ok");
        turn(server, "RCPT TO:<y@red.test>", "251 will forward");
        hears_letter(server);
        server.send("250 ok\r\n");
        turn(server, "QUIT", "221 bye");
    });
    assert_eq!((code, text.as_str()), (Some(0), ""));
}

#[test]
fn replies_of_several_lines_are_read_as_one_and_only_codes_count() {
    let (code, text) = against(LETTER, &[], |server| {
        server.send("220-a\r\n220-554 no\r\n220 b\r\n");
        turn(server, "EHLO topaz.test", "250-red.test\r\n250-size 1000\r\n250-X\r\n250 Pipelining");
        let mut batch = String::new();
        for _ in 0..3 {
            batch += &String::from_utf8(server.line()).unwrap();
        }
        let rcpt = "RCPT TO:<x@red.test>\r\nRCPT TO:<y@red.test>\r\n";
        assert_eq!(batch, format!("MAIL FROM:<a@b.test> SIZE=15\r\n{rcpt}"));
        server.send("250-550 not\r\n250\r\n250 error\r\n250-\r\n250-failed\r\n250 permanently\r\n");
        turn(server, "DATA", "354-250 done\r\n354");
        for line in ["hello", "..", "end", "."] {
            assert_eq!(server.line(), format!("{line}\r\n").as_bytes());
        }
        server.send("250-5.0.0 failed\r\n250 554\r\n");
        turn(server, "QUIT", "500 no");
    });
    assert_eq!((code, text.as_str()), (Some(0), ""));
}

#[test]
fn some_refused_recipients_leave_the_rest() {
    let (code, text) = against(LETTER, &[], |server| {
        server.send("220 red.test\r\n");
        turn(server, "EHLO topaz.test", "250 red.test");
        turn(server, "MAIL FROM:<a@b.test>", "250 ok");
        turn(server, "RCPT TO:<x@red.test>", "450-mailbox\r\n450 busy");
        turn(server, "RCPT TO:<y@red.test>", "250 ok");
        hears_letter(server);
        server.send("250 ok\r\n");
        turn(server, "QUIT", "221 bye");
    });
    assert_eq!(code, Some(75));
    assert_eq!(
        text,
        "smtpc: SERVER: recipient <x@red.test>: 450 mailbox busy\n\
         smtpc: 1 of 2 recipients were refused\n"
    );
}

#[test]
fn the_letter_goes_after_354_and_after_nothing_else() {
    for (says, expected) in [("250 ok", 76), ("451 later", 75), ("554 no", 69), ("503 what?", 69)] {
        let play: fn(&mut Peer) = match says {
            "250 ok" => |server| refuse_data(server, "250 ok"),
            "451 later" => |server| refuse_data(server, "451 later"),
            "554 no" => |server| refuse_data(server, "554 no"),
            _ => |server| refuse_data(server, "503 what?"),
        };
        let (code, text) = against(LETTER, &[], play);
        assert_eq!((code, text), (Some(expected), format!("smtpc: SERVER: DATA: {says}\n")));
    }
}

fn refuse_data(server: &mut Peer, says: &str) {
    envelope(server);
    turn(server, "DATA", says);
    turn(server, "QUIT", "221 bye");
}

#[test]
fn a_letter_that_is_refused_at_its_end_is_exit_69() {
    let (code, text) = against(LETTER, &[], |server| {
        envelope(server);
        hears_letter(server);
        server.send("554-5.7.1 spam\r\n554 5.7.1 really\r\n");
        turn(server, "QUIT", "221 bye");
    });
    let says = "smtpc: SERVER: the letter was refused: 554 5.7.1 spam 5.7.1 really\n";
    assert_eq!((code, text.as_str()), (Some(69), says));
}

#[test]
fn a_connection_lost_after_the_dot_is_no_success() {
    let (code, text) = against(LETTER, &[], |server| {
        envelope(server);
        hears_letter(server);
    });
    assert_eq!(code, Some(75));
    assert!(text.contains("the server closed the connection"), "{text}");
    assert!(text.contains("may or may not have been delivered"), "{text}");
}

#[test]
fn half_a_reply_after_the_dot_is_no_success() {
    let (code, _) = against(LETTER, &[], |server| {
        envelope(server);
        hears_letter(server);
        server.send("250-ok\r\n250 o");
    });
    assert_eq!(code, Some(75));
}

#[test]
fn a_server_that_does_not_serve_is_told_at_once() {
    let (code, text) = against(LETTER, &[], |server| {
        server.send("554 no SMTP here\r\n");
        turn(server, "QUIT", "221 bye");
    });
    let says = "smtpc: SERVER: the server does not serve: 554 no SMTP here\n";
    assert_eq!((code, text.as_str()), (Some(69), says));
    let (code, text) = against(LETTER, &[], |server| server.send("SSH-2.0-x\x1b[2J\r\n"));
    assert_eq!(code, Some(76));
    assert!(text.starts_with("smtpc: SERVER: not an SMTP reply: SSH-2.0-x\\u{1b}[2J"), "{text}");
}

#[test]
fn a_refused_sender_is_an_error_in_a_pipeline_too() {
    for pipelining in [true, false] {
        let play: fn(&mut Peer) = if pipelining {
            |server| {
                server.send("220 red.test\r\n");
                turn(server, "EHLO topaz.test", "250-red.test\r\n250 PIPELINING");
                for _ in 0..3 {
                    server.line();
                }
                server.send("550 no\r\n503 what?\r\n503 what?\r\n");
                turn(server, "QUIT", "221 bye");
            }
        } else {
            |server| {
                server.send("220 red.test\r\n");
                turn(server, "EHLO topaz.test", "250 red.test");
                turn(server, "MAIL FROM:<a@b.test>", "550 no");
                turn(server, "QUIT", "221 bye");
            }
        };
        let (code, text) = against(LETTER, &[], play);
        let says = "smtpc: SERVER: sender <a@b.test>: 550 no\n";
        assert_eq!((code, text.as_str()), (Some(69), says));
    }
}

#[test]
fn octets_over_127_need_8bitmime() {
    let (code, text) = against("gr\u{fc}n".as_bytes(), &[], |server| {
        server.send("220 red.test\r\n");
        turn(server, "EHLO topaz.test", "250-red.test\r\n250 SIZE");
        turn(server, "QUIT", "221 bye");
    });
    assert_eq!(code, Some(65));
    assert!(text.contains("does not offer 8BITMIME"), "{text}");
}

#[test]
fn a_server_that_hangs_up_in_the_middle_is_heard() {
    let (code, text) = against(LETTER, &[], |server| {
        server.send("220 red.test\r\n");
        turn(server, "EHLO topaz.test", "250 red.test");
        turn(server, "MAIL FROM:<a@b.test>", "421 shutting down");
    });
    let says = "smtpc: SERVER: the server hangs up: 421 shutting down\n";
    assert_eq!((code, text.as_str()), (Some(75), says));
}

#[test]
fn a_silent_server_is_given_up() {
    let (code, text) = against(LETTER, &["-t", "0.2"], |server| {
        assert!(server.is_closed());
    });
    let says = "smtpc: SERVER: waiting for the greeting: nothing within 0.2 s\n";
    assert_eq!((code, text.as_str()), (Some(75), says));
}

#[test]
fn a_server_that_never_ends_its_reply_is_given_up() {
    let (code, text) = against(LETTER, &[], |server| {
        let _smtpc_may_have_gone = server.try_send("220-x\r\n".repeat(10_000));
        assert!(server.is_closed());
    });
    assert_eq!(code, Some(76));
    assert!(text.contains("a reply without an end"), "{text}");
}
