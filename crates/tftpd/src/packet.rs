//! The five packets of TFTP (RFC 1350 §5; slide: "Форматы элементов данных протокола TFTP"), and
//! the sixth, OACK, that RFC 2347 adds.

use std::fmt;

use crate::negotiation;

/// Octets of file data in a full DATA packet (RFC 1350 §2) unless another size was agreed upon;
/// less ends the transfer.
pub const BLOCK: usize = 512;
/// The longest request that is read. RFC 1350 gives no limit, RFC 2347 says 512 octets.
pub const MAX_REQUEST: usize = 512;
/// The longest file name that is served, in octets: NAME_MAX of Linux.
pub const MAX_NAME: usize = 255;
/// Octets of opcode and block number before the data of a DATA packet (RFC 1350 figure 5-2).
pub const HEADER: usize = 4;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// The error codes of RFC 1350's appendix, and the one of RFC 2347.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not defined, see the message.
    NotDefined = 0,
    /// File not found.
    NotFound = 1,
    /// Access violation.
    Access = 2,
    /// Disk full or allocation exceeded.
    DiskFull = 3,
    /// Illegal TFTP operation.
    Illegal = 4,
    /// Unknown transfer ID.
    UnknownTransfer = 5,
    /// File already exists.
    Exists = 6,
    /// Option negotiation failed (RFC 2347): the other end granted what nobody can work with.
    Options = 8,
}

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

/// How the file's octets travel (RFC 1350 §1). `mail` is obsolete and not served (RFC 1123
/// §4.2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Octet,
    /// As text: LF travels as CR LF, CR as CR NUL.
    Netascii,
}

impl Mode {
    /// The mode of a request's string, in any mixture of upper and lower case (RFC 1350 §5).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Mode> {
        [Mode::Octet, Mode::Netascii]
            .into_iter()
            .find(|mode| text.eq_ignore_ascii_case(mode.name().as_bytes()))
    }

    /// The string that stands for the mode in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Octet => "octet",
            Mode::Netascii => "netascii",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// RRQ or WRQ (RFC 1350 figure 5-1), as it came: nothing is checked but the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file's name, without its NUL; may be empty.
    pub name: &'a [u8],
    /// The mode's string, without its NUL; [`Mode::parse`] knows it or not.
    pub mode: &'a [u8],
    /// What follows the mode: options (RFC 2347) or padding; [`negotiation::pairs`] reads it.
    pub options: &'a [u8],
}

impl Request<'_> {
    /// The packet of a request without options; a list of them
    /// ([`Wishes::list`](negotiation::Wishes::list)) may follow it.
    #[must_use]
    pub fn packet(direction: Direction, name: &[u8], mode: Mode) -> Vec<u8> {
        let opcode = if direction == Direction::Read { RRQ } else { WRQ };
        let mode = mode.name().as_bytes();
        [&opcode.to_be_bytes(), name, b"\0", mode, b"\0"].concat()
    }
}

/// One packet. A slice borrows from the datagram that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ or WRQ.
    Request(Request<'a>),
    /// A block of the file.
    Data {
        /// The block's number; counts from 1 and goes on with 0 after 65535.
        block: u16,
        /// The block: a full one, or less at the end.
        data: &'a [u8],
    },
    /// The acknowledgement of a block, or of a WRQ (block 0).
    Ack {
        /// The block's number.
        block: u16,
    },
    /// The end of a transfer that failed.
    Error {
        /// Usually one of [`Code`].
        code: u16,
        /// For humans; the NUL at its end is not required of the sender here.
        message: &'a [u8],
    },
    /// The options that the server grants (RFC 2347).
    Oack {
        /// The list of them; [`negotiation::pairs`] reads it.
        options: &'a [u8],
    },
}

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A request (opcode 1 or 2) with something wrong in it: worth an ERROR 4 in answer.
    Request(&'static str),
    /// Not one of the six packets.
    Unknown,
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Octets after the end of an ACK or an ERROR are ignored. An ERROR that is
    /// cut off before its code is one still: nothing may be said to it.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let (opcode, body) = word(datagram).ok_or(Malformed::Unknown)?;
        match opcode {
            RRQ => return request(Direction::Read, datagram.len(), body).map(Packet::Request),
            WRQ => return request(Direction::Write, datagram.len(), body).map(Packet::Request),
            DATA => word(body).map(|(block, data)| Packet::Data { block, data }),
            ACK => word(body).map(|(block, _)| Packet::Ack { block }),
            ERROR => {
                let (code, text) = word(body).unwrap_or_default();
                let message = text.split(|&octet| octet == 0).next().unwrap_or_default();
                Some(Packet::Error { code, message })
            }
            OACK => Some(Packet::Oack { options: body }),
            _ => None,
        }
        .ok_or(Malformed::Unknown)
    }
}

