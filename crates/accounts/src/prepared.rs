//! SASLprep (RFC 4013): one form for names and passwords that can be typed in several.

use crate::secret::Secret;

/// Returns the prepared form of a password or name. What is no UTF-8, or holds a character that the
/// profile prohibits, is taken as it is: it may still be what another program has stored, and a
/// comparison of bytes does no harm.
#[must_use]
pub fn prepared(text: &[u8]) -> Secret {
    match std::str::from_utf8(text).ok().and_then(|text| stringprep::saslprep(text).ok()) {
        Some(prepared) if !prepared.is_empty() => Secret::from(prepared.into_owned()),
        _ => Secret::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013_hold() {
        for (given, expected) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            // Prohibited: as it is.
            ("\u{7}", "\u{7}"),
            ("\u{627}1", "\u{627}1"),
            ("\u{ad}", "\u{ad}"),
            ("a\u{a0}b", "a b"),
        ] {
            assert_eq!(prepared(given.as_bytes()).as_bytes(), expected.as_bytes(), "{given:?}");
        }
        assert_eq!(prepared(b"\xff").as_bytes(), b"\xff");
    }
}
