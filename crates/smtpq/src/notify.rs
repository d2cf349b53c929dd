//! The process that notifies authors of what has become of their letters. It talks to no other server, and has the queue's folders.

use std::io;

use forknet::{Work, confine_to, in_title};
use log::{debug, warn};
use mailstore::{LockedLetter, Queue, Stage};

use crate::bounce::{self, Outcome, What};
use crate::due::{now, warning_due};
use crate::options::Config;
use crate::schedule::Name;

/// Notifies the authors of these letters of what they do not know yet.
///
/// # Errors
/// One of them could not be notified, or this process cannot give its rights up.
pub fn notify_authors(
    queue: &Queue,
    config: &Config,
    letters: &[Name],
    work: &Work<'_>,
) -> io::Result<()> {
    // The files of states are made before the folder is closed to this process.
    let mut locked = Vec::new();
    for name in letters {
        match queue.lock(name) {
            Ok(Some(letter)) => locked.push(letter),
            Ok(None) => {}
            Err(error) => debug!("{}: {error}", name.display()),
        }
    }
    confine_to(queue.folders(), true).map_err(io::Error::other)?;
    let mut failed = None;
    for letter in &mut locked {
        let id = letter.name().display().to_string();
        work.title().set(format_args!("author of {}", in_title(id.as_bytes())));
        if let Err(error) = notify(queue, config, letter) {
            warn!("{id}: the author is not notified: {error}");
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
}

/// Notifies the author of a letter.
fn notify(queue: &Queue, config: &Config, letter: &mut LockedLetter) -> mailstore::Result<()> {
    bounce::finish(queue, letter)?;
    let (now, envelope, states) = (now(), letter.envelope().clone(), letter.states().to_vec());
    let until = envelope.arrived.saturating_add(config.max_age.as_secs());
    let (mut outcomes, mut done, mut warned) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (recipient, state)) in envelope.recipients.iter().zip(&states).enumerate() {
        let what = match state.stage {
            Stage::Failed => What::Failed,
            Stage::Expired => What::Expired,
            Stage::Relayed => What::Relayed,
            Stage::Deferred => {
                let due = warning_due(&envelope, recipient, state, config);
                if due.is_none_or(|due| due > now) {
                    continue;
                }
                warned.push(number);
                What::Delayed { until }
            }
            Stage::Waiting | Stage::Delivered | Stage::Notified => continue,
        };
        if !matches!(what, What::Delayed { .. }) {
            done.push(number);
        }
        outcomes.push(Outcome {
            recipient: number,
            what,
            remote: &state.host,
            reply: &state.reply,
        });
    }
    if outcomes.is_empty() {
        return Ok(());
    }
    bounce::notify(queue, letter, &outcomes, config)?;
    // Those too of which the author wants to know nothing.
    let stage = |it: &usize| letter.states().get(*it).map(|state| state.stage);
    done.retain(|it| stage(it) != Some(Stage::Notified));
    warned.retain(|it| !letter.is_warned(*it));
    if !done.is_empty() {
        letter.record_notified(&done)?;
    }
    letter.note_warned(&warned)
}
