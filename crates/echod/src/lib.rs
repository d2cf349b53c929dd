//! The echo protocol (RFC 862): what comes in goes out again.

pub mod client;
pub mod options;

use std::io::{self, Read, Write};

/// Bytes that are read at once: the slides' MAXLINE. With a larger buffer every child would touch
/// more pages.
const MAXLINE: usize = 4096;

/// Slide "TCP Echo Server: str_echo function": sends back what it reads until end of file. A client
/// that has half-closed (shutdown) still receives every byte.
///
/// Not inlined, so that gdb, perf and uprobes find it by name.
///
/// # Errors
/// The client has reset the connection, or was silent for too long.
#[inline(never)]
pub fn str_echo(sock: &mut (impl Read + Write), mut said: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = [0; MAXLINE];
    loop {
        let n = sock.read(&mut line)?;
        let Some(bytes @ [_, ..]) = line.get(..n) else {
            return Ok(()); // connection closed by other end
        };
        sock.write_all(bytes)?;
        said(bytes);
    }
}

/// Splits bytes into lines for the transcript, without the blanks at their ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Duplex(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Duplex {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Duplex {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.write(&buf[..buf.len().div_ceil(2)])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_comes_back_through_short_writes() {
        let input: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
        let mut sock = Duplex(io::Cursor::new(input.clone()), Vec::new());
        str_echo(&mut sock, |_| ()).unwrap();
        assert_eq!(sock.1, input);
    }
}
