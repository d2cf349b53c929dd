//! The PROXY protocol, versions 1 and 2: the header in which a proxy tells its client's address, before
//! anything of the client's. Sections are those of HAProxy's doc/proxy-protocol.txt.
//!
//! ```text
//!  PROXY TCP4 203.0.113.7 192.0.2.1 52100 110\r\n            version 1, §2.1
//!  \r\n\r\n\0\r\nQUIT\n 21 11 00 0c  addresses, ports, TLVs     version 2, §2.2
//! ```

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest header of version 1 in bytes, with its CRLF (§2.1).
const MAX_TEXT: usize = 107;
/// Shortest header of version 1 in bytes: `PROXY UNKNOWN` and CRLF.
const MIN_TEXT: usize = 15;
/// Shortest headers in bytes with addresses: `PROXY TCP4 0.0.0.0 0.0.0.0 0 0`, `PROXY TCP6 :: :: 0 0`.
const MIN_TCP4: usize = 32;
const MIN_TCP6: usize = 22;
/// How version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// How version 2 begins (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 before its addresses.
const FIXED: usize = 16;
/// Longest header of version 2 in bytes that is taken. Addresses need 232; the rest are TLVs, in which a
/// proxy may pass a client's certificate on.
const MAX_BINARY: usize = 4096;
/// The type number of the TLV with a checksum (§2.2.3).
const CRC32C: u8 = 0x03;

/// What a header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The client's address; an IPv4 address is never one of IPv6 that holds it.
    Client(SocketAddr),
    /// No address: LOCAL is the proxy itself, for a health check; UNKNOWN and UNSPEC are a client whose
    /// address the proxy does not know, or one without an Internet address.
    Nothing,
}

/// What the bytes of a header so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// A part of a header, which has at least this number of bytes more.
    Needs(usize),
    Whole(Header),
}

/// Why bytes are no header.
type Malformed = &'static str;

/// Reads a header and not a byte more; `None` when the connection has ended before the first byte.
///
/// # Errors
/// `InvalidData`: it is no header, with the reason; `UnexpectedEof`; those of the stream.
pub fn read(input: &mut impl Read) -> io::Result<Option<Header>> {
    let mut header = Vec::with_capacity(MAX_TEXT);
    loop {
        let parsed = parse(&header);
        let needed = match parsed.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))? {
            Parsed::Whole(whole) => return Ok(Some(whole)),
            Parsed::Needs(needed) => needed,
        };
        let got = header.len();
        header.resize(got + needed, 0);
        let n = input.read(header.get_mut(got..).unwrap_or_default())?;
        if n == 0 {
            return if got == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        header.truncate(got + n);
    }
}

fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.is_empty() {
        return Ok(Parsed::Needs(MIN_TEXT));
    }
    if agree(bytes, SIGNATURE) {
        return parse_binary(bytes);
    }
    if agree(bytes, WORD) {
        return parse_text(bytes);
    }
    Err("no PROXY header")
}

/// Returns true when one is the beginning of the other.
fn agree(bytes: &[u8], other: &[u8]) -> bool {
    bytes.iter().zip(other).all(|(one, other)| one == other)
}

/// Version 1: a line.
fn parse_text(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let said = bytes.get(WORD.len()..).unwrap_or_default();
    let families: [(&[u8], usize); 3] =
        [(b"TCP4 ", MIN_TCP4), (b"TCP6 ", MIN_TCP6), (b"UNKNOWN", MIN_TEXT)];
    let mut shortest = MAX_TEXT;
    for (_, length) in families.into_iter().filter(|(word, _)| agree(said, word)) {
        shortest = shortest.min(length);
    }
    if shortest == MAX_TEXT {
        return Err("a PROXY header of no family that is known");
    }
    if let Some(line) = bytes.strip_suffix(b"\r\n") {
        return parse_line(line).map(Parsed::Whole);
    }
    let line_end = if bytes.ends_with(b"\r") { 1 } else { 2 };
    let needed = shortest.saturating_sub(bytes.len()).max(line_end);
    if bytes.len() + needed > MAX_TEXT {
        return Err("a PROXY line of more than 107 bytes");
    }
    Ok(Parsed::Needs(needed))
}

fn parse_line(line: &[u8]) -> Result<Header, Malformed> {
    let mut words = line.split(|byte| *byte == b' ').skip(1); // PROXY
    let family = words.next().unwrap_or_default();
    if family == b"UNKNOWN" {
        return Ok(Header::Nothing); // what follows must be ignored
    }
    let words: Vec<&[u8]> = words.collect();
    let &[source, destination, source_port, destination_port] = words.as_slice() else {
        return Err("not two addresses and two ports");
    };
    let ips = match family {
        b"TCP4" => ip::<Ipv4Addr>(source).zip(ip::<Ipv4Addr>(destination)),
        b"TCP6" => ip::<Ipv6Addr>(source).zip(ip::<Ipv6Addr>(destination)),
        _ => None,
    };
    let (source, _) = ips.ok_or("an address that is none of its family")?;
    let ports = port(source_port).zip(port(destination_port));
    let (port, _) = ports.ok_or("a port that is no number from 0 to 65535")?;
    Ok(Header::Client(SocketAddr::new(source, port)))
}

