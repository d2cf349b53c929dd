//! The other end of a TCP conversation, scripted.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ClientConnection, HandshakeKind};

use crate::authority::TlsClient;
use crate::wait::WATCHDOG;

/// Time without a datagram that counts as silence.
const A_WHILE: Duration = Duration::from_millis(100);

/// A client that says just what the test says.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    tls: Option<Box<ClientConnection>>,
}

impl Peer {
    /// Connects.
    ///
    /// # Panics
    /// The connection is refused.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Peer {
        Peer::new(TcpStream::connect_timeout(&addr, WATCHDOG).expect("a server that listens"))
    }

    /// Takes a connection that was made or accepted already.
    ///
    /// # Panics
    /// It is no longer a socket.
    #[must_use]
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream.set_write_timeout(Some(WATCHDOG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, buffer: Vec::new(), tls: None }
    }

    /// Makes the handshake with a server of this name; the dialogue goes on under TLS.
    ///
    /// # Errors
    /// It fails.
    pub fn start_tls(&mut self, client: &TlsClient, name: &str) -> io::Result<()> {
        let mut tls = Box::new(client.session(name));
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Whether the handshake has taken up an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the server has shown; empty without TLS, and where an earlier session goes on.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        chain.and_then(<[_]>::first).map(|it| it.to_vec()).unwrap_or_default()
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes in one write where the kernel lets it.
    ///
    /// # Panics
    /// The server has closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("a server that reads");
    }

    /// Sends bytes to a server that may be gone.
    ///
    /// # Errors
    /// It is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                rustls::Stream::new(&mut **tls, &mut self.stream).write_all(bytes.as_ref())
            }
            None => self.stream.write_all(bytes.as_ref()),
        }
    }

    /// The next line, with its CRLF; an empty one at the end of file.
    ///
    /// # Panics
    /// The watchdog bites, or the connection is reset.
    pub fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return self.buffer.drain(..=end).collect();
            }
            if self.fill().expect("a line from the server") == 0 {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    /// The next line, which must begin with `prefix`.
    ///
    /// # Panics
    /// It does not.
    pub fn expect(&mut self, prefix: &str) -> Vec<u8> {
        let line = self.line();
        assert!(
            line.starts_with(prefix.as_bytes()),
            "wanted '{prefix}', got '{}'",
            line.escape_ascii()
        );
        line
    }

    /// Sends a line, its CRLF added, and expects a reply that begins with `prefix`.
    pub fn ask(&mut self, line: &str, prefix: &str) -> Vec<u8> {
        self.send(format!("{line}\r\n"));
        self.expect(prefix)
    }

    /// Exactly `n` bytes.
    ///
    /// # Panics
    /// Fewer come.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.fill().expect("bytes from the server") > 0, "end of file");
        }
        self.buffer.drain(..n).collect()
    }

    /// Everything until the server closes.
    ///
    /// # Panics
    /// It does not close, or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill().expect("the server's last bytes") > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// True when the server has closed, by FIN or by reset; what it sent before is thrown away.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Half-close: no more from us.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a live connection");
    }

    /// True when the next line is this one; false when the server has closed, or answers otherwise.
    ///
    /// # Panics
    /// The watchdog bites.
    pub fn hears(&mut self, line: &str) -> bool {
        while !self.buffer.contains(&b'\n') {
            match self.fill() {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
                    return false;
                }
            }
        }
        self.line() == line.as_bytes()
    }

    /// Returns true when one more byte comes; false when the server has closed.
    pub fn hears_octet(&mut self) -> bool {
        if self.buffer.is_empty() && !matches!(self.fill(), Ok(1..)) {
            return false;
        }
        self.buffer.remove(0);
        true
    }

    /// True when nothing comes from the server for a tenth of a second, not even the end.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(A_WHILE)).unwrap();
        let heard = self.fill();
        self.stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        self.buffer.is_empty() && heard.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// Never on Linux.
    pub fn reset(self) {
        // SO_LINGER of zero seconds: close sends RST.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.stream, sockopt::Linger, &linger).unwrap();
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 65536];
        let n = loop {
            let answer = match &mut self.tls {
                Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut chunk),
                None => self.stream.read(&mut chunk),
            };
            match answer {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                n => break n?,
            }
        };
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }
}
