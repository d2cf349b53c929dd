//! The part of sscanf(3) that the slide "Data Format" uses: "sscanf converts string to long integer".

/// Returns what `sscanf(line, "%ld%ld", …)` finds: blanks are skipped, and text after the second number
/// is ignored. `None` where C counts fewer than two. A number that does not fit into a long is none
/// here; in C its value is undefined.
#[must_use]
pub fn two_longs(line: &[u8]) -> Option<(i64, i64)> {
    let (first, rest) = long(line)?;
    let (second, _rest) = long(rest)?;
    Some((first, second))
}

/// `%ld`: returns the number, and the text after it.
#[must_use]
pub fn long(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let signs = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let digits = text.iter().skip(signs).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(signs + digits)?;
    Some((str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_as_sscanf_finds_them() {
        for (line, numbers) in [
            ("1 2\n", (1, 2)),
            ("  -22\t-77 and more", (-22, -77)),
            ("5-3", (5, -3)),
            ("+1 9223372036854775807", (1, i64::MAX)),
            ("-9223372036854775808 007", (i64::MIN, 7)),
        ] {
            assert_eq!(two_longs(line.as_bytes()), Some(numbers), "{line}");
        }
    }

    #[test]
    fn what_is_no_number_is_no_number() {
        for line in ["", "1", "1 x", "x 1", "1 -", "- 1", "+-1 2", "9223372036854775808 1", "1,2"] {
            assert_eq!(two_longs(line.as_bytes()), None, "{line}");
        }
        assert_eq!(two_longs(b"1 \xff"), None);
    }
}
