//! When something happened, as a daemon's log has it.

/// Milliseconds that a server waits for a place which is about to be free.
const PLACE_WAIT: u64 = 10;

/// Milliseconds since midnight, from a line that begins as `2026-01-31T12:00:00.000Z`.
fn time(line: &str) -> Option<u64> {
    let (_, time) = line.split_once('T')?;
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<u64>().ok();
    let seconds = number(0..2)? * 3600 + number(3..5)? * 60 + number(6..8)?;
    Some(seconds * 1000 + number(9..12)?)
}

/// How many clients were refused for want of a place that was free within the time a server should have
/// waited for it: less than `PLACE_WAIT` after the refusal the log has the end of the client before.
#[must_use]
pub fn hasty_refusals(log: &str) -> usize {
    let mut refused = None;
    let mut count = 0;
    for line in log.lines() {
        if line.contains(" refused: ") {
            refused = time(line);
        } else if line.contains(" end: ")
            && let (Some(before), Some(now)) = (refused.take(), time(line))
        {
            count += usize::from(now.saturating_sub(before) < PLACE_WAIT);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_hasty_where_the_end_before_follows_soon() {
        let line = |at: &str, what: &str| format!("2026-01-31T12:00:00.{at}Z INFO x[1]: {what}\n");
        let ended = |at| line(at, "client 1 end: pid 2, exit 0");
        let refused = line("100", "client 2 refused: 1 clients are served already");
        assert_eq!(hasty_refusals(&[refused.clone(), ended("101")].concat()), 1);
        assert_eq!(hasty_refusals(&[refused.clone(), ended("110")].concat()), 0);
        assert_eq!(hasty_refusals(&[ended("099"), refused].concat()), 0);
    }
}
