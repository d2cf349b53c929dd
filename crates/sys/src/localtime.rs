//! localtime(3).

use std::time::{SystemTime, UNIX_EPOCH};

/// A local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// 0 to 11.
    pub month: usize,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Returns the local time. The first call reads the time zone, which chroot(2) would hide.
#[must_use]
pub fn local(at: SystemTime) -> Local {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = libc::time_t::try_from(seconds).unwrap_or_default();
    // SAFETY: a tm is numbers and a pointer, which may all be zero.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to values of ours; localtime_r may be called by several threads at once.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    let small = |number: i32| u8::try_from(number).unwrap_or_default();
    Local {
        month: usize::try_from(tm.tm_mon).unwrap_or_default(),
        day: small(tm.tm_mday),
        hour: small(tm.tm_hour),
        minute: small(tm.tm_min),
        second: small(tm.tm_sec),
    }
}
