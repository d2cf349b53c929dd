//! The process that puts a letter into the queue, for its recipients elsewhere.

use std::time::{Duration, Instant};

use forknet::{Boxes, Line, reason};

use crate::delivery::order::PUBLISH;
use crate::delivery::queue::{self, Leaving};
use crate::delivery::store::Failure;
use crate::delivery::text::Text;
use crate::options::Config;
use crate::protocol::question::Verdict;

/// Longest wait for the next order: other places may take as long as they are given.
const ORDER_WAIT: Duration = Duration::from_secs(400);
/// Exit code.
const ENDED: i32 = 0;

/// A letter on its way into the queue.
pub(super) struct Outgoing {
    /// The number of the process; `None` where the letter goes to no recipient elsewhere, or has failed.
    number: Option<usize>,
    /// What has become of it.
    pub(super) verdict: Verdict,
}

impl Outgoing {
    /// Forks a process of the queue's owner, which writes these letters with one text.
    pub(super) fn begin(
        config: &Config,
        boxes: &mut Boxes,
        about: &str,
        queued: &[Leaving],
        text: &Text,
    ) -> Outgoing {
        if queued.is_empty() {
            return Outgoing { number: None, verdict: Verdict::Accepted };
        }
        let life = |line: &Line| {
            live(config, about, line, queued, text);
            ENDED
        };
        match boxes.fork("queue", life) {
            Ok(number) => Outgoing { number: Some(number), verdict: Verdict::Accepted },
            Err(error) => {
                log::warn!("{about}: fork: {}", reason(&error));
                Outgoing { number: None, verdict: Verdict::Unusable }
            }
        }
    }

    /// Returns whether the letter goes to no recipient elsewhere.
    pub(super) fn has_nothing(&self) -> bool {
        self.number.is_none() && self.verdict == Verdict::Accepted
    }

    /// Waits until the letter is written, or is in the queue.
    pub(super) fn receive(&mut self, boxes: &mut Boxes, until: Instant) {
        let Some(number) = self.number else { return };
        let answer = boxes.receive(number, until).and_then(|answer| Verdict::decode(&answer));
        self.verdict = answer.unwrap_or(Verdict::Unusable);
        if self.verdict != Verdict::Accepted {
            self.end(boxes);
        }
    }

    /// Has the letter put into the queue. It may be sent from then on, so this comes last, when nothing else can fail.
    pub(super) fn publish(&mut self, boxes: &mut Boxes, until: Instant) {
        let Some(number) = self.number else { return };
        if let Err(error) = boxes.send(number, &[PUBLISH], None) {
            log::debug!("queue: {}", reason(&error));
        }
        self.receive(boxes, until);
    }

    /// Ends the process: what is not in the queue is forgotten.
    pub(super) fn end(&mut self, boxes: &mut Boxes) {
        if let Some(number) = self.number.take() {
            boxes.end(number);
        }
    }
}

/// The life of the process that puts the letter into the queue.
fn live(config: &Config, about: &str, line: &Line, queued: &[Leaving], text: &Text) {
    let tell = |failed: Option<Failure>| {
        let verdict = failed.map_or(Verdict::Accepted, |Failure { verdict, why }| {
            log::warn!("{about}: {why}");
            verdict
        });
        let is_told = line.send_message(&verdict.encode()).is_ok();
        is_told && verdict == Verdict::Accepted
    };
    let written = queue::enter(config).and_then(|queue| queue::write(&queue, queued, text));
    let letters = match written {
        Ok(letters) => letters,
        Err(failure) => {
            tell(Some(failure));
            return;
        }
    };
    let may_go_on = tell(None);
    let is_ordered = |it| matches!(it, Ok(Some((order, _))) if order == [PUBLISH]);
    if may_go_on && is_ordered(line.receive_message(ORDER_WAIT)) {
        tell(queue::publish(about, letters).err());
    }
}
