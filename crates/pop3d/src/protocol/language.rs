//! LANG (RFC 6856 §3): the language of the texts after `+OK` and `-ERR`. Ours are in English.

use crate::protocol::command::Args;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{err, ok};

/// The tag of the one language.
const TAG: &str = "en";
/// The tag of what every client can be sent, in any language (RFC 2277 §4.5): it is English here too.
const DEFAULT_TAG: &str = "i-default";
/// What the client may send for the language that the administrator prefers.
const PREFERRED: &[u8] = b"*";

/// Lists the languages, or changes to one.
pub(crate) fn lang(args: Args<'_>) -> Outcome {
    let Some(range) = args.first else {
        let list =
            format!("+OK languages follow\r\n{TAG} English\r\n{DEFAULT_TAG} English\r\n.\r\n");
        return Outcome::Reply(list.into_bytes());
    };
    Outcome::Reply(match language(range) {
        Some(tag) => ok(format_args!("{tag} the language is English")),
        None => err("no such language here, LANG lists them"),
    })
}

/// Returns the tag for a language range by lookup (RFC 4647 §3.4): `en-GB` finds `en`.
fn language(range: &[u8]) -> Option<&'static str> {
    if range.eq_ignore_ascii_case(DEFAULT_TAG.as_bytes()) {
        return Some(DEFAULT_TAG);
    }
    let is_range = range.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let primary = range.split(|byte| *byte == b'-').next().unwrap_or_default();
    let is_english = is_range && primary.eq_ignore_ascii_case(TAG.as_bytes());
    (range == PREFERRED || is_english).then_some(TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_finds_the_language_by_lookup() {
        for (range, found) in [
            ("en", Some("en")),
            ("EN-gb", Some("en")),
            ("*", Some("en")),
            ("I-Default", Some("i-default")),
            ("i", None),
            ("eng", None),
            ("de", None),
            ("MUL", None),
            ("en_GB", None),
            ("", None),
        ] {
            assert_eq!(language(range.as_bytes()), found, "{range}");
        }
    }
}
