//! The server's side of a negotiation (RFC 2347): which of the requested options are granted.
//!
//! An option that the server does not know, that is no number or out of range is left out of the
//! OACK. With nothing to grant there is no OACK, and the server answers as RFC 1350 says. An option
//! that comes twice counts once.

use super::option_list::{pairs, parse_number, push};
use super::option_name::OptionName;
use super::options::{MAX_BLKSIZE, MAX_BLKSIZE2, MAX_WINDOW_BYTES, MIN_BLKSIZE, TransferOptions};
use super::packet;
use super::request::Direction;

/// `timeout` in seconds (RFC 2349).
const TIMEOUT: std::ops::RangeInclusive<u64> = 1..=255;
/// `utimeout` in microseconds.
const UTIMEOUT: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;
/// Largest window unless `--max-windowsize` names another, in blocks.
const DEFAULT_MAX_WINDOWSIZE: u16 = 64;

/// The most that a server grants.
#[derive(Clone, Copy, Debug)]
pub struct MaxOptions {
    /// `--max-blksize`, in bytes.
    pub blksize: u16,
    /// `--max-windowsize`, in blocks.
    pub windowsize: u16,
    /// Largest window in bytes.
    pub window_bytes: usize,
}

impl Default for MaxOptions {
    fn default() -> MaxOptions {
        MaxOptions {
            blksize: MAX_BLKSIZE,
            windowsize: DEFAULT_MAX_WINDOWSIZE,
            window_bytes: MAX_WINDOW_BYTES,
        }
    }
}

/// What a server has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// For the transfer.
    pub options: TransferOptions,
    /// The OACK's list; empty where there is nothing to grant and no OACK.
    pub list: Vec<u8>,
}

impl Granted {
    /// Returns the OACK packet, where there is one.
    #[must_use]
    pub fn oack(&self) -> Option<Vec<u8>> {
        (!self.list.is_empty()).then(|| packet::oack(&self.list))
    }
}

/// Grants what can be granted of the list in a request. `size` is the file's size as it will
/// travel, where that is known before.
#[must_use]
pub fn grant(
    requested: &[u8],
    direction: Direction,
    max: MaxOptions,
    size: Option<u64>,
) -> Granted {
    let mut granted: Vec<(&[u8], OptionName, u64)> = Vec::new();
    for (text, value) in pairs(requested) {
        let (Some(name), Some(value)) = (OptionName::parse(text), parse_number(value)) else {
            continue;
        };
        if granted.iter().any(|(_, other, _)| other.group() == name.group()) {
            continue;
        }
        let answer = match name {
            // curl takes a size of 0 for an error, and does without one.
            OptionName::Tsize if direction == Direction::Read => size.filter(|size| *size > 0),
            OptionName::Tsize => Some(value),
            _ => reduce(name, value, max),
        };
        granted.extend(answer.map(|answer| (text, name, answer)));
    }
    let mut options = TransferOptions::default();
    for (_, name, value) in &granted {
        options.set(*name, *value);
    }
    options.windowsize = options.windowsize.min(options.blocks_in_window(max.window_bytes));
    let mut list = Vec::new();
    for (text, name, value) in granted {
        let value = if name == OptionName::Windowsize { options.windowsize.into() } else { value };
        push(&mut list, text, value);
    }
    Granted { options, list }
}

/// Returns what is granted of a requested value; `None` where it is out of range.
fn reduce(name: OptionName, value: u64, max: MaxOptions) -> Option<u64> {
    let least = u64::from(MIN_BLKSIZE);
    match name {
        // More than 32 bits is an error of the client's rather than a large size.
        OptionName::Blksize | OptionName::Blksize2 if value > u32::MAX.into() => None,
        OptionName::Blksize => Some(value.min(max.blksize.into())).filter(|size| *size >= least),
        OptionName::Blksize2 => {
            let most = value.min(max.blksize.into()).min(MAX_BLKSIZE2.into());
            most.checked_ilog2().map(|log| 1 << log).filter(|size| *size >= least)
        }
        OptionName::Timeout => TIMEOUT.contains(&value).then_some(value),
        OptionName::Utimeout => UTIMEOUT.contains(&value).then_some(value),
        OptionName::Windowsize if value == 0 || value > u16::MAX.into() => None,
        OptionName::Windowsize => Some(value.min(max.windowsize.into())),
        OptionName::Rollover => (value <= 1).then_some(value),
        OptionName::Tsize => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::options::MAX_WINDOW_BLOCKS;
    use crate::wire::request::Mode;
    use std::time::Duration;

    fn list(text: &str) -> Vec<u8> {
        text.split_whitespace().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
    }

    fn shown(list: &[u8]) -> String {
        let words: Vec<_> = pairs(list)
            .map(|(name, value)| format!("{} {}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        words.join(" ")
    }

    fn granted(asked: &str, max: MaxOptions) -> (String, TransferOptions) {
        let granted = grant(&list(asked), Direction::Read, max, Some(1_300));
        (shown(&granted.list), granted.options)
    }

    fn answer(asked: &str) -> String {
        granted(asked, MaxOptions::default()).0
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
            let granted = grant(&asked, Direction::Read, MaxOptions::default(), None);
            assert_eq!(granted.oack(), None, "{not}");
            assert_eq!(granted.options, TransferOptions::default());
        }
        let max = MaxOptions { blksize: 1000, ..MaxOptions::default() };
        assert_eq!(granted("blksize 1468", max).1.blksize, 1000);
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
        let (words, options) = granted("windowsize 65535 blksize 65464", MaxOptions::default());
        assert_eq!(words, "windowsize 64 blksize 65464");
        assert_eq!(options.windowsize, 64);
        let max =
            MaxOptions { windowsize: 65_535, window_bytes: 256 << 10, ..MaxOptions::default() };
        assert_eq!(granted("windowsize 999 blksize 8192", max).0, "windowsize 32 blksize 8192");
        assert_eq!(granted("windowsize 999 blksize 65464", max).1.windowsize, 4);
        let max = MaxOptions { windowsize: 65_535, ..MaxOptions::default() };
        assert_eq!(granted("blksize 8 windowsize 65535", max).1.windowsize, MAX_WINDOW_BLOCKS);
        assert_eq!(granted("blksize 65464 windowsize 65535", max).1.windowsize, 256);
        for not in ["0", "65536", "x", "4294967297"] {
            assert_eq!(answer(&format!("windowsize {not}")), "", "{not}");
        }
        let tiny = MaxOptions { window_bytes: 1, ..MaxOptions::default() };
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
        let options = granted("utimeout 20000 timeout 3 rollover 1", MaxOptions::default()).1;
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
        let unknown = grant(&list("tsize 0"), Direction::Read, MaxOptions::default(), None);
        assert_eq!(unknown.oack(), None);
        let empty = grant(&list("tsize 0"), Direction::Read, MaxOptions::default(), Some(0));
        assert_eq!(empty.oack(), None);
        let heard = grant(&list("tsize 5000000000"), Direction::Write, MaxOptions::default(), None);
        assert_eq!(heard.options.tsize, Some(5_000_000_000));
        assert_eq!(heard.oack().unwrap(), b"\0\x06tsize\x005000000000\0");
        assert_eq!((Mode::Octet.size_on_wire(9), Mode::Netascii.size_on_wire(9)), (Some(9), None));
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
