//! SASL in POP3 (RFC 5034): the mechanism PLAIN (RFC 4616), in base64.

use accounts::{Secret, from_base64};

/// Longest response in bytes with its CRLF: three fields of 255 octets and two NULs (RFC 4616 §2),
/// in base64.
pub const MAX_RESPONSE: usize = 1026;

/// A name and a password.
#[derive(Debug, PartialEq, Eq)]
pub struct Plain {
    /// The authentication identity.
    pub name: Vec<u8>,
    /// The password.
    pub password: Secret,
}

/// Parses a response of PLAIN: `[authzid] NUL authcid NUL passwd`. An authzid must equal the
/// authcid, because no user may act for another. `=` means an empty response (RFC 5034 §4).
///
/// # Errors
/// The fault, as a text for the reply.
pub fn plain(response: &[u8]) -> Result<Plain, &'static str> {
    let text = std::str::from_utf8(response).ok().filter(|text| *text != "=").unwrap_or_default();
    let message = from_base64(text.as_bytes()).ok_or("the response is not base64")?;
    let mut fields = message.as_bytes().split(|&b| b == 0);
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(actor), Some(name @ [_, ..]), Some(password @ [_, ..]), None) => {
            if !actor.is_empty() && actor != name {
                return Err("acting for another user is not allowed");
            }
            Ok(Plain { name: name.to_vec(), password: Secret::from(password) })
        }
        _ => Err("PLAIN is [authzid] NUL authcid NUL passwd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_of_plain_is_parsed() {
        let bob = |response: &[u8]| {
            let Plain { name, password } = plain(response).unwrap();
            (
                String::from_utf8(name).unwrap(),
                String::from_utf8(password.as_bytes().to_vec()).unwrap(),
            )
        };
        assert_eq!(bob(b"AGJvYgBzM2NyZXQ="), ("bob".into(), "s3cret".into()));
        assert_eq!(bob(b"Ym9iAGJvYgBzM2NyZXQ="), ("bob".into(), "s3cret".into()));
    }

    #[test]
    fn an_invalid_response_is_refused_with_the_reason() {
        for (response, why) in [
            (&b"="[..], "PLAIN is"),
            (b"", "PLAIN is"),
            (b"Ym9i", "PLAIN is"),
            (b"AGJvYgA=", "PLAIN is"),
            (b"AABzM2NyZXQ=", "PLAIN is"),
            (b"AGJvYgB4AHk=", "PLAIN is"),
            (b"YW5uAGJvYgB4", "acting for another"),
            (b"AGJvYgB4eA", "not base64"),
            (b"not base64!", "not base64"),
            (b"AGJv\xff", "PLAIN is"),
        ] {
            let error = plain(response).unwrap_err();
            assert!(error.starts_with(why) || error.contains(why), "{error} for {response:?}");
        }
    }
}
