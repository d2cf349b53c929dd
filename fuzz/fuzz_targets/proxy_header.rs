//! The header of the PROXY protocol, versions 1 and 2: read to its last byte and not one more, however it is cut;
//! a stranger's is seen by its first bytes.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forklore_fuzz::{Wire, option};
use forknet::proxy_protocol::{Guard, Header, Seen, read};
use libfuzzer_sys::fuzz_target;

/// How the versions begin.
const BEGINNINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
/// Most bytes that may be read before a header is refused.
const LONGEST: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let (piece, bytes) = option(data);
    let mut whole = Wire::new(bytes, usize::MAX);
    let header = read(&mut whole);
    let mut cut = Wire::new(bytes, usize::from(piece));
    let again = read(&mut cut);
    assert!(whole.taken <= LONGEST && cut.taken <= LONGEST);
    match (&header, &again) {
        (Ok(Some(one)), Ok(Some(other))) => {
            assert_eq!((one, whole.taken), (other, cut.taken));
            judge(&bytes[..whole.taken], *one);
        }
        (Ok(None), Ok(None)) => assert!(bytes.is_empty()),
        (Err(_), Err(_)) => {}
        _ => panic!("{header:?} at once, {again:?} in pieces of {piece}"),
    }
    guard(bytes, usize::from(piece).max(1), header.is_ok_and(|it| it.is_some()));
});

/// Compares what a header tells with a second look at its bytes.
fn judge(bytes: &[u8], header: Header) {
    if bytes.starts_with(BEGINNINGS[0]) {
        let line = bytes.strip_suffix(b"\r\n").expect("version 1 ends in CRLF");
        assert!(bytes.len() <= 107);
        let line = std::str::from_utf8(line);
        let words: Vec<&str> = line.map(|line| line.split(' ').collect()).unwrap_or_default();
        match header {
            // What follows the word is ignored up to CRLF (§2.1).
            Header::Nothing => assert!(bytes.starts_with(b"PROXY UNKNOWN")),
            Header::Client(address) => {
                let [_, family, source, _, port, _] = words[..] else { panic!("{words:?}") };
                let source: IpAddr = source.parse().expect("an address");
                assert_eq!(source.is_ipv4(), family == "TCP4");
                assert_eq!(
                    (source.to_canonical(), port),
                    (address.ip(), &address.port().to_string()[..])
                );
            }
        }
        return;
    }
    assert!(bytes.starts_with(BEGINNINGS[1]));
    assert_eq!(bytes.len(), 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]])));
    if let Header::Client(address) = header {
        let at = |index: usize| u16::from_be_bytes([bytes[index], bytes[index + 1]]);
        let expected = match bytes[13] {
            0x11 => (
                IpAddr::from(Ipv4Addr::from_bits(u32::from(at(16)) << 16 | u32::from(at(18)))),
                at(24),
            ),
            0x21 => {
                let parts: [u16; 8] = std::array::from_fn(|part| at(16 + 2 * part));
                (IpAddr::from(Ipv6Addr::from(parts)).to_canonical(), at(48))
            }
            family => panic!("an address of family {family:#x}"),
        };
        assert_eq!((address.ip(), address.port()), expected);
    }
}

/// Where a client may not say PROXY, its first bytes decide, and each that would be read as a header is seen.
fn guard(bytes: &[u8], piece: usize, is_header: bool) {
    let mut guard = Guard::new();
    let seen =
        bytes.chunks(piece).map(|part| guard.see(part)).find(|seen| *seen != Seen::Undecided);
    let begins = BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning));
    let may_begin = BEGINNINGS.iter().any(|beginning| beginning.starts_with(bytes));
    let expected = match (begins, may_begin) {
        (true, _) => Some(Seen::Header),
        (false, true) => None,
        (false, false) => Some(Seen::NoHeader),
    };
    assert_eq!(seen, expected);
    assert!(!is_header || begins);
}
