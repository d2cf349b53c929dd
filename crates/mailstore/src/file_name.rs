//! File names of letters in a Maildir: `TIME.MusecPpidQn.HOST,S=bytes,W=octets:2,FLAGS`.
//!
//! The part before the colon never changes and identifies the letter. Other programs change the
//! flags after it and move a letter from `new` to `cur`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};

/// Longest unique id in characters (RFC 1939 §7, UIDL).
const MAX_UID: usize = 70;

/// Number of names made by this process: the `Q` of a name.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Makes unique names. It asks for the host once, because a process with a filter cannot.
#[derive(Debug, Clone)]
pub(crate) struct NameMaker {
    host: Vec<u8>,
}

impl NameMaker {
    pub(crate) fn new() -> NameMaker {
        let host = nix::unistd::gethostname().unwrap_or_else(|_| OsString::from("localhost"));
        NameMaker { host: escape_host(host.as_bytes()) }
    }

    /// Returns a unique name: the time in microseconds, the process id, a number within the process,
    /// and the host.
    pub(crate) fn unique(&self) -> OsString {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
        let mut name = format!("{seconds}.M{micros:06}P{pid}Q{number}.").into_bytes();
        name.extend_from_slice(&self.host);
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

/// Returns the part before the flags.
pub(crate) fn base(name: &[u8]) -> &[u8] {
    name.split(|&b| b == b':').next().unwrap_or(name)
}

/// Returns the size on the wire, if the name has it (`W=`). If the name also has the size on disk
/// (`S=`), `S <= W <= 2 S + 2` must hold, because otherwise the name is wrong.
pub(crate) fn wire_size(base: &[u8]) -> Option<u64> {
    let wire = field(base, b"W=")?;
    match field(base, b"S=") {
        Some(disk) if !may_be_wire_size(wire, disk) => None,
        _ => Some(wire),
    }
}

/// Returns the size on disk, if the name has it.
pub(crate) fn disk_size(base: &[u8]) -> Option<u64> {
    field(base, b"S=")
}

/// Returns whether a letter of `disk` bytes can have `wire` bytes with CRLF line ends, because each
/// byte may be an LF and become two, and a line end may be added.
pub(crate) fn may_be_wire_size(wire: u64, disk: u64) -> bool {
    (disk..=disk.saturating_mul(2).saturating_add(2)).contains(&wire)
}

fn field(base: &[u8], key: &[u8]) -> Option<u64> {
    base.split(|&b| b == b',').skip(1).find_map(|field| number(field.strip_prefix(key)?))
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

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
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
    fn base_and_size_come_from_the_name() {
        assert_eq!(base(b"1.M2P3.h,S=4,W=5:2,RS"), b"1.M2P3.h,S=4,W=5");
        assert_eq!(base(b"1.a.h"), b"1.a.h");
        assert_eq!(wire_size(b"1.M2P3.h,S=4,W=5"), Some(5));
        assert_eq!(wire_size(b"1.M2P3.h,W=5x"), None);
        assert_eq!(wire_size(b"1.M2P3.h,W="), None);
        assert_eq!(wire_size(b"1.M2P3.h,W=99999999999999999999999"), None);
        assert_eq!(wire_size(b"W=5"), None);
        assert_eq!(disk_size(b"1.M2P3.h,S=4,W=5"), Some(4));
    }

    #[test]
    fn an_impossible_size_in_a_name_is_ignored() {
        assert_eq!(wire_size(b"1.a.h,S=4,W=10"), Some(10));
        assert_eq!(wire_size(b"1.a.h,W=4,S=4"), Some(4));
        for wrong in ["S=4,W=3", "S=4,W=11", "S=0,W=18446744073709551615"] {
            assert_eq!(wire_size(format!("1.a.h,{wrong}").as_bytes()), None, "{wrong}");
        }
        assert_eq!(
            wire_size(b"1.a.h,S=18446744073709551615,W=18446744073709551615"),
            Some(u64::MAX)
        );
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
