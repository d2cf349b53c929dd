//! One transfer over a socket of its own, from its first packet to its last.
//!
//! Slide "Сценарий работы": whoever has sent a block waits for its ACK, and only then sends the
//! next one.

use std::time::{Duration, Instant};

use forknet::{Awake, Progress};

use crate::channel::Channel;
use crate::failure::Failure;
use crate::timer::Limits;
use crate::transfer::{Half, Stage, Step, Transfer};
use crate::window::Packets;

/// How often to look whether the request has come again, as long as it was not answered: it is answered
/// no sooner.
const LOOK: Duration = Duration::from_millis(200);
/// The same later, when only a client that begins anew sends it again; as long as the usual time-out, so
/// that the socket's need not be set anew.
const RARE_LOOK: Duration = Duration::from_secs(1);
/// How long to look into the socket at least before a request is answered that has come again.
const GLANCE: Duration = Duration::from_millis(1);

/// A transfer and the way to its peer.
pub struct Conversation<'a, H> {
    /// Our half and its clock.
    pub transfer: Transfer<H>,
    /// The way to the other half.
    pub channel: Channel<'a>,
    awake: Awake,
    /// Where the parent says that the request has come again.
    requests: Option<Progress>,
    /// When the last wait ended: with a datagram, or without.
    came: Instant,
}

impl<'a, H: Half> Conversation<'a, H> {
    /// One that has yet to [`run`](Conversation::run), at once.
    pub fn new(half: H, channel: Channel<'a>, limits: Limits) -> Conversation<'a, H> {
        let now = Instant::now();
        let transfer = Transfer::new(half, limits, now);
        Conversation { transfer, channel, awake: Awake::default(), requests: None, came: now }
    }

    /// The same, where the parent gets the requests, and tells of those that come again.
    #[must_use]
    pub fn asked_through(self, progress: Progress) -> Conversation<'a, H> {
        Conversation { requests: Some(progress), ..self }
    }

    /// Runs it to its end; the peer is told of a failure that is ours. After success the
    /// receiving end should [`dally`](Conversation::dally).
    ///
    /// # Errors
    /// [`Failure`] says why the file did not get across.
    pub fn run(&mut self) -> Result<(), Failure> {
        let result = self.converse();
        if let Err(Failure::Denied { code, reason }) = &result {
            self.channel.send_error(*code, reason);
        }
        result
    }

    fn converse(&mut self) -> Result<(), Failure> {
        let mut step = Step::Send;
        loop {
            match step {
                Step::Wait => (),
                Step::Send => {
                    self.channel.send(self.transfer.half.packets())?;
                    self.transfer.sent(Instant::now());
                    if self.transfer.half.meanwhile()? {
                        self.transfer.free(Instant::now());
                    }
                }
                Step::Answer(packet) => self.channel.send(Packets::one(&packet))?,
                Step::Keep => {
                    self.transfer.half.keep().map_err(|error| Failure::io(&error))?;
                    return self.channel.send(self.transfer.half.packets()).or(Ok(()));
                }
                Step::End => return Ok(()),
            }
            step = self.next()?;
        }
    }

    /// Waits for the peer or the clock.
    fn next(&mut self) -> Result<Step, Failure> {
        if self.channel.next_of_row() {
            return self.transfer.receive(self.channel.datagram(), self.came);
        }
        // What may be the last packet, after which the peer asks anew.
        self.channel.timed(self.transfer.half.stage() != Stage::Blocks);
        let awake = self.awake.time(self.transfer.round_trip());
        let deadline = self.deadline()?;
        let came = self.channel.receive(deadline, awake)?;
        self.came = Instant::now();
        if let Some(found) = self.channel.looked() {
            self.awake.looked(found);
        }
        if came {
            self.transfer.receive(self.channel.datagram(), self.came)
        } else {
            self.transfer.clock(self.came)
        }
    }

    /// Until when to wait.
    fn deadline(&mut self) -> Result<Instant, Failure> {
        let Some(progress) = self.requests else { return Ok(self.transfer.deadline()) };
        let look = self.came + if self.transfer.is_proven() { RARE_LOOK } else { LOOK };
        let Some(again) = progress.asked_again() else {
            return Ok(self.transfer.deadline().min(look));
        };
        let (now, ago) = (Instant::now(), again.elapsed().unwrap_or_default());
        self.transfer.asked_again(now.checked_sub(ago).unwrap_or(now))?;
        Ok(self.transfer.deadline().clamp(now + GLANCE, now + LOOK)) // the answer may be there
    }

    /// Stays after the last ACK, to send it again if it was lost. Ends when the peer was quiet for
    /// `wait`, or is gone.
    pub fn dally(&mut self, wait: Duration) {
        self.transfer.dally(wait, Instant::now());
        self.requests = None;
        loop {
            match self.next() {
                Ok(Step::Answer(packet)) if self.channel.send(Packets::one(&packet)).is_ok() => (),
                Ok(Step::Wait) => (),
                _ => return,
            }
        }
    }
}
