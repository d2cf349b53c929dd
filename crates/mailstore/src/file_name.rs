//! File names of letters in a Maildir: `TIME.MusecPpidQn.HOST,S=bytes,W=octets:2,FLAGS`.
//!
//! The part before the colon never changes and identifies the letter. Other programs change the
//! flags after it and move a letter from `new` to `cur`.

use std::ffi::OsString;
use std::hint::black_box;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};

/// Longest unique id in characters (RFC 1939 §7, UIDL).
const MAX_UID: usize = 70;

/// Number of names made by this process: the `Q` of a name.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The host of names, asked for once: a process that has used one Maildir and then been given a filter may not ask again.
static HOST: OnceLock<Vec<u8>> = OnceLock::new();

/// Makes unique names.
#[derive(Debug, Clone)]
pub(crate) struct NameMaker {
    host: &'static [u8],
}

impl NameMaker {
    pub(crate) fn new() -> NameMaker {
        let ask = || nix::unistd::gethostname().unwrap_or_else(|_| OsString::from("localhost"));
        NameMaker { host: HOST.get_or_init(|| escape_host(ask().as_bytes())) }
    }

    /// Returns a unique name: the time in microseconds, the process id, a number within the process,
    /// and the host.
    pub(crate) fn unique(&self) -> OsString {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
        let mut name = format!("{seconds}.M{micros:06}P{pid}Q{number}.").into_bytes();
        name.extend_from_slice(self.host);
        OsString::from_vec(name)
    }
}

/// Escapes the host for a name: `/` as `\057` and `:` as `\072`, as in the Maildir specification,
/// and the comma because it separates the sizes.
fn escape_host(host: &[u8]) -> Vec<u8> {
    let mut safe = Vec::with_capacity(host.len());
    for &byte in host {
        match byte {
            b'/' => safe.extend_from_slice(b"\\057"),
            b':' => safe.extend_from_slice(b"\\072"),
            b',' => safe.extend_from_slice(b"\\054"),
            _ => safe.push(byte),
        }
    }
    if safe.is_empty() { b"localhost".to_vec() } else { safe }
}

/// Has memchr(3) find out what this CPU can do, for all processes that are forked later. CPUID is slow where the
/// machine is virtual: each process that asked for itself took 70 µs for that.
pub fn prepare() {
    black_box(base(b":"));
}

/// Returns the part before the flags.
pub(crate) fn base(name: &[u8]) -> &[u8] {
    memchr::memchr(b':', name).and_then(|at| name.get(..at)).unwrap_or(name)
}

/// The sizes that a name tells, which may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedSizes {
    /// Size on disk (`S=`).
    pub(crate) bytes: u64,
    /// Size with CRLF line ends (`W=`).
    pub(crate) octets: u64,
}

/// Returns the sizes that a name tells, if both could be those of one letter: `S <= W <= 2 S + 2`, because each
/// byte may be an LF and become two, and a line end may be added. A size told twice is none.
pub(crate) fn sizes(base: &[u8]) -> Option<NamedSizes> {
    let (mut bytes, mut octets) = (None, None);
    let mut rest = base;
    while let Some(at) = memchr::memchr(b',', rest) {
        rest = rest.get(at + 1..)?;
        let size = match rest {
            [b'S', b'=', ..] => &mut bytes,
            [b'W', b'=', ..] => &mut octets,
            _ => continue,
        };
        let digits = rest.get(2..)?;
        let end = memchr::memchr(b',', digits).unwrap_or(digits.len());
        if size.replace(number(digits.get(..end)?)?).is_some() {
            return None;
        }
    }
    let (bytes, octets) = (bytes?, octets?);
    let possible = bytes..=bytes.saturating_mul(2).saturating_add(2);
    possible.contains(&octets).then_some(NamedSizes { bytes, octets })
}

