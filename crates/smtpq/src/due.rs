//! What is left to do for a letter, and when: at which destinations, and with its author.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailstore::{QueueEnvelope, QueueRecipient, QueuedLetter, RecipientState, Stage};

use crate::destination::Destination;
use crate::options::Config;

/// Age at which an author is notified of a delay who has asked for that, where no option says when: four hours.
const WARN_AFTER: Duration = Duration::from_secs(4 * 60 * 60);

/// Returns the time in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns where a letter is still to go, and when; nothing for one that is done.
#[must_use]
pub fn parts(letter: &QueuedLetter, config: &Config) -> Vec<(Destination, u64)> {
    let mut parts: Vec<(Destination, u64)> = Vec::new();
    let mut add = |destination: Destination, due: u64| match parts
        .iter_mut()
        .find(|(known, _)| *known == destination)
    {
        Some((_, first)) => *first = due.min(*first),
        None => parts.push((destination, due)),
    };
    let envelope = letter.envelope();
    for (recipient, state) in envelope.recipients.iter().zip(letter.states()) {
        if state.stage.is_open() {
            add(Destination::of(&recipient.address, config), state.next);
        }
        if state.stage.needs_notice() {
            add(Destination::author(), 0);
        }
        if let Some(due) = warning_due(envelope, recipient, state, config) {
            add(Destination::author(), due);
        }
    }
    parts
}

/// Returns when the author is to be notified of the delay of a recipient; `None` where that was done, or is not wanted.
#[must_use]
pub fn warning_due(
    envelope: &QueueEnvelope,
    recipient: &QueueRecipient,
    state: &RecipientState,
    config: &Config,
) -> Option<u64> {
    let mut keywords = recipient.notify.split(|&byte| byte == b',');
    let is_wanted = match recipient.notify.is_empty() {
        true => config.warn_after.is_some(),
        false => keywords.any(|it| it.eq_ignore_ascii_case(b"DELAY")),
    };
    let is_late = state.stage == Stage::Deferred && !state.is_warned && !envelope.sender.is_empty();
    let age = config.warn_after.unwrap_or(WARN_AFTER).as_secs();
    (is_wanted && is_late).then(|| envelope.arrived.saturating_add(age))
}

/// Returns when a recipient is tried again after this number of attempts that failed for now.
#[must_use]
pub fn next_attempt(attempts: u32, now: u64, config: &Config) -> u64 {
    let last = config.retry.len().saturating_sub(1);
    let number = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(last);
    let wait = config.retry.get(number).copied().unwrap_or(WARN_AFTER);
    now.saturating_add(wait.as_secs().max(1))
}

/// Returns when a letter is due at a destination whose process has ended, where its state says `due`. What the process has
/// left as it was is not before `until`; a time to come is that of the next attempt, however soon. With `--once` there is none.
#[must_use]
pub fn due_after_process(due: u64, until: u64, now: u64, is_once: bool) -> u64 {
    if is_once || due <= now { until.max(due) } else { due }
}

/// Returns whether a letter has become too old to be tried again.
#[must_use]
pub fn is_expired(envelope: &QueueEnvelope, now: u64, config: &Config) -> bool {
    now.saturating_sub(envelope.arrived) >= config.max_age.as_secs()
}

/// Returns the numbers of the recipients that a destination has, and that are still to have the letter.
#[must_use]
pub fn open_at(letter: &QueuedLetter, destination: &Destination, config: &Config) -> Vec<usize> {
    let recipients = letter.envelope().recipients.iter().zip(letter.states()).enumerate();
    let is_open = |recipient: &QueueRecipient, state: &RecipientState| {
        state.stage.is_open() && Destination::of(&recipient.address, config) == *destination
    };
    recipients.filter(|(_, (to, state))| is_open(to, state)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::config;

    #[test]
    fn attempts_become_rarer_as_the_list_says() {
        let config = config(&["--retry", "1800, 3600,0.2,7200"]).unwrap();
        let waits: Vec<u64> =
            [1, 2, 3, 4, 5, 99].map(|number| next_attempt(number, 100, &config) - 100).into();
        assert_eq!(waits, [1800, 3600, 1, 7200, 7200, 7200]);
    }

    #[test]
    fn the_next_attempt_is_as_soon_as_the_list_says_and_what_was_left_rests() {
        assert_eq!(due_after_process(101, 105, 100, false), 101);
        assert_eq!(due_after_process(0, 105, 100, false), 105);
        assert_eq!(due_after_process(100, 105, 100, false), 105);
        assert_eq!(due_after_process(101, u64::MAX, 100, true), u64::MAX);
    }

    #[test]
    fn a_letter_expires_at_the_age_of_the_option() {
        let config = config(&["--max-age", "60"]).unwrap();
        let envelope = QueueEnvelope { arrived: 1000, ..QueueEnvelope::default() };
        assert!(!is_expired(&envelope, 1059, &config) && is_expired(&envelope, 1060, &config));
        assert!(!is_expired(&envelope, 10, &config), "a clock that was set back");
    }

    #[test]
    fn a_warning_is_due_once_and_for_those_who_want_it() {
        let envelope =
            QueueEnvelope { arrived: 1000, sender: b"a@b.test".into(), ..QueueEnvelope::default() };
        let with = config(&["--warn-after", "60"]).unwrap();
        let without = config(&[]).unwrap();
        let to =
            |notify: &str| QueueRecipient { notify: notify.into(), ..QueueRecipient::default() };
        let deferred = RecipientState { stage: Stage::Deferred, ..RecipientState::default() };
        let due = |notify, config| warning_due(&envelope, &to(notify), &deferred, config);
        assert_eq!((due("", &with), due("", &without)), (Some(1060), None));
        assert_eq!(
            (due("FAILURE,delay", &without), due("NEVER", &with)),
            (Some(1000 + 14_400), None)
        );
        let none = QueueEnvelope { sender: Vec::new(), ..envelope.clone() };
        assert_eq!(warning_due(&none, &to(""), &deferred, &with), None);
        let warned = RecipientState { is_warned: true, ..deferred.clone() };
        assert_eq!(warning_due(&envelope, &to(""), &warned, &with), None);
        let waiting = RecipientState::default();
        assert_eq!(warning_due(&envelope, &to(""), &waiting, &with), None);
    }
}
