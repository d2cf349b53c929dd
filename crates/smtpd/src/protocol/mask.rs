//! Masks secrets in command lines for the log and the transcript.

/// Masks the text after the mechanism of AUTH. AUTH is not offered, but a client may still send a
/// password with it.
#[must_use]
pub fn masked(mut line: Vec<u8>) -> Vec<u8> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let is_auth = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    if is_auth && line.get(4).is_some_and(blank) {
        let secret = line.iter().enumerate().skip(5).find(|(_, b)| blank(b)).map(|(at, _)| at);
        if let Some(at) = secret {
            line.truncate(at);
            line.extend_from_slice(b" ***");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_after_auth_is_masked_behind_any_white_space() {
        for (line, shown) in [
            ("AUTH PLAIN c2VjcmV0", "AUTH PLAIN ***"),
            ("auth\tplain\tc2VjcmV0", "auth\tplain ***"),
            ("AUTH  PLAIN c2VjcmV0", "AUTH  ***"),
            ("AUTH PLAIN", "AUTH PLAIN"),
            ("AUTHOR a b", "AUTHOR a b"),
        ] {
            assert_eq!(masked(line.into()), shown.as_bytes());
        }
    }
}
