//! Options of a transfer (RFC 2347): what a client wishes, what a server grants, and what both have
//! then agreed upon.
//!
//! | option | RFC | values | the answer |
//! | --- | --- | --- | --- |
//! | `blksize` | 2348 | octets of a block, 8 to 65464 | the same or less |
//! | `blksize2` | as tftp-hpa has it | the same, 32768 at most | a power of two, the same or less |
//! | `tsize` | 2349 | octets of the file; 0 in an RRQ | the file's size |
//! | `timeout` | 2349 | seconds between two sends, 1 to 255 | the same |
//! | `utimeout` | as tftp-hpa has it | microseconds, 10,000 to 255,000,000 | the same |
//! | `windowsize` | 7440 | blocks to an ACK, 1 to 65535 | the same or less |
//! | `rollover` | as tftp-hpa has it | the block's number after 65535, 0 or 1 | the same |
//!
//! Names are the same in upper and lower case. A server leaves out of its OACK what it does not
//! know, what is no number and what is out of range, and never adds anything; with nothing to grant
//! it answers as RFC 1350 does. An option that comes twice counts once.

use std::time::Duration;

use crate::packet::{self, BLOCK, Direction, Mode};
pub use crate::wishes::Wishes;

/// The smallest block (RFC 2348).
pub const MIN_BLKSIZE: u16 = 8;
/// The largest block (RFC 2348): with both headers, 65,496 octets of UDP and IP.
pub const MAX_BLKSIZE: u16 = 65_464;
/// A window is never larger in octets, whatever was asked: a sender holds one, a receiver's socket
/// should have room for one.
const MAX_WINDOW: usize = 16 << 20;
/// A window is never longer in blocks: half of the circle of block numbers, so that old and new can
/// be told apart.
const MAX_BLOCKS: u16 = 32_767;
/// What a datagram costs a socket's buffer beside its octets, about.
const OVERHEAD: usize = 512;
/// The largest block that is a power of two.
const MAX_BLKSIZE2: u16 = 32_768;
/// `timeout` in seconds (RFC 2349).
const TIMEOUT: std::ops::RangeInclusive<u64> = 1..=255;
/// `utimeout` in microseconds.
const UTIMEOUT: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;

/// What both ends have agreed upon. Without options these are RFC 1350's own values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferOptions {
    /// Octets of a full block.
    pub blksize: usize,
    /// Blocks that are sent before an ACK is waited for. 1 is the lock step of RFC 1350.
    pub windowsize: u16,
    /// The time between two sends of one packet; `None`: the sender's clock decides.
    pub timeout: Option<Duration>,
    /// Octets of the file, as far as its sender knows.
    pub tsize: Option<u64>,
    /// The number of the block after 65535: 0 or 1.
    pub rollover: u16,
}

impl Default for TransferOptions {
    fn default() -> TransferOptions {
        TransferOptions { blksize: BLOCK, windowsize: 1, timeout: None, tsize: None, rollover: 0 }
    }
}

/// The most that a server grants.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// `--max-blksize`.
    pub blksize: u16,
    /// `--max-windowsize`.
    pub windowsize: u16,
    /// Octets of a window.
    pub window: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { blksize: MAX_BLKSIZE, windowsize: 64, window: MAX_WINDOW }
    }
}

/// What a server has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// For the transfer.
    pub options: TransferOptions,
    /// For the client: the OACK's list; empty where there is nothing to grant and no OACK.
    pub list: Vec<u8>,
}

impl Granted {
    /// The OACK packet, where there is one.
    #[must_use]
    pub fn oack(&self) -> Option<Vec<u8>> {
        (!self.list.is_empty()).then(|| packet::oack(&self.list))
    }
}

/// The options of a request or an OACK, as pairs of name and value. Ends at the first octet that
/// begins no pair of strings: padding, or a string that was cut off.
pub fn pairs(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (name, after) = packet::string(rest)?;
        let (value, after) = packet::string(after)?;
        rest = after;
        (!name.is_empty()).then_some((name, value))
    })
}

/// A decimal number and nothing else.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// The names of the options, each one once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Blksize,
    Blksize2,
    Tsize,
    Timeout,
    Utimeout,
    Windowsize,
    Rollover,
}

pub(crate) const NAMES: [(&str, Name); 7] = [
    ("blksize", Name::Blksize),
    ("blksize2", Name::Blksize2),
    ("tsize", Name::Tsize),
    ("timeout", Name::Timeout),
    ("utimeout", Name::Utimeout),
    ("windowsize", Name::Windowsize),
    ("rollover", Name::Rollover),
];

pub(crate) fn known(name: &[u8]) -> Option<Name> {
    let is_it = |(text, _): &&(&str, Name)| name.eq_ignore_ascii_case(text.as_bytes());
    NAMES.iter().find(is_it).map(|(_, name)| *name)
}

/// Two options of one kind (`blksize` and `blksize2`, `timeout` and `utimeout`) exclude each other.
pub(crate) fn kind(name: Name) -> Name {
    match name {
        Name::Blksize2 => Name::Blksize,
        Name::Utimeout => Name::Timeout,
        other => other,
    }
}

