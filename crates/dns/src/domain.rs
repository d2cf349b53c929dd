//! A domain's name, as it is asked for and compared.

use std::fmt;

/// Longest name in bytes, without its final dot: 255 on the wire (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// Longest label in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A domain's name, absolute: no search list is ever applied. Lower case, without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Reads a name, with or without a final dot; `None` unless it is of one label or more, of letters, digits, hyphens and
    /// underscores. (A host's name has no underscore, but some that take mail do.)
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Domain> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let is_of_names = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_label = |label: &[u8]| {
            !label.is_empty() && label.len() <= MAX_LABEL && label.iter().all(is_of_names)
        };
        let is_name = text.len() <= MAX_NAME && text.split(|&b| b == b'.').all(is_label);
        let text = std::str::from_utf8(text).ok().filter(|_| is_name)?;
        Some(Domain(text.to_ascii_lowercase()))
    }

    /// Returns the name, without a final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_without_case_and_final_dot() {
        assert_eq!(Domain::parse(b"Red.TEST."), Domain::parse(b"red.test"));
        assert_eq!(Domain::parse(b"mail_1.red.test").unwrap().as_str(), "mail_1.red.test");
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = [&[b'a'; 64][..], b".test"].concat();
        let longer = [b'a'; 60].repeat(4).join_labels();
        for text in [
            &b""[..],
            b".",
            b"a..b",
            b".a",
            b"a b",
            b"a\\b",
            b"a\0",
            b"\xc3\xa9.test",
            b"[1.2.3.4]",
        ]
        .into_iter()
        .chain([&long[..], &longer[..]])
        {
            assert_eq!(Domain::parse(text), None, "{}", text.escape_ascii());
        }
    }

    trait JoinLabels {
        fn join_labels(&self) -> Vec<u8>;
    }

    impl JoinLabels for Vec<u8> {
        /// Puts a dot after each 60 bytes, and five more labels at the end.
        fn join_labels(&self) -> Vec<u8> {
            let labels: Vec<&[u8]> = self.chunks(60).collect();
            [labels.join(&b'.'), b".aaaaaaaaaa".to_vec()].concat()
        }
    }
}
