//! Who has called, and how that is written in `From:`.

use accounts::base64;
use nix::unistd::getuid;

use crate::protocol::address::{is_atom_with_dots, local_part_utf8};

/// Longest name in bytes, of what a command line or passwd(5) may have.
const MAX_NAME: usize = 200;
/// Bytes of a name in one encoded word, which has 75 characters at most (RFC 2047 §2).
const ENCODED_BYTES: usize = 45;

/// The user who has called, and the sender.
#[derive(Debug)]
pub(super) struct Author {
    /// The name of the user.
    pub(super) user: String,
    /// The number of the user.
    pub(super) uid: u32,
    /// The domain of names that have none.
    pub(super) domain: String,
    /// The address of `From:`, and the name before it, which may be empty.
    address: String,
    name: String,
}

impl Author {
    /// Finds out who has called, before this process becomes another user. `sender` is that of the envelope, `None`
    /// without one; `name` that of `-F`.
    pub(super) fn of_caller(sender: Option<&str>, name: Option<&str>, domain: &str) -> Author {
        let user = caller();
        let own = format!("{}@{domain}", local_part_utf8(user.as_bytes()));
        let address = sender.filter(|sender| !sender.is_empty()).unwrap_or(&own).to_owned();
        let name = match name {
            Some(name) => name.to_owned(),
            None if address == own => forknet::own_full_name().unwrap_or_default(),
            None => String::new(),
        };
        let uid = getuid().as_raw();
        Author { user, uid, domain: domain.to_owned(), address, name }
    }

    /// Returns the address as the sender of an envelope.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the value of `From:`.
    pub(super) fn mailbox(&self) -> String {
        match phrase(&self.name) {
            none if none.is_empty() => self.address.clone(),
            phrase => format!("{phrase} <{}>", self.address),
        }
    }
}

/// Returns the name of the user who calls.
fn caller() -> String {
    let of_environment = || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
    let known = forknet::own_name().or_else(of_environment).filter(|name| !name.is_empty());
    known.unwrap_or_else(|| "nobody".into())
}

/// Writes a name as RFC 5322 §3.2.5 has it: as it is, in quotes, or in encoded words (RFC 2047).
fn phrase(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    let end = (0..=plain.len().min(MAX_NAME)).rev().find(|at| plain.is_char_boundary(*at));
    let plain = plain.get(..end.unwrap_or_default()).unwrap_or_default();
    if !plain.is_ascii() {
        return encoded(plain);
    }
    let is_word = |word: &str| is_atom_with_dots(word.as_bytes()) && !word.contains('.');
    if plain.split(' ').all(|word| word.is_empty() || is_word(word)) {
        return plain.to_owned();
    }
    let escaped = plain.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn encoded(name: &str) -> String {
    let (mut words, mut rest) = (Vec::new(), name);
    while !rest.is_empty() {
        let end = (1..=rest.len().min(ENCODED_BYTES)).rev().find(|at| rest.is_char_boundary(*at));
        let (word, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
        words.push(format!("=?UTF-8?B?{}?=", base64(word.as_bytes())));
        rest = after;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_phrase() {
        for (name, written) in [
            ("", ""),
            ("Cron Daemon", "Cron Daemon"),
            ("J. R. Smith", "\"J. R. Smith\""),
            ("Smith, \"Joe\"", "\"Smith, \\\"Joe\\\"\""),
            ("a\r\nBcc: b", "\"a  Bcc: b\""),
            ("J\u{f6}rg", "=?UTF-8?B?SsO2cmc=?="),
        ] {
            assert_eq!(phrase(name), written);
        }
        let long = phrase(&"\u{e9}".repeat(80));
        assert!(long.split(' ').all(|word| word.len() <= 75) && long.contains(' '), "{long}");
        assert!(phrase(&"x".repeat(1000)).len() <= MAX_NAME);
    }

    #[test]
    fn the_mailbox_of_from_has_the_name_before_the_address() {
        let author = Author::of_caller(Some("levy@red.test"), Some("Levy"), "red.test");
        assert_eq!(author.mailbox(), "Levy <levy@red.test>");
        let other = Author::of_caller(Some("levy@blue.test"), None, "red.test");
        assert_eq!((other.mailbox(), other.address()), ("levy@blue.test".into(), "levy@blue.test"));
        let own = Author::of_caller(None, None, "red.test");
        assert!(own.address().ends_with("@red.test") && !own.user.is_empty());
    }
}
