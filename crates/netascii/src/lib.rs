//! The text line of the Internet: CRLF lines with limits, dot-stuffing, TFTP's netascii.
//!
//! Bytes in, bytes out; this crate opens no file and no socket and knows no protocol.
#![forbid(unsafe_code)]

pub mod dot;
pub mod line;
pub mod translate;
