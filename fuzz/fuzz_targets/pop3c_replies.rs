//! What a server may answer pop3c: any bytes, in pieces of any size, which make no difference. Nothing of them
//! reaches the terminal as it is, and no command depends on them but by a number.
#![no_main]

use forklore_fuzz::{Wire, option};
use libfuzzer_sys::fuzz_target;
use pop3d::client::capabilities::Capabilities;
use pop3d::client::connection::{ServerConnection, announced_size};
use pop3d::client::listing::Listing;
use pop3d::client::status::{Failure, Result};

/// Most messages that are fetched.
const MOST_LETTERS: usize = 8;

fuzz_target!(|data: &[u8]| {
    let (choice, rest) = option(data);
    let (piece, replies) = option(rest);
    let (seen, sent) = talk(choice, replies, usize::MAX);
    let (again, sent_again) = talk(choice, replies, usize::from(piece));
    assert_eq!(seen, again, "in pieces of {piece}");
    assert_eq!(sent, sent_again);
    for command in sent.split_inclusive(|&byte| byte == b'\n') {
        let command = command.strip_suffix(b"\r\n").expect("a command ends in CRLF");
        let is_plain = command.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        assert!(is_plain && command.len() <= 253, "{}", command.escape_ascii());
    }
});

/// Talks to a server that answers so; returns what was seen and what was sent.
fn talk(choice: u8, replies: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let mut wire = Wire::new(replies, piece);
    let mut seen = Vec::new();
    if let Err(failure) = dialogue(choice, &mut wire, &mut seen) {
        seen.push(printed(&failure));
    }
    (seen, wire.output)
}

fn dialogue(choice: u8, wire: &mut Wire<'_>, seen: &mut Vec<String>) -> Result<()> {
    let mut conn = ServerConnection::start(wire, "h.test:110".to_owned(), false)?;
    seen.push(conn.greeting().escape_ascii().to_string());
    let capabilities =
        if choice & 1 == 0 { Capabilities::ask(&mut conn)? } else { Capabilities::default() };
    seen.push(format!("{capabilities:?}"));
    if choice & 2 != 0 {
        seen.push(format!("{:?}", conn.exchange(b"AUTH LOGIN", b"AUTH LOGIN")?));
    }
    let is_pipelined = capabilities.pipelining || choice & 4 != 0;
    let listing = Listing::read(&mut conn, is_pipelined, choice & 8 != 0)?;
    let mut numbers: Vec<u64> = listing.letters.iter().map(|letter| letter.number).collect();
    seen.push(format!("{:?} {}", listing.letters, listing.has_ids));
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|two| two[0] != two[1]) && !numbers.contains(&0));
    for letter in &listing.letters {
        let shares = listing.letters.iter().filter(|other| other.id == letter.id).count() > 1;
        assert!(letter.id.is_none() || letter.is_unique != shares, "an id of two messages");
        assert!(letter.id.is_some() == listing.has_ids);
    }
    for number in numbers.into_iter().take(MOST_LETTERS) {
        let command = format!("RETR {number}");
        match conn.command(&command) {
            Ok(text) => seen.push(format!("{:?}", announced_size(&text))),
            Err(failure) if conn.is_broken() => return Err(failure),
            Err(failure) => {
                seen.push(printed(&failure));
                continue;
            }
        }
        let mut text = Vec::new();
        let octets = conn.message(&command, |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        assert!(octets >= text.len() as u64, "more than was sent");
        seen.push(text.escape_ascii().to_string());
    }
    conn.command("QUIT").map(drop)
}

/// A failure as it is printed.
fn printed(failure: &Failure) -> String {
    let text = failure.error.to_string();
    assert!(!text.chars().any(|it| it.is_control() && it != '\t'), "{text:?}");
    format!("{} {text}", failure.code())
}
