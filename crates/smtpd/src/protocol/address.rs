//! Addresses in MAIL and RCPT (RFC 5321 §4.1.2, §4.1.3).

use dns::to_ascii;

use crate::options::hostname::is_domain;
use crate::protocol::literal::is_literal;

/// Longest path in bytes, with its punctuation (RFC 5321 §4.5.3.1.3).
const MAX_PATH: usize = 256;

/// The content of the angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// `<>`: the sender of a notification, which must not be answered (RFC 5321 §4.5.5).
    Null,
    /// A name without a domain, as the slides' `MAIL FROM:<frol>`, and as `<Postmaster>`
    /// (RFC 5321 §4.1.1.3). Unquoted.
    Name(Vec<u8>),
    /// An address with a domain.
    Mailbox(Mailbox),
}

/// `local@domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The local part, unquoted, with its case preserved.
    pub local: Vec<u8>,
    /// The domain or the address literal with its brackets, as the client wrote it.
    pub domain: Vec<u8>,
    /// The whole address as the client wrote it, without a source route. Printable; ASCII, or UTF-8 (RFC 6531 §3.3).
    pub text: String,
}

/// Who a path names: a user is looked for by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name {
    /// The local part, unquoted.
    pub local: Vec<u8>,
    /// The domain, in ASCII (RFC 5890), or address literal; empty for a name without one.
    pub domain: Vec<u8>,
}

impl Path {
    /// Returns the name in it; `None` for `<>`.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        match self {
            Path::Null => None,
            Path::Name(name) => Some(Name { local: name.clone(), domain: Vec::new() }),
            Path::Mailbox(Mailbox { local, domain, .. }) => {
                Some(Name { local: local.clone(), domain: to_ascii(domain) })
            }
        }
    }

    /// Returns whether it can be sent without SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        match self {
            Path::Null => true,
            Path::Name(name) => name.is_ascii(),
            Path::Mailbox(mailbox) => mailbox.text.is_ascii(),
        }
    }
}

/// Why a text is not an address, for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress(pub &'static str);

/// What is taken beyond the syntax of RFC 5321, because real clients send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// An address without angle brackets, as printers and scanners send it.
    brackets: bool,
    /// Dots at the ends of a local part and next to each other, underscores in a domain and a dot at its end: a
    /// sender is stored, and nothing is looked up by it.
    sender: bool,
}

impl Tolerance {
    /// The RFC's letter.
    pub const NONE: Tolerance = Tolerance { brackets: false, sender: false };
    /// For RCPT: which mailbox is meant stays as strict as the RFC.
    pub const RECIPIENT: Tolerance = Tolerance { brackets: true, sender: false };
    /// For MAIL.
    pub const SENDER: Tolerance = Tolerance { brackets: true, sender: true };
}

/// Parses a path at the start of `input`. Returns it and the rest.
///
/// A source route (`<@a,@b:user@c>`) is ignored (RFC 5321 §4.1.1.3, appendix C). UTF-8 is taken wherever letters are
/// (RFC 6531 §3.3): the caller asks [`Path::is_ascii`].
///
/// # Errors
/// [`BadAddress`] with the fault, for the client.
pub fn path(input: &[u8], tolerance: Tolerance) -> Result<(Path, &[u8]), BadAddress> {
    let mut parser = Parser { rest: input, is_sender: tolerance.sender };
    let has_brackets = parser.accept(b'<');
    if !has_brackets && !tolerance.brackets {
        return Err(BadAddress("Address needs < and >"));
    }
    let is_null = has_brackets && parser.rest.first() == Some(&b'>');
    let found = if is_null { Path::Null } else { parser.routed()? };
    if has_brackets && !parser.accept(b'>') {
        return Err(parser.error());
    }
    if input.len() - parser.rest.len() > MAX_PATH {
        return Err(BadAddress("Path too long"));
    }
    match parser.rest.first() {
        None | Some(b' ') => Ok((found, parser.rest)),
        Some(_) => Err(BadAddress("Text behind the address")),
    }
}

/// Parses all of `input` as `local@domain` or a local part (VRFY).
///
/// # Errors
/// [`BadAddress`] with the fault, for the client.
pub fn without_brackets(input: &[u8]) -> Result<Path, BadAddress> {
    let mut parser = Parser { rest: input, is_sender: false };
    let found = parser.mailbox()?;
    if parser.rest.is_empty() { Ok(found) } else { Err(parser.error()) }
}

/// Formats a name as the local part of an address, quoted if needed (RFC 5321 §4.1.2), in ASCII as [`ascii`] makes it.
#[must_use]
pub fn local_part(name: &[u8]) -> String {
    quoted(&ascii(name))
}

/// As [`local_part`], but UTF-8 stays as it is (RFC 6531 §3.3).
#[must_use]
pub fn local_part_utf8(name: &[u8]) -> String {
    quoted(&printable(name))
}