/// Returns the name with the flag `S`, for seen, in its place among the flags, which are sorted by ASCII. `None` if it
/// has that flag, or flags of another kind than `2,`.
pub(crate) fn with_seen(name: &[u8]) -> Option<Vec<u8>> {
    let at = name.iter().position(|&b| b == b':').unwrap_or(name.len());
    let (base, info) = name.split_at_checked(at)?;
    let rest = if info.is_empty() { info } else { info.strip_prefix(b":2,")? };
    // Some programs write more fields after the flags.
    let end = rest.iter().position(|&b| b == b',').unwrap_or(rest.len());
    let (flags, more) = rest.split_at_checked(end)?;
    if flags.contains(&b'S') {
        return None;
    }
    let at = flags.iter().position(|&flag| flag > b'S').unwrap_or(flags.len());
    let (before, after) = flags.split_at_checked(at)?;
    Some([base, b":2,", before, b"S", after, more].concat())
}

/// Returns a number that tells names, and the contents of files, apart. It is no protection against who chooses them.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    /// 2^64 divided by the golden ratio: a number whose bits have no order.
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = bytes.len() as u64;
    let mut add = |number: u64| hash = (hash.rotate_left(23) ^ number).wrapping_mul(ODD);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        add(word.try_into().map_or(0, u64::from_le_bytes));
    }
    let rest = words.remainder().iter().rev();
    add(rest.fold(0, |number, &byte| number << 8 | u64::from(byte)));
    (hash ^ hash >> 32).wrapping_mul(ODD)
}

/// Returns the time of arrival in seconds and microseconds, 0 if the name does not have it.
pub(crate) fn arrival(base: &[u8]) -> (u64, u64) {
    let mut parts = base.splitn(3, |&b| b == b'.');
    let seconds = parts.next().and_then(number).unwrap_or(0);
    let micros = parts.next().and_then(|unique| {
        let digits = unique.strip_prefix(b"M")?;
        let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        number(digits.get(..end)?)
    });
    (seconds, micros.unwrap_or(0))
}

