//! What RFC 5321 says of a whole session, in slow lines that know no code of ours: a reply for each line, a text between
//! 354 and its end, and a letter for each text that was accepted, byte for byte.

use crate::lines;

/// A letter that was delivered.
#[derive(Debug)]
pub struct Kept {
    /// The reverse-path.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<String>,
    /// The text with the server's trace above it, lines ending in LF.
    pub text: Vec<u8>,
}

/// Splits what the server wrote into replies: code and lines. Every line is printable, of at most 512 bytes with its CRLF
/// (§4.5.3.1.5), and all of a reply have one code.
#[must_use]
pub fn replies(output: &[u8]) -> Vec<(u16, Vec<&[u8]>)> {
    let mut all: Vec<(u16, Vec<&[u8]>)> = Vec::new();
    let mut is_open = false;
    for line in lines(output) {
        let text = line.strip_suffix(b"\r\n").expect("a reply ends in CRLF");
        assert!(line.len() <= 512, "a reply of {} bytes", line.len());
        let printed = std::str::from_utf8(text).expect("UTF-8");
        assert!(!printed.contains(char::is_control), "a reply: {}", text.escape_ascii());
        let code = std::str::from_utf8(&text[..3]).expect("a code").parse().expect("a code");
        assert!((200..560).contains(&code), "code {code}");
        match all.last_mut().filter(|_| is_open) {
            Some((first, some)) => {
                assert_eq!(*first, code, "one code in a reply");
                some.push(text);
            }
            None => all.push((code, vec![text])),
        }
        is_open = text.get(3) == Some(&b'-');
        assert!(text.len() == 3 || is_open || text[3] == b' ', "{}", text.escape_ascii());
    }
    assert!(!is_open, "a reply without an end");
    all
}

/// The transaction as the replies tell of it.
#[derive(Default)]
struct Transaction {
    mail: Option<Vec<u8>>,
    recipients: Vec<Vec<u8>>,
    /// Accepted chunks of BDAT.
    chunks: Vec<u8>,
    /// A chunk was refused: the transaction may be over.
    may_be_over: bool,
    /// There was a chunk.
    has_chunks: bool,
    /// One after it was refused, and no other may be taken.
    has_failed: bool,
}

/// Judges a session: what the client sent, what it was answered, and what was delivered. `repairs` says that a bare LF in
/// a text is taken.
///
/// # Panics
/// Where the server did anything else than RFC 5321 says.
pub fn judge(input: &[u8], output: &[u8], kept: &[Kept], repairs: bool) {
    let all = replies(output);
    let mut answers = all.iter();
    let mut kept = kept.iter();
    assert_eq!(answers.next().expect("a greeting").0, 220);
    let (mut at, mut now) = (0, Transaction::default());
    while let Some(length) = input[at..].iter().position(|&byte| byte == b'\n') {
        let line = &input[at..=at + length];
        at += line.len();
        if let Some((octets, is_last)) = chunk(line) {
            let Some(octets) =
                usize::try_from(octets).ok().and_then(|count| input[at..].get(..count))
            else {
                at = input.len();
                break;
            };
            at += octets.len();
            let (code, _) = answers.next().expect("a reply to a chunk");
            match code {
                250 => {
                    assert!(!now.recipients.is_empty(), "a chunk without a recipient");
                    assert!(!now.has_failed, "a letter without one of its chunks");
                    now.chunks.extend_from_slice(octets);
                    now.has_chunks = true;
                    if is_last {
                        let text = std::mem::take(&mut now.chunks);
                        compare(*code, &text, (repairs, false), &now, &mut kept);
                        now = Transaction::default();
                    }
                }
                421 => {
                    at = input.len();
                    break;
                }
                // One that failed among others fails the letter (RFC 3030 §2), and may end the transaction; or it was malformed.
                _ => {
                    assert!((400..600).contains(code), "{code} for a chunk");
                    now.has_chunks |= !now.recipients.is_empty() && *code != 501; // of a letter that has failed
                    now.may_be_over |= is_last || now.has_chunks;
                    now.has_failed |= now.has_chunks;
                }
            }
            continue;
        }
        let Some((code, _)) = answers.next() else { panic!("no reply to {}", line.escape_ascii()) };
        match code {
            221 | 421 => {
                at = input.len();
                break;
            }
            354 => {
                assert!(line.ends_with(b"\r\n"), "DATA that ends in LF");
                assert!(!now.recipients.is_empty(), "354 without a recipient");
                let Some((text, end)) = text_of(&input[at..]) else {
                    at = input.len();
                    break;
                };
                let (code, _) = answers.next().expect("a reply to a text");
                compare(*code, text, (repairs, true), &now, &mut kept);
                now = Transaction::default();
                at += end;
            }
            _ => command(line, *code, &mut now),
        }
    }
    // A line without an end may be answered; a client that has gone is not.
    let left = usize::from(at < input.len());
    assert!(
        answers.len() <= left.max(usize::from(at == input.len() && ends_session(&all))),
        "a reply too many"
    );
    assert!(kept.next().is_none(), "a letter that nothing tells of");
}

fn ends_session(all: &[(u16, Vec<&[u8]>)]) -> bool {
    all.last().is_some_and(|(code, _)| *code == 421)
}

