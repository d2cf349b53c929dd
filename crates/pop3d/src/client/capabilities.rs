//! What a server can do (CAPA, RFC 2449).

use std::io::{Read, Write};

use accounts::Mechanisms;

use super::connection::ServerConnection;
use super::status::Result;

/// The capabilities that the client uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Commands may be sent before the replies to earlier ones have come (§6.6).
    pub pipelining: bool,
    /// Messages can be had as they are, with UTF-8 in their headers (RFC 6856 §2).
    pub utf8: bool,
    /// The mechanisms of AUTH (RFC 5034 §3).
    pub sasl: Mechanisms,
}

impl Capabilities {
    /// Asks the server; one without CAPA can do none of this. The answer differs before and after TLS and
    /// the login (RFC 2449 §5).
    pub fn ask<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<Capabilities> {
        match conn.command("CAPA") {
            Ok(_) => Ok(Capabilities::parse(&conn.listing("CAPA")?)),
            Err(failure) if conn.is_broken() => Err(failure),
            Err(_) => Ok(Capabilities::default()),
        }
    }

    fn parse(rows: &[Vec<u8>]) -> Capabilities {
        let mut found = Capabilities::default();
        for row in rows {
            let at = row.iter().position(|&b| b == b' ').unwrap_or(row.len());
            let (name, rest) = row.split_at_checked(at).unwrap_or((row, &[]));
            match name.to_ascii_uppercase().as_slice() {
                b"PIPELINING" => found.pipelining = true,
                b"UTF8" => found.utf8 = true,
                b"SASL" => found.sasl = Mechanisms::parse(rest),
                _ => {}
            }
        }
        found
    }
}
