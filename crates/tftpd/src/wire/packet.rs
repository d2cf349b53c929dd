//! The five packets of TFTP (RFC 1350 §5; slide: "Форматы элементов данных протокола TFTP"), and
//! the sixth, OACK, that RFC 2347 adds.

use std::fmt;

use super::error_code::ErrorCode;
use super::option_list;
use super::request::{Direction, RRQ, Request, WRQ};

/// Default block size in bytes (RFC 1350 §2). A DATA packet with less data ends the transfer.
pub const DEFAULT_BLKSIZE: usize = 512;
/// Size in bytes of opcode and block number in a DATA packet (RFC 1350 figure 5-2).
pub const HEADER: usize = 4;

/// Opcodes (RFC 1350 §5, RFC 2347).
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// A packet. Its slices borrow from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ or WRQ.
    Request(Request<'a>),
    /// A block of the file.
    Data {
        /// The block number, which counts from 1.
        block: u16,
        /// The data, shorter than the block size at the end of the file.
        data: &'a [u8],
    },
    /// The acknowledgement of a block, or of a WRQ (block 0).
    Ack {
        /// The block number.
        block: u16,
    },
    /// The error that ends a transfer.
    Error {
        /// Usually an [`ErrorCode`].
        code: u16,
        /// The message for humans, without its NUL. A missing NUL is accepted.
        message: &'a [u8],
    },
    /// The options that the server grants (RFC 2347).
    Oack {
        /// The list of options.
        options: &'a [u8],
    },
}

/// Why a datagram is not a valid packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A malformed request (opcode 1 or 2), which is answered with ERROR 4.
    Request(&'static str),
    /// None of the six packets.
    Unknown,
}

impl<'a> Packet<'a> {
    /// Parses a datagram. Bytes after the end of an ACK or an ERROR are ignored. An ERROR truncated
    /// before its code is still an ERROR, because an ERROR is never answered.
    ///
    /// # Errors
    /// [`Malformed`] if the datagram is not a valid packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let request = |direction, body| {
            let request = Request::parse(direction, body);
            request.map(Packet::Request).map_err(Malformed::Request)
        };
        let (opcode, body) = split_number(datagram).ok_or(Malformed::Unknown)?;
        match opcode {
            RRQ => return request(Direction::Read, body),
            WRQ => return request(Direction::Write, body),
            DATA => split_number(body).map(|(block, data)| Packet::Data { block, data }),
            ACK => split_number(body).map(|(block, _)| Packet::Ack { block }),
            ERROR => {
                let (code, text) = split_number(body).unwrap_or_default();
                let message = text.split(|&byte| byte == 0).next().unwrap_or_default();
                Some(Packet::Error { code, message })
            }
            OACK => Some(Packet::Oack { options: body }),
            _ => None,
        }
        .ok_or(Malformed::Unknown)
    }
}

/// Returns an ACK packet.
#[must_use]
pub fn ack(block: u16) -> [u8; HEADER] {
    header(ACK, block)
}

/// Returns the header of a DATA packet.
#[must_use]
pub fn data_header(block: u16) -> [u8; HEADER] {
    header(DATA, block)
}

/// Returns an OACK packet with a list of options.
#[must_use]
pub fn oack(list: &[u8]) -> Vec<u8> {
    [&OACK.to_be_bytes(), list].concat()
}

/// Returns an ERROR packet. The message is truncated to fit a packet of the default size.
#[must_use]
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let message = message.as_bytes();
    let message = message.get(..DEFAULT_BLKSIZE - 1).unwrap_or(message);
    [&header(ERROR, code as u16), message, b"\0"].concat()
}

fn header(opcode: u16, number: u16) -> [u8; HEADER] {
    let ([a, b], [c, d]) = (opcode.to_be_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

/// Splits off the first two bytes as a number.
fn split_number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (u16::from_be_bytes(*first), rest))
}

/// Formats a transcript line: `RRQ "x" octet blksize=1468`, `OACK blksize=1468`,
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
                option_list::fmt(options, f)
            }
        }
    }
}