/// The octets that follow BDAT, and whether they are the last (RFC 3030 §2); they follow also where it is refused.
fn chunk(line: &[u8]) -> Option<(u64, bool)> {
    let text = line.strip_suffix(b"\n")?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let is_text = line.len() <= 512 && !text.iter().any(|byte| b"\r\0".contains(byte));
    let mut words = text.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
    let is_bdat = words.next()?.eq_ignore_ascii_case(b"BDAT") && !text.starts_with(b" ") && is_text;
    let digits = words.next().filter(|word| is_bdat && word.iter().all(u8::is_ascii_digit))?;
    let octets = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some((octets, words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"))))
}

/// Follows a command that had this reply.
fn command(line: &[u8], code: u16, now: &mut Transaction) {
    let end = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
    let is_done = (200..300).contains(&code);
    match &line[..end].to_ascii_uppercase()[..] {
        b"MAIL" if is_done => {
            assert!(now.mail.is_none() || now.may_be_over, "MAIL within a transaction");
            *now = Transaction { mail: Some(line.to_vec()), ..Transaction::default() };
        }
        b"RCPT" if is_done => {
            assert!(now.mail.is_some(), "RCPT without MAIL");
            let plain: Vec<u8> =
                line.iter().copied().filter(|byte| !b"\"\\".contains(byte)).collect();
            let names = |name: &[u8]| plain.windows(name.len()).any(|part| part == name);
            assert!(names(b"levy") || names(b"bob"), "who is {}", line.escape_ascii());
            now.recipients.push(line.to_vec());
        }
        b"EHLO" | b"HELO" | b"RSET" | b"LHLO" if is_done => *now = Transaction::default(),
        b"BDAT" if code >= 400 => {
            now.may_be_over |= now.has_chunks;
            now.has_failed |= now.has_chunks;
        }
        b"VRFY" | b"EXPN" | b"HELP" | b"NOOP" | b"QUIT" | b"MAIL" | b"RCPT" | b"DATA" | b"BDAT" => {
        }
        _ => assert!(code >= 400, "{code} for {}", line.escape_ascii()),
    }
}

/// The text at the start of the input, and the length of all of it: its end is CRLF . CRLF, or . CRLF at the start.
fn text_of(input: &[u8]) -> Option<(&[u8], usize)> {
    if input.starts_with(b".\r\n") {
        return Some((b"", 3));
    }
    let at = input.windows(5).position(|five| five == b"\r\n.\r\n")?;
    Some((&input[..at + 2], at + 5))
}

/// Compares a text and its reply with what was delivered.
fn compare<'k>(
    code: u16,
    wire: &[u8],
    (repairs, is_stuffed): (bool, bool),
    now: &Transaction,
    kept: &mut impl Iterator<Item = &'k Kept>,
) {
    let mut text = Vec::new();
    for line in lines(wire) {
        let line = line.strip_prefix(b".").filter(|_| is_stuffed).unwrap_or(line);
        text.extend_from_slice(line.strip_suffix(b"\r\n").unwrap_or(line));
        text.push(b'\n');
    }
    let is_bare = text.contains(&b'\r')
        || lines(wire).any(|line| line.strip_suffix(b"\r\n").unwrap_or(line).contains(&b'\n'));
    if code != 250 {
        assert!((400..600).contains(&code), "{code} for a text");
        return;
    }
    assert!(!is_bare || repairs, "a bare CR or LF was taken");
    let letter = kept.next().expect("what was accepted is delivered");
    let mail = now.mail.as_deref().unwrap_or_default();
    let sender = letter.sender.strip_suffix("@red.test").unwrap_or(&letter.sender);
    let sender = sender.replace('"', ""); // `.` is no atom, and goes on as `"."`
    let sender = sender.as_bytes();
    assert!(
        sender.is_empty()
            || mail.windows(sender.len()).any(|part| part == sender)
            || mail.contains(&b'"')
    );
    assert!(letter.recipients.len() <= now.recipients.len(), "a recipient too many");
    if is_bare {
        return; // what becomes of it is the option's affair
    }
    // Fields named Return-Path are taken out of the header.
    let has_path = text.to_ascii_lowercase().windows(11).any(|part| part == b"return-path");
    let below = text.windows(2).position(|two| two == b"\n\n").map_or(text.len(), |at| at + 1);
    let text = if has_path { &text[below..] } else { &text[..] };
    // The last line of the last chunk may have no end.
    let (text, stored) = (without_lf(text), without_lf(&letter.text));
    assert!(
        stored.ends_with(text) || has_blank_line_more(stored, text),
        "{} became {}",
        text.escape_ascii(),
        letter.text.escape_ascii()
    );
    assert!(letter.text.starts_with(b"Received: "), "no trace: {}", letter.text.escape_ascii());
}

fn without_lf(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

/// Whether this was stored with an empty line between what is a header and what is none.
fn has_blank_line_more(stored: &[u8], text: &[u8]) -> bool {
    let starts = (0..text.len()).filter(|&at| at == 0 || text[at - 1] == b'\n');
    starts.into_iter().any(|at| {
        let (header, body) = text.split_at(at);
        let above = stored.strip_suffix(body).and_then(|above| above.strip_suffix(b"\n"));
        above.is_some_and(|above| above.ends_with(header))
    })
}
