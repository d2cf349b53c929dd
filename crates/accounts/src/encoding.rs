//! Base64 (RFC 4648 §4) and hexadecimal digits.

use base64ct::{Base64, Encoding};

use crate::secret::Secret;

/// Encodes in base64, with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Decodes base64: padding is needed, and no other character, no line end and no second form of the
/// same bytes is taken (RFC 4648 §3.2, §3.3, §3.5).
#[must_use]
pub fn from_base64(text: &[u8]) -> Option<Secret> {
    Base64::decode_vec(std::str::from_utf8(text).ok()?).ok().map(Secret::new)
}

/// Returns lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads `N` bytes from exactly 2 `N` hexadecimal digits of either case.
#[must_use]
pub fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(base64(b"\0bob\0s3cret"), "AGJvYgBzM2NyZXQ=");
        assert_eq!(from_base64(b"AGJvYgBzM2NyZXQ=").unwrap().as_bytes(), b"\0bob\0s3cret");
        assert!(from_base64(b"").unwrap().is_empty());
        for odd in
            ["AGJvYgBzM2NyZXQ", "=", "AGJv YgA=", "AGJvYgA=\n", "AGJvYgB=", "AB==AA==", "\u{e9}"]
        {
            assert!(from_base64(odd.as_bytes()).is_none(), "{odd}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_in_either_case() {
        assert_eq!(hex(&[0, 0xaf]), "00af");
        assert_eq!(from_hex(b"00aF"), Some([0, 0xaf]));
        for odd in [&b"00a"[..], b"00af0", b"", b"00ag", b"+0af"] {
            assert_eq!(from_hex::<2>(odd), None);
        }
    }
}