/// Reads an address. The parsers of the standard library take no zero before a number.
fn ip<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Option<IpAddr> {
    let address: A = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.into().to_canonical())
}

fn port(text: &[u8]) -> Option<u16> {
    let is_number =
        text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    std::str::from_utf8(text).ok()?.parse().ok().filter(|_| is_number)
}

/// Version 2: 16 bytes, addresses and ports, TLVs.
fn parse_binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let command = bytes.get(12).copied().unwrap_or(0x21);
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err("a PROXY header of another version or command"),
    };
    let family = bytes.get(13).copied().unwrap_or_default();
    if !is_local && (family >> 4 > 3 || family & 15 > 2) {
        return Err("a PROXY header of no family that is known");
    }
    let Some(&[high, low]) = bytes.get(14..FIXED) else {
        return Ok(Parsed::Needs(FIXED.saturating_sub(bytes.len())));
    };
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > MAX_BINARY {
        return Err("a PROXY header that is too long");
    }
    let rest = bytes.get(FIXED..).unwrap_or_default();
    match whole.checked_sub(bytes.len()) {
        Some(0) if is_local => Ok(Parsed::Whole(Header::Nothing)),
        Some(0) => parse_addresses(family, rest, bytes).map(Parsed::Whole),
        Some(needed) => Ok(Parsed::Needs(needed)),
        None => Err("bytes behind a PROXY header"),
    }
}

fn parse_addresses(family: u8, rest: &[u8], whole: &[u8]) -> Result<Header, Malformed> {
    let size = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Ok(Header::Nothing), // UNSPEC: what follows is ignored
    };
    let (addresses, tlvs) =
        rest.split_at_checked(size).ok_or("a PROXY header without addresses")?;
    check_tlvs(tlvs, whole)?;
    let client = match family {
        0x11 => v4(addresses),
        0x21 => v6(addresses),
        _ => None, // UNIX-domain sockets, datagrams
    };
    Ok(client.map_or(Header::Nothing, Header::Client))
}

fn v4(addresses: &[u8]) -> Option<SocketAddr> {
    let source: [u8; 4] = *addresses.first_chunk()?;
    Some(SocketAddr::new(IpAddr::from(source), port_at(addresses, 8)?))
}

fn v6(addresses: &[u8]) -> Option<SocketAddr> {
    let source: [u8; 16] = *addresses.first_chunk()?;
    Some(SocketAddr::new(IpAddr::from(source).to_canonical(), port_at(addresses, 32)?))
}

fn port_at(addresses: &[u8], index: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*addresses.get(index..)?.first_chunk()?))
}

/// Skips the TLVs (type, length, value), but compares a checksum.
fn check_tlvs(mut tlvs: &[u8], whole: &[u8]) -> Result<(), Malformed> {
    while let Some((&kind, rest)) = tlvs.split_first() {
        let value = rest.split_first_chunk().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let (value, rest) = value.ok_or("a TLV that is cut off")?;
        if kind == CRC32C {
            let at = whole.len() - rest.len() - value.len();
            let (before, after) = (whole.get(..at), whole.get(whole.len() - rest.len()..));
            let bytes = before.into_iter().chain([&[0; 4][..]]).chain(after);
            if value != crc32c(bytes.flatten().copied()).to_be_bytes() {
                return Err("a PROXY header with a wrong checksum");
            }
        }
        tlvs = rest;
    }
    Ok(())
}

/// CRC32c (RFC 4960, appendix B), bit by bit: a header is short.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// Sees whether the first bytes of a client are a header, however they are cut.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    seen: usize,
    /// What was seen is how version 1, or 2, begins.
    may_be: [bool; 2],
}

impl Default for Guard {
    fn default() -> Guard {
        Guard::new()
    }
}

/// What a [`Guard`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The beginning of a header, or too little to know.
    Undecided,
    /// A header begins.
    Header,
    /// Something else.
    NoHeader,
}

impl Guard {
    /// Returns one that has seen nothing.
    #[must_use]
    pub fn new() -> Guard {
        Guard { seen: 0, may_be: [true; 2] }
    }

    /// Looks at the next bytes.
    pub fn see(&mut self, bytes: &[u8]) -> Seen {
        let beginnings: [&[u8]; 2] = [WORD, SIGNATURE];
        for byte in bytes {
            for (beginning, may_be) in beginnings.iter().zip(&mut self.may_be) {
                *may_be &= beginning.get(self.seen) == Some(byte);
                if *may_be && self.seen + 1 == beginning.len() {
                    return Seen::Header;
                }
            }
            self.seen += 1;
        }
        if self.may_be == [false; 2] { Seen::NoHeader } else { Seen::Undecided }
    }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
