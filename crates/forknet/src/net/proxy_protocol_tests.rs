use super::*;

/// A stream that hands out these bytes, at most this number at a time, and counts what was taken.
struct Dripping<'b> {
    bytes: &'b [u8],
    most: usize,
}

impl Read for Dripping<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.most).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(n);
        buf[..n].copy_from_slice(now);
        self.bytes = later;
        Ok(n)
    }
}

fn client(text: &str) -> Header {
    Header::Client(text.parse().unwrap())
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

/// The bytes of two addresses and two ports.
const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xcb, 0x84, 0, 110];

fn v6_of(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    [&source.octets()[..], &[0; 16], &[0xcb, 0x84, 0, 110]].concat()
}

/// A header of version 2 with a checksum, which `damage` is added to.
fn with_checksum(damage: u8) -> Vec<u8> {
    let tlvs = [4, 0, 2, 7, 7, CRC32C, 0, 4, 0, 0, 0, 0, 4, 0, 0];
    let mut header = binary(0x21, 0x11, &[&V4[..], &tlvs].concat());
    let sum = crc32c(header.iter().copied()).to_be_bytes();
    let at = header.len() - 7;
    header[at..at + 4].copy_from_slice(&sum);
    header[at] = header[at].wrapping_add(damage);
    header
}

/// Headers that are whole, and what each tells.
fn whole() -> Vec<(Vec<u8>, Header)> {
    let far = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {far} {far} 65535 65535\r\n");
    let tcp6 = format!("PROXY TCP6 {far} {far} 65535 65535\r\n");
    assert_eq!((longest.len(), tcp6.len()), (MAX_TEXT, 104));
    let text = [
        ("PROXY TCP4 203.0.113.7 192.0.2.1 52100 110\r\n", client("203.0.113.7:52100")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", client("0.0.0.0:0")),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            client("255.255.255.255:65535"),
        ),
        ("PROXY TCP6 :: :: 0 0\r\n", client("[::]:0")),
        ("PROXY TCP6 2001:DB8::7 2001:db8::1 52100 110\r\n", client("[2001:db8::7]:52100")),
        ("PROXY TCP6 ::ffff:203.0.113.7 ::1 9 110\r\n", client("203.0.113.7:9")),
        ("PROXY TCP6 ::ffff:cb00:7107 ::1 9 110\r\n", client("203.0.113.7:9")),
        (&tcp6, client(&format!("[{far}]:65535"))),
        ("PROXY UNKNOWN\r\n", Header::Nothing),
        ("PROXY UNKNOWN anything at all\r\n", Header::Nothing),
        (&longest, Header::Nothing),
    ];
    let told = client("203.0.113.7:52100");
    let long = [4_u8; MAX_BINARY - FIXED - 12 - 3];
    let tlv = [&V4[..], &[0xe0, (long.len() >> 8) as u8, long.len() as u8], &long].concat();
    let binary = [
        (binary(0x21, 0x11, &V4), told),
        (binary(0x21, 0x11, &[&V4[..], &[5, 0, 3], b"abc", &[4, 0, 0]].concat()), told),
        (binary(0x21, 0x11, &tlv), told),
        (with_checksum(0), told),
        (binary(0x21, 0x21, &v6_of("2001:db8::7")), client("[2001:db8::7]:52100")),
        (binary(0x21, 0x21, &v6_of("::ffff:203.0.113.7")), told),
        (binary(0x21, 0x12, &V4), Header::Nothing),
        (binary(0x21, 0x10, &V4), Header::Nothing),
        (binary(0x21, 0x31, &[b'/'; 216]), Header::Nothing),
        (binary(0x21, 0x00, b""), Header::Nothing),
        (binary(0x21, 0x00, b"skipped"), Header::Nothing),
        (binary(0x20, 0x00, b""), Header::Nothing),
        (binary(0x20, 0x11, &V4), Header::Nothing),
        (binary(0x20, 0xff, b"what an unknown family has"), Header::Nothing),
    ];
    let text = text.map(|(text, header)| (text.as_bytes().to_vec(), header));
    text.into_iter().chain(binary).collect()
}

