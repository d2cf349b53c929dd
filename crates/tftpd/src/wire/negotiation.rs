//! The server's side of option negotiation (RFC 2347).
//!
//! The OACK omits options that are unknown, not a number or out of range. If no option is granted
//! there is no OACK, and the server answers as in RFC 1350. Of an option that occurs twice the
//! first one counts.

use super::option_list::{pairs, parse_number, push};
use super::option_name::{OptionName, OptionNames};
use super::options::{MAX_BLKSIZE, MAX_BLKSIZE2, MAX_WINDOW_BYTES, MIN_BLKSIZE, TransferOptions};
use super::packet;
use super::request::Direction;

/// Range of `timeout` in seconds (RFC 2349).
const TIMEOUT: std::ops::RangeInclusive<u64> = 1..=255;
/// Range of `utimeout` in microseconds.
const UTIMEOUT: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;
/// Default of `--max-windowsize`, in blocks.
const DEFAULT_MAX_WINDOWSIZE: u16 = 64;

/// The largest values that a server grants.
#[derive(Clone, Copy, Debug)]
pub struct MaxOptions {
    /// `--max-blksize`, in bytes.
    pub blksize: u16,
    /// `--max-windowsize`, in blocks.
    pub windowsize: u16,
    /// Largest window in bytes.
    pub window_bytes: usize,
    /// `--no-option`: those that are never granted.
    pub refused: OptionNames,
}

impl Default for MaxOptions {
    fn default() -> MaxOptions {
        MaxOptions {
            blksize: MAX_BLKSIZE,
            windowsize: DEFAULT_MAX_WINDOWSIZE,
            window_bytes: MAX_WINDOW_BYTES,
            refused: OptionNames::default(),
        }
    }
}

/// The options granted by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The options for the transfer.
    pub options: TransferOptions,
    /// The list for the OACK, empty if nothing is granted.
    pub list: Vec<u8>,
}

impl Granted {
    /// Returns the OACK packet, if there is one.
    #[must_use]
    pub fn oack(&self) -> Option<Vec<u8>> {
        (!self.list.is_empty()).then(|| packet::oack(&self.list))
    }
}

/// Grants options from the list in a request. `size` is the file's size on the wire, if known in
/// advance.
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
        let is_granted = granted.iter().any(|(_, other, _)| other.group() == name.group());
        if is_granted || max.refused.contains(name) {
            continue;
        }
        let answer = match name {
            // curl treats a size of 0 as an error, and works without tsize.
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

/// Returns the granted value, or `None` if the requested one is out of range.
fn reduce(name: OptionName, value: u64, max: MaxOptions) -> Option<u64> {
    let least = u64::from(MIN_BLKSIZE);
    match name {
        // A value of more than 32 bits is a client error rather than a large size.
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
    fn block_sizes_have_a_minimum_and_a_maximum() {
        for same in ["8", "512", "1468", "65464"] {
            assert_eq!(answer(&format!("blksize {same}")), format!("blksize {same}"));
        }
        for written in [" 8", "8 ", "+8", "\t+8\r\n", "008"] {
            let asked = [b"blksize\0", written.as_bytes(), b"\0"].concat();
            let granted = grant(&asked, Direction::Read, MaxOptions::default(), None);
            assert_eq!(shown(&granted.list), "blksize 8", "{written:?}");
        }
        for more in ["65465", "65535", "65536", "100000"] {
            assert_eq!(answer(&format!("blksize {more}")), "blksize 65464");
        }
        for not in ["7", "0", "abc", "-8", "+-8", "+ 8", "8 8", "+", " ", "", "4294967304", "1e3"] {
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
    fn windows_are_bounded_in_blocks_and_in_bytes() {
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
    fn timeout_and_rollover_are_granted_as_requested_or_omitted() {
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
    fn unknown_options_are_omitted_and_none_is_added() {
        assert_eq!(answer("multicast x saveas y"), "");
        assert_eq!(answer("foo 1 BLKsize 1468 bar 2 TSIZE 0"), "BLKsize 1468 TSIZE 1300");
        assert_eq!(answer("blksize 9 blksize 10"), "blksize 9", "once");
        assert_eq!(answer(""), "");
    }

    #[test]
    fn tsize_is_answered_in_an_rrq_and_echoed_in_a_wrq() {
        assert_eq!(answer("tsize 0"), "tsize 1300");
        assert_eq!(answer("tsize x"), "");
        let unknown = grant(&list("tsize 0"), Direction::Read, MaxOptions::default(), None);
        assert_eq!(unknown.oack(), None);
        let empty = grant(&list("tsize 0"), Direction::Read, MaxOptions::default(), Some(0));
        assert_eq!(empty.oack(), None);
        let echoed =
            grant(&list("tsize 5000000000"), Direction::Write, MaxOptions::default(), None);
        assert_eq!(echoed.options.tsize, Some(5_000_000_000));
        assert_eq!(echoed.oack().unwrap(), b"\0\x06tsize\x005000000000\0");
        assert_eq!((Mode::Octet.size_on_wire(9), Mode::Netascii.size_on_wire(9)), (Some(9), None));
    }

    #[test]
    fn a_malformed_option_list_ends_at_the_first_incomplete_pair() {
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