/// Returns the transcript line for any datagram.
#[must_use]
pub fn describe(datagram: &[u8]) -> String {
    match Packet::parse(datagram) {
        Ok(packet) => packet.to_string(),
        Err(Malformed::Request(reason)) => format!("bad request: {reason}"),
        Err(Malformed::Unknown) => format!("not a TFTP packet ({} octets)", datagram.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::{MAX_REQUEST, Mode};

    #[test]
    fn a_request_is_parsed() {
        let Ok(Packet::Request(request)) = Packet::parse(b"\0\x01a/b\0OcTeT\0tsize\x000\0") else {
            panic!("no request");
        };
        assert_eq!(request.direction, Direction::Read);
        assert_eq!((request.name, request.mode), (&b"a/b"[..], &b"OcTeT"[..]));
        assert_eq!(request.options, b"tsize\x000\0");
        assert_eq!(Mode::parse(request.mode), Some(Mode::Octet));
    }

    #[test]
    fn a_request_cut_anywhere_before_its_last_nul_is_malformed() {
        let whole = Request::encode(Direction::Write, b"name", Mode::Netascii);
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
    fn a_name_may_be_as_long_as_the_request_and_padding_is_ignored() {
        let room = MAX_REQUEST - b"\0\x01\0octet\0".len();
        let mut longest = Request::encode(Direction::Read, &vec![b'n'; room], Mode::Octet);
        assert_eq!(longest.len(), MAX_REQUEST);
        assert!(Packet::parse(&longest).is_ok());
        longest.extend(b"garbage behind it");
        assert!(Packet::parse(&longest).is_ok());
        for more in [1, 6, 1000] {
            let longer = Request::encode(Direction::Read, &vec![b'n'; room + more], Mode::Octet);
            assert_eq!(Packet::parse(&longer), Err(Malformed::Request("request too long")));
        }
        let mut padded = Request::encode(Direction::Read, b"name", Mode::Octet);
        let whole = padded.len();
        padded.resize(1400, 0);
        let Ok(Packet::Request(request)) = Packet::parse(&padded) else { panic!("no request") };
        assert_eq!((request.name, request.options.len()), (&b"name"[..], MAX_REQUEST - whole));
    }

    #[test]
    fn data_ack_and_error_are_parsed() {
        let empty = Packet::Data { block: 0x102, data: b"" };
        assert_eq!(Packet::parse(b"\0\x03\x01\x02"), Ok(empty));
        assert_eq!(Packet::parse(b"\0\x04\xff\xff"), Ok(Packet::Ack { block: 65535 }));
        let full = Packet::Error { code: 3, message: b"Disk full" };
        assert_eq!(Packet::parse(b"\0\x05\0\x03Disk full\0junk"), Ok(full));
        assert_eq!(Packet::parse(b"\0\x05\0\x03Disk full"), Ok(full));
    }

    #[test]
    fn a_truncated_error_is_still_an_error() {
        for cut in [&b"\0\x05"[..], b"\0\x05\0"] {
            assert_eq!(Packet::parse(cut), Ok(Packet::Error { code: 0, message: b"" }));
        }
    }

    #[test]
    fn written_packets_can_be_parsed() {
        assert_eq!(Packet::parse(&ack(7)), Ok(Packet::Ack { block: 7 }));
        let packet = error(ErrorCode::Exists, "File already exists");
        let read = Packet::Error { code: 6, message: b"File already exists" };
        assert_eq!(Packet::parse(&packet), Ok(read));
        assert_eq!(error(ErrorCode::NotDefined, &"x".repeat(2000)).len(), HEADER + DEFAULT_BLKSIZE);
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
    fn any_datagram_can_be_described_in_printable_characters() {
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
    fn transcript_lines_are_escaped() {
        assert_eq!(describe(b"\0\x01x\0octet\0"), "RRQ \"x\" octet");
        assert_eq!(describe(b"\0\x02\x1b\n\xff\0NETASCII\0"), r#"WRQ "\x1b\n\xff" NETASCII"#);
        assert_eq!(describe(b"\0\x01x\0octet\0a\x001\0b"), r#"RRQ "x" octet a=1"#);
        assert_eq!(describe(b"\0\x06blksize\x008\0\n\0\x1b\0"), r"OACK blksize=8 \n=\x1b");
        assert_eq!(describe(b"\0\x06"), "OACK");
        assert_eq!(describe(b"\0\x03\0\x01abc"), "DATA 1 (3 octets)");
        assert_eq!(describe(&ack(65535)), "ACK 65535");
        assert_eq!(describe(b"\0\x05\0\x01a\"b\0"), r#"ERROR 1 "a\"b""#);
        assert_eq!(describe(b"\0\x02"), "bad request: no end of the file name");
        assert_eq!(describe(b"\x16\x03"), "not a TFTP packet (2 octets)");
    }
}
