//! RRQ and WRQ (RFC 1350 figure 5-1; slide: "Форматы элементов данных протокола TFTP").

use std::fmt;

use super::option_list::{self, split_string};

/// Longest request in bytes (RFC 2347: 512 octets). What follows in the datagram is padding.
pub const MAX_REQUEST: usize = 512;

/// Opcode of a read request (RFC 1350 §5).
pub(super) const RRQ: u16 = 1;
/// Opcode of a write request.
pub const WRQ: u16 = 2;

/// Direction of a transfer, from the client's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// RRQ: the client reads a file.
    Read,
    /// WRQ: the client writes a file.
    Write,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Direction::Read { "RRQ" } else { "WRQ" })
    }
}

/// Transfer mode (RFC 1350 §1). `mail` is obsolete and not supported (RFC 1123 §4.2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes are transferred unchanged.
    Octet,
    /// Text: LF is transferred as CR LF, CR as CR NUL.
    Netascii,
}

impl Mode {
    /// Parses a request's mode, ignoring ASCII case (RFC 1350 §5) and blanks around it.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Mode> {
        let text = text.trim_ascii();
        [Mode::Octet, Mode::Netascii]
            .into_iter()
            .find(|mode| text.eq_ignore_ascii_case(mode.name().as_bytes()))
    }

    /// Returns the mode's name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Octet => "octet",
            Mode::Netascii => "netascii",
        }
    }

    /// Returns the size on the wire of a file with `file_size` bytes. `None` in netascii, where it
    /// is known only after encoding.
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

/// An RRQ or WRQ as received. Only its format was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file name without its NUL, possibly empty.
    pub name: &'a [u8],
    /// The mode, without its NUL, for [`Mode::parse`].
    pub mode: &'a [u8],
    /// The bytes after the mode: options (RFC 2347) or padding.
    pub options: &'a [u8],
}

impl Request<'_> {
    /// Parses the bytes after the opcode. The error is a description of the fault.
    pub(super) fn parse(direction: Direction, body: &[u8]) -> Result<Request<'_>, &'static str> {
        let most = MAX_REQUEST - size_of::<u16>();
        let (body, too_long) = match body.get(..most) {
            Some(start) if start.len() < body.len() => (start, Some("request too long")),
            _ => (body, None),
        };
        let (name, rest) =
            split_string(body).ok_or(too_long.unwrap_or("no end of the file name"))?;
        let (mode, options) = split_string(rest).ok_or(too_long.unwrap_or("no end of the mode"))?;
        Ok(Request { direction, name, mode, options })
    }

    /// Returns the packet of a request without options. A list of options
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
    fn the_case_of_a_mode_is_ignored_and_mail_is_unknown() {
        assert_eq!(Mode::parse(b"NetAscii"), Some(Mode::Netascii));
        assert_eq!(Mode::parse(b" octet\r\n"), Some(Mode::Octet));
        for unknown in [&b"mail"[..], b"", b"octe", b"oct et", b"octets", b"binary"] {
            assert_eq!(Mode::parse(unknown), None);
        }
    }
}