/// An ACK packet.
#[must_use]
pub fn ack(block: u16) -> [u8; HEADER] {
    header(ACK, block)
}

/// The first four octets of a DATA packet.
#[must_use]
pub fn data_header(block: u16) -> [u8; HEADER] {
    header(DATA, block)
}

/// An OACK packet with this list of options, pairs of strings that each end with NUL.
#[must_use]
pub fn oack(list: &[u8]) -> Vec<u8> {
    [&OACK.to_be_bytes(), list].concat()
}

/// An ERROR packet; the message is cut to what fits a packet of ordinary size.
#[must_use]
pub fn error(code: Code, message: &str) -> Vec<u8> {
    let message = message.as_bytes();
    let message = message.get(..BLOCK - 1).unwrap_or(message);
    [&header(ERROR, code as u16), message, b"\0"].concat()
}

fn header(opcode: u16, number: u16) -> [u8; HEADER] {
    let ([a, b], [c, d]) = (opcode.to_be_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

/// The two octets at the front, as a number, and the rest.
fn word(octets: &[u8]) -> Option<(u16, &[u8])> {
    octets.split_first_chunk().map(|(first, rest)| (u16::from_be_bytes(*first), rest))
}

/// The string at the front, without its NUL, and the rest.
pub(crate) fn string(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = octets.iter().position(|&octet| octet == 0)?;
    let (text, rest) = octets.split_at_checked(end)?;
    Some((text, rest.split_first()?.1))
}

fn request(direction: Direction, size: usize, body: &[u8]) -> Result<Request<'_>, Malformed> {
    if size > MAX_REQUEST {
        return Err(Malformed::Request("request too long"));
    }
    let (name, rest) = string(body).ok_or(Malformed::Request("no end of the file name"))?;
    let (mode, options) = string(rest).ok_or(Malformed::Request("no end of the mode"))?;
    if name.len() > MAX_NAME {
        return Err(Malformed::Request("file name too long"));
    }
    Ok(Request { direction, name, mode, options })
}

/// As a line of a dialogue: `RRQ "x" octet blksize=1468`, `OACK blksize=1468`,
/// `DATA 1 (512 octets)`, `ACK 1`, `ERROR 1 "File not found"`.
impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packet::Request(request) => request.fmt(f),
            Packet::Data { block, data } => write!(f, "DATA {block} ({} octets)", data.len()),
            Packet::Ack { block } => write!(f, "ACK {block}"),
            Packet::Error { code, message } => {
                write!(f, "ERROR {code} \"{}\"", message.escape_ascii())
            }
            Packet::Oack { options } => {
                f.write_str("OACK")?;
                show_options(options, f)
            }
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, mode) = (self.name.escape_ascii(), self.mode.escape_ascii());
        write!(f, "{} \"{name}\" {mode}", self.direction)?;
        show_options(self.options, f)
    }
}

/// ` name=value` for each; nothing for what is no pair of strings.
fn show_options(options: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    negotiation::pairs(options).try_for_each(|(name, value)| {
        write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())
    })
}

