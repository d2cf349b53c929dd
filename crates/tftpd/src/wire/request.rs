//! RRQ and WRQ (RFC 1350 figure 5-1; slide: "Форматы элементов данных протокола TFTP").

use std::fmt;

use super::option_list::{self, split_string};

/// Longest request that is read, in bytes. RFC 1350 gives no limit, RFC 2347 says 512 octets.
pub const MAX_REQUEST: usize = 512;
/// Longest file name that is served, in bytes: NAME_MAX of Linux.
pub const MAX_NAME: usize = 255;

/// Opcodes (RFC 1350 §5).
pub(super) const RRQ: u16 = 1;
pub(super) const WRQ: u16 = 2;

/// Which way the file goes, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// RRQ: the client reads a file of the server's.
    Read,
    /// WRQ: the client writes one.
    Write,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Direction::Read { "RRQ" } else { "WRQ" })
    }
}

/// How the file's bytes travel (RFC 1350 §1). `mail` is obsolete and not served (RFC 1123
/// §4.2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Octet,
    /// As text: LF travels as CR LF, CR as CR NUL.
    Netascii,
}

impl Mode {
    /// Reads a request's mode, in any mixture of upper and lower case (RFC 1350 §5).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Mode> {
        [Mode::Octet, Mode::Netascii]
            .into_iter()
            .find(|mode| text.eq_ignore_ascii_case(mode.name().as_bytes()))
    }

    /// Returns the string that stands for the mode in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Octet => "octet",
            Mode::Netascii => "netascii",
        }
    }

    /// Returns how many bytes of a file will travel. `None` in netascii, where that is known only
    /// after the translation.
    #[must_use]
    pub fn size_on_wire(self, file_size: u64) -> Option<u64> {
        (self == Mode::Octet).then_some(file_size)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// RRQ or WRQ as it came: nothing is checked but the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file's name, without its NUL; may be empty.
    pub name: &'a [u8],
    /// The mode, without its NUL, for [`Mode::parse`].
    pub mode: &'a [u8],
    /// What follows the mode: options (RFC 2347) or padding.
    pub options: &'a [u8],
}

impl Request<'_> {
    /// Reads what follows the opcode in a datagram of `size` bytes. On failure returns what is
    /// wrong.
    pub(super) fn parse(
        direction: Direction,
        size: usize,
        body: &[u8],
    ) -> Result<Request<'_>, &'static str> {
        if size > MAX_REQUEST {
            return Err("request too long");
        }
        let (name, rest) = split_string(body).ok_or("no end of the file name")?;
        let (mode, options) = split_string(rest).ok_or("no end of the mode")?;
        if name.len() > MAX_NAME {
            return Err("file name too long");
        }
        Ok(Request { direction, name, mode, options })
    }

    /// Makes the packet of a request without options; a list of them
    /// ([`RequestedOptions::encode`](super::requested_options::RequestedOptions::encode)) may
    /// follow.
    #[must_use]
    pub fn encode(direction: Direction, name: &[u8], mode: Mode) -> Vec<u8> {
        let opcode = if direction == Direction::Read { RRQ } else { WRQ };
        let mode = mode.name().as_bytes();
        [&opcode.to_be_bytes(), name, b"\0", mode, b"\0"].concat()
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, mode) = (self.name.escape_ascii(), self.mode.escape_ascii());
        write!(f, "{} \"{name}\" {mode}", self.direction)?;
        option_list::fmt(self.options, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_known_in_any_case_and_mail_is_not() {
        assert_eq!(Mode::parse(b"NetAscii"), Some(Mode::Netascii));
        for unknown in [&b"mail"[..], b"", b"octe", b"octets", b"binary"] {
            assert_eq!(Mode::parse(unknown), None);
        }
    }
}
