//! One side of a TLS connection.

use std::io::{self, ErrorKind, Read, Write};

use forknet::Tls;
use rustls::{Connection, HandshakeKind, ProtocolVersion};

/// A TLS connection without a socket: a `forknet::Connection` moves its records.
#[derive(Debug)]
pub struct Session(Connection);

/// What a handshake has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3 TLS13_AES_128_GCM_SHA256`, and `, resumed` for an earlier session that goes on.
    pub description: String,
    /// The channel binding `tls-exporter` (RFC 9266 §4.2); `None` before TLS 1.3, for which it is not
    /// defined without extended_master_secret.
    pub exporter: Option<[u8; 32]>,
    /// An earlier session goes on.
    pub is_resumed: bool,
}

impl Session {
    pub(crate) fn new(connection: impl Into<Connection>) -> Session {
        Session(connection.into())
    }

    /// Returns what the handshake, which is over, has led to.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        let version = match self.0.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = self.0.negotiated_cipher_suite();
        let suite = suite.map(|suite| format!(" {:?}", suite.suite())).unwrap_or_default();
        let is_resumed = self.0.handshake_kind() == Some(HandshakeKind::Resumed);
        let resumed = if is_resumed { ", resumed" } else { "" };
        let description = format!("{version}{suite}{resumed}");
        Agreed { description, exporter: self.exporter(), is_resumed }
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        if self.0.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let label = b"EXPORTER-Channel-Binding";
        self.0.export_keying_material([0; 32], label, Some(b"")).ok()
    }
}

impl Tls for Session {
    fn receive(&mut self, mut from: &mut dyn Read) -> io::Result<usize> {
        let count = self.0.read_tls(&mut from)?;
        match self.0.process_new_packets() {
            Ok(_) => Ok(count),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    /// An end without close_notify is an end too: the mail protocols say themselves where a dialogue ends.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            answer => answer,
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.writer().write(text)
    }

    fn send(&mut self, mut to: &mut dyn Write) -> io::Result<usize> {
        self.0.write_tls(&mut to)
    }

    fn wants_to_send(&self) -> bool {
        self.0.wants_write()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn close(&mut self) {
        self.0.send_close_notify();
    }
}
