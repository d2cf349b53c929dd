//! Messages on the wire (RFC 1939 §3, §11).

use testkit::Peer;

use crate::common::{LETTER, TestServer};

/// The answer to RETR and to TOP, after their first lines, must be these bytes and the final dot.
fn check(client: &mut Peer, number: usize, wire: &str) {
    let size = wire.len() - wire.matches("\r\n..").count() - usize::from(wire.starts_with(".."));
    client.ask(&format!("LIST {number}"), &format!("+OK {number} {size}\r\n"));
    for command in [format!("RETR {number}"), format!("TOP {number} 1000000")] {
        client.ask(&command, "+OK");
        let got = client.take(wire.len() + 3);
        let expected = format!("{wire}.\r\n");
        assert!(got == expected.as_bytes(), "{command}: {}", got.escape_ascii());
        client.ask("NOOP", "+OK");
    }
}

#[test]
fn case_40_dots_at_the_start_of_lines_are_doubled_also_in_the_first_byte() {
    let letters = [".\n", ".a\n\n.\n", "A: b\n\n.\n..\n.x\ny.\n", "A: b\n.c: d\n\n.", "\n.\n"];
    let server = TestServer::new(&letters);
    let mut client = server.mrose();
    check(&mut client, 1, "..\r\n");
    check(&mut client, 2, "..a\r\n\r\n..\r\n");
    check(&mut client, 3, "A: b\r\n\r\n..\r\n...\r\n..x\r\ny.\r\n");
    check(&mut client, 4, "A: b\r\n..c: d\r\n\r\n..\r\n");
    check(&mut client, 5, "\r\n..\r\n");
}

#[test]
fn case_40_a_crlf_on_the_edge_of_a_buffer_does_not_hide_the_dot_behind_it() {
    const BUFFER: usize = 64 * 1024;
    let letters: Vec<String> = (BUFFER - 4..BUFFER + 2)
        .flat_map(|length| ["\n.\nx\n", "\r\n.\r\nx\r\n"].map(|end| "y".repeat(length) + end))
        .collect();
    let server = TestServer::new(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    let mut client = server.mrose();
    for (number, letter) in (1..).zip(&letters) {
        let line = letter.trim_end_matches(|c| c != 'y');
        check(&mut client, number, &format!("{line}\r\n..\r\nx\r\n"));
    }
}

#[test]
fn case_41_lf_on_disk_is_sent_as_crlf_and_crlf_as_it_is() {
    let server =
        TestServer::new(&["A: b\nC: d\n\ne\n", "A: b\r\nC: d\r\n\r\ne\r\n", "a\r\nb\nc\r\n"]);
    let mut client = server.mrose();
    check(&mut client, 1, "A: b\r\nC: d\r\n\r\ne\r\n");
    check(&mut client, 2, "A: b\r\nC: d\r\n\r\ne\r\n");
    check(&mut client, 3, "a\r\nb\r\nc\r\n");
}

#[test]
fn case_42_a_final_newline_that_is_missing_is_added() {
    let server = TestServer::new(&["A: b\n\nc", "A: b\r\n\r\nc\r", "."]);
    let mut client = server.mrose();
    check(&mut client, 1, "A: b\r\n\r\nc\r\n");
    check(&mut client, 2, "A: b\r\n\r\nc\r\r\n");
    check(&mut client, 3, "..\r\n");
}

#[test]
fn case_43_an_empty_message_and_one_without_a_body_are_sent_as_they_are() {
    let server = TestServer::new(&["", "A: b\n", "A: b\n\n", "\n", LETTER]);
    let mut client = server.mrose();
    check(&mut client, 1, "");
    check(&mut client, 2, "A: b\r\n");
    check(&mut client, 3, "A: b\r\n\r\n");
    check(&mut client, 4, "\r\n");
    check(&mut client, 5, "Subject: one\r\n\r\nbody\r\n");
}
