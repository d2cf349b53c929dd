//! Addresses in the log, in which nothing may look like another field of the line.

use crate::protocol::envelope::Recipient;

/// Most recipients of a letter in the log.
const MAX_LOGGED_RECIPIENTS: usize = 10;

/// Formats an address for the log: `<a@b>`. What a quoted local part may have and an atom may not is escaped, so
/// that the text has neither a blank nor a bracket.
pub(super) fn address(text: &str) -> String {
    let mut field = String::from("<");
    for c in text.chars() {
        match c {
            ' ' | '<' | '>' | '"' | '\\' | ',' | ';' => {
                field.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => field.push(c),
        }
    }
    field + ">"
}

/// Formats recipients for the log: `<a@b>,<c@d> and 3 more`.
pub(super) fn addresses(recipients: &[Recipient]) -> String {
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
        assert_eq!(forged, r"<\x22x\x3e\x20to=\x3cbob@red.test\x3e\x20size=1\x22@b.test>");
    }
}
