//! tftpd's limits on retransmissions and dallying.

use std::time::Duration;

use crate::transfer::timer::RetryLimits;

/// Most sends of the first packet before the client answers, because its address may be forged and
/// the server must not flood a third party. One that is there asks again by itself, and is answered.
const UNPROVEN_SENDS: u32 = 2;
/// Age of a transfer from which it gives way without an answer of its client, where requests can wait: the answer may be
/// on its way. Where they cannot, it gives way at once, because the new client would get nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time to dally after an upload (RFC 1350 §6): longer than the five seconds after which common
/// clients retransmit their last block.
const DALLY: Duration = Duration::from_millis(5500);
/// The same if packets were lost before: longer than tftpc's longest timeout, eight seconds.
const DALLY_AFTER_LOSS: Duration = Duration::from_secs(12);

/// Returns the limits of a transfer from `--retries`, `--timeout` and `--deadline`.
#[must_use]
pub fn retry_limits(retries: u32, idle: Duration, whole: Duration) -> RetryLimits {
    RetryLimits { retries, unproven_sends: UNPROVEN_SENDS, idle, whole }
}

/// Returns the age from which a transfer gives way without an answer of its client.
#[must_use]
pub fn patience(requests_wait: bool) -> Duration {
    if requests_wait { PATIENCE } else { Duration::ZERO }
}

/// Returns how long to dally after an upload. `interval` is the negotiated timeout, if any.
#[must_use]
pub fn dally_time(is_lossless: bool, interval: Option<Duration>) -> Duration {
    let usual = if is_lossless { DALLY } else { DALLY_AFTER_LOSS };
    usual.max(interval.unwrap_or_default() * 5 / 4)
}