/// Returns the unique id of a letter (RFC 1939 §7): its name before the flags, or a digest of it if
/// the name is too long or has characters outside 0x21 to 0x7E. `inode` is given for a letter that
/// shares its name with another one, and is part of the digest.
pub(crate) fn uid(base: &[u8], inode: Option<u64>) -> Vec<u8> {
    let fit = (1..=MAX_UID).contains(&base.len()) && base.iter().all(u8::is_ascii_graphic);
    if fit && inode.is_none() {
        return base.to_vec();
    }
    let mut digest = Md5::new().chain_update(base);
    if let Some(inode) = inode {
        // A NUL separates the two, because names contain none.
        digest.update([&[0][..], &inode.to_be_bytes()].concat());
    }
    digest.finalize().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// Returns the number that these digits are: one pass, because there are four in each name.
fn number(digits: &[u8]) -> Option<u64> {
    let (first, rest) = digits.split_first()?;
    let value = |digit: &u8| digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
    let add = |number: u64, digit| number.checked_mul(10)?.checked_add(value(digit)?);
    rest.iter().try_fold(value(first)?, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_time_the_process_a_number_and_the_host() {
        let names = NameMaker::new();
        let (a, b) = (names.unique(), names.unique());
        assert_ne!(a, b);
        let text = a.into_string().unwrap();
        let pid = format!("P{}Q", std::process::id());
        assert!(text.contains(&pid), "{text}");
        assert!(arrival(text.as_bytes()).0 > 1_600_000_000);
    }

    #[test]
    fn a_host_with_slash_colon_or_comma_is_written_in_octal() {
        assert_eq!(escape_host(b"a/b:c,d"), b"a\\057b\\072c\\054d");
        assert_eq!(escape_host(b""), b"localhost");
    }

    #[test]
    fn the_base_is_the_name_before_the_flags() {
        assert_eq!(base(b"1.M2P3.h,S=4,W=5:2,RS"), b"1.M2P3.h,S=4,W=5");
        assert_eq!(base(b"1.a.h"), b"1.a.h");
    }

    #[test]
    fn sizes_are_taken_from_a_name_that_could_be_right() {
        let sizes = |fields: &str| sizes(format!("1.M2P3.h{fields}").as_bytes());
        let some = |bytes, octets| Some(NamedSizes { bytes, octets });
        assert_eq!(sizes(",S=4,W=5"), some(4, 5));
        assert_eq!(sizes(",W=4,S=4"), some(4, 4));
        assert_eq!(sizes(",S=4,W=10"), some(4, 10));
        assert_eq!(sizes(",S=0,W=0"), some(0, 0));
        let most = u64::MAX;
        assert_eq!(sizes(&format!(",S={most},W={most}")), some(most, most));
        for wrong in [
            "",
            ",S=4",
            ",W=5",
            ",S=4,W=3",
            ",S=4,W=11",
            ",S=4,W=0",
            ",S=0,W=18446744073709551615",
            ",S=4,W=5,S=5",
            ",S=4,S=4,W=5",
            ",S=4,W=5,W=6",
            ",S=4,W=5x",
            ",S=,W=",
            ",S=4,W=99999999999999999999999",
            ",S=-1,W=1",
        ] {
            assert_eq!(sizes(wrong), None, "{wrong}");
        }
        assert_eq!(super::sizes(b"S=4,W=5"), None, "not before the first comma");
    }

    #[test]
    fn a_number_is_of_digits_alone_and_of_64_bits() {
        let most = u64::MAX.to_string();
        for (digits, expected) in
            [("0", 0), ("007", 7), ("1234567890", 1_234_567_890), (&most, u64::MAX)]
        {
            assert_eq!(number(digits.as_bytes()), Some(expected), "{digits}");
        }
        for none in
            ["", "-1", "+1", "1x", "x1", " 1", "18446744073709551616", "99999999999999999999"]
        {
            assert_eq!(number(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn the_flag_of_what_was_seen_is_put_among_the_others() {
        for (name, seen) in [
            ("1.a,S=4,W=5", "1.a,S=4,W=5:2,S"),
            ("1.a:2,", "1.a:2,S"),
            ("1.a:2,FRT", "1.a:2,FRST"),
            ("1.a:2,DFab", "1.a:2,DFSab"),
            ("1.a:2,F,more", "1.a:2,FS,more"),
        ] {
            assert_eq!(with_seen(name.as_bytes()).unwrap(), seen.as_bytes(), "{name}");
        }
        for name in ["1.a:2,S", "1.a:2,FS", "1.a:1,x", "1.a:", "1.a:2"] {
            assert_eq!(with_seen(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn each_byte_changes_the_hash() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..=text.len() {
            let whole = hash(&text[..length]);
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 1;
                assert_ne!(hash(&other), whole, "{length} {at}");
            }
            assert_ne!(hash(&[&text[..length], &[0]].concat()), whole, "{length}");
        }
    }

    #[test]
    fn times_of_arrival_are_compared_as_numbers() {
        assert_eq!(arrival(b"1700000000.M7P1Q0.h"), (1_700_000_000, 7));
        assert_eq!(arrival(b"1700000000.123_4.h"), (1_700_000_000, 0));
        assert_eq!(arrival(b"letter"), (0, 0));
        assert_eq!(arrival(b""), (0, 0));
    }

    #[test]
    fn a_unique_id_is_one_to_seventy_printable_characters() {
        assert_eq!(uid(b"1.M2P3.h,S=4,W=5", None), b"1.M2P3.h,S=4,W=5");
        let long = [b'a'; 71];
        for odd in [&long[..], b"", b"a b", b"a\x7f", b"\xc3\xa4", b"tab\t"] {
            let id = uid(odd, None);
            assert_eq!(id.len(), 32);
            assert!(id.iter().all(u8::is_ascii_graphic));
        }
        assert_ne!(uid(&[b'a'; 71], None), uid(&[b'a'; 72], None));
        assert_eq!(uid(&[b'a'; 70], None), [b'a'; 70]);
        assert_ne!(uid(b"a", Some(1)), uid(b"a", Some(2)));
    }
}
