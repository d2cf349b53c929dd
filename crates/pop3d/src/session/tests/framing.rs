//! Packets, buffers, and messages on the wire.

use super::*;

#[test]
fn every_split_of_the_commands_says_the_same() {
    let home = Home::new(&[LETTER]);
    let commands = b"user mrose\r\nPASS tanstaaf\r\nstat\nTOP 1 0\r\nUIDL 1\r\nqUiT\r\n";
    let whole = home.hear(&[commands]);
    let rest = whole.split_once("\r\n").unwrap().1;
    assert_eq!(signs(rest), "++++S_.++");
    for cut in 1..commands.len() {
        let (one, two) = commands.split_at(cut);
        let said = home.hear(&[one, two]);
        assert_eq!(said.split_once("\r\n").unwrap().1, rest, "cut at {cut}");
    }
    let octets: Vec<&[u8]> = commands.chunks(1).collect();
    assert_eq!(home.hear(&octets).split_once("\r\n").unwrap().1, rest);
}

#[test]
fn pipelined_commands_are_answered_in_one_write_and_half_a_command_holds_nothing_up() {
    let home = Home::new(&[LETTER]);
    let start: &[u8] = b"USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n";
    let writes = home.hear_in_pieces(BUFFER, &[start]);
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
    let half = [start, b"NO"].concat();
    let writes = home.hear_in_pieces(BUFFER, &[&half, b"OP\r\n"]);
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
}

#[test]
fn a_message_is_framed_the_same_at_every_edge_of_the_buffer() {
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
            let said = home.hear_in_pieces(piece, &[commands]).concat();
            let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n{sent}.\r\n");
            assert!(said.ends_with(&expected), "{text:?} in {piece}: {said:?}");
        }
    }
}

#[test]
fn a_megabyte_in_one_line_is_sent_as_it_is() {
    let line = ".".repeat(1 << 20);
    let home = Home::new(&[&line]);
    let said = home.logged_in("LIST 1\r\nRETR 1\r\nQUIT\r\n");
    let size = line.len() + 2;
    let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n.{line}\r\n.\r\n+OK");
    assert!(said.starts_with(&expected));
}

#[test]
fn top_shows_the_header_and_so_many_lines() {
    let home = Home::new(&["A: b\n\n.one\ntwo\n", "A: b\n"]);
    for (command, shown) in [
        ("TOP 1 0", "A: b\r\n\r\n"),
        ("TOP 1 1", "A: b\r\n\r\n..one\r\n"),
        ("TOP 1 2", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 1 99999999999999999999999999", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 2 0", "A: b\r\n"),
    ] {
        let said = home.logged_in(&format!("{command}\r\n"));
        assert_eq!(said, format!("+OK top of message follows\r\n{shown}.\r\n"), "{command}");
    }
    for wrong in ["TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 1 1x", "TOP 3 0", "TOP", "TOP 1 1 1"] {
        assert!(home.logged_in(&format!("{wrong}\r\n")).starts_with("-ERR"), "{wrong}");
    }
}
