//! The negotiated options of a transfer (RFC 2347).
//!
//! | option | RFC | values | the answer |
//! | --- | --- | --- | --- |
//! | `blksize` | 2348 | block size in bytes, 8 to 65464 | the same or less |
//! | `blksize2` | as tftp-hpa has it | the same, 32768 at most | a power of two, the same or less |
//! | `tsize` | 2349 | file size in bytes; 0 in an RRQ | the file's size |
//! | `timeout` | 2349 | seconds between two sends, 1 to 255 | the same |
//! | `utimeout` | as tftp-hpa has it | microseconds, 10,000 to 255,000,000 | the same |
//! | `windowsize` | 7440 | blocks to an ACK, 1 to 65535 | the same or less |
//! | `rollover` | as tftp-hpa has it | the block's number after 65535, 0 or 1 | the same |
//!
//! The case of names is ignored.

use std::time::Duration;

use super::option_name::OptionName;
use super::packet::DEFAULT_BLKSIZE;

/// Smallest block size in bytes (RFC 2348).
pub const MIN_BLKSIZE: u16 = 8;
/// Largest block size in bytes (RFC 2348).
pub const MAX_BLKSIZE: u16 = 65_464;
/// Largest block size that is a power of two, in bytes.
pub const MAX_BLKSIZE2: u16 = 32_768;
/// Largest window in bytes, because a sender keeps a window in memory and a receiver's socket
/// should have room for one.
pub(super) const MAX_WINDOW_BYTES: usize = 16 << 20;
/// Largest window in blocks: half of the block numbers, so that old and new blocks can be
/// distinguished.
pub(super) const MAX_WINDOW_BLOCKS: u16 = 32_767;
/// Approximate overhead of a datagram in a socket's buffer, in bytes.
const DATAGRAM_OVERHEAD: usize = 512;

/// The negotiated options. The default values are those of RFC 1350.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferOptions {
    /// Block size in bytes.
    pub blksize: usize,
    /// Blocks sent before waiting for an ACK. 1 is the lock step of RFC 1350.
    pub windowsize: u16,
    /// Retransmission timeout; `None` if it is measured.
    pub timeout: Option<Duration>,
    /// File size in bytes, if the sender knows it.
    pub tsize: Option<u64>,
    /// The number of the block after 65535: 0 or 1.
    pub rollover: u16,
}

impl Default for TransferOptions {
    fn default() -> TransferOptions {
        TransferOptions {
            blksize: DEFAULT_BLKSIZE,
            windowsize: 1,
            timeout: None,
            tsize: None,
            rollover: 0,
        }
    }
}

impl TransferOptions {
    pub(super) fn set(&mut self, name: OptionName, value: u64) {
        let small = u16::try_from(value).unwrap_or(u16::MAX);
        match name {
            OptionName::Blksize | OptionName::Blksize2 => self.blksize = small.into(),
            OptionName::Tsize => self.tsize = Some(value),
            OptionName::Timeout => self.timeout = Some(Duration::from_secs(value)),
            OptionName::Utimeout => self.timeout = Some(Duration::from_micros(value)),
            OptionName::Windowsize => self.windowsize = small,
            OptionName::Rollover => self.rollover = small,
        }
    }

    /// Returns the size in bytes of the receive buffer that a window needs. A datagram takes more
    /// memory in the kernel than its own bytes, up to twice as much.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        usize::from(self.windowsize) * (self.blksize + DATAGRAM_OVERHEAD)
    }

    /// Returns the largest window, in bytes of data, that fits a receive buffer. Its size is as
    /// getsockopt(2) returns it, twice the value given to setsockopt(2).
    #[must_use]
    pub fn window_in_buffer(&self, receive_buffer: usize) -> usize {
        receive_buffer / 2 / (self.blksize + DATAGRAM_OVERHEAD) * self.blksize
    }

    /// Returns the number of blocks in a window of `bytes`, at least one.
    pub(super) fn blocks_in_window(&self, bytes: usize) -> u16 {
        let blocks = bytes.min(MAX_WINDOW_BYTES) / self.blksize.max(1);
        u16::try_from(blocks).unwrap_or(u16::MAX).clamp(1, MAX_WINDOW_BLOCKS)
    }
}
