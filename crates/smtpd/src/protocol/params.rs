//! The parameters after an address in MAIL and RCPT (RFC 5321 §4.1.1.11, §4.1.2).

use crate::protocol::reply::Reply;

/// Additional length of a MAIL command, in bytes: SIZE (RFC 1870 §3), BODY (RFC 6152 §2), AUTH (RFC 4954 §3),
/// SMTPUTF8 (RFC 6531 §3.1), RET and ENVID (RFC 3461 §4.3, §4.4).
pub const MAX_MAIL_EXTRA: usize = 26 + 17 + 500 + 10 + 9 + 107;
/// Additional length of a RCPT command, in bytes: NOTIFY and ORCPT (RFC 3461 §4.1, §4.2).
pub const MAX_RCPT_EXTRA: usize = 29 + 507;
/// Longest value of ENVID in bytes (RFC 3461 §4.4).
const MAX_ENVID: usize = 100;
/// Longest value of ORCPT in bytes (RFC 3461 §4.2).
const MAX_ORCPT: usize = 500;

/// `BODY=` (RFC 6152 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`.
    SevenBit,
    /// `8BITMIME`: the letter may have bytes over 127.
    EightBitMime,
}

/// `RET=`: what of the letter a notification of failure brings back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

impl Ret {
    /// Returns the value as a client sends it.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        }
    }
}

/// The values of MAIL's parameters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=`: the size of the letter in octets as the client counts them (RFC 1870 §5).
    pub size: Option<u64>,
    /// `BODY=`.
    pub body: Option<Body>,
    /// `AUTH=` was given.
    pub has_auth: bool,
    /// `SMTPUTF8`: addresses and the header may have UTF-8 (RFC 6531).
    pub utf8: bool,
    /// `RET=`.
    pub ret: Option<Ret>,
    /// `ENVID=`: the sender's name for the letter, as xtext (RFC 3461 §4.4).
    pub envid: Option<String>,
}

/// `NOTIFY=`: what the sender is notified of; nothing is `NEVER` (RFC 3461 §4.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// The letter was delivered.
    pub success: bool,
    /// The letter cannot be delivered.
    pub failure: bool,
    /// The letter is not delivered yet.
    pub delay: bool,
}

impl Notify {
    /// Returns the value as a client sends it.
    #[must_use]
    pub fn keywords(self) -> String {
        let all = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let given: Vec<&str> = all.iter().filter(|(given, _)| *given).map(|(_, it)| *it).collect();
        if given.is_empty() { "NEVER".to_owned() } else { given.join(",") }
    }
}

/// The values of RCPT's parameters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RcptParams {
    /// `NOTIFY=`.
    pub notify: Option<Notify>,
    /// `ORCPT=`: the address that the sender wrote to, a type and xtext (RFC 3461 §4.2).
    pub orcpt: Option<String>,
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
            b"BODY" => params.body.replace(body(value)?).is_some(),
            // Who has sent the letter first (RFC 4954 §5): we trust no client about that.
            b"AUTH" if value.is_some_and(is_xtext) => std::mem::replace(&mut params.has_auth, true),
            b"AUTH" => return Err(bad("AUTH needs a mailbox as xtext, or <>")),
            b"SMTPUTF8" if value.is_none() => std::mem::replace(&mut params.utf8, true),
            b"SMTPUTF8" => return Err(bad("SMTPUTF8 takes no value")),
            b"RET" => params.ret.replace(ret(value)?).is_some(),
            b"ENVID" => params.envid.replace(envid(value)?).is_some(),
            _ => return Err(unknown(key)),
        };
        if again {
            return Err(bad("Parameter given twice"));
        }
    }
    Ok(params)
}

/// Parses RCPT's parameters, in which there may be UTF-8 after a MAIL with SMTPUTF8.
///
/// # Errors
/// As [`mail`].
pub fn rcpt(input: &[u8], utf8: bool) -> Result<RcptParams, Reply> {
    let mut params = RcptParams::default();
    for word in words(input) {
        let (key, value) = key_value(word)?;
        let again = match key.to_ascii_uppercase().as_slice() {
            b"NOTIFY" => params.notify.replace(notify(value)?).is_some(),
            b"ORCPT" => params.orcpt.replace(orcpt(value, utf8)?).is_some(),
            _ => return Err(unknown(key)),
        };
        if again {
            return Err(bad("Parameter given twice"));
        }
    }
    Ok(params)
}