/// The server's side: what of the list in a request is granted. `size` is the file's, as it will
/// travel, where that is known before.
#[must_use]
pub fn grant(asked: &[u8], direction: Direction, caps: Caps, size: Option<u64>) -> Granted {
    let mut granted: Vec<(&[u8], Name, u64)> = Vec::new();
    for (text, value) in pairs(asked) {
        let (Some(name), Some(value)) = (known(text), number(value)) else { continue };
        if granted.iter().any(|(_, other, _)| kind(*other) == kind(name)) {
            continue;
        }
        let answer = match name {
            // curl takes a size of 0 for an error; without one it is content.
            Name::Tsize if direction == Direction::Read => size.filter(|size| *size > 0),
            Name::Tsize => Some(value),
            _ => within(name, value, caps),
        };
        granted.extend(answer.map(|answer| (text, name, answer)));
    }
    let mut options = TransferOptions::default();
    for (_, name, value) in &granted {
        options.set(*name, *value);
    }
    let most = options.fitting(caps.window);
    options.windowsize = options.windowsize.min(most);
    let mut list = Vec::new();
    for (text, name, value) in granted {
        let value = if name == Name::Windowsize { options.windowsize.into() } else { value };
        push(&mut list, text, value);
    }
    Granted { options, list }
}

/// What is granted of a value that a client asked for; `None` where it makes no sense.
fn within(name: Name, value: u64, caps: Caps) -> Option<u64> {
    let least = u64::from(MIN_BLKSIZE);
    match name {
        // More than 32 bits is no size of anything, and rather an error than a wish.
        Name::Blksize | Name::Blksize2 if value > u32::MAX.into() => None,
        Name::Blksize => Some(value.min(caps.blksize.into())).filter(|size| *size >= least),
        Name::Blksize2 => {
            let most = value.min(caps.blksize.into()).min(MAX_BLKSIZE2.into());
            most.checked_ilog2().map(|log| 1 << log).filter(|size| *size >= least)
        }
        Name::Timeout => TIMEOUT.contains(&value).then_some(value),
        Name::Utimeout => UTIMEOUT.contains(&value).then_some(value),
        Name::Windowsize if value == 0 || value > u16::MAX.into() => None,
        Name::Windowsize => Some(value.min(caps.windowsize.into())),
        Name::Rollover => (value <= 1).then_some(value),
        Name::Tsize => Some(value),
    }
}

pub(crate) fn push(list: &mut Vec<u8>, name: &[u8], value: u64) {
    list.extend_from_slice(name);
    list.push(0);
    list.extend_from_slice(value.to_string().as_bytes());
    list.push(0);
}

impl TransferOptions {
    pub(crate) fn set(&mut self, name: Name, value: u64) {
        let small = u16::try_from(value).unwrap_or(u16::MAX);
        match name {
            Name::Blksize | Name::Blksize2 => self.blksize = small.into(),
            Name::Tsize => self.tsize = Some(value),
            Name::Timeout => self.timeout = Some(Duration::from_secs(value)),
            Name::Utimeout => self.timeout = Some(Duration::from_micros(value)),
            Name::Windowsize => self.windowsize = small,
            Name::Rollover => self.rollover = small,
        }
    }

    /// Octets of a receiver's socket buffer that a window needs: a datagram costs the kernel more
    /// than its octets, and up to twice as much.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::from(self.windowsize) * (self.blksize + OVERHEAD)
    }

    /// The octets of a window that there is room for in so many of a socket buffer, as
    /// getsockopt(2) tells them: twice what setsockopt(2) was asked for.
    #[must_use]
    pub fn window_in(&self, room: usize) -> usize {
        room / 2 / (self.blksize + OVERHEAD) * self.blksize
    }

    /// How many blocks a window may have, not to be larger than this in octets; at least one.
    fn fitting(&self, window: usize) -> u16 {
        let blocks = window.min(MAX_WINDOW) / self.blksize.max(1);
        u16::try_from(blocks).unwrap_or(u16::MAX).clamp(1, MAX_BLOCKS)
    }
}

