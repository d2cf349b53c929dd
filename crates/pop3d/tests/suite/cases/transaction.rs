//! TRANSACTION (RFC 1939 §5, §7).

use std::fs;

use super::listing;
use crate::common::{LETTER, TestServer, text};

#[test]
fn case_48_a_deleted_message_cannot_be_asked_for_again() {
    let server = TestServer::new(&[LETTER, LETTER, LETTER]);
    let mut client = server.mrose();
    client.ask("DELE 2", "+OK");
    for command in ["RETR 2", "TOP 2 0", "LIST 2", "UIDL 2", "DELE 2"] {
        client.ask(command, "-ERR message 2 already deleted");
    }
    client.ask("RETR 3", "+OK");
}

#[test]
fn case_49_what_is_no_number_of_a_message_is_refused() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let mut client = server.mrose();
    let wrong = [
        "0",
        "3",
        "-1",
        "+1",
        "1x",
        "x1",
        "1.0",
        "0x1",
        "1,2",
        "00",
        "4294967296",
        "4294967297",
        "18446744073709551616",
        "18446744073709551617",
        "340282366920938463463374607431768211457",
        "\u{661}",
    ];
    for number in wrong {
        for command in ["RETR", "DELE", "LIST", "UIDL"] {
            client.ask(&format!("{command} {number}"), "-ERR");
        }
        client.ask(&format!("TOP {number} 0"), "-ERR");
    }
    client.ask("STAT", "+OK 2 44");
    // Zeros in front are digits, and blanks around are none of the number.
    client.ask("LIST 01", "+OK 1 22");
    client.ask("LIST  1 ", "+OK 1 22");
}

#[test]
fn case_50_uidl_of_one_message_is_its_number_and_its_id() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let mut client = server.mrose();
    assert_eq!(text(&client.ask("UIDL 2", "+OK")), "+OK 2 2.a.test\r\n");
    assert_eq!(listing(&mut client, "UIDL"), ["1 1.a.test", "2 2.a.test"]);
}

#[test]
fn case_52_equal_bodies_have_different_ids() {
    let server = TestServer::new(&[LETTER; 20]);
    let mut ids = listing(&mut server.mrose(), "UIDL");
    ids.iter_mut().for_each(|row| *row = row.split(' ').nth(1).unwrap().to_owned());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[test]
fn case_54_top_needs_a_number_of_lines() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    for wrong in ["TOP 1", "TOP 1 -1", "TOP 1 +1", "TOP 1 x", "TOP 1 1x", "TOP", "TOP 1 1 1"] {
        client.ask(wrong, "-ERR");
    }
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn case_55_top_past_the_end_sends_all() {
    let server = TestServer::new(&["A: b\n\none\n\ntwo\n"]);
    let mut client = server.mrose();
    for lines in ["3", "4", "1000", "4294967297", "18446744073709551617"] {
        let all = listing(&mut client, &format!("TOP 1 {lines}"));
        assert_eq!(all, ["A: b", "", "one", "", "two"], "{lines}");
    }
}

#[test]
fn case_56_rset_revives_all() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let mut client = server.mrose();
    client.ask("DELE 1", "+OK");
    client.ask("DELE 2", "+OK");
    client.ask("STAT", "+OK 0 0");
    client.ask("RSET", "+OK maildrop has 2 messages");
    assert_eq!(listing(&mut client, "LIST"), ["1 22", "2 22"]);
    client.ask("RETR 1", "+OK 22 octets");
    crate::common::until_dot(&mut client);
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters().len(), 2);
}

#[test]
fn case_57_a_letter_that_another_program_removes_is_missed_alone() {
    let server = TestServer::new(&[LETTER, LETTER, LETTER]);
    let mut client = server.mrose();
    fs::remove_file(server.maildir().join("new/2.a.test")).unwrap();
    client.ask("RETR 2", "-ERR message 2 is gone");
    client.ask("RETR 2", "-ERR message 2 is gone");
    assert_eq!(listing(&mut client, "RETR 1").len(), 3);
    assert_eq!(listing(&mut client, "UIDL").len(), 3);
    client.ask("DELE 2", "+OK");
    client.ask("DELE 3", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters(), ["1.a.test"]);
}

#[test]
fn case_88_last_is_the_highest_number_that_was_read_or_deleted_where_it_is_offered() {
    let server = TestServer::with(&[LETTER; 4], &["--last"], "");
    let mut client = server.client();
    client.ask("LAST", "-ERR");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    let last = |client: &mut testkit::Peer| text(&client.ask("LAST", "+OK"));
    assert_eq!(last(&mut client), "+OK 0\r\n");
    listing(&mut client, "TOP 4 0");
    assert_eq!(last(&mut client), "+OK 0\r\n");
    listing(&mut client, "RETR 3");
    listing(&mut client, "RETR 1");
    assert_eq!(last(&mut client), "+OK 3\r\n");
    client.ask("DELE 4", "+OK");
    assert_eq!(last(&mut client), "+OK 4\r\n");
    client.ask("LAST 1", "-ERR");
    client.ask("RSET", "+OK");
    assert_eq!(last(&mut client), "+OK 0\r\n");

    let without = TestServer::new(&[LETTER]);
    let mut client = without.mrose();
    client.ask("LAST", "-ERR unknown command");
    client.ask("STAT", "+OK 1 22");
}