fn words(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|&b| b == b' ').filter(|word| !word.is_empty())
}

/// Splits `KEYWORD` or `KEYWORD=VALUE` (RFC 5321 §4.1.2; RFC 6531 §3.3 for bytes over 127).
fn key_value(word: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reply> {
    let (key, value) = match word.iter().position(|&b| b == b'=') {
        Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
        None => (word, None),
    };
    let good_key = key.first().is_some_and(u8::is_ascii_alphanumeric)
        && key.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
    let is_good = |b: &u8| matches!(b, 33..=60 | 62..=126 | 128..);
    let good_value = value.is_none_or(|v| !v.is_empty() && v.iter().all(is_good));
    if good_key && good_value { Ok((key, value)) } else { Err(bad("Bad parameter syntax")) }
}

fn size(value: Option<&[u8]>) -> Result<u64, Reply> {
    let bad = || bad("SIZE needs a number of octets");
    let digits = value.ok_or_else(bad)?;
    if digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
    // 20 digits may overflow, but such a letter is too large anyway.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&[u8]>) -> Result<Body, Reply> {
    match value.map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"8BITMIME") => Ok(Body::EightBitMime),
        Some(b"7BIT") => Ok(Body::SevenBit),
        _ => Err(bad("BODY needs 7BIT or 8BITMIME")),
    }
}

fn ret(value: Option<&[u8]>) -> Result<Ret, Reply> {
    match value.map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"FULL") => Ok(Ret::Full),
        Some(b"HDRS") => Ok(Ret::Headers),
        _ => Err(bad("RET needs FULL or HDRS")),
    }
}

fn envid(value: Option<&[u8]>) -> Result<String, Reply> {
    let value = value.filter(|value| value.len() <= MAX_ENVID && is_xtext(value));
    value.map(text).ok_or_else(|| bad("ENVID needs up to 100 octets of xtext"))
}

fn notify(value: Option<&[u8]>) -> Result<Notify, Reply> {
    let bad = || bad("NOTIFY needs NEVER, or SUCCESS, FAILURE and DELAY with commas");
    let (mut notify, value) = (Notify::default(), value.ok_or_else(bad)?.to_ascii_uppercase());
    if value == b"NEVER" {
        return Ok(notify);
    }
    for keyword in value.split(|&b| b == b',') {
        match keyword {
            b"SUCCESS" => notify.success = true,
            b"FAILURE" => notify.failure = true,
            b"DELAY" => notify.delay = true,
            _ => return Err(bad()),
        }
    }
    Ok(notify)
}

fn orcpt(value: Option<&[u8]>, utf8: bool) -> Result<String, Reply> {
    let bad = || bad("ORCPT needs a type, a semicolon and up to 500 octets of xtext");
    let value = value.filter(|value| value.len() <= MAX_ORCPT).ok_or_else(bad)?;
    let at = value.iter().position(|&b| b == b';').ok_or_else(bad)?;
    let (kind, address) = value.split_at_checked(at).ok_or_else(bad)?;
    let address = address.strip_prefix(b";").unwrap_or_default();
    let is_kind = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    let is_utf8 = || utf8 && kind.eq_ignore_ascii_case(b"utf-8") && is_utf8_address(address);
    if kind.is_empty() || !kind.iter().all(is_kind) || address.is_empty() {
        return Err(bad());
    }
    if is_xtext(address) || is_utf8() { Ok(text(value)) } else { Err(bad()) }
}

/// Returns whether a value is xtext, of printable ASCII (RFC 3461 §4).
fn is_xtext(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'+', [high, low, tail @ ..]) if is_printable((*high, *low)) => tail,
            (b'+' | b'=' | 0..=32 | 127.., _) => return false,
            _ => tail,
        };
    }
    true
}

/// Returns whether two hexadecimal digits, in capitals, are a byte of printable ASCII.
fn is_printable((high, low): (u8, u8)) -> bool {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    is_digit(low) && (matches!(high, b'2'..=b'6') || high == b'7' && low != b'F')
}

/// Returns whether a value is the address of a type `utf-8` (RFC 6533 §3), but for `\x{…}` in it, which is ASCII.
fn is_utf8_address(value: &[u8]) -> bool {
    let is_good = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '+' | '=');
    std::str::from_utf8(value).is_ok_and(|text| text.chars().all(is_good))
}

