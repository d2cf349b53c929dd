//! tftpd's side, a process for each transfer: one request, answered from a port of its own
//! (RFC 1350 §4; slide "Протокол TFTP").

use std::io;
use std::time::{Duration, Instant, SystemTime};

use forknet::in_title;

use crate::channel::{Channel, Trace, Way};
use crate::conversation::Conversation;
use crate::failure::Failure;
use crate::options::Config;
use crate::packet::{Direction, describe};
use crate::service::{self, Asked, Line, log_refusal};
use crate::timer::Limits;
use crate::transfer::Half;

/// How often the first packet is sent while nothing proves that the request's address is not
/// forged: a server must not be a gun that shoots at others.
pub const UNPROVEN_SENDS: u32 = 3;
/// How long an upload's process stays after its last ACK (RFC 1350 §6): longer than the five
/// seconds after which the usual clients send their last block again.
const DALLY: Duration = Duration::from_millis(5500);
/// The same where something was lost before: longer than the eight seconds to which a time-out of
/// tftpc may have been doubled.
const DALLY_IN_LOSS: Duration = Duration::from_secs(12);

/// How long to stay after an upload, which went smoothly or not, with a client that sends again after
/// this interval, where it was agreed upon.
#[must_use]
pub fn dally(smooth: bool, interval: Option<Duration>) -> Duration {
    let usual = if smooth { DALLY } else { DALLY_IN_LOSS };
    usual.max(interval.unwrap_or_default() * 5 / 4)
}

/// One transfer, from its request to its end, with one line in the log.
///
/// # Errors
/// The process could not be prepared; what happens to the transfer is the client's and the
/// log's business.
pub fn answer(request: &mut forknet::Request, config: &Config) -> io::Result<()> {
    let forknet::Request { data, peer, socket, progress, transcript, title, .. } = request;
    if transcript.is_on() {
        transcript.client(describe(data).as_bytes());
    }
    let progress = *progress;
    let trace: Trace<'_> = Box::new(move |way, packet| {
        match way {
            Way::In => progress.received(packet.len()),
            Way::Out => progress.sent(packet.len()),
        }
        match way {
            _ if !transcript.is_on() => (),
            Way::In => transcript.client(describe(packet).as_bytes()),
            Way::Out => transcript.server(describe(packet).as_bytes()),
        }
    });
    let (idle, whole) = (request.timeout, request.deadline);
    let limits = Limits { retries: config.retries, unproven_sends: UNPROVEN_SENDS, idle, whole };
    let channel = Channel::to(socket, *peer, trace);
    let child = Child { config, limits, since: Instant::now(), progress, title: *title };
    match service::read(config, data, *peer) {
        Ok(asked) => child.serve(&asked, channel),
        Err(failure) => child.refuse(channel, &describe(data), &failure),
    }
    Ok(())
}

/// What answering one request needs.
struct Child<'c> {
    config: &'c Config,
    limits: Limits,
    since: Instant,
    progress: forknet::Progress,
    title: forknet::Title,
}

impl Child<'_> {
    fn serve(&self, asked: &Asked<'_>, channel: Channel<'_>) {
        let direction = asked.request.direction;
        self.title.set(format_args!("{direction} {}", in_title(asked.request.name)));
        match direction {
            Direction::Read => self.send(asked, channel),
            Direction::Write => self.receive(asked, channel.takes_data()),
        }
    }

    /// RRQ.
    fn send(&self, asked: &Asked<'_>, channel: Channel<'_>) {
        match service::sender(self.config, asked, self.config.caps) {
            Ok((sender, granted)) => {
                let conversation = Conversation::new(sender, channel, self.limits);
                let mut conversation = conversation.asked_through(self.progress);
                let result = conversation.run();
                self.log(&asked.shown(&granted), &conversation, &result);
                self.done(&conversation, &result);
            }
            Err(failure) => self.refuse(channel, &asked.to_string(), &failure),
        }
    }

    /// WRQ.
    fn receive(&self, asked: &Asked<'_>, channel: Channel<'_>) {
        let progress = self.progress;
        // Before the last ACK: who has that may ask anew at once.
        let kept = move || progress.done(SystemTime::now());
        let room = |octets| channel.expect_rows(octets);
        match service::receiver(self.config, asked, self.config.caps, room, kept) {
            Ok((receiver, granted)) => {
                let conversation = Conversation::new(receiver, channel, self.limits);
                let mut conversation = conversation.asked_through(progress);
                let result = conversation.run();
                self.log(&asked.shown(&granted), &conversation, &result);
                if result.is_ok() {
                    self.progress.lingers();
                    let name = in_title(asked.request.name);
                    self.title.set(format_args!("{} {name} complete", Direction::Write));
                    let interval = conversation.transfer.half.options().timeout;
                    conversation.dally(dally(conversation.transfer.smooth, interval));
                } else {
                    self.done(&conversation, &result);
                }
            }
            Err(failure) => self.refuse(channel, &asked.to_string(), &failure),
        }
    }

    /// What comes after the packet that ended the transfer is not part of it: the same request is
    /// a new one then. A peer that ended nothing may ask anew from now on.
    fn done<H: Half>(&self, conversation: &Conversation<'_, H>, result: &Result<(), Failure>) {
        self.progress.done(match result {
            Err(Failure::Silent | Failure::Gone | Failure::Socket(_)) => SystemTime::now(),
            _ => conversation.channel.heard(),
        });
    }

    fn refuse(&self, mut channel: Channel<'_>, request: &str, failure: &Failure) {
        self.progress.done(SystemTime::now()); // before the ERROR: who has that may ask anew at once
        if let Failure::Denied { code, reason } = failure {
            channel.send_error(*code, reason);
        }
        log_refusal(channel.peer(), request, self.since, failure);
    }

    fn log<H: Half>(
        &self,
        request: &str,
        conversation: &Conversation<'_, H>,
        result: &Result<(), Failure>,
    ) {
        let (peer, half) = (conversation.channel.peer(), &conversation.transfer.half);
        Line { peer, request, half, since: self.since, result }.log();
    }
}
