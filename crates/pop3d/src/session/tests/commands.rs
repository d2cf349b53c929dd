//! Commands and their arguments.

use super::*;

#[test]
fn the_session_of_the_slides() {
    let home = Home::new(&[LETTER, "Subject: two\n\n"]);
    let commands =
        "STAT\r\nLIST\r\nLIST 2\r\nLIST 3\r\nRETR 1\r\nDELE 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n";
    let expected = "+OK 2 38\r\n+OK 2 messages (38 octets)\r\n1 22\r\n2 16\r\n.\r\n+OK 2 16\r\n\
        -ERR no such message, only 2 messages in maildrop\r\n\
        +OK 22 octets\r\nSubject: one\r\n\r\nbody\r\n.\r\n\
        +OK message 1 deleted\r\n-ERR message 1 already deleted\r\n+OK nothing done\r\n\
        +OK dewey.test POP3 server signing off (1 message left)\r\n";
    assert_eq!(home.logged_in(commands), expected);
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn invalid_message_numbers_are_refused() {
    let home = Home::new(&[LETTER]);
    for word in ["0", "2", "-1", "+1", "1x", "x", "4294967297", "18446744073709551617", "1.0"] {
        for keyword in ["RETR", "DELE", "LIST", "UIDL"] {
            let output = home.logged_in(&format!("{keyword} {word}\r\nSTAT\r\n"));
            assert_eq!(signs(&output), "-+", "{keyword} {word}");
        }
        assert!(home.logged_in(&format!("TOP {word} 0\r\n")).starts_with("-ERR"));
    }
}

#[test]
fn a_wrong_argument_is_refused_and_the_session_continues() {
    let home = Home::new(&[LETTER]);
    for wrong in [
        "STAT x",
        "QUIT 1",
        "NOOP 1",
        "RSET 1",
        "RETR",
        "DELE",
        "LIST 1 1",
        "CAPA x",
        "",
        " ",
        "XYZZY",
        "STATS",
        "USER mrose",
        "PASS x",
        "APOP a b",
        "AUTH",
        "NO\0OP",
        "RETR 1\0",
        " STAT",
    ] {
        let output = home.logged_in(&format!("{wrong}\r\nSTAT\r\n"));
        assert_eq!(signs(&output), "-+", "{wrong:?}: {output}");
    }
    let output =
        home.replies(&[b"STAT\r\nRETR 1\r\nUIDL\r\nTOP 1 1\r\nPASS x\r\nCAPA 1\r\nQUIT\r\n"]);
    assert_eq!(signs(&output), "+------+");
    let home = Home::new(&[LETTER]);
    home.logged_in("DELE 1\r\nQUIT 1\r\n");
    assert_eq!(home.letters().len(), 1, "QUIT 1 does not enter UPDATE");
}

#[test]
fn a_line_of_255_bytes_is_parsed_and_a_longer_one_is_refused_once() {
    let home = Home::new(&[]);
    let pad = |length: usize| format!("USER {}\r\n", "x".repeat(length - 7));
    assert_eq!(signs(&home.replies(&[pad(255).as_bytes()])), "++");
    assert_eq!(signs(&home.replies(&[pad(256).as_bytes()])), "+-");
    let mut long = vec![b'x'; 10_000];
    long.extend_from_slice(b"QUIT\r\nCAPA\r\n");
    let output = home.replies(&[&long]);
    assert_eq!(signs(&output)[..3], *"+-+", "{output}");
}

#[test]
fn deleted_messages_are_omitted_without_renumbering_until_rset() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let output = home.logged_in(
        "DELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\nLIST 2\r\nUIDL 2\r\nRETR 2\r\nTOP 2 0\r\nRSET\r\nSTAT\r\nLIST 2\r\n",
    );
    let expected = "+OK message 2 deleted\r\n+OK 2 44\r\n\
        +OK 2 messages (44 octets)\r\n1 22\r\n3 22\r\n.\r\n\
        +OK unique-id listing follows\r\n1 1.a.test\r\n3 3.a.test\r\n.\r\n";
    assert!(output.starts_with(expected), "{output}");
    assert_eq!(signs(&output[expected.len()..]), "----+++");
    assert_eq!(home.letters().len(), 3);
}

#[test]
fn an_empty_maildrop_lists_nothing() {
    let home = Home::new(&[]);
    let output = home.logged_in("STAT\r\nLIST\r\nUIDL\r\nQUIT\r\n");
    let expected = "+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK unique-id listing follows\r\n.\r\n\
        +OK dewey.test POP3 server signing off (maildrop empty)\r\n";
    assert_eq!(output, expected);
    fs::remove_dir_all(home.maildir()).unwrap();
    assert_eq!(home.logged_in("STAT\r\nLIST\r\nUIDL\r\nQUIT\r\n"), expected);
}

#[test]
fn a_hundred_bad_commands_in_a_row_end_the_session() {
    let home = Home::new(&[]);
    let output = home.replies(&["x\r\n".repeat(150).as_bytes()]);
    assert_eq!(output.lines().count(), 101);
    let mixed = ["x\r\n".repeat(99), "CAPA\r\n".into(), "x\r\n".repeat(99), "QUIT\r\n".into()];
    let output = home.replies(&[mixed.concat().as_bytes()]);
    assert!(output.ends_with("signing off\r\n"), "{output}");
}
