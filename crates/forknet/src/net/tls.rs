//! TLS between a connection and its client. Who makes it is crate `tls`; here is only what moves its
//! records.

use std::fmt;
use std::io::{self, Read, Write};

/// One side of a TLS connection, without a socket: records go in and out, and text does. It holds a bounded
/// number of bytes.
pub trait Tls: fmt::Debug + Send {
    /// Takes records, as far as there are any and there is room; returns the number of bytes, 0 at the end of
    /// the file.
    ///
    /// # Errors
    /// Those of `from`; `InvalidData` for records that are wrong, after which there is an alert to send.
    fn receive(&mut self, from: &mut dyn Read) -> io::Result<usize>;

    /// Reads text that has been received. 0 is the end that the other side has announced.
    ///
    /// # Errors
    /// `WouldBlock` where more records are needed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes records of as much text as there is room for; returns the number of its bytes.
    ///
    /// # Errors
    /// The connection is closed.
    fn write(&mut self, text: &[u8]) -> io::Result<usize>;

    /// Sends records; returns the number of bytes.
    ///
    /// # Errors
    /// Those of `to`.
    fn send(&mut self, to: &mut dyn Write) -> io::Result<usize>;

    /// Whether there are records to send.
    fn wants_to_send(&self) -> bool;

    /// Whether the handshake is not over.
    fn is_handshaking(&self) -> bool;

    /// Says that no text will follow (close_notify, RFC 8446 §6.1).
    fn close(&mut self);
}
