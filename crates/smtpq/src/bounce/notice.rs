//! One notification as a letter of the queue.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use dsn::{About, Action, Recipient, Report, Returned, Text};
use jiff::{Timestamp, Zoned};
use mailstore::{Error, LockedLetter, Queue, QueueEnvelope, QueueRecipient, QueuedDraft, Result};

use crate::bounce::outcome::{Outcome, What};
use crate::options::Config;

/// How `client` of an envelope begins in a notification to the postmaster.
pub(super) const DOUBLE: &[u8] = b"double bounce of ";
/// How it begins in all others.
const SINGLE: &[u8] = b"notification of ";
/// Status of a letter that has become too old, where no reply tells another one (RFC 3463 §3.5).
const EXPIRED: &str = "4.4.7";

/// A notification, before it is written.
pub(super) struct Notice<'a> {
    /// Among those about the letter.
    pub(super) number: u64,
    /// Without brackets.
    pub(super) to: &'a [u8],
    pub(super) about: About,
    /// At least one.
    pub(super) told: &'a [&'a Outcome<'a>],
    pub(super) now: &'a Zoned,
}

impl Notice<'_> {
    /// Writes it to the disk, beside the queue's letters.
    ///
    /// # Errors
    /// As [`super::notify`].
    pub(super) fn write(
        &self,
        queue: &Queue,
        letter: &mut LockedLetter,
        config: &Config,
    ) -> Result<QueuedDraft> {
        let known = letter.envelope().clone();
        let is_utf8 = known.is_utf8 || !self.to.is_ascii();
        // RFC 3461 §4.3: `RET=` is about failures.
        let wants_whole = self.about == About::Failure && known.ret.eq_ignore_ascii_case(b"FULL");
        let what = format!("read {}", letter.name().display());
        let returned = Returned::read(&mut letter.text()?, wants_whole, is_utf8)
            .map_err(|source| Error::Io { what, source })?;
        let (id, arrived) = (new_id(self.now), self.at(known.arrived));
        let tried = |at: usize| letter.states().get(at).map_or(0, |state| state.at);
        let recipients =
            self.told.iter().filter_map(|it| self.recipient(&known, it, tried(it.recipient)));
        let report = Report {
            hostname: &config.hostname,
            id: &id,
            about: self.about,
            now: self.now,
            to: self.to,
            envid: &known.envid,
            arrived: &arrived,
            is_utf8,
            recipients: recipients.collect(),
            returned: Some(returned),
        };
        let text = report.text();
        let envelope = self.envelope(&id, &known.id, &text);
        let mut draft = queue.draft_notice(letter.name(), self.number, &envelope)?;
        let what = format!("write {}", draft_name(&envelope));
        draft.write_all(&text.bytes).map_err(|source| Error::Io { what, source })?;
        draft.sync()
    }

    /// `at` is the time of the last attempt, 0 where none is known.
    fn recipient<'a>(
        &self,
        known: &'a QueueEnvelope,
        outcome: &Outcome<'a>,
        at: u64,
    ) -> Option<Recipient<'a>> {
        let (action, until) = match outcome.what {
            What::Failed | What::Expired => (Action::Failed, None),
            What::Delayed { until } => (Action::Delayed, Some(self.at(until))),
            What::Delivered => (Action::Delivered, None),
            What::Relayed => (Action::Relayed, None),
        };
        let recipient = known.recipients.get(outcome.recipient)?;
        Some(Recipient {
            address: &recipient.address,
            orcpt: &recipient.orcpt,
            action,
            default_status: (outcome.what == What::Expired).then_some(EXPIRED),
            remote: outcome.remote,
            reply: outcome.reply,
            attempted: Some(if at == 0 { self.now.clone() } else { self.at(at) }),
            retried_until: until,
        })
    }

    /// From `<>`, so that it is never answered, and without `NOTIFY=` (RFC 3461 §6.1).
    fn envelope(&self, id: &str, about: &[u8], text: &Text) -> QueueEnvelope {
        let start = if self.about == About::DoubleBounce { DOUBLE } else { SINGLE };
        let to = QueueRecipient { address: self.to.to_vec(), ..QueueRecipient::default() };
        QueueEnvelope {
            id: id.as_bytes().to_vec(),
            arrived: u64::try_from(self.now.timestamp().as_second()).unwrap_or_default(),
            client: [start, about].concat(),
            body: if text.is_eight_bit { b"8BITMIME".to_vec() } else { Vec::new() },
            is_utf8: text.has_utf8_header,
            recipients: vec![to],
            ..QueueEnvelope::default()
        }
    }

    /// Returns a time in seconds since 1970 in the zone of the others.
    fn at(&self, seconds: u64) -> Zoned {
        let time = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
        time.unwrap_or_default().to_zoned(self.now.time_zone().clone())
    }
}

/// For messages.
fn draft_name(envelope: &QueueEnvelope) -> String {
    format!("the notification {}", String::from_utf8_lossy(&envelope.id))
}

/// Returns an id of a letter: time, process id and number.
fn new_id(now: &Zoned) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{}-{number}", now.timestamp().as_second(), std::process::id())
}
