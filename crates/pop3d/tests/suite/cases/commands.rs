//! Commands (RFC 1939 §3).

use std::thread::sleep;
use std::time::Duration;

use testkit::{Peer, command, judged_within, run};

use super::listing;
use crate::common::{LETTER, POP3D, TestServer, text};

#[test]
fn case_30_commands_are_taken_in_any_case() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.ask("uSeR mrose", "+OK");
    client.ask("Pass tanstaaf", "+OK");
    client.ask("stat", "+OK 1 22");
    client.ask("lIsT 1", "+OK 1 22");
    client.ask("uidl 1", "+OK 1 1.a.test");
    assert_eq!(listing(&mut client, "rEtR 1").len(), 3);
    assert_eq!(listing(&mut client, "tOp 1 0").len(), 2);
    client.ask("noop", "+OK");
    client.ask("Dele 1", "+OK");
    client.ask("rset", "+OK");
    client.ask("qUiT", "+OK");
    assert!(client.is_closed());
}

#[test]
fn case_32_an_argument_that_a_command_does_not_take_is_an_error_and_no_update() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    client.ask("DELE 1", "+OK");
    for wrong in ["STAT x", "QUIT 1", "NOOP 1", "RSET 1", "LIST 1 1", "RETR 1 1", "CAPA x"] {
        client.ask(wrong, "-ERR");
    }
    assert_eq!(server.letters().len(), 1);
    client.ask("STAT", "+OK 0 0");
    drop(client);
    let mut client = server.client();
    client.ask("QUIT 1", "-ERR");
    client.ask("QUIT", "+OK");
}

#[test]
fn case_33_a_line_that_ends_in_lf_alone_is_taken() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.send("USER mrose\nPASS tanstaaf\nSTAT\nLIST 1\r\nQUIT\n");
    let replies = text(&client.rest());
    let signs: String = replies.lines().map(|line| &line[..1]).collect();
    assert_eq!(signs, "+++++");
    assert!(replies.contains("\r\n+OK 1 22\r\n") && replies.lines().count() == 5, "{replies}");
}

#[test]
fn case_35_a_line_of_255_octets_is_parsed() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    // With its CRLF it has 255 octets (RFC 2449 §4).
    let user = format!("USER {}", "x".repeat(255 - "USER \r\n".len()));
    client.ask(&user, "+OK now PASS");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    let list = format!("LIST {}1", " ".repeat(255 - "LIST 1\r\n".len()));
    client.ask(&list, "+OK 1 22");
    let spaces = format!("STAT{}", " ".repeat(255 - "STAT\r\n".len()));
    client.ask(&spaces, "+OK 1 22");
}

#[test]
fn case_38_a_session_may_be_idle_for_just_under_ten_minutes() {
    let said = text(&run(command(POP3D, &["--help"]), b"").stdout);
    let row = said.split("--timeout").nth(1).unwrap_or_default();
    assert!(row.split("--").next().unwrap().contains("600"), "{row}");
    // And the limit is the one that is documented: under it a session lives, before the login and after it.
    let server = TestServer::with(&[LETTER], &["-t", "30"], "");
    let (mut before, mut after) = (server.client(), server.mrose());
    sleep(Duration::from_secs(2));
    before.ask("CAPA", "+OK");
    after.ask("STAT", "+OK 1 22");
}

#[test]
fn case_39_a_session_that_expires_deletes_nothing_and_says_nothing() {
    judged_within(Duration::from_secs(3), |watch| {
        let server = TestServer::with(&[LETTER, LETTER], &["-t", "4"], "");
        let mut client = server.mrose();
        client.ask("DELE 1", "+OK message 1 deleted");
        client.ask("DELE 2", "+OK message 2 deleted");
        client.ask("STAT", "+OK 0 0");
        watch.stop();
        assert_eq!(text(&client.rest()), "");
        assert_eq!(server.letters().len(), 2);
        server.mrose().ask("STAT", "+OK 2 44");
    });
}

#[test]
fn case_87_more_than_one_blank_before_an_argument_or_after_the_last_is_taken() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.ask("CAPA  ", "+OK");
    crate::common::until_dot(&mut client);
    client.ask("USER   mrose  ", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    client.ask("STAT ", "+OK 1 22");
    client.ask("LIST  1", "+OK 1 22");
    client.ask("UIDL    1  ", "+OK 1 1.a.test");
    assert_eq!(listing(&mut client, "RETR  1").len(), 3);
    assert_eq!(listing(&mut client, "TOP  1   0 ").len(), 2);
    client.ask("DELE  1", "+OK");
    client.ask("RSET  ", "+OK");
    client.ask("LIST\t1", "-ERR");
    client.ask(" STAT", "-ERR");
    client.ask("QUIT ", "+OK");
    assert!(client.is_closed());
}

#[test]
fn case_87_each_blank_behind_the_first_belongs_to_a_password() {
    let users = "a:{PLAIN} x :::a:HOME/a:\n";
    let server = TestServer::with(&[], &["--auth-delay", "0"], users);
    std::fs::create_dir(server.path("a")).unwrap();
    let mut client = server.client();
    let log_in = |client: &mut Peer, pass: &str, expected: &str| {
        client.ask("USER a", "+OK");
        client.ask(pass, expected);
    };
    for wrong in ["PASS x", "PASS  x", "PASS   x ", "PASS  x  "] {
        log_in(&mut client, wrong, "-ERR [AUTH]");
    }
    log_in(&mut client, "PASS  x ", "+OK");
}
