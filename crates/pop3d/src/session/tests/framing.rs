//! Packets, buffers, and messages on the wire.

use super::*;

#[test]
fn the_replies_do_not_depend_on_how_the_commands_are_split() {
    let home = Home::new(&[LETTER]);
    let commands = b"user mrose\r\nPASS tanstaaf\r\nstat\nTOP 1 0\r\nUIDL 1\r\nqUiT\r\n";
    let whole = home.replies(&[commands]);
    let rest = whole.split_once("\r\n").unwrap().1;
    assert_eq!(signs(rest), "++++S_.++");
    for cut in 1..commands.len() {
        let (one, two) = commands.split_at(cut);
        let output = home.replies(&[one, two]);
        assert_eq!(output.split_once("\r\n").unwrap().1, rest, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = commands.chunks(1).collect();
    assert_eq!(home.replies(&bytes).split_once("\r\n").unwrap().1, rest);
}

#[test]
fn pipelined_commands_are_answered_in_one_write_even_before_an_incomplete_one() {
    let home = Home::new(&[LETTER]);
    let start: &[u8] = b"USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n";
    let writes = home.writes(BUFFER, &[start]);
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
    let half = [start, b"NO"].concat();
    let writes = home.writes(BUFFER, &[&half, b"OP\r\n"]);
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
}

#[test]
fn framing_does_not_depend_on_the_buffer_size() {
    let texts = [
        ("", ""),
        (".", "..\r\n"),
        (".\n", "..\r\n"),
        ("\n.\n", "\r\n..\r\n"),
        ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n"),
        ("a\n.b\n\n.\nc", "a\r\n..b\r\n\r\n..\r\nc\r\n"),
        ("a\rb\r", "a\rb\r\r\n"),
        ("no body: x\n", "no body: x\r\n"),
        ("x\r\n\r\ny", "x\r\n\r\ny\r\n"),
    ];
    for (text, sent) in texts {
        let home = Home::new(&[text]);
        let unstuffed = sent.replace("\r\n..", "\r\n.");
        let size = unstuffed.strip_prefix("..").map_or(unstuffed.len(), |rest| rest.len() + 1);
        let commands = b"USER mrose\r\nPASS tanstaaf\r\nLIST 1\r\nRETR 1\r\n";
        for piece in 1..=text.len() + 2 {
            let output = home.writes(piece, &[commands]).concat();
            let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n{sent}.\r\n");
            assert!(output.ends_with(&expected), "{text:?} in {piece}: {output:?}");
        }
    }
}

#[test]
fn a_line_of_a_megabyte_is_sent_unchanged() {
    let line = ".".repeat(1 << 20);
    let home = Home::new(&[&line]);
    let output = home.logged_in("LIST 1\r\nRETR 1\r\nQUIT\r\n");
    let size = line.len() + 2;
    let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n.{line}\r\n.\r\n+OK");
    assert!(output.starts_with(&expected));
}

#[test]
fn top_sends_the_header_and_the_requested_lines() {
    let home = Home::new(&["A: b\n\n.one\ntwo\n", "A: b\n"]);
    for (command, shown) in [
        ("TOP 1 0", "A: b\r\n\r\n"),
        ("TOP 1 1", "A: b\r\n\r\n..one\r\n"),
        ("TOP 1 2", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 1 99999999999999999999999999", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 2 0", "A: b\r\n"),
    ] {
        let output = home.logged_in(&format!("{command}\r\n"));
        assert_eq!(output, format!("+OK top of message follows\r\n{shown}.\r\n"), "{command}");
    }
    for wrong in ["TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 1 1x", "TOP 3 0", "TOP", "TOP 1 1 1"] {
        assert!(home.logged_in(&format!("{wrong}\r\n")).starts_with("-ERR"), "{wrong}");
    }
}
