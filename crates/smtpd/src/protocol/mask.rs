//! Masks secrets in command lines for the log and the transcript.

use accounts::Mechanism;

/// Replaces a secret.
pub const STARS: &[u8] = b"***";

/// Whether a line may belong to a login: `AUTH` is in it, in letters of either case.
#[must_use]
pub fn has_auth(line: &[u8]) -> bool {
    at_auth(line).is_some()
}

fn at_auth(line: &[u8]) -> Option<usize> {
    line.windows(4).position(|four| four.eq_ignore_ascii_case(b"AUTH"))
}

/// Masks the text after the mechanism of AUTH, and all after `AUTH` that is not one.
#[must_use]
pub fn masked(line: Vec<u8>) -> Vec<u8> {
    let starts = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    let Some(at) = at_auth(&line).filter(|_| starts || !is_mail(&line)) else { return line };
    let (known, rest) = line.split_at_checked(at + 4).unwrap_or_default();
    let mut words = rest.splitn(3, |byte| matches!(byte, b' ' | b'\t'));
    let (before, name, secret) = (words.next(), words.next(), words.next());
    let is_mechanism = before == Some(b"") && name.is_some_and(|it| Mechanism::parse(it).is_some());
    match (is_mechanism, secret) {
        (true, None) => line,
        (true, Some(_)) => [known, b" ", name.unwrap_or_default(), b" ", STARS].concat(),
        (false, _) if rest.is_empty() => line,
        (false, _) => [known, b" ", STARS].concat(),
    }
}

/// MAIL and RCPT have addresses, in which the four letters may be.
fn is_mail(line: &[u8]) -> bool {
    [&b"MAIL "[..], b"RCPT ", b"HELO ", b"EHLO "]
        .iter()
        .any(|verb| line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(verb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_after_auth_is_masked_behind_any_white_space() {
        for (line, shown) in [
            ("AUTH PLAIN c2VjcmV0", "AUTH PLAIN ***"),
            ("auth\tplain\tc2VjcmV0", "auth plain ***"),
            ("AUTH  PLAIN c2VjcmV0", "AUTH ***"),
            ("AUTH c2VjcmV0", "AUTH ***"),
            ("AUTH NTLM c2VjcmV0", "AUTH ***"),
            ("\rAUTH PLAIN c2VjcmV0", "\rAUTH PLAIN ***"),
            ("AUTH\0PLAIN c2VjcmV0", "AUTH ***"),
            ("XAUTH PLAIN c2VjcmV0", "XAUTH PLAIN ***"),
            ("AUTH PLAIN", "AUTH PLAIN"),
            ("AUTH", "AUTH"),
            ("NOOP", "NOOP"),
            ("MAIL FROM:<author@red.test>", "MAIL FROM:<author@red.test>"),
        ] {
            assert_eq!(masked(line.into()), shown.as_bytes(), "{line:?}");
        }
    }
}
