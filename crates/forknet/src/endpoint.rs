//! Where a server listens: the text of `-l`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::nss::built_in_services_only;

/// One value of `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `*:PORT`: every address of the machine, IPv4 and IPv6 with one socket.
    Any(u16),
    /// `HOST:PORT` or `[V6]:PORT`.
    Inet(SocketAddr),
    /// `unix:PATH`, made absolute.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint> {
        let bad = |why: &str| Error::Usage(format!("--listen '{text}': {why}"));
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(bad("no path behind unix:"));
            }
            let path = std::path::absolute(path).map_err(|e| bad(&e.to_string()))?;
            return Ok(Endpoint::Unix(path));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(bad("no port; say HOST:PORT, [V6]:PORT, *:PORT or unix:PATH"));
        };
        let port: u16 = port.parse().map_err(|_| bad("the port is no number from 0 to 65535"))?;
        match host {
            "*" => Ok(Endpoint::Any(port)),
            "" => Err(bad("no host; say *:PORT for every address")),
            _ if host.contains(':') && !host.starts_with('[') => {
                Err(bad("an IPv6 address stands in brackets: [V6]:PORT"))
            }
            _ => resolve(host, port).map_err(|why| bad(&why)).map(Endpoint::Inet),
        }
    }
}

/// The first address of the host's name; a literal address needs no resolver.
fn resolve(host: &str, port: u16) -> std::result::Result<SocketAddr, String> {
    let bracketed = format!("{host}:{port}");
    if let Ok(address) = bracketed.parse() {
        return Ok(address);
    }
    built_in_services_only();
    let mut found = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
    found.next().ok_or_else(|| "the host has no address".to_owned())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Any(port) => write!(f, "*:{port}"),
            Endpoint::Inet(address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn every_form_is_read_and_shown_again() {
        for text in ["*:110", "127.0.0.1:0", "[::1]:25", "unix:/run/x.sock"] {
            assert_eq!(shown(text), text);
        }
        assert!(shown("localhost:7").ends_with(":7"));
        assert!(shown("unix:x").starts_with("unix:/"));
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for (text, why) in [
            ("110", "no port"),
            (":110", "no host"),
            ("::1:110", "brackets"),
            ("*:65536", "0 to 65535"),
            ("*:", "0 to 65535"),
            ("unix:", "no path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