#[test]
fn a_header_is_read_however_it_is_cut_and_what_follows_is_left() {
    for (bytes, header) in whole() {
        for most in (1..=bytes.len().min(20)).chain([bytes.len()]) {
            let stream = [&bytes[..], b"QUIT\r\n"].concat();
            let mut input = Dripping { bytes: &stream, most };
            let read = read(&mut input).unwrap();
            assert_eq!(read, Some(header), "{}", bytes.escape_ascii());
            assert_eq!(input.bytes, b"QUIT\r\n", "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn every_truncation_of_a_header_needs_no_more_than_is_missing() {
    for (bytes, header) in whole() {
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]).unwrap() {
                Parsed::Needs(needed) => assert!(needed > 0 && cut + needed <= bytes.len()),
                Parsed::Whole(_) => panic!("{}", bytes[..cut].escape_ascii()),
            }
            let mut input = Dripping { bytes: &bytes[..cut], most: 100 };
            match read(&mut input) {
                Ok(None) => assert_eq!(cut, 0),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
                Ok(Some(read)) => panic!("{read:?}"),
            }
        }
        assert_eq!(parse(&bytes), Ok(Parsed::Whole(header)));
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_TEXT - 15));
    assert_eq!(long.len(), MAX_TEXT + 1);
    let text: [&str; 36] = [
        "QUIT\r\n",
        "\r\n\r\nQUIT\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1  1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 111111\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 11111 1\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.04 1 1\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4.5 1 1\r\n",
        "PROXY TCP4 0x1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 ::1 ::1 11111111 1111\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 x 1\r\n",
        "PROXY TCP4 1.2.3.\u{661} 1.2.3.4 1 1\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP6 fe80::1%1 ::1 1 1\r\n",
        "PROXY TCP6 ::1::1 ::1 1 1\r\n",
        "PROXY TCP6 12345::1 ::1 1 1\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNIX /a /b\r\n",
        &long,
    ];
    for text in text {
        let mut input = Dripping { bytes: text.as_bytes(), most: text.len() };
        let error = read(&mut input).expect_err(text);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
    }
}

#[test]
fn what_is_no_binary_header_is_refused() {
    let cut = [&V4[..], &[4, 0, 3, 1, 2]].concat();
    let longer = [0; MAX_BINARY - FIXED + 1];
    for bytes in [
        binary(0x11, 0x11, &V4),
        binary(0x31, 0x11, &V4),
        binary(0x22, 0x11, &V4),
        binary(0x2f, 0x11, &V4),
        binary(0x21, 0x41, &V4),
        binary(0x21, 0x13, &V4),
        binary(0x21, 0x11, &V4[..11]),
        binary(0x21, 0x11, b""),
        binary(0x21, 0x21, &V4),
        binary(0x21, 0x31, &[0; 215]),
        binary(0x21, 0x11, &cut),
        binary(0x21, 0x11, &[&V4[..], &[4]].concat()),
        binary(0x21, 0x11, &[&V4[..], &[CRC32C, 0, 3, 1, 2, 3]].concat()),
        binary(0x21, 0x11, &longer),
        with_checksum(1),
    ] {
        let mut input = Dripping { bytes: &bytes, most: bytes.len() };
        let error = read(&mut input).expect_err("no header");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", bytes.escape_ascii());
    }
}

#[test]
fn no_bytes_at_all_make_the_parser_fail() {
    let mut random = 1_u32;
    for (bytes, _) in whole() {
        for _ in 0..2000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut changed = bytes.clone();
            let at = random as usize % changed.len();
            changed[at] = (random >> 24) as u8;
            let _ = read(&mut Dripping { bytes: &changed, most: changed.len() });
        }
    }
}

#[test]
fn the_checksum_is_that_of_the_rfc() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn a_guard_sees_a_header_however_it_is_cut() {
    for header in [WORD, &SIGNATURE[..]] {
        for cut in 0..header.len() {
            let mut guard = Guard::new();
            assert_eq!(guard.see(&header[..cut]), Seen::Undecided);
            assert_eq!(guard.see(&[&header[cut..], b"x"].concat()), Seen::Header);
        }
    }
    for other in [&b"PROXYS"[..], b"QUIT\r\n", b"\r\n\r\n\r\n", b"xPROXY ", b"\0"] {
        assert_eq!(Guard::new().see(other), Seen::NoHeader, "{}", other.escape_ascii());
    }
}
