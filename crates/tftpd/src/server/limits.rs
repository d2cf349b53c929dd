//! How often tftpd sends again, and how long it stays for a lost last ACK.

use std::time::Duration;

use crate::transfer::timer::RetryLimits;

/// Most sends of the first packet as long as the request's address may be forged: otherwise the
/// server could be used to flood others.
const UNPROVEN_SENDS: u32 = 3;
/// Time to dally after an upload (RFC 1350 §6): longer than the five seconds after which the usual
/// clients send their last block again.
const DALLY: Duration = Duration::from_millis(5500);
/// The same where something was lost before: longer than the eight seconds to which a time-out of
/// tftpc may have been doubled.
const DALLY_AFTER_LOSS: Duration = Duration::from_secs(12);

/// Returns the limits of a transfer: `--retries`, and the times of `--timeout` and `--deadline`.
#[must_use]
pub fn retry_limits(retries: u32, idle: Duration, whole: Duration) -> RetryLimits {
    RetryLimits { retries, unproven_sends: UNPROVEN_SENDS, idle, whole }
}

/// Returns how long to dally after an upload, with or without loss, with a client that sends again
/// after `interval`, where that was agreed upon.
#[must_use]
pub fn dally_time(is_lossless: bool, interval: Option<Duration>) -> Duration {
    let usual = if is_lossless { DALLY } else { DALLY_AFTER_LOSS };
    usual.max(interval.unwrap_or_default() * 5 / 4)
}
