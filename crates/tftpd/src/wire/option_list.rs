//! The list of options in a request or an OACK: alternating names and values, each a NUL-terminated
//! string (RFC 2347).

use std::fmt;

/// Splits off the first string, without its NUL. Returns `None` if there is no NUL.
pub(super) fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((text, rest.split_first()?.1))
}

/// Returns the pairs of name and value. Ends at padding or at a truncated string.
pub(super) fn pairs(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (name, after) = split_string(rest)?;
        let (value, after) = split_string(after)?;
        rest = after;
        (!name.is_empty()).then_some((name, value))
    })
}

/// Parses a decimal number, with blanks around it and a `+` before it as some clients write it.
pub(super) fn parse_number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let digits = value.strip_prefix(b"+").unwrap_or(value);
    let is_number = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// Appends a name and its value.
pub(super) fn push(list: &mut Vec<u8>, name: &[u8], value: u64) {
    list.extend_from_slice(name);
    list.push(0);
    list.extend_from_slice(value.to_string().as_bytes());
    list.push(0);
}

/// Writes ` name=value` for each pair, escaped.
pub(super) fn fmt(list: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    pairs(list).try_for_each(|(name, value)| {
        write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())
    })
}
