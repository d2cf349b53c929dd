//! Letters that another program has packed, as Dovecot's zlib plugin does: gzip is unpacked, other ways are named.
//!
//! No letter begins like a packed file, because its first byte would be no part of a header.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Most bytes of a letter that was unpacked. More is not a letter, but a file that unpacks without end.
const MAX_UNPACKED: u64 = 256 << 20;
/// Bytes that [`Compression::of`] looks at.
pub(crate) const MAGIC_LENGTH: usize = 12;

/// How a letter is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    /// One that is not unpacked here, by its name.
    Other(&'static str),
}

impl Compression {
    /// Tells by the first bytes of a file; `None` if they are text.
    pub(crate) fn of(start: &[u8]) -> Option<Compression> {
        // The digit is the level; the first block follows, or the end of an empty file.
        let is_bzip2 = start.starts_with(b"BZh")
            && start.get(3).is_some_and(u8::is_ascii_digit)
            && start.get(4..10).is_some_and(|block| {
                block == b"1AY&SY" || block == [0x17, 0x72, 0x45, 0x38, 0x50, 0x90]
            });
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            _ if is_bzip2 => Some(Compression::Other("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Other("xz")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Other("zstd")),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Compression::Other("lz4")),
            [0x5d, 0, 0, ..] => Some(Compression::Other("lzma")),
            [0x1f, 0x9d, ..] => Some(Compression::Other("compress")),
            _ if start.starts_with(b"Dovecot-LZ4\r") => Some(Compression::Other("lz4")),
            _ => None,
        }
    }
}

/// The text of a letter that is packed with gzip. A part of it is in memory at a time.
#[derive(Debug)]
pub(crate) struct Unpacked {
    decoder: MultiGzDecoder<BufReader<File>>,
    /// Bytes that may still come.
    left: u64,
}

impl Unpacked {
    pub(crate) fn new(file: File) -> Unpacked {
        Unpacked { decoder: MultiGzDecoder::new(BufReader::new(file)), left: MAX_UNPACKED }
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(into)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let why = format!("more than {MAX_UNPACKED} bytes when unpacked");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};
    use std::io::{Seek, Write};
    use testkit::TempDir;

    fn file(dir: &TempDir, bytes: &[u8]) -> File {
        let mut file = File::options();
        let file = file.read(true).write(true).create(true).truncate(true);
        let mut file = file.open(dir.path().join("letter")).unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_files_are_known_from_text() {
        let other = |name| Some(Compression::Other(name));
        assert_eq!(Compression::of(&packed(b"x")), Some(Compression::Gzip));
        assert_eq!(Compression::of(b"BZh91AY&SY\0\0"), other("bzip2"));
        assert_eq!(Compression::of(b"BZh9\x17\x72\x45\x38\x50\x90"), other("bzip2"));
        assert_eq!(Compression::of(b"\xfd7zXZ\0"), other("xz"));
        assert_eq!(Compression::of(b"\x28\xb5\x2f\xfd"), other("zstd"));
        assert_eq!(Compression::of(b"Dovecot-LZ4\r*\x9b\xc5"), other("lz4"));
        assert_eq!(Compression::of(b"\x04\x22\x4d\x18"), other("lz4"));
        assert_eq!(Compression::of(b"\x5d\0\0\x80\0\xff"), other("lzma"));
        assert_eq!(Compression::of(b"\x1f\x9d\x90x"), other("compress"));
        for text in [
            &b""[..],
            b"B",
            b"]",
            b"]\0x",
            b"BZh: header",
            b"BZh9: header",
            b"Dovecot-LZ4: x",
            b"\x1f",
        ] {
            assert_eq!(Compression::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_was_packed_in_one_or_several_pieces_comes_back() {
        let dir = TempDir::new();
        let both = [packed(b"Subject: one\n\n"), packed(b"body\n")].concat();
        let mut text = String::new();
        Unpacked::new(file(&dir, &both)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "Subject: one\n\nbody\n");
    }

    #[test]
    fn a_file_that_is_cut_or_damaged_is_an_error() {
        let dir = TempDir::new();
        let whole = packed(&b"Subject: one\n\nbody\n".repeat(99));
        for end in 3..whole.len() {
            let unpacked = Unpacked::new(file(&dir, &whole[..end])).read_to_end(&mut Vec::new());
            assert!(unpacked.is_err(), "cut at {end}");
        }
        let mut damaged = whole.clone();
        let at = damaged.len() - 5; // the checksum
        damaged[at] ^= 1;
        assert!(Unpacked::new(file(&dir, &damaged)).read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_file_that_unpacks_without_end_is_an_error() {
        let dir = TempDir::new();
        let bomb = packed(&vec![b'\n'; 1 << 20]).repeat(300);
        let error = io::copy(&mut Unpacked::new(file(&dir, &bomb)), &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
