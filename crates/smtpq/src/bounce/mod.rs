//! Notifications to the author of a letter: what could not be delivered, what takes long, what has arrived (RFC 3461,
//! RFC 3464). One is a letter of the queue, from `<>`; one about a letter from `<>` goes to the postmaster, and one
//! about that is dropped.
//!
//! ```text
//! letter.record(&[(0, failed)], true)?; //                            what the attempt has come to
//! let outcomes = [Outcome { recipient: 0, what: What::Failed, remote: b"mx.red.test", reply: b"550 5.1.1 ..." }];
//! bounce::notify(&queue, &mut letter, &outcomes, &config)?; //        durable
//! ```
//! The process that does so may be killed at any moment: [`finish`] goes on where it was, and the author receives one notification.

mod notice;
mod outcome;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use dsn::About;
use jiff::{Timestamp, Zoned};
use mailstore::{LockedLetter, Queue, QueueRecipient, RecipientState, Result, UnderWay};

use crate::options::Config;
use notice::{DOUBLE, Notice};

pub use outcome::{Outcome, What};

/// Age at which an author who has asked for that receives a warning, where no option says when.
const WARN_AFTER: Duration = Duration::from_secs(4 * 60 * 60);

/// Puts notifications about a letter into the queue, for those of these outcomes that its sender wants to know. They
/// are on the disk when this returns, and may be sent at any moment. Returns their names in the queue.
///
/// The recipients count as told then. Tell of `Delayed` after every attempt: when a warning is due, and that it
/// comes once, is known here.
///
/// # Errors
/// [`mailstore::Error::Io`]: the letter cannot be read, or no notification can be put there. None is there then, and
/// it has to be tried again.
pub fn notify(
    queue: &Queue,
    letter: &mut LockedLetter,
    outcomes: &[Outcome],
    config: &Config,
) -> Result<Vec<OsString>> {
    let now = Timestamp::now().to_zoned(config.zone.clone());
    let (mut drafts, mut lines, mut under_way) = (Vec::new(), Vec::new(), Vec::new());
    let first = letter.next_notice();
    for about in [About::Failure, About::Delay, About::Delivery, About::Relay] {
        let is_told = |it: &&Outcome| {
            kind(it.what) == about
                && is_wanted(letter, it, config)
                && is_due(letter, it, config, &now)
        };
        let told: Vec<&Outcome> = outcomes.iter().filter(is_told).collect();
        if told.is_empty() {
            continue;
        }
        let Some((to, about)) = addressee(letter, about, config) else { continue };
        let number = first + drafts.len() as u64;
        let notice = Notice { number, to: &to, about, told: &told, now: &now };
        let draft = notice.write(queue, letter, config)?;
        let (new, to) = (draft.name().display(), to.escape_ascii());
        lines.push(format!("notification {new} to=<{to}>: {}", word(about)));
        drafts.push(draft);
        let notice = UnderWay { number, is_warning: about == About::Delay };
        under_way.extend(told.iter().map(|it| (it.recipient, notice)));
    }
    let names = drafts.iter().map(|draft| draft.name().to_owned()).collect();
    if drafts.is_empty() {
        return Ok(names);
    }
    queue.keep_notices(drafts)?;
    letter.record_under_way(&under_way)?;
    finish(queue, letter)?;
    lines.iter().for_each(|line| log::info!("{}: {line}", letter.name().display()));
    Ok(names)
}

/// Puts the notifications that are under way about a letter into the queue, also those of a process that was killed, and
/// records that the author was notified.
///
/// # Errors
/// As [`notify`].
pub fn finish(queue: &Queue, letter: &mut LockedLetter) -> Result<()> {
    let under_way = |(number, state): (usize, &RecipientState)| Some((number, state.under_way?));
    let all: Vec<(usize, UnderWay)> =
        letter.states().iter().enumerate().filter_map(under_way).collect();
    let numbers: BTreeSet<u64> = all.iter().map(|(_, notice)| notice.number).collect();
    for number in numbers {
        queue.publish_notice(letter.name(), number)?;
    }
    let of = |is_warning| {
        let its = all.iter().filter(move |(_, notice)| notice.is_warning == is_warning);
        its.map(|(recipient, _)| *recipient).collect::<Vec<usize>>()
    };
    if all.iter().any(|(_, notice)| !notice.is_warning) {
        letter.record_notified(&of(false))?;
    }
    letter.note_warned(&of(true))
}

fn kind(what: What) -> About {
    match what {
        What::Failed | What::Expired => About::Failure,
        What::Delayed { .. } => About::Delay,
        What::Delivered => About::Delivery,
        What::Relayed => About::Relay,
    }
}

/// For the log.
fn word(about: About) -> &'static str {
    match about {
        About::Failure => "failed",
        About::DoubleBounce => "double bounce",
        About::Delay => "delayed",
        About::Delivery => "delivered",
        About::Relay => "relayed",
    }
}

/// Returns whether a recipient's `NOTIFY=` asks for this (RFC 3461 §4.1). Without it that is failures, and delays if an
/// option says so.
fn is_wanted(letter: &LockedLetter, outcome: &Outcome, config: &Config) -> bool {
    let Some(recipient) = letter.envelope().recipients.get(outcome.recipient) else {
        return false;
    };
    let (keyword, otherwise): (&[u8], bool) = match kind(outcome.what) {
        About::Failure | About::DoubleBounce => (b"FAILURE", true),
        About::Delay => (b"DELAY", config.warn_after.is_some()),
        About::Delivery | About::Relay => (b"SUCCESS", false),
    };
    let mut keywords = recipient.notify.split(|&b| b == b',');
    match recipient.notify.is_empty() {
        true => otherwise,
        false => keywords.any(|it| it.eq_ignore_ascii_case(keyword)),
    }
}

/// Returns whether it is time to tell; only a warning waits, and comes once.
fn is_due(letter: &LockedLetter, outcome: &Outcome, config: &Config, now: &Zoned) -> bool {
    if !matches!(outcome.what, What::Delayed { .. }) {
        return true;
    }
    let now = u64::try_from(now.timestamp().as_second()).unwrap_or_default();
    let age = Duration::from_secs(now.saturating_sub(letter.envelope().arrived));
    age >= config.warn_after.unwrap_or(WARN_AFTER) && !letter.is_warned(outcome.recipient)
}

/// Returns who receives the notification, and what it is about: the sender; of a letter from `<>` that has failed, the postmaster; of one to the
/// postmaster that was such a notification itself, no address, because that would never end.
fn addressee(letter: &LockedLetter, about: About, config: &Config) -> Option<(Vec<u8>, About)> {
    let envelope = letter.envelope();
    if !envelope.sender.is_empty() {
        return Some((envelope.sender.clone(), about));
    }
    if about != About::Failure {
        return None;
    }
    let postmaster = config.double_bounce.as_bytes();
    let is_postmaster = |it: &QueueRecipient| it.address.eq_ignore_ascii_case(postmaster);
    if envelope.client.starts_with(DOUBLE) || envelope.recipients.iter().any(is_postmaster) {
        let name = letter.name().display();
        log::warn!("{name}: dropped: a notification for the postmaster that cannot be delivered");
        return None;
    }
    Some((postmaster.to_vec(), About::DoubleBounce))
}

#[cfg(test)]
mod tests;