fn quoted(name: &str) -> String {
    let is_bare = |atom: &str| !atom.is_empty() && atom.bytes().all(|b| is_atext(b) || b > 127);
    if name.split('.').all(is_bare) {
        return name.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

/// Converts a text to ASCII for a reply (RFC 5321 §4.2). Other characters become `?`.
#[must_use]
pub fn ascii(text: &[u8]) -> String {
    text.iter().map(|&b| if matches!(b, 32..=126) { char::from(b) } else { '?' }).collect()
}

/// Converts a text to UTF-8 for a client that has allowed it (RFC 6531 §3.7.4). What cannot be printed becomes `?`.
#[must_use]
pub fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .map(|c| if c == '\u{fffd}' || c.is_control() || is_mark(c) { '?' } else { c })
        .collect()
}

/// Returns whether a text is an atom with dots, perhaps one at its end: it can stand in a `Received:` line as it is.
#[must_use]
pub fn is_atom_with_dots(text: &[u8]) -> bool {
    is_dot_atom(text.strip_suffix(b".").unwrap_or(text))
}

/// Returns whether a text is a dot-atom-text (RFC 5322 §3.2.3).
fn is_dot_atom(text: &[u8]) -> bool {
    text.split(|&b| b == b'.').all(|atom| !atom.is_empty() && atom.iter().all(|&b| is_atext(b)))
}

/// Returns whether a byte is atext (RFC 5322 §3.2.3).
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// Returns whether a text is a domain but for underscores and a dot at its end.
fn is_domain_of_sender(text: &[u8]) -> bool {
    let plain: Vec<u8> = text.iter().map(|&b| if b == b'_' { b'x' } else { b }).collect();
    is_domain(plain.strip_suffix(b".").unwrap_or(&plain))
}

/// Checks that a text is UTF-8, with no character that moves the cursor, or the eye: controls, blanks other than that
/// of ASCII, and marks that turn the direction of writing.
fn utf8(text: &[u8]) -> Result<&str, BadAddress> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() && c != ' ' || is_mark(c);
    match std::str::from_utf8(text) {
        Ok(text) if !text.contains(is_bad) => Ok(text),
        _ => Err(BadAddress("Bad UTF-8 in the address")),
    }
}

/// Returns whether a character has no width, or turns the direction of writing.
#[must_use]
pub fn is_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A parser of addresses. `rest` is not parsed yet.
struct Parser<'a> {
    rest: &'a [u8],
    /// See [`Tolerance`].
    is_sender: bool,
}

impl<'a> Parser<'a> {
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.rest.strip_prefix(&[byte]);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&b| !wanted(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Returns the error for the next byte.
    fn error(&self) -> BadAddress {
        match self.rest.first() {
            Some(0..=31 | 127) => BadAddress("Control character in the address"),
            _ => BadAddress("Bad address syntax"),
        }
    }

    /// Parses an optional source route and the address.
    fn routed(&mut self) -> Result<Path, BadAddress> {
        while self.accept(b'@') {
            self.domain()?;
            if self.accept(b':') {
                break;
            }
            if !self.accept(b',') || self.rest.first() != Some(&b'@') {
                return Err(BadAddress("Bad source route"));
            }
        }
        self.mailbox()
    }

    fn mailbox(&mut self) -> Result<Path, BadAddress> {
        let all = self.rest;
        let local =
            if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.dot_string()? };
        if !self.accept(b'@') {
            utf8(&local)?;
            return Ok(Path::Name(local));
        }
        let domain = self.domain()?.to_vec();
        let text = all.get(..all.len() - self.rest.len()).unwrap_or_default();
        let text = utf8(text)?.to_owned();
        Ok(Path::Mailbox(Mailbox { local, domain, text }))
    }

    fn dot_string(&mut self) -> Result<Vec<u8>, BadAddress> {
        let local = self.take_while(|b| is_atext(b) || b == b'.' || b > 127);
        let has_bad_dots = local.split(|&b| b == b'.').any(<[u8]>::is_empty);
        if local.is_empty() || has_bad_dots && !self.is_sender {
            return Err(if local.is_empty() { self.error() } else { BadAddress("Bad dots") });
        }
        Ok(local.to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, BadAddress> {
        let mut local = Vec::new();
        let mut rest = self.rest.get(1..).unwrap_or_default().iter();
        loop {
            let byte = match rest.next() {
                Some(b'"') => break,
                Some(b'\\') => rest.next(),
                other => other,
            };
            match byte {
                Some(&byte @ (32..=126 | 128..)) => local.push(byte),
                Some(_) => return Err(BadAddress("Control character in quotes")),
                None => return Err(BadAddress("Quotes without an end")),
            }
        }
        self.rest = rest.as_slice();
        Ok(local)
    }

    fn domain(&mut self) -> Result<&'a [u8], BadAddress> {
        if self.rest.first() == Some(&b'[') {
            let end = self.rest.iter().position(|&b| b == b']').unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at_checked(end + 1).unwrap_or((self.rest, &[]));
            if !is_literal(text) {
                return Err(BadAddress("Bad address literal"));
            }
            self.rest = rest;
            return Ok(text);
        }
        let is_sender = self.is_sender;
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_' && is_sender;
        let text = self.take_while(|b| is_letter(b) || b == b'-' || b == b'.' || b > 127);
        if text.is_empty() {
            return Err(self.error());
        }
        let ascii = to_ascii(text);
        let good = match is_sender {
            true => is_domain_of_sender(&ascii),
            false => is_domain(&ascii),
        };
        if good { Ok(text) } else { Err(BadAddress("Bad domain")) }
    }
}

#[cfg(test)]
mod tests;
