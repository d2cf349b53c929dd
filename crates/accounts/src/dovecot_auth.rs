//! The client's side of Dovecot's authentication protocol, version 1, by which its auth process checks
//! logins for other servers: lines of fields with a tab between, over a UNIX-domain socket. Bytes in,
//! bytes out.
//!
//! ```text
//!  us:       VERSION 1 1            them:  VERSION 1 2
//!            CPID 4711                     MECH PLAIN plaintext
//!                                          SPID 99  CUID 1  COOKIE …
//!                                          DONE
//!            AUTH 1 PLAIN service=pop3 … resp=AGJvYgBz…
//!                                          OK 1 user=bob     (or FAIL 1 user=bob, or CONT 1 challenge)
//! ```

use std::net::IpAddr;

use crate::encoding::{base64, from_base64};
use crate::mechanism::{Mechanism, Mechanisms};
use crate::secret::Secret;

/// Longest line in bytes, its LF included: Dovecot's own limit for a client.
pub const MAX_LINE: usize = 8192;
/// Highest major version of the protocol that is understood; a minor number may be any.
const MAJOR_VERSION_NUMBER: u32 = 1;
/// Most lines of a greeting.
pub const MAX_GREETING_LINES: usize = 64;

/// Returns what a client says first: its version and its process id.
#[must_use]
pub fn hello(pid: u32) -> Vec<u8> {
    format!("VERSION\t{MAJOR_VERSION_NUMBER}\t1\nCPID\t{pid}\n").into_bytes()
}

/// A login to be checked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Number of the request in this connection, from 1 on.
    pub id: u32,
    /// The mechanism.
    pub mechanism: Mechanism,
    /// `pop3` or `smtp`.
    pub service: &'a str,
    /// The client's address; Dovecot counts failures by it.
    pub remote: Option<IpAddr>,
    /// The address that the client came to.
    pub local: Option<IpAddr>,
    /// Whether the client's connection is encrypted, or does not leave the machine: else Dovecot may
    /// refuse the password.
    pub is_secured: bool,
    /// The initial response, decoded; `None` where the server speaks first.
    pub response: Option<&'a Secret>,
}

impl Request<'_> {
    /// Returns the line. `nologin`: no process of Dovecot's takes the session over.
    #[must_use]
    pub fn encode(&self) -> Secret {
        let service = escaped(self.service.as_bytes());
        let mut line = format!("AUTH\t{}\t{}\tservice=", self.id, self.mechanism).into_bytes();
        line.extend_from_slice(&service);
        line.extend_from_slice(b"\tnologin");
        for (name, address) in [("rip", self.remote), ("lip", self.local)] {
            let address = address.map(|address| format!("\t{name}={}", address.to_canonical()));
            line.extend_from_slice(address.unwrap_or_default().as_bytes());
        }
        if self.is_secured {
            line.extend_from_slice(b"\tsecured");
        }
        // Last, as the protocol wants it: base64 has equal signs.
        let response = self.response.map(|response| Secret::from(base64(response.as_bytes())));
        match response {
            Some(response) => Secret::concat(&[&line, b"\tresp=", response.as_bytes(), b"\n"]),
            None => Secret::concat(&[&line, b"\n"]),
        }
    }
}

/// Returns the response to a challenge.
#[must_use]
pub fn respond(id: u32, response: &Secret) -> Secret {
    let response = Secret::from(base64(response.as_bytes()));
    let start = format!("CONT\t{id}\t");
    Secret::concat(&[start.as_bytes(), response.as_bytes(), b"\n"])
}

/// What the server has said before its DONE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The mechanisms that it knows and we do. SCRAM-SHA-256-PLUS is never among them: the protocol's
    /// binding needs a newer version.
    pub mechanisms: Mechanisms,
    has_version: bool,
}

impl Greeting {
    /// Takes a line of the greeting, without its LF; true with the last one, DONE.
    ///
    /// # Errors
    /// It speaks another version of the protocol, or is no such server.
    pub fn line(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        let mut fields = line.split(|&byte| byte == b'\t');
        match fields.next().unwrap_or_default() {
            b"VERSION" => {
                let is_known = fields.next().and_then(number) == Some(MAJOR_VERSION_NUMBER);
                self.has_version = is_known;
                if is_known { Ok(false) } else { Err("another version of the auth protocol") }
            }
            _ if !self.has_version => Err("no server of Dovecot's auth protocol"),
            b"MECH" => {
                let known = fields.next().and_then(Mechanism::parse);
                let known = known.filter(|known| *known != Mechanism::ScramSha256Plus);
                self.mechanisms = self.mechanisms.union(known.into_iter().collect());
                Ok(false)
            }
            b"DONE" => Ok(true),
            _ => Ok(false), // SPID, CUID, COOKIE, and what later versions add
        }
    }
}

/// What the server says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The login is right, and the user is called this: Dovecot may have changed the name.
    Accepted {
        /// The user's name.
        name: Vec<u8>,
    },
    /// The login is wrong.
    Rejected,
    /// It could not be checked at present.
    Unavailable,
    /// The mechanism goes on: the challenge, decoded.
    Challenge(Vec<u8>),
}

