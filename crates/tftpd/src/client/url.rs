//! `tftp://HOST[:PORT]/FILE[;mode=MODE]` (RFC 3617).

use std::borrow::Cow;

use forknet::{Error, HostPort, Result};

use crate::wire::request::Mode;

/// The scheme (RFC 3617).
const SCHEME: &str = "tftp://";
/// Separator before the mode (RFC 3617).
const MODE: &str = ";mode=";

/// A file on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The server.
    pub server: HostPort,
    /// The file's name as sent in the request, without the slash after the host.
    pub file: Vec<u8>,
    /// The transfer mode, if the URL names one.
    pub mode: Option<Mode>,
}

impl Url {
    /// Returns whether the text begins with the scheme, in upper or lower case.
    #[must_use]
    pub fn has_scheme(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Parses a URL. The port is `default` if the URL names none.
    ///
    /// # Errors
    /// [`Error::Usage`] with the text and the reason.
    pub fn parse(text: &str, default: u16) -> Result<Url> {
        let bad = |why: &str| Error::Usage(format!("'{}': {why}", text.escape_debug()));
        let rest = text.get(SCHEME.len()..).filter(|_| Url::has_scheme(text));
        let rest = rest.ok_or_else(|| bad("not tftp://HOST/FILE"))?;
        let (server, path) = rest.split_once('/').ok_or_else(|| bad("no file"))?;
        if server.contains('@') {
            return Err(bad("TFTP has no users"));
        }
        let server = HostPort::parse(&with_zone(server), default)
            .map_err(|_| bad("not HOST or HOST:PORT"))?;
        let (file, mode) = match split_mode(path) {
            None => (path, None),
            Some((file, mode)) => {
                let mode = Mode::parse(mode.as_bytes());
                (file, Some(mode.ok_or_else(|| bad("mode is not octet or netascii"))?))
            }
        };
        let file = percent_decode(file).ok_or_else(|| bad("% without two hexadecimal digits"))?;
        if file.contains(&0) {
            return Err(bad("a name can't contain NUL"));
        }
        Ok(Url { server, file, mode })
    }
}

/// Decodes the `%25` before the zone of a link-local address: `[fe80::1%25eth0]` (RFC 6874). A
/// plain `%` is accepted too.
fn with_zone(server: &str) -> Cow<'_, str> {
    match server.split_once("%25") {
        Some((address, zone)) if address.starts_with('[') && !zone.starts_with(']') => {
            format!("{address}%{zone}").into()
        }
        _ => server.into(),
    }
}

/// Splits a path at `;mode=`.
fn split_mode(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind(';')?;
    let (file, mode) = path.split_at_checked(at)?;
    let (key, mode) = mode.split_at_checked(MODE.len())?;
    key.eq_ignore_ascii_case(MODE).then_some((file, mode))
}

/// Decodes percent-encoded bytes such as `%41`.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let both = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| both)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Option<Mode>) {
        let Url { server, file, mode } = Url::parse(text, 69).unwrap();
        (server.to_string(), file.escape_ascii().to_string(), mode)
    }

    #[test]
    fn a_url_is_a_host_a_file_and_perhaps_a_mode() {
        for (text, server, file, mode) in [
            ("tftp://red.test/f", "red.test:69", "f", None),
            ("TFTP://red.test:6900/a/b", "red.test:6900", "a/b", None),
            ("tftp://[::1]/f;mode=octet", "[::1]:69", "f", Some(Mode::Octet)),
            ("tftp://[::1]:70/f;MODE=NetAscii", "[::1]:70", "f", Some(Mode::Netascii)),
            ("tftp://192.0.2.1//srv/tftp/f", "192.0.2.1:69", "/srv/tftp/f", None),
            ("tftp://h/%2Fsrv%20x%ff", "h:69", "/srv x\\xff", None),
            ("tftp://h/a;b;mode=octet", "h:69", "a;b", Some(Mode::Octet)),
            ("tftp://h/a%3Bmode=octet", "h:69", "a;mode=octet", None),
            ("tftp://h/", "h:69", "", None),
            ("tftp://[fe80::1%25eth0]:70/f", "[fe80::1%eth0]:70", "f", None),
            ("tftp://[fe80::1%eth0]/f", "[fe80::1%eth0]:69", "f", None),
            ("tftp://[fe80::1%25]/f", "[fe80::1%25]:69", "f", None),
        ] {
            assert_eq!(parts(text), (server.into(), file.into(), mode), "{text}");
        }
    }

    #[test]
    fn an_invalid_url_is_quoted_with_the_reason() {
        for (text, why) in [
            ("http://h/f", "not tftp://HOST/FILE"),
            ("tftp:/h/f", "not tftp://HOST/FILE"),
            ("tftp://h", "no file"),
            ("tftp:///f", "not HOST or HOST:PORT"),
            ("tftp://h:0/f", "not HOST or HOST:PORT"),
            ("tftp://me@h/f", "TFTP has no users"),
            ("tftp://h/f;mode=mail", "mode is not octet or netascii"),
            ("tftp://h/f;mode=", "mode is not octet or netascii"),
            ("tftp://h/%4", "% without two hexadecimal digits"),
            ("tftp://h/%+1", "% without two hexadecimal digits"),
            ("tftp://h/%4ä", "% without two hexadecimal digits"),
            ("tftp://h/a%00b", "a name can't contain NUL"),
        ] {
            let error = Url::parse(text, 69).unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            assert_eq!(error.to_string(), format!("'{text}': {why}"));
        }
    }
}
