//! The parameters after an address in MAIL and RCPT (RFC 5321 §4.1.1.11, §4.1.2).

use crate::protocol::reply::Reply;

/// The values of MAIL's parameters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=`: the size of the letter in octets as the client counts them (RFC 1870 §5).
    pub size: Option<u64>,
    /// `BODY=`: whether the letter may have bytes over 127 (RFC 6152 §2).
    pub eight_bit: Option<bool>,
    /// `AUTH=` was given.
    pub has_auth: Option<bool>,
}

/// Parses MAIL's parameters.
///
/// # Errors
/// 501 for bad syntax, a bad value or a repeated parameter, 555 for an unknown one.
pub fn mail(input: &[u8]) -> Result<MailParams, Reply> {
    let mut params = MailParams::default();
    for word in words(input) {
        let (key, value) = key_value(word)?;
        let again = match key.to_ascii_uppercase().as_slice() {
            b"SIZE" => params.size.replace(size(value)?).is_some(),
            // Who has sent the letter first (RFC 4954 §5): we trust no client about that.
            b"AUTH" => params.has_auth.replace(value.is_some()).is_some(),
            b"BODY" => params.eight_bit.replace(body(value)?).is_some(),
            _ => return Err(unknown(key)),
        };
        if again {
            return Err(Reply::new(501, "5.5.4", "Parameter given twice"));
        }
    }
    Ok(params)
}

/// Parses RCPT's parameters. None is supported.
///
/// # Errors
/// 501 for bad syntax, 555 for an unknown parameter.
pub fn rcpt(input: &[u8]) -> Result<(), Reply> {
    match words(input).next() {
        None => Ok(()),
        Some(word) => Err(unknown(key_value(word)?.0)),
    }
}

fn words(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|&b| b == b' ').filter(|word| !word.is_empty())
}

/// Splits `KEYWORD` or `KEYWORD=VALUE` (RFC 5321 §4.1.2).
fn key_value(word: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reply> {
    let (key, value) = match word.iter().position(|&b| b == b'=') {
        Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
        None => (word, None),
    };
    let good_key = key.first().is_some_and(u8::is_ascii_alphanumeric)
        && key.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
    let good_value =
        value.is_none_or(|v| !v.is_empty() && v.iter().all(|b| matches!(b, 33..=60 | 62..=126)));
    if good_key && good_value {
        Ok((key, value))
    } else {
        Err(Reply::new(501, "5.5.4", "Bad parameter syntax"))
    }
}

fn size(value: Option<&[u8]>) -> Result<u64, Reply> {
    let bad = || Reply::new(501, "5.5.4", "SIZE needs a number of octets");
    let digits = value.ok_or_else(bad)?;
    if digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
    // 20 digits may overflow, but such a letter is too large anyway.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&[u8]>) -> Result<bool, Reply> {
    match value.map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"8BITMIME") => Ok(true),
        Some(b"7BIT") => Ok(false),
        _ => Err(Reply::new(501, "5.5.4", "BODY needs 7BIT or 8BITMIME")),
    }
}

fn unknown(key: &[u8]) -> Reply {
    let key = key.get(..40).unwrap_or(key);
    Reply::new(555, "5.5.4", format!("Unknown parameter {}", key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(input: &str) -> u16 {
        mail(input.as_bytes()).map_or_else(|reply| reply.code(), |_| 250)
    }

    #[test]
    fn the_case_of_size_and_body_is_ignored() {
        let params = mail(b" size=1000  BODY=8bitmime ").unwrap();
        assert_eq!(params, MailParams { size: Some(1000), eight_bit: Some(true), has_auth: None });
        assert_eq!(mail(b" BODY=7BIT").unwrap().eight_bit, Some(false));
        assert_eq!(mail(b" SIZE=0").unwrap().size, Some(0));
        assert_eq!(mail(b" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert_eq!(mail(b"").unwrap(), MailParams::default());
    }

    #[test]
    fn bad_parameters_are_501_and_unknown_ones_555() {
        for bad in [
            "SIZE",
            "SIZE=",
            "SIZE=x",
            "SIZE=-1",
            "SIZE=1=2",
            "SIZE=100000000000000000000",
            "=1",
            "BODY",
            "BODY=9BIT",
            "BODY=BINARYMIME",
            "SIZE=1 SIZE=1",
            "-X=1",
            "X_Y",
            "A=\u{e9}",
            "A=b\rc",
        ] {
            assert_eq!(code(bad), 501, "{bad:?}");
        }
        assert_eq!(code("AUTH=<>"), 250);
        for unknown in ["RET=FULL", "SMTPUTF8", "X-Y=z"] {
            assert_eq!(code(unknown), 555, "{unknown}");
        }
        assert_eq!(rcpt(b" NOTIFY=NEVER").unwrap_err().code(), 555);
        assert_eq!(rcpt(b" =").unwrap_err().code(), 501);
        assert!(rcpt(b"  ").is_ok());
    }
}
