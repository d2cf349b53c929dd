//! What both ends have agreed upon for a transfer (RFC 2347).
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
//! Names are the same in upper and lower case.

use std::time::Duration;

use super::option_name::OptionName;
use super::packet::DEFAULT_BLKSIZE;

/// Smallest block size in bytes (RFC 2348).
pub const MIN_BLKSIZE: u16 = 8;
/// Largest block size in bytes (RFC 2348): with both headers, 65,496 octets of UDP and IP.
pub const MAX_BLKSIZE: u16 = 65_464;
/// Largest block size that is a power of two, in bytes.
pub const MAX_BLKSIZE2: u16 = 32_768;
/// Largest window in bytes, whatever was requested: a sender holds one in memory, a receiver's
/// socket should have room for one.
pub(super) const MAX_WINDOW_BYTES: usize = 16 << 20;
/// Largest window in blocks: half of the block numbers so that old and new can be told
/// apart.
pub(super) const MAX_WINDOW_BLOCKS: u16 = 32_767;
/// Bytes of a socket's buffer that a datagram costs beside its own, about.
const DATAGRAM_OVERHEAD: usize = 512;

/// What both ends have agreed upon. The default are the values of RFC 1350.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferOptions {
    /// Block size in bytes.
    pub blksize: usize,
    /// Blocks that are sent before an ACK is waited for. 1 is the lock step of RFC 1350.
    pub windowsize: u16,
    /// Time between two sends of one packet; `None`: it is measured.
    pub timeout: Option<Duration>,
    /// File size in bytes, where its sender knows it.
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

    /// Returns the receive buffer that a window needs, in bytes: a datagram costs the kernel more
    /// than its own bytes, and up to twice as much.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        usize::from(self.windowsize) * (self.blksize + DATAGRAM_OVERHEAD)
    }

    /// Returns the largest window, in bytes of data, for which a receive buffer of this size has
    /// room. The size is getsockopt(2)'s, which is twice that of setsockopt(2).
    #[must_use]
    pub fn window_in_buffer(&self, receive_buffer: usize) -> usize {
        receive_buffer / 2 / (self.blksize + DATAGRAM_OVERHEAD) * self.blksize
    }

    /// Returns how many blocks a window of this many bytes may have: at least one.
    pub(super) fn blocks_in_window(&self, bytes: usize) -> u16 {
        let blocks = bytes.min(MAX_WINDOW_BYTES) / self.blksize.max(1);
        u16::try_from(blocks).unwrap_or(u16::MAX).clamp(1, MAX_WINDOW_BLOCKS)
    }
}
