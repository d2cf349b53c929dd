//! Addresses of the command line and of SMTP, which may lack their domain.

use crate::protocol::address::{self, Path};
use crate::sendmail::addresses::{Listed, addresses};
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
    let mut found = mailboxes(text, domain)?;
    match found.pop() {
        Some(one) if found.is_empty() => Ok(one),
        _ => Err(wrong(text, "not one address")),
    }
}

/// Reads a word of the command line: an address, or several with commas between them, as cron(8) has those of MAILTO.
pub(super) fn mailboxes(text: &str, domain: &str) -> std::result::Result<Vec<String>, String> {
    let listed = addresses(text.as_bytes()).map_err(|bad| wrong(text, bad.0))?;
    if listed.is_empty() {
        return Err(wrong(text, "it is empty"));
    }
    let mailbox = |one: &Listed| {
        let path =
            address::without_brackets(one.text.as_bytes()).map_err(|bad| wrong(text, bad.0))?;
        completed(path, domain).map_err(|why| wrong(text, &why))
    };
    listed.iter().map(mailbox).collect()
}

fn wrong(text: &str, why: &str) -> String {
    format!("address '{}': {why}", text.escape_debug())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_command_line_may_name_several() {
        let read = |text| mailboxes(text, "red.test").map_err(|why| why.contains("address '"));
        for (text, found) in [
            ("levy", &["levy@red.test"][..]),
            ("ann@a.test,bob", &["ann@a.test", "bob@red.test"]),
            ("\"Smith, Joe\" <joe@a.test>, bob@b.test,", &["joe@a.test", "bob@b.test"]),
        ] {
            assert_eq!(
                read(text).as_deref(),
                Ok(&found.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..])
            );
        }
        for none in ["", " ", ",", "<>", "a b", "a@b.test;\nto <x@y.test"] {
            assert_eq!(read(none), Err(true), "{none}");
        }
        assert!(mailbox("a@b.test,c@d.test", "red.test").is_err(), "one sender");
    }
}
