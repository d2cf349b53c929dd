//! Masks secrets in the lines of a transcript.

/// Replaces a secret in a transcript.
pub const STARS: &[u8] = b"********";

/// Returns a line with its password, digest or response masked. Spacing around the keyword is not
/// checked, because a mistyped line may hold a secret too.
#[must_use]
pub fn masked(line: &[u8]) -> Vec<u8> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = line.iter().position(|b| !blank(b)).unwrap_or(0);
    let text = line.get(start..).unwrap_or_default();
    let Some((keyword, rest)) = text.split_at_checked(4) else { return line.to_vec() };
    let is = |known: &[u8]| keyword.eq_ignore_ascii_case(known);
    if is(b"PASS") && !rest.is_empty() {
        return [keyword, STARS].join(&b' ');
    }
    if is(b"APOP") || is(b"AUTH") {
        let mut words = rest.split(blank).filter(|word| !word.is_empty());
        // The name or the mechanism is not secret.
        let mut shown: Vec<&[u8]> = [Some(keyword), words.next()].into_iter().flatten().collect();
        shown.extend(words.next().map(|_| STARS));
        return shown.join(&b' ');
    }
    line.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for (line, shown) in [
            ("PASS a b", "PASS ********"),
            ("pass x", "pass ********"),
            ("  PASS x", "PASS ********"),
            ("PASS", "PASS"),
            ("APOP bob 0123", "APOP bob ********"),
            ("APOP bob", "APOP bob"),
            ("PASS\tx", "PASS ********"),
            ("\tpAsS:x", "pAsS ********"),
            ("PASS  ", "PASS ********"),
            ("apop  bob\t0123 4", "apop bob ********"),
            ("APOP\tbob 0123", "APOP bob ********"),
            ("AUTH PLAIN AGJvYgB4", "AUTH PLAIN ********"),
            ("auth", "auth"),
            ("PAS", "PAS"),
            ("USER PASS", "USER PASS"),
            ("", ""),
        ] {
            assert_eq!(masked(line.as_bytes()), shown.as_bytes(), "{line}");
        }
    }
}