/// A datagram as a line of a dialogue, whatever it is.
#[must_use]
pub fn describe(datagram: &[u8]) -> String {
    match Packet::parse(datagram) {
        Ok(packet) => packet.to_string(),
        Err(Malformed::Request(reason)) => format!("bad request: {reason}"),
        Err(Malformed::Unknown) => format!("no TFTP packet ({} octets)", datagram.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_in_its_parts() {
        let Ok(Packet::Request(request)) = Packet::parse(b"\0\x01a/b\0OcTeT\0tsize\x000\0") else {
            panic!("no request");
        };
        assert_eq!(request.direction, Direction::Read);
        assert_eq!((request.name, request.mode), (&b"a/b"[..], &b"OcTeT"[..]));
        assert_eq!(request.options, b"tsize\x000\0");
        assert_eq!(Mode::parse(request.mode), Some(Mode::Octet));
    }

    #[test]
    fn modes_are_known_in_any_case_and_mail_is_not() {
        assert_eq!(Mode::parse(b"NetAscii"), Some(Mode::Netascii));
        for unknown in [&b"mail"[..], b"", b"octe", b"octets", b"binary"] {
            assert_eq!(Mode::parse(unknown), None);
        }
    }

    #[test]
    fn a_request_cut_anywhere_before_its_last_nul_is_malformed() {
        let whole = Request::packet(Direction::Write, b"name", Mode::Netascii);
        assert!(Packet::parse(&whole).is_ok());
        for cut in 0..whole.len() {
            let expected = if cut < 2 {
                Malformed::Unknown
            } else {
                Packet::parse(&whole[..cut]).unwrap_err()
            };
            assert!(cut < 2 || matches!(expected, Malformed::Request(_)));
            assert_eq!(Packet::parse(&whole[..cut]), Err(expected));
        }
    }

    #[test]
    fn names_and_requests_have_a_limit() {
        let longest = Request::packet(Direction::Read, &[b'n'; MAX_NAME], Mode::Octet);
        assert!(Packet::parse(&longest).is_ok());
        let longer = Request::packet(Direction::Read, &[b'n'; MAX_NAME + 1], Mode::Octet);
        assert_eq!(Packet::parse(&longer), Err(Malformed::Request("file name too long")));
        let mut padded = longest;
        padded.resize(MAX_REQUEST, 0);
        assert!(Packet::parse(&padded).is_ok());
        padded.push(0);
        assert_eq!(Packet::parse(&padded), Err(Malformed::Request("request too long")));
    }

    #[test]
    fn data_ack_and_error_are_read() {
        let empty = Packet::Data { block: 0x102, data: b"" };
        assert_eq!(Packet::parse(b"\0\x03\x01\x02"), Ok(empty));
        assert_eq!(Packet::parse(b"\0\x04\xff\xff"), Ok(Packet::Ack { block: 65535 }));
        let full = Packet::Error { code: 3, message: b"Disk full" };
        assert_eq!(Packet::parse(b"\0\x05\0\x03Disk full\0junk"), Ok(full));
        assert_eq!(Packet::parse(b"\0\x05\0\x03Disk full"), Ok(full));
    }

    #[test]
    fn an_error_without_its_code_is_an_error() {
        for cut in [&b"\0\x05"[..], b"\0\x05\0"] {
            assert_eq!(Packet::parse(cut), Ok(Packet::Error { code: 0, message: b"" }));
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(Packet::parse(&ack(7)), Ok(Packet::Ack { block: 7 }));
        let packet = error(Code::Exists, "File already exists");
        let read = Packet::Error { code: 6, message: b"File already exists" };
        assert_eq!(Packet::parse(&packet), Ok(read));
        assert_eq!(error(Code::NotDefined, &"x".repeat(2000)).len(), HEADER + BLOCK);
    }

    #[test]
    fn anything_else_is_unknown() {
        let junk: [&[u8]; 7] =
            [b"", b"\0", b"\0\0", b"\0\x07abc", b"\xff\xff", b"\0\x03\0", b"\0\x04\x01"];
        for datagram in junk {
            assert_eq!(Packet::parse(datagram), Err(Malformed::Unknown));
        }
    }

    #[test]
    fn no_datagram_is_too_strange_to_be_read_and_shown() {
        let mut state = 1u32;
        for length in 0..600 {
            for opcode in 0..8 {
                let mut datagram = vec![0, opcode];
                datagram.extend((0..length).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let octet = (state >> 24) as u8;
                    if octet < 20 { 0 } else { octet }
                }));
                let shown = describe(&datagram);
                assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)), "{shown}");
            }
        }
    }

    #[test]
    fn dialogue_lines_read_well_and_are_escaped() {
        assert_eq!(describe(b"\0\x01x\0octet\0"), "RRQ \"x\" octet");
        assert_eq!(describe(b"\0\x02\x1b\n\xff\0NETASCII\0"), r#"WRQ "\x1b\n\xff" NETASCII"#);
        assert_eq!(describe(b"\0\x01x\0octet\0a\x001\0b"), r#"RRQ "x" octet a=1"#);
        assert_eq!(describe(b"\0\x06blksize\x008\0\n\0\x1b\0"), r"OACK blksize=8 \n=\x1b");
        assert_eq!(describe(b"\0\x06"), "OACK");
        assert_eq!(describe(b"\0\x03\0\x01abc"), "DATA 1 (3 octets)");
        assert_eq!(describe(&ack(65535)), "ACK 65535");
        assert_eq!(describe(b"\0\x05\0\x01a\"b\0"), r#"ERROR 1 "a\"b""#);
        assert_eq!(describe(b"\0\x02"), "bad request: no end of the file name");
        assert_eq!(describe(b"\x16\x03"), "no TFTP packet (2 octets)");
    }
}
