//! A conversation under TLS.

use std::io::{self, ErrorKind, Read, Write};

use rustls::{Connection, ProtocolVersion};

/// TLS over a blocking stream. `Read` gives the end of file when the other side has closed, with or without
/// close_notify: the mail protocols say themselves where a conversation ends.
pub struct Stream<S> {
    connection: Connection,
    stream: S,
}

impl<S: Read + Write> Stream<S> {
    /// Makes the handshake.
    ///
    /// # Errors
    /// Those of the stream; `InvalidData` with rustls' words for a handshake that fails, after the alert
    /// was sent.
    pub(crate) fn handshake(connection: Connection, stream: S) -> io::Result<Stream<S>> {
        let mut this = Stream { connection, stream };
        while this.connection.is_handshaking() {
            // It also sends the alert where the handshake fails.
            if this.connection.complete_io(&mut this.stream)? == (0, 0) {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        this.write_out()?;
        Ok(this)
    }

    /// Whether the handshake took up an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// `TLSv1.3 TLS13_AES_128_GCM_SHA256`, for the log.
    #[must_use]
    pub fn description(&self) -> String {
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        match self.connection.negotiated_cipher_suite() {
            Some(suite) => format!("{version} {:?}", suite.suite()),
            None => version.to_owned(),
        }
    }

    /// The channel binding `tls-exporter` (RFC 9266 §4.2); `None` before TLS 1.3, for which it is not
    /// defined without extended_master_secret.
    #[must_use]
    pub fn exporter(&self) -> Option<[u8; 32]> {
        if self.connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let label = b"EXPORTER-Channel-Binding";
        self.connection.export_keying_material([0; 32], label, Some(b"")).ok()
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream below: for its time limits, not for its bytes.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Says that nothing more will come (close_notify).
    ///
    /// # Errors
    /// Those of the stream.
    pub fn close(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.write_out()
    }

    fn write_out(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        self.stream.flush()
    }

    /// Reads one record from the stream; false at its end.
    fn read_record(&mut self) -> io::Result<bool> {
        if self.connection.read_tls(&mut self.stream)? == 0 {
            return Ok(false);
        }
        if let Err(error) = self.connection.process_new_packets() {
            let _ = self.write_out(); // the alert
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        // A key update, or the tickets that come behind a handshake.
        if self.connection.wants_write() { self.write_out().map(|()| true) } else { Ok(true) }
    }
}

impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.read_record()? {
                        return Ok(0);
                    }
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                answer => return answer,
            }
        }
    }
}

impl<S: Read + Write> Write for Stream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.connection.writer().write(bytes)?;
        self.write_out()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.writer().flush()?;
        self.write_out()
    }
}

impl<S> std::fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}
