//! How much a client may say (RFC 5321 §4.5.3, RFC 1870).

use crate::common::*;

#[test]
fn a_command_line_of_512_octets_works_and_one_more_is_500() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask(&format!("NOOP {}", "x".repeat(512 - 7)), "250 ");
    peer.ask(&format!("NOOP {}", "x".repeat(513 - 7)), "500 5.5.2 ");
    peer.ask(&format!("VRFY {}", "x".repeat(513 - 7)), "500 5.5.2 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask(&format!("RCPT TO:<levy@red.test>{}", " ".repeat(512 - 25)), "250 ");
}

#[test]
fn mail_and_rcpt_may_be_longer_by_their_parameters() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    let mail = "MAIL FROM:<a@b.test> SIZE=1 BODY=7BIT";
    let spaces = |total: usize| " ".repeat(total - 2 - mail.len());
    peer.ask(&format!("{mail}{}", spaces(512 + 669)), "250 ");
    peer.ask("RSET", "250 ");
    peer.ask(&format!("{mail}{}", spaces(512 + 670)), "500 5.5.2 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    let orcpt = format!("ORCPT=rfc822;{}", "x".repeat(493));
    let rcpt = format!("RCPT TO:<levy@red.test> NOTIFY=SUCCESS,FAILURE,DELAY {orcpt}");
    let spaces = |total: usize| " ".repeat(total - 2 - rcpt.len());
    peer.ask(&format!("{rcpt}{}", spaces(512 + 537)), "500 5.5.2 ");
    peer.ask(&format!("{rcpt}{}", spaces(512 + 536)), "250 ");
}

#[test]
fn a_line_over_the_limit_is_never_cut_short_and_done() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    // If the line were cut anywhere, a piece of it would be a QUIT.
    for length in [600, 10_000, 100_000] {
        peer.send(format!("{}\r\nNOOP\r\n", "QUIT\rQUIT ".repeat(length / 10)));
        peer.expect("500 5.5.2 ");
        peer.expect("250 ");
    }
    fixture.assert_nothing();
}

#[test]
fn a_path_over_256_octets_is_501() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    let domain = format!("{}.{}.{}.test", "d".repeat(60), "e".repeat(60), "f".repeat(59));
    let fits = 256 - 3 - domain.len();
    peer.ask(&format!("MAIL FROM:<{}@{domain}>", "l".repeat(fits + 1)), "501 5.1.7 ");
    peer.ask(&format!("MAIL FROM:<{}@{domain}>", "l".repeat(fits)), "250 ");
    peer.ask(&format!("RCPT TO:<{}@{domain}>", "l".repeat(fits + 1)), "501 5.1.3 ");
    peer.ask(&format!("RCPT TO:<{}@{domain}>", "l".repeat(fits)), "550 5.7.1 ");
}

#[test]
fn a_hundred_recipients_are_taken_and_over_the_limit_the_earlier_ones_are_kept() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-recipients", "100"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for n in 0..100 {
        let user = if n % 2 == 0 { "levy" } else { "bob" };
        peer.ask(&format!("RCPT TO:<{user}@red.test>"), "250 ");
    }
    peer.ask("RCPT TO:<levy@red.test>", "452 4.5.3 ");
    peer.ask("RCPT TO:<bob@red.test>", "452 4.5.3 ");
    peer.ask("DATA", "354 ");
    peer.send("to many\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(
        (fixture.letter("levy"), fixture.letter("bob")),
        ("to many\n".into(), "to many\n".into())
    );
}

#[test]
fn a_hundred_different_users_get_the_letter_each() {
    let fixture = Fixture::new();
    let home = fixture.dir.path().display();
    let users: String = (0..100).map(|n| format!("u{n}:x::::{home}/u{n}:\n")).collect();
    std::fs::write(&fixture.users, users).unwrap();
    for n in 0..100 {
        make_home(&fixture.dir.path().join(format!("u{n}")), OWNER);
    }
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for n in 0..100 {
        peer.ask(&format!("RCPT TO:<u{n}@red.test>"), "250 ");
    }
    peer.ask("DATA", "354 ");
    peer.send("to all\r\n.\r\n");
    peer.expect("250 ");
    for n in 0..100 {
        let user = format!("u{n}");
        assert_eq!(fixture.letter(&user), "to all\n");
        assert_eq!(fixture.drafts(&user), Vec::<std::path::PathBuf>::new());
        assert!(
            !fixture.letters(&user)[0].contains("@red.test"),
            "one recipient learns of another"
        );
    }
}

#[test]
fn text_lines_of_1000_octets_and_of_10_kb_arrive_as_they_are() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let text = format!("{}\r\n{}\r\n", "x".repeat(998), "y".repeat(10_000));
    let mut peer = in_data(&daemon);
    peer.send(format!("{text}.\r\n"));
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), text.replace("\r\n", "\n"));
}

#[test]
fn a_declared_size_over_the_limit_is_552_at_mail() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test> SIZE=1001", "552 5.3.4 ");
    peer.ask("MAIL FROM:<a@b.test> SIZE=99999999999999999999", "552 5.3.4 ");
    peer.ask("MAIL FROM:<a@b.test> SIZE=1000", "250 ");
}

#[test]
fn a_letter_over_the_limit_is_read_to_its_end_and_then_552() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    // Doubled dots and the end do not count, CRLF counts twice (RFC 1870 §3).
    let full = format!("..{}\r\n{}\r\n", "x".repeat(497), "y".repeat(498));
    let mut peer = in_data(&daemon);
    peer.send(format!("{full}.\r\n"));
    peer.expect("250 ");
    assert_eq!(fixture.letters("levy").len(), 1);

    let mut peer = in_data(&daemon);
    peer.send(format!("{full}z\r\n{}\r\nRSET\r\n.\r\nNOOP\r\n", "w".repeat(1_000_000)));
    peer.expect("552 5.3.4 ");
    peer.expect("250 ");
    assert_eq!(fixture.letters("levy").len(), 1);
    testkit::wait_until("no draft is left over", || fixture.drafts("levy").is_empty());
}

#[test]
fn a_max_size_of_0_is_no_limit() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "0"]);
    let mut peer = in_data(&daemon);
    peer.send(format!("{}\r\n.\r\n", "w".repeat(100_000)));
    peer.expect("250 ");
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test> SIZE=1000000", "250 ");
}

#[test]
fn a_disk_that_is_low_is_452_at_rcpt_for_the_mailbox_that_is_on_it() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--min-free", "18446744073709551615"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "452 4.3.1 ");
    peer.ask("DATA", "451 ");
    daemon.wait_log("mailbox of 'levy': ");
    daemon.wait_log("less than 18446744073709551615 bytes free");
    // A letter that is larger than the disk.
    let daemon = fixture.serve(&["--max-size", "0"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test> SIZE=18000000000000000000", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "452 4.3.1 ");
}

#[test]
fn a_letter_of_several_megabytes_needs_no_memory_for_it() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    let line = format!("{}\r\n", "m".repeat(998));
    for _ in 0..20 {
        peer.send(line.repeat(1000));
    }
    let child = testkit::children(daemon.pid())[0];
    let kib = testkit::peak_memory(child);
    assert!(kib < 16_000, "{kib} KiB for a letter of 20 MB");
    peer.send(".\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy").len(), 20_000 * 999);
}