/// Takes a line of the server, without its LF: the number of the request, and its result.
/// `None` for a line about something else, which is to be skipped, and for a malformed one.
#[must_use]
pub fn reply(line: &[u8]) -> Option<(u32, Reply)> {
    let mut fields = line.split(|&byte| byte == b'\t');
    let word = fields.next()?;
    let id = number(fields.next()?)?;
    let reply = match word {
        b"OK" => {
            let name = fields.find_map(|field| field.strip_prefix(b"user="));
            Reply::Accepted { name: unescaped(name.filter(|name| !name.is_empty())?) }
        }
        b"FAIL" if fields.any(|field| field == b"temp" || field == b"code=temp_fail") => {
            Reply::Unavailable
        }
        b"FAIL" => Reply::Rejected,
        b"CONT" => {
            let challenge = from_base64(fields.next().unwrap_or_default())?;
            Reply::Challenge(challenge.as_bytes().to_vec())
        }
        _ => return None,
    };
    Some((id, reply))
}

/// The bytes that a field cannot hold, and what stands for them after a byte 1.
const ESCAPES: [(u8, u8); 5] = [(0, b'0'), (1, b'1'), (b'\t', b't'), (b'\r', b'r'), (b'\n', b'n')];

fn escaped(field: &[u8]) -> Vec<u8> {
    let each = |byte: &u8| match ESCAPES.iter().find(|(escaped, _)| escaped == byte) {
        Some((_, letter)) => vec![1, *letter],
        None => vec![*byte],
    };
    field.iter().flat_map(each).collect()
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut text, mut bytes) = (Vec::with_capacity(field.len()), field.iter());
    while let Some(byte) = bytes.next() {
        let next = if *byte == 1 { bytes.next() } else { None };
        let escape = next.map(|next| (next, ESCAPES.iter().find(|(_, letter)| letter == next)));
        text.push(match escape {
            Some((_, Some((escaped, _)))) => *escaped,
            Some((next, None)) => *next,
            None => *byte,
        });
    }
    text
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_with_the_response_last() {
        let response = Secret::from(&b"\0bob\0s3cret"[..]);
        let mut request = Request {
            id: 7,
            mechanism: Mechanism::Plain,
            service: "pop3",
            remote: Some("::ffff:192.0.2.1".parse().unwrap()),
            local: Some("2001:db8::1".parse().unwrap()),
            is_secured: true,
            response: Some(&response),
        };
        let line = "AUTH\t7\tPLAIN\tservice=pop3\tnologin\trip=192.0.2.1\tlip=2001:db8::1\tsecured\tresp=AGJvYgBzM2NyZXQ=\n";
        assert_eq!(request.encode().as_bytes(), line.as_bytes());
        assert!(!format!("{request:?}").contains("s3cret"));
        request =
            Request { remote: None, local: None, is_secured: false, response: None, ..request };
        assert_eq!(request.encode().as_bytes(), b"AUTH\t7\tPLAIN\tservice=pop3\tnologin\n");
        request.service = "a\tb\nc";
        assert!(request.encode().as_bytes().ends_with(b"service=a\x01tb\x01nc\tnologin\n"));
        assert_eq!(respond(7, &Secret::default()).as_bytes(), b"CONT\t7\t\n");
        assert_eq!(respond(7, &response).as_bytes(), b"CONT\t7\tAGJvYgBzM2NyZXQ=\n");
        assert_eq!(hello(4711), b"VERSION\t1\t1\nCPID\t4711\n");
    }

    #[test]
    fn a_greeting_ends_with_done() {
        let mut greeting = Greeting::default();
        for line in [
            "VERSION\t1\t2",
            "MECH\tPLAIN\tplaintext",
            "MECH\tSCRAM-SHA-256\tmutual-auth",
            "MECH\tXOAUTH2",
            "MECH\tSCRAM-SHA-256-PLUS",
            "SPID\t99",
            "CUID\t1",
            "COOKIE\tabc",
            "NEW",
        ] {
            assert_eq!(greeting.line(line.as_bytes()), Ok(false), "{line}");
        }
        assert_eq!(greeting.line(b"DONE"), Ok(true));
        assert_eq!(greeting.mechanisms.to_string(), "SCRAM-SHA-256 PLAIN");
        for odd in ["", "DONE", "MECH\tPLAIN", "VERSION\t2\t0", "VERSION", "+OK ready"] {
            assert!(Greeting::default().line(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_reply_is_read() {
        let name = |name: &[u8]| Reply::Accepted { name: name.to_vec() };
        for (line, expected) in [
            (&b"OK\t7\tuser=bob\thome=/h"[..], Some((7, name(b"bob")))),
            (b"OK\t7\tx=y\tuser=a\x01tb\x011", Some((7, name(b"a\tb\x01")))),
            (b"FAIL\t7\tuser=bob", Some((7, Reply::Rejected))),
            (b"FAIL\t7", Some((7, Reply::Rejected))),
            (b"FAIL\t7\tuser=bob\ttemp\treason=down", Some((7, Reply::Unavailable))),
            (b"FAIL\t7\tcode=temp_fail", Some((7, Reply::Unavailable))),
            (b"CONT\t7\tAGE=", Some((7, Reply::Challenge(b"\0a".to_vec())))),
            (b"CONT\t7\t", Some((7, Reply::Challenge(Vec::new())))),
            (b"CONT\t7\t?", None),
            (b"OK\t7", None),
            (b"OK\t7\tuser=", None),
            (b"OK\tx\tuser=bob", None),
            (b"OK\t-7\tuser=bob", None),
            (b"OK\t99999999999\tuser=bob", None),
            (b"OK", None),
            (b"", None),
            (b"SPID\t7", None),
        ] {
            assert_eq!(reply(line), expected, "{}", line.escape_ascii());
        }
    }
}
