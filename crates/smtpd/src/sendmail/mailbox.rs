//! Addresses of the command line and of SMTP, which may lack their domain.

use crate::protocol::address::{self, Path};
use crate::sendmail::addresses::addresses;
use crate::sendmail::failure::{Failure, Result};

/// Longest address in bytes, without its brackets (RFC 5321 §4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// Reads the sender of `-f`, empty for `<>`.
pub(super) fn sender(text: &str, domain: &str) -> Result<String> {
    match text {
        "" | "<>" => Ok(String::new()),
        text => mailbox(text, domain).map_err(Failure::usage),
    }
}

/// Reads an address as it stands in a header or on a command line, with a name or without.
pub(super) fn mailbox(text: &str, domain: &str) -> std::result::Result<String, String> {
    let wrong = |why: &str| format!("address '{}': {why}", text.escape_debug());
    let listed = addresses(text.as_bytes()).map_err(|bad| wrong(bad.0))?;
    let [one] = listed.as_slice() else { return Err(wrong("not one address")) };
    let path = address::without_brackets(one.text.as_bytes()).map_err(|bad| wrong(bad.0))?;
    completed(path, domain).map_err(|why| wrong(&why))
}

/// Returns an address with a domain.
pub(super) fn completed(path: Path, domain: &str) -> std::result::Result<String, String> {
    let full = match path {
        Path::Mailbox(mailbox) => mailbox.text,
        Path::Name(name) => format!("{}@{domain}", address::local_part_utf8(&name)),
        Path::Null => return Err("it is empty".to_owned()),
    };
    if full.len() > MAX_ADDRESS { Err("it is too long".to_owned()) } else { Ok(full) }
}
