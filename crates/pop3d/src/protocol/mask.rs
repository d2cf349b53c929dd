//! Masks secrets in the lines of a transcript.
//!
//! A line is shown as far as it is what the protocol expects. All else may hold a secret: a password that was
//! typed too early, a response of AUTH after a refusal, `PASS` after a character that does not print.

use accounts::Mechanism;

use crate::protocol::command::split;

/// Replaces a secret in a transcript.
pub const STARS: &[u8] = b"********";

/// Commands whose arguments are numbers.
const WITH_NUMBERS: [&str; 6] = ["LIST", "RETR", "DELE", "TOP", "UIDL", "STAT"];
/// Commands without arguments.
const ALONE: [&str; 8] = ["NOOP", "RSET", "QUIT", "CAPA", "STLS", "UTF8", "LANG", "LAST"];
/// Commands whose first argument is shown: a name, or a mechanism.
const WITH_NAME: [&str; 3] = ["USER", "APOP", "AUTH"];

/// Returns a line of a client with all masked that may be a secret.
#[must_use]
pub fn masked(line: &[u8]) -> Vec<u8> {
    let (keyword, rest) = split(line);
    let is_one_of =
        |known: &[&str]| known.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(keyword));
    let Some(rest) = rest else {
        if line == b"*" {
            return line.to_vec(); // AUTH is cancelled
        }
        let is_known = is_one_of(&WITH_NUMBERS) || is_one_of(&ALONE) || is_one_of(&WITH_NAME);
        return if is_known || is_one_of(&["PASS"]) { line.to_vec() } else { STARS.to_vec() };
    };
    if is_one_of(&WITH_NUMBERS) && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ') {
        return line.to_vec();
    }
    if is_one_of(&WITH_NAME) {
        let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
        let (name, secret) = split(rest.get(start..).unwrap_or_default());
        let is_name = match is_one_of(&["AUTH"]) {
            true => Mechanism::parse(name).is_some(), // else it may be a response
            false => !name.is_empty() && !name.iter().any(u8::is_ascii_control),
        };
        return match (is_name, secret) {
            (true, None) => line.to_vec(),
            (true, Some(_)) => [keyword, name, STARS].join(&b' '),
            (false, _) => [keyword, STARS].join(&b' '),
        };
    }
    let is_known = is_one_of(&WITH_NUMBERS) || is_one_of(&ALONE) || is_one_of(&["PASS"]);
    if is_known { [keyword, STARS].join(&b' ') } else { STARS.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_masked_that_the_protocol_does_not_expect() {
        for (line, shown) in [
            ("PASS a b", "PASS ********"),
            ("pass x", "pass ********"),
            ("PASS  x", "PASS ********"),
            ("PASS  ", "PASS ********"),
            ("PASS", "PASS"),
            ("  PASS x", "********"),
            ("\rPASS x", "********"),
            ("PASS\tx", "********"),
            ("\tpAsS:x", "********"),
            ("PASSx", "********"),
            ("APOP bob 0123", "APOP bob ********"),
            ("APOP bob", "APOP bob"),
            ("apop  bob 0123 4", "apop bob ********"),
            ("APOP bob\t0123", "APOP ********"),
            ("AUTH PLAIN AGJvYgB4", "AUTH PLAIN ********"),
            ("AUTH  PLAIN  AGJvYgB4", "AUTH PLAIN ********"),
            ("USER   bob", "USER   bob"),
            ("USER \t bob", "USER ********"),
            ("USER  ", "USER ********"),
            ("UTF8", "UTF8"),
            ("LANG x", "LANG ********"),
            ("last", "last"),
            ("AUTH PLAIN\0AGJvYgB4", "AUTH ********"),
            ("auth", "auth"),
            ("AUTH AGJvYgB4", "AUTH ********"),
            ("AUTH cram-md5", "AUTH cram-md5"),
            ("USER bob", "USER bob"),
            ("USER bob x", "USER bob ********"),
            ("LIST 1", "LIST 1"),
            ("TOP 1 10", "TOP 1 10"),
            ("RETR x", "RETR ********"),
            ("STAT", "STAT"),
            ("NOOP x", "NOOP ********"),
            ("AGJvYgB4", "********"),
            ("hush", "********"),
            ("PAS", "********"),
            ("", "********"),
        ] {
            assert_eq!(masked(line.as_bytes()), shown.as_bytes(), "{line:?}");
        }
    }
}
