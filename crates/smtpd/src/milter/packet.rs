//! Packets of the milter protocol: a length of four bytes, the high one first, which counts the command, a byte,
//! and the data after it.

use std::io::{self, Read};

/// Longest packet of a filter in bytes; a piece of a new body has 64 KiB.
const MAX_PACKET: usize = 256 * 1024;

/// Returns a packet.
#[must_use]
pub fn packet(command: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(command);
    packet.extend_from_slice(data);
    packet
}

/// Returns texts as data, each with a NUL after it; a text with a NUL within ends there.
#[must_use]
pub fn texts(texts: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::new();
    for text in texts {
        data.extend(text.iter().take_while(|byte| **byte != 0));
        data.push(0);
    }
    data
}

/// Reads a packet; returns its command and its data.
///
/// # Errors
/// Those of `from`; `UnexpectedEof`; `InvalidData` for a length that no packet has.
pub fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(closed)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(1..=MAX_PACKET).contains(&length) {
        return Err(malformed("a packet of an impossible length"));
    }
    let mut packet = vec![0; length];
    from.read_exact(&mut packet).map_err(closed)?;
    let data = packet.split_off(1);
    packet.first().map(|command| (*command, data)).ok_or_else(|| malformed("an empty packet"))
}

/// Says what the end of a stream means here.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "has closed the connection")
        }
        _ => error,
    }
}

/// The error of an answer that is none.
#[must_use]
pub fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_made_and_one_that_is_cut_or_too_long_is_an_error() {
        let made = packet(b'L', &texts(&[b"Subject", b"a\0b"]));
        assert_eq!(made, b"\0\0\0\x0bLSubject\0a\0");
        assert_eq!(read(&mut &made[..]).unwrap(), (b'L', b"Subject\0a\0".to_vec()));
        for cut in 0..made.len() {
            assert!(read(&mut &made[..cut]).is_err(), "{cut}");
        }
        for length in [0, MAX_PACKET as u32 + 1, u32::MAX] {
            let error = read(&mut &length.to_be_bytes()[..]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
