//! One of the transfers that a process with a single port serves.

use std::time::{Duration, Instant};

use forknet::{Bursts, Caller, Postbox, Progress};
use nix::errno::Errno;

use crate::channel::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::failure::Failure;
use crate::packet::{self, Code, describe};
use crate::server::dally;
use crate::service::Line;
use crate::transfer::{Half, Step, Transfer};
use crate::window::Packets;

/// A transfer, its peer, and what the log says of it.
pub(crate) struct Served {
    pub(crate) caller: Caller,
    pub(crate) transfer: Transfer<Box<dyn Half>>,
    /// The datagram that asked for it.
    pub(crate) request: Vec<u8>,
    /// The same for the log, with the options that were granted.
    pub(crate) shown: String,
    pub(crate) since: Instant,
    pub(crate) progress: Progress,
    pub(crate) state: State,
    /// When the desk has noted to look at it.
    pub(crate) due: Option<Instant>,
    /// Octets of the present packets that were sent.
    sent: usize,
    bursts: Bursts,
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The peer.
    Underway,
    /// Room in the socket or the network interface, until then, and after a pause of so long.
    Congested(Instant, Duration),
    /// This process, which keeps the file and must have done so by then.
    Keeping(i32, Instant),
    /// It is complete, and only there in case the last ACK was lost.
    Lingering,
}

impl Served {
    /// One that has yet to send its first packets; `request` as it came, and for the log.
    pub(crate) fn new(
        caller: Caller,
        transfer: Transfer<Box<dyn Half>>,
        (request, shown): (Vec<u8>, String),
        since: Instant,
        progress: Progress,
    ) -> Served {
        Served {
            caller,
            transfer,
            request,
            shown,
            since,
            progress,
            state: State::Underway,
            due: None,
            sent: 0,
            bursts: Bursts::default(),
        }
    }

    /// A datagram of the peer's.
    pub(crate) fn receive(&mut self, datagram: &[u8], now: Instant) -> Result<Step, Failure> {
        self.progress.received(datagram.len());
        self.transfer.receive(datagram, now)
    }

    /// When [`Served::clock`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        match self.state {
            State::Underway | State::Lingering => self.transfer.deadline(),
            State::Congested(until, _) => until,
            State::Keeping(_, until) => until,
        }
    }

    pub(crate) fn clock(&mut self, postbox: &mut Postbox, now: Instant) -> Result<Step, Failure> {
        match self.state {
            State::Congested(until, pause) if until <= now => {
                self.send_rest(postbox, pause * 2);
                Ok(Step::Wait)
            }
            State::Congested(..) => Ok(Step::Wait),
            State::Keeping(_, until) if until <= now => {
                Err(Failure::denied(Code::NotDefined, "The disk takes too long"))
            }
            State::Keeping(..) => Ok(Step::Wait),
            _ => self.transfer.clock(now),
        }
    }

    /// Sends the half's packets.
    pub(crate) fn send(&mut self, postbox: &mut Postbox) {
        self.sent = 0;
        write_down(postbox, &self.caller, self.transfer.half.packets());
        self.send_rest(postbox, FIRST_PAUSE);
    }

    /// Goes on where there was no room. What finds none for too long counts as lost, and so does what
    /// is refused for another reason.
    fn send_rest(&mut self, postbox: &mut Postbox, mut pause: Duration) {
        let Packets { size, pieces: [first, second] } = self.transfer.half.packets();
        let before = self.sent;
        let congested = loop {
            let row = match first.get(self.sent..).unwrap_or_default() {
                [] => second.get(self.sent.saturating_sub(first.len())..).unwrap_or_default(),
                row => row,
            };
            if row.is_empty() {
                break false;
            }
            match postbox.send(&self.caller, row, size, &mut self.bursts) {
                Ok(sent) => {
                    self.sent += sent;
                    pause = FIRST_PAUSE;
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS) => break pause <= LONGEST_PAUSE,
                Err(_) => self.sent += size.min(row.len()),
            }
        };
        self.progress.sent(self.sent - before);
        let now = Instant::now();
        if let State::Underway | State::Congested(..) = self.state {
            self.state =
                if congested { State::Congested(now + pause, pause) } else { State::Underway };
        }
        self.transfer.sent(now);
    }

    /// Sends a packet that is not the half's present one.
    pub(crate) fn answer(&mut self, postbox: &mut Postbox, packet: &[u8]) {
        self.progress.sent(packet.len());
        let _lost = postbox.send(&self.caller, packet, packet.len(), &mut self.bursts);
        write_down(postbox, &self.caller, Packets::one(packet));
    }

    /// All blocks have come: a process of its own makes the file durable and visible, for as long as
    /// the disk takes. Without one it is done here.
    pub(crate) fn keep(&mut self, postbox: &mut Postbox, until: Instant) -> Result<(), Failure> {
        let half = &mut self.transfer.half;
        let work = || half.keep().map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0);
        match postbox.errand(self.caller.peer, work) {
            Ok(errand) => {
                self.state = State::Keeping(errand, until);
                Ok(())
            }
            Err(_) => {
                self.transfer.half.keep().map_err(|error| Failure::io(&error))?;
                self.kept(postbox, Some(0))
            }
        }
    }

    /// That process has ended with this code: 0, or the errno of what it could not do.
    pub(crate) fn kept(&mut self, postbox: &mut Postbox, code: Option<i32>) -> Result<(), Failure> {
        if let Some(errno) = code.filter(|code| *code != 0) {
            return Err(Failure::file(Errno::from_raw(errno)));
        }
        if code.is_none() {
            return Err(Failure::denied(Code::NotDefined, "The file was not kept"));
        }
        self.transfer.half.kept();
        self.state = State::Lingering;
        self.send(postbox);
        self.log(&Ok(()));
        let interval = self.transfer.half.options().timeout;
        self.transfer.dally(dally(self.transfer.smooth, interval), Instant::now());
        Ok(())
    }

    /// The one line of the transfer.
    pub(crate) fn log(&self, result: &Result<(), Failure>) {
        let (peer, half) = (self.caller.peer, &*self.transfer.half);
        Line { peer, request: &self.shown, half, since: self.since, result }.log();
    }
}

/// An ERROR to the peer, where the failure is ours.
pub(crate) fn tell(postbox: &mut Postbox, caller: &Caller, failure: &Failure) {
    if let Failure::Denied { code, reason } = failure {
        let packet = packet::error(*code, reason);
        let _lost = postbox.send(caller, &packet, packet.len(), &mut Bursts::default());
        write_down(postbox, caller, Packets::one(&packet));
    }
}

/// Into the transcript.
fn write_down(postbox: &mut Postbox, to: &Caller, packets: Packets<'_>) {
    if postbox.transcript.is_on() {
        postbox.transcript.turn_to(to.peer);
        packets.iter().for_each(|packet| postbox.transcript.server(describe(packet).as_bytes()));
    }
}