/// Returns a value that was found to be UTF-8.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn bad(text: &str) -> Reply {
    Reply::new(501, "5.5.4", text)
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

    fn rcpt_code(input: &str) -> u16 {
        rcpt(input.as_bytes(), false).map_or_else(|reply| reply.code(), |_| 250)
    }

    #[test]
    fn the_case_of_keywords_is_ignored() {
        let params = mail(b" size=1000  BODY=8bitmime smtputf8 ret=hdrs EnvId=a+2Bb ").unwrap();
        let expected = MailParams {
            size: Some(1000),
            body: Some(Body::EightBitMime),
            has_auth: false,
            utf8: true,
            ret: Some(Ret::Headers),
            envid: Some("a+2Bb".into()),
        };
        assert_eq!(params, expected);
        assert_eq!(mail(b" BODY=7BIT").unwrap().body, Some(Body::SevenBit));
        assert_eq!(mail(b" SIZE=0").unwrap().size, Some(0));
        assert_eq!(mail(b" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert_eq!(mail(b"").unwrap(), MailParams::default());
        let params = rcpt(b" notify=success,Delay orcpt=rfc822;Levy@red.test", false).unwrap();
        assert_eq!(params.notify.unwrap().keywords(), "SUCCESS,DELAY");
        assert_eq!(params.orcpt.unwrap(), "rfc822;Levy@red.test");
        let never = rcpt(b"NOTIFY=NEVER", false).unwrap().notify.unwrap();
        assert_eq!((never, never.keywords()), (Notify::default(), "NEVER".into()));
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
            "A=b\rc",
            "AUTH",
            "SMTPUTF8=1",
            "SMTPUTF8 SMTPUTF8",
            "RET",
            "RET=ALL",
            "RET=FULL RET=FULL",
            "ENVID",
            "ENVID=",
            "ENVID=a+2",
            "ENVID=a+2b",
            "ENVID=a+0A",
            "ENVID=a+7F",
            "ENVID=a\u{e9}",
            "ENVID=a ENVID=a",
        ] {
            assert_eq!(code(bad), 501, "{bad:?}");
        }
        assert_eq!(code(&format!("ENVID={}", "x".repeat(101))), 501);
        assert_eq!(code(&format!("ENVID={}", "x".repeat(100))), 250);
        assert_eq!(code("AUTH=<>"), 250);
        for unknown in ["NOTIFY=NEVER", "X-Y=z"] {
            assert_eq!(code(unknown), 555, "{unknown}");
        }
    }

    #[test]
    fn bad_parameters_of_recipients_are_501_and_unknown_ones_555() {
        for bad in [
            "=",
            "NOTIFY",
            "NOTIFY=",
            "NOTIFY=SOMETIMES",
            "NOTIFY=NEVER,SUCCESS",
            "NOTIFY=SUCCESS,",
            "NOTIFY=NEVER NOTIFY=NEVER",
            "ORCPT",
            "ORCPT=levy@red.test",
            "ORCPT=rfc822;",
            "ORCPT=;levy@red.test",
            "ORCPT=rfc822;a+b",
            "ORCPT=rfc822;a=b",
            "ORCPT=rfc822;a ORCPT=rfc822;a",
            "ORCPT=utf-8;\u{e9}@red.test",
        ] {
            assert_eq!(rcpt_code(bad), 501, "{bad:?}");
        }
        assert_eq!(rcpt_code(&format!("ORCPT=rfc822;{}", "x".repeat(494))), 501);
        assert_eq!(rcpt_code(&format!("ORCPT=rfc822;{}", "x".repeat(493))), 250);
        for good in ["", "  ", "ORCPT=rfc822;a+2Bb@red.test", "ORCPT=x400;/G+3DLevy/"] {
            assert_eq!(rcpt_code(good), 250, "{good:?}");
        }
        for unknown in ["SIZE=1", "RET=FULL", "SMTPUTF8", "X"] {
            assert_eq!(rcpt_code(unknown), 555, "{unknown}");
        }
        let utf8 = "ORCPT=utf-8;\u{e9}@red.test".as_bytes();
        assert!(rcpt(utf8, true).is_ok() && rcpt(b"ORCPT=rfc822;\xe9", true).is_err());
        assert!(rcpt(b"ORCPT=utf-8;\xff", true).is_err());
    }
}
