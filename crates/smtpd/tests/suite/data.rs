//! The letter and its end (RFC 5321 §4.1.1.4, §4.5.2).

use crate::common::*;

/// What ends no letter, whatever server or client believes it does.
const FALSE_ENDS: [&str; 14] = [
    "\r.\n",
    "\n\r.\r\n",
    "\r\n.\0\r\n.\n",
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\n.\r",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r\r\n.\r",
    "\n\n.\n",
    "\r\n\n.\r\n",
];

#[test]
fn no_false_end_ends_a_letter_and_nothing_behind_it_runs() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for end in FALSE_ENDS {
        let mut peer = in_data(&daemon);
        peer.send(format!(
            "first{end}MAIL FROM:<evil@x.test>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\nevil\r\n.\r\n"
        ));
        peer.expect("550 5.6.11 ");
        peer.ask("NOOP", "250 ");
        peer.ask("DATA", "503 ");
        peer.ask("QUIT", "221 ");
        assert_eq!(peer.rest(), b"", "{end:?}");
    }
    fixture.assert_nothing();
}

#[test]
fn bare_lf_is_repaired_on_wish_but_still_ends_no_letter() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--accept-bare-lf"]);
    for (sent, stored) in [
        ("a\nb\r\n", "a\nb\n"),
        ("a\n..b\r\n", "a\n.b\n"),
        ("a\n.\nNOOP\r\n", "a\n.\nNOOP\n"),
        ("a\n.\r\nNOOP\r\n", "a\n.\nNOOP\n"),
        ("a\r\n.\nNOOP\r\n", "a\n.\nNOOP\n"),
    ] {
        let mut peer = in_data(&daemon);
        peer.send(format!("{sent}.\r\n"));
        peer.expect("250 ");
        peer.ask("QUIT", "221 ");
        assert_eq!(fixture.letter("levy"), stored);
        std::fs::remove_dir_all(fixture.maildir("levy")).unwrap();
    }
    for end in ["\r.\r", "\r.\r\n", "\r\n.\r\r\n"] {
        let mut peer = in_data(&daemon);
        peer.send(format!("a{end}b\r\n.\r\n"));
        peer.expect("550 5.6.11 ");
    }
}

#[test]
fn dots_at_the_start_of_a_line_lose_one_and_others_stay() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send("..\r\n...\r\n.x\r\nx.\r\n.. \r\n \r\nlast.\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), ".\n..\nx\nx.\n. \n \nlast.\n");
}

#[test]
fn the_end_may_be_cut_at_every_byte() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let tail = "x\r\n..\r\n.\r\nQUIT\r\n";
    let mut peer = introduced(&daemon);
    for cut in 1..tail.len() - 6 {
        peer.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n");
        for reply in ["250 ", "250 ", "354 "] {
            peer.expect(reply);
        }
        peer.send(&tail[..cut]);
        // The pieces are two segments; that each is read alone is tested with a stream in memory.
        std::thread::yield_now();
        peer.send(&tail[cut..tail.len() - 6]);
        peer.expect("250 2.0.0 ");
    }
    peer.ask("QUIT", "221 ");
    assert_eq!(fixture.letters("levy").len(), tail.len() - 7);
    assert!(fixture.letters("levy").iter().all(|letter| below_trace(letter) == "x\n.\n"));
}

#[test]
fn an_empty_letter_is_a_letter() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send(".\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "");
}

#[test]
fn every_octet_but_bare_cr_and_lf_arrives_as_it_is() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut octets: Vec<u8> = (0..=255).filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    octets.insert(0, b'>');
    let mut peer = in_data(&daemon);
    peer.send([&octets, &b"\r\n.\r\n"[..]].concat());
    peer.expect("250 ");
    let path = &files(&fixture.maildir("levy").join("new"))[0];
    let stored = std::fs::read(path).unwrap();
    octets.push(b'\n');
    assert!(stored.ends_with(&octets), "{}", stored.escape_ascii());
}

#[test]
fn the_next_letter_may_follow_in_the_packet_of_the_last_end() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    let envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\n";
    peer.send(format!("one\r\n.\r\n{envelope}two\r\n.\r\nQUIT\r\n"));
    for reply in ["250 2.0.0 ", "250 2.1.0 ", "250 2.1.5 ", "354 ", "250 2.0.0 ", "221 "] {
        peer.expect(reply);
    }
    assert_eq!((fixture.letter("levy"), fixture.letter("bob")), ("one\n".into(), "two\n".into()));
}

#[test]
fn a_connection_lost_in_data_leaves_nothing() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for part in ["", "Subject: x\r\n\r\nhalf", "all\r\n.", "all\r\n.\r", "all\r\n"] {
        let mut peer = in_data(&daemon);
        peer.send(part);
        drop(peer);
        let mut peer = in_data(&daemon);
        peer.send(part);
        peer.reset();
        let mut peer = in_data(&daemon);
        peer.send(part);
        peer.shutdown_write();
        assert_eq!(peer.rest(), b"", "{part:?} was answered");
    }
    daemon.wait_log("broke off");
    fixture.assert_nothing();
    assert_alive(&daemon);
}

#[test]
fn a_letter_of_a_megabyte_comes_out_byte_for_byte() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut letter = String::from("Subject: large\r\n\r\n");
    for n in 0..20_000_u32 {
        letter +=
            &format!("{}{n} {}\r\n", ".".repeat((n % 4) as usize), "z".repeat((n % 97) as usize));
    }
    let wire: String = letter
        .split_inclusive("\r\n")
        .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.into() })
        .collect();
    let mut peer = in_data(&daemon);
    peer.send(wire + ".\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), letter.replace("\r\n", "\n"));
}

#[test]
fn after_the_reply_to_a_letter_its_recipients_are_forgotten() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("RCPT TO:<levy@red.test>", "503 5.5.1 ");
    peer.ask("DATA", "503 5.5.1 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("DATA", "554 5.5.1 ");
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn a_letter_that_comes_a_byte_at_a_time_is_cut_off_and_leaves_nothing() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--timeout", "1"]);
    let mut peer = in_data(&daemon);
    // A byte now and then is never silence, and yet no 128 bytes a second.
    testkit::wait_until("the letter is cut off", || {
        peer.try_send("x").is_err() || !peer.is_silent()
    });
    daemon.wait_log("421 4.4.2");
    fixture.assert_nothing();
}