/// The size of a file as it will travel: in netascii nobody knows before it has been translated.
#[must_use]
pub fn size_in(mode: Mode, size: u64) -> Option<u64> {
    (mode == Mode::Octet).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<u8> {
        text.split_whitespace().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
    }

    fn shown(list: &[u8]) -> String {
        let words: Vec<_> = pairs(list)
            .map(|(name, value)| format!("{} {}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        words.join(" ")
    }

    fn granted(asked: &str, caps: Caps) -> (String, TransferOptions) {
        let granted = grant(&list(asked), Direction::Read, caps, Some(1_300));
        (shown(&granted.list), granted.options)
    }

    fn answer(asked: &str) -> String {
        granted(asked, Caps::default()).0
    }

    #[test]
    fn sizes_of_blocks_have_a_least_and_a_most() {
        for same in ["8", "512", "1468", "65464"] {
            assert_eq!(answer(&format!("blksize {same}")), format!("blksize {same}"));
        }
        for more in ["65465", "65535", "65536", "100000"] {
            assert_eq!(answer(&format!("blksize {more}")), "blksize 65464");
        }
        for not in ["7", "0", "abc", "-8", "+8", " 8", "8 ", "", "4294967304", "1e3"] {
            let asked = [b"blksize\0", not.as_bytes(), b"\0"].concat();
            let granted = grant(&asked, Direction::Read, Caps::default(), None);
            assert_eq!(granted.oack(), None, "{not}");
            assert_eq!(granted.options, TransferOptions::default());
        }
        let caps = Caps { blksize: 1000, ..Caps::default() };
        assert_eq!(granted("blksize 1468", caps).1.blksize, 1000);
    }

    #[test]
    fn blksize2_is_a_power_of_two() {
        for (asked, given) in [("8", "8"), ("1468", "1024"), ("65464", "32768"), ("99999", "32768")]
        {
            assert_eq!(answer(&format!("blksize2 {asked}")), format!("blksize2 {given}"));
        }
        assert_eq!(answer("blksize2 7"), "");
        assert_eq!(answer("blksize2 0"), "");
        assert_eq!(answer("blksize2 700 blksize 1000"), "blksize2 512", "the first one counts");
    }

    #[test]
    fn windows_are_bounded_in_blocks_and_in_octets() {
        let (words, options) = granted("windowsize 65535 blksize 65464", Caps::default());
        assert_eq!(words, "windowsize 64 blksize 65464");
        assert_eq!(options.windowsize, 64);
        let caps = Caps { windowsize: 65_535, window: 256 << 10, ..Caps::default() };
        assert_eq!(granted("windowsize 999 blksize 8192", caps).0, "windowsize 32 blksize 8192");
        assert_eq!(granted("windowsize 999 blksize 65464", caps).1.windowsize, 4);
        let caps = Caps { windowsize: 65_535, ..Caps::default() };
        assert_eq!(granted("blksize 8 windowsize 65535", caps).1.windowsize, MAX_BLOCKS);
        assert_eq!(granted("blksize 65464 windowsize 65535", caps).1.windowsize, 256);
        for not in ["0", "65536", "x", "4294967297"] {
            assert_eq!(answer(&format!("windowsize {not}")), "", "{not}");
        }
        let tiny = Caps { window: 1, ..Caps::default() };
        assert_eq!(granted("windowsize 5", tiny).0, "windowsize 1");
    }

    #[test]
    fn times_and_the_number_after_65535_are_taken_as_they_are_or_left_out() {
        for same in
            ["timeout 1", "timeout 255", "utimeout 10000", "utimeout 255000000", "rollover 1"]
        {
            assert_eq!(answer(same), same);
        }
        for not in ["timeout 0", "timeout 256", "utimeout 9999", "utimeout 255000001", "rollover 2"]
        {
            assert_eq!(answer(not), "");
        }
        let options = granted("utimeout 20000 timeout 3 rollover 1", Caps::default()).1;
        assert_eq!((options.timeout, options.rollover), (Some(Duration::from_millis(20)), 1));
    }

    #[test]
    fn what_is_unknown_is_left_out_and_nothing_is_added() {
        assert_eq!(answer("multicast x saveas y"), "");
        assert_eq!(answer("foo 1 BLKsize 1468 bar 2 TSIZE 0"), "BLKsize 1468 TSIZE 1300");
        assert_eq!(answer("blksize 9 blksize 10"), "blksize 9", "once");
        assert_eq!(answer(""), "");
    }

    #[test]
    fn the_size_of_a_file_is_told_or_heard() {
        assert_eq!(answer("tsize 0"), "tsize 1300");
        assert_eq!(answer("tsize x"), "");
        let unknown = grant(&list("tsize 0"), Direction::Read, Caps::default(), None);
        assert_eq!(unknown.oack(), None);
        let empty = grant(&list("tsize 0"), Direction::Read, Caps::default(), Some(0));
        assert_eq!(empty.oack(), None);
        let heard = grant(&list("tsize 5000000000"), Direction::Write, Caps::default(), None);
        assert_eq!(heard.options.tsize, Some(5_000_000_000));
        assert_eq!(heard.oack().unwrap(), b"\0\x06tsize\x005000000000\0");
        assert_eq!((size_in(Mode::Octet, 9), size_in(Mode::Netascii, 9)), (Some(9), None));
    }

    #[test]
    fn what_is_no_pair_of_strings_is_no_option() {
        for (octets, read) in [
            (&b"\0\0\0\0"[..], ""),
            (b"junk", ""),
            (b"blksize", ""),
            (b"blksize\0", ""),
            (b"blksize\x00999", ""),
            (b"blksize\x00999\0\xff", "blksize 999"),
            (b"blksize\x00999\0\0\0tsize\x000\0", "blksize 999"),
        ] {
            assert_eq!(shown(octets), read);
        }
    }
}
