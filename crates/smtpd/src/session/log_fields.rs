//! The line of a letter in the log, in which no field may look like another one.

use crate::delivery::letter::Received;
use crate::protocol::envelope::{Hello, Recipient};

/// Most recipients of a letter in the log.
const MAX_LOGGED_RECIPIENTS: usize = 10;

/// Formats what is known of a letter to these recipients: `id=… from=<a@b> to=<c@d> size=1234 helo=<e> where=maildir:1
/// safe=2.5ms`. The size is in bytes; the last fields, where copies are and the time that it took to make the letter safe,
/// are there where that was done.
pub(super) fn letter(
    (id, sender): (&str, &str),
    to: &[&Recipient],
    hello: &Hello,
    received: &Received,
    is_safe: bool,
) -> String {
    let (from, to) = (address(sender), addresses(to));
    let helo = address(&String::from_utf8_lossy(&hello.name));
    let size = received.octets;
    let ms = received.took.as_secs_f64() * 1e3;
    let stored = received.delivered.stored;
    let safe = if is_safe { format!(" where={stored} safe={ms:.1}ms") } else { String::new() };
    format!("id={id} from={from} to={to} size={size} helo={helo}{safe}")
}

/// Formats an address or a name for the log: `<a@b>`. What a quoted local part may have and an atom may not is
/// escaped, so that the text has neither a blank nor a bracket; and what is no letter or digit beyond ASCII, such as
/// characters that turn the direction of the line.
pub(super) fn address(text: &str) -> String {
    let mut field = String::from("<");
    for c in text.chars() {
        match c {
            ' ' | '<' | '>' | '"' | '\\' | ',' | ';' | '\0'..='\x1f' | '\x7f' => {
                field.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_ascii() || c.is_alphanumeric() => field.push(c),
            c => field.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    field + ">"
}

/// Formats recipients for the log: `<a@b>,<c@d> and 3 more`.
fn addresses(recipients: &[&Recipient]) -> String {
    let listed = recipients.iter().take(MAX_LOGGED_RECIPIENTS);
    let listed: Vec<String> = listed.map(|one| address(&one.address)).collect();
    let more = recipients.len().saturating_sub(MAX_LOGGED_RECIPIENTS);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    listed.join(",") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_local_part_forges_no_field() {
        assert_eq!(address("a@b.test"), "<a@b.test>");
        assert_eq!(address(""), "<>");
        let forged = address("\"x> to=<bob@red.test> size=1\"@b.test");
        assert_eq!(address("b\u{fc}ro\u{202e}@b.test\u{85}"), "<b\u{fc}ro\\u{202e}@b.test\\u{85}>");
        assert_eq!(address("a\r\nb\x7f"), r"<a\x0d\x0ab\x7f>");
        assert_eq!(forged, r"<\x22x\x3e\x20to=\x3cbob@red.test\x3e\x20size=1\x22@b.test>");
    }
}
