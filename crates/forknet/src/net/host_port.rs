//! The server of a client: `HOST[:PORT]`.

use std::fmt;

use crate::error::{Error, Result};

/// The host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without its brackets; never empty.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`, or an IPv6 address by itself; without a
    /// port it is `default`.
    ///
    /// # Errors
    /// [`Error::Usage`] quotes text of another form, or whose port is no number from 1 to 65535.
    pub fn parse(text: &str, default: u16) -> Result<HostPort> {
        let bad = || Error::Usage(format!("'{}': not HOST or HOST:PORT", text.escape_debug()));
        let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
            (Some(bracketed), _) => match bracketed.split_once(']').ok_or_else(bad)? {
                (host, "") => (host, None),
                (host, rest) => (host, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
            },
            (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
            (None, _) => (text, None),
        };
        let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port > 0));
        match port {
            Some(port) if !host.is_empty() => Ok(HostPort { host: host.to_owned(), port }),
            _ => Err(bad()),
        }
    }
}

/// `HOST:PORT` or `[V6]:PORT`, for messages.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_with_or_without_a_port() {
        for (text, host, port, shown) in [
            ("red.test", "red.test", 25, "red.test:25"),
            ("red.test:2525", "red.test", 2525, "red.test:2525"),
            ("127.0.0.1:65535", "127.0.0.1", 65535, "127.0.0.1:65535"),
            ("[::1]", "::1", 25, "[::1]:25"),
            ("[::1]:26", "::1", 26, "[::1]:26"),
            ("::1", "::1", 25, "[::1]:25"),
        ] {
            let remote = HostPort::parse(text, 25).unwrap();
            assert_eq!((remote.host.as_str(), remote.port), (host, port), "{text}");
            assert_eq!(remote.to_string(), shown);
        }
    }

    #[test]
    fn text_of_another_form_is_quoted_in_the_error() {
        for text in
            ["", ":25", "a:", "a:x", "a:0", "a:65536", "[::1", "[::1]25", "[]:1", "[]", "[::1]:"]
        {
            let error = HostPort::parse(text, 25).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{text}");
            assert_eq!(error.to_string(), format!("'{text}': not HOST or HOST:PORT"));
        }
    }
}
