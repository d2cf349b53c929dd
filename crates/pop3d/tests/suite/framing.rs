//! Messages on the wire (RFC 1939 §3, §7, §11), seen through a real connection.

use crate::common::{TestServer, text, until_dot};
use testkit::Peer;

/// Asks for a message and gives what came between the reply and the final dot, as it came.
fn raw(client: &mut Peer, command: &str, expected: &[u8]) {
    client.ask(command, "+OK");
    let mut wire = expected.to_vec();
    wire.extend_from_slice(b".\r\n");
    let got = client.take(wire.len());
    let show = |bytes: &[u8]| bytes[..bytes.len().min(60)].escape_ascii().to_string();
    assert!(got == wire, "{command}: {} instead of {}", show(&got), show(&wire));
    client.ask("NOOP", "+OK");
}

/// A message as it is sent: lines end in CRLF, dots are doubled. Written for this test alone.
fn stuffed(message: &str) -> Vec<u8> {
    let mut wire = String::new();
    let normal = message.replace("\r\n", "\n");
    let body = normal.strip_suffix('\n').unwrap_or(&normal);
    if message.is_empty() {
        return Vec::new();
    }
    for line in body.split('\n') {
        if line.starts_with('.') {
            wire.push('.');
        }
        wire.push_str(line);
        wire.push_str("\r\n");
    }
    wire.into_bytes()
}

#[test]
fn case_45_every_shape_of_message_is_sent_exact_and_in_the_size_that_list_gave() {
    let letters = [
        "",
        "\n",
        ".",
        ".\n",
        "..\n",
        "A: b\n\n.\n.x\n\n..\n",
        "A: b\r\n\r\n.\r\nCRLF on disk\r\n",
        "A: b\n\nno newline at the end",
        "A: b\nonly a header\n",
        "A: b\n\n\n\n\n",
        "mixed\r\nline\nends\r\n",
        "A: b\n\n\u{e4}\u{0}\u{7}\n",
    ];
    let server = TestServer::new(&letters);
    let mut client = server.mrose();
    for (number, letter) in (1..).zip(letters) {
        let wire = stuffed(letter);
        let dots = letter.lines().filter(|line| line.starts_with('.')).count();
        let size = wire.len() - dots;
        client.ask(&format!("LIST {number}"), &format!("+OK {number} {size}\r\n"));
        client.send(format!("RETR {number}\r\n"));
        client.expect(&format!("+OK {size} octets\r\n"));
        let mut expected = wire.clone();
        expected.extend_from_slice(b".\r\n");
        assert_eq!(text(&client.take(expected.len())), text(&expected), "{letter:?}");
        raw(&mut client, &format!("TOP {number} 1000"), &wire);
    }
}

#[test]
fn case_40_a_dot_line_is_stuffed_at_every_place_around_the_edge_of_the_buffer() {
    const BUFFER: usize = 64 * 1024;
    let letters: Vec<String> = (BUFFER - 6..BUFFER + 3)
        .map(|length| format!("{}\n.\n.b\nc\n", "x".repeat(length)))
        .collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let server = TestServer::new(&letters);
    let mut client = server.mrose();
    for (number, letter) in (1..).zip(&letters) {
        raw(&mut client, &format!("RETR {number}"), &stuffed(letter));
    }
}

#[test]
fn case_44_a_line_of_a_megabyte_comes_whole() {
    let letter = format!("A: b\n\n.{}", "y".repeat(1 << 20));
    let server = TestServer::new(&[&letter]);
    let mut client = server.mrose();
    raw(&mut client, "RETR 1", &stuffed(&letter));
    raw(&mut client, "TOP 1 1", &stuffed(&letter));
}

#[test]
fn case_53_top_gives_the_header_the_blank_line_and_so_many_lines() {
    let server =
        TestServer::new(&["A: b\nC: d\n\none\n.two\nthree\n", "A: b\r\n\r\none\r\ntwo\r\n"]);
    let mut client = server.mrose();
    raw(&mut client, "TOP 1 0", b"A: b\r\nC: d\r\n\r\n");
    raw(&mut client, "TOP 1 1", b"A: b\r\nC: d\r\n\r\none\r\n");
    raw(&mut client, "top 1 2", b"A: b\r\nC: d\r\n\r\none\r\n..two\r\n");
    raw(&mut client, "TOP 1 3", b"A: b\r\nC: d\r\n\r\none\r\n..two\r\nthree\r\n");
    raw(&mut client, "TOP 1 4294967297", b"A: b\r\nC: d\r\n\r\none\r\n..two\r\nthree\r\n");
    raw(&mut client, "TOP 2 1", b"A: b\r\n\r\none\r\n");
    client.ask("QUIT", "+OK");
}

#[test]
fn fifty_megabytes_are_streamed_and_not_held() {
    let line = format!("{}\n", "z".repeat(76));
    let letter = format!("A: b\n\n{}", line.repeat((50 << 20) / line.len()));
    let server = TestServer::new(&[&letter]);
    let mut client = server.mrose();
    let child = server.daemon.server_of(&client);
    raw(&mut client, "RETR 1", &stuffed(&letter));
    let kib = testkit::peak_memory(child);
    assert!(kib < 20 * 1024, "{kib} KiB at the highest");
}

#[test]
fn many_messages_asked_for_at_once_come_in_order() {
    let letters: Vec<String> = (1..=100).map(|n| format!("N: {n}\n\n.{n}\n")).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let server = TestServer::new(&letters);
    let mut client = server.mrose();
    let all: String = (1..=100).map(|n| format!("RETR {n}\r\nDELE {n}\r\n")).collect();
    client.send(all + "QUIT\r\n");
    for n in 1..=100 {
        client.expect("+OK");
        assert_eq!(until_dot(&mut client), [format!("N: {n}"), String::new(), format!("..{n}")]);
        client.expect("+OK");
    }
    client.expect("+OK");
    assert!(server.letters().is_empty());
}
