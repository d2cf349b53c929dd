//! Escapes text of clients and other programs for logs, titles and terminals.

/// Longest name in a title, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Longest value of a variable in the log, in bytes.
const MAX_VALUE_BYTES: usize = 40;

/// Escapes a line for a terminal: all that does not print but tabs, and what turns the direction of writing, with which a
/// line would show another text than it has.
#[must_use]
pub fn printable(line: &[u8]) -> String {
    let mut text = String::new();
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.push(c),
                _ if c.is_control() || turns(c) => text.extend(c.escape_default()),
                _ => text.push(c),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

/// Returns whether a character turns the direction of writing (Unicode's Bidi_Control), or ends a line.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name that a client chose, fit for a title: what does not print is escaped, and what is longer
/// than 64 bytes is cut and ends in `...`.
#[must_use]
pub fn in_title(name: &[u8]) -> String {
    match name.get(..MAX_NAME_BYTES) {
        Some(head) if head.len() < name.len() => printable(head) + "...",
        _ => printable(name),
    }
}

/// The value of a variable for the log: escaped, and cut after 40 bytes.
pub(crate) fn shown(value: &str) -> String {
    printable(value.as_bytes().get(..MAX_VALUE_BYTES).unwrap_or(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(in_title(b"a\x1b\xff"), "a\\u{1b}\\xff");
        assert_eq!(
            printable("a\u{202e}b\u{200d}\t\u{9b}".as_bytes()),
            "a\\u{202e}b\u{200d}\t\\u{9b}"
        );
        assert_eq!(in_title(&[b'a'; 64]), "a".repeat(64));
        assert_eq!(in_title(&[b'a'; 65]), "a".repeat(64) + "...");
    }
}
