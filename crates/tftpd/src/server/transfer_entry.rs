//! One of the transfers that a process with a single port serves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forknet::{Sender, Slot, UdpLoop};
use nix::errno::Errno;
use nix::unistd::Pid;
use sys::gso::Bursts;

use super::limits::dally_time;
use super::transfer_log::TransferLine;
use crate::error::Error;
use crate::transfer::channel::{FIRST_PAUSE, MAX_PAUSE};
use crate::transfer::packets::Packets;
use crate::transfer::side::Side;
use crate::transfer::{Step, Transfer};
use crate::wire::error_code::ErrorCode;
use crate::wire::packet::{self, describe};

/// A transfer, its client, and what the log says of it.
pub(super) struct TransferEntry {
    pub(super) client: Sender,
    pub(super) transfer: Transfer<Box<dyn Side>>,
    /// The datagram of the request.
    pub(super) request: Vec<u8>,
    /// The request for the log, with the options that were granted.
    pub(super) shown: String,
    pub(super) since: Instant,
    pub(super) slot: Slot,
    pub(super) state: State,
    /// The deadline that the table has noted.
    pub(super) noted_deadline: Option<Instant>,
    /// Bytes of the present packets that were sent.
    sent: usize,
    bursts: Bursts,
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The peer.
    Active,
    /// Room in the socket or the network interface: tries again at `until`, after this pause.
    NoRoom { until: Instant, pause: Duration },
    /// The helper process that commits the file, until `until` at the latest.
    Committing { helper: Pid, until: Instant },
    /// The peer's repetition of its last block, in case the last ACK was lost.
    Dallying,
}

impl TransferEntry {
    /// Makes one that has yet to send its first packets; `request` as it came, and for the log.
    pub(super) fn new(
        client: Sender,
        transfer: Transfer<Box<dyn Side>>,
        (request, shown): (Vec<u8>, String),
        since: Instant,
        slot: Slot,
    ) -> TransferEntry {
        TransferEntry {
            client,
            transfer,
            request,
            shown,
            since,
            slot,
            state: State::Active,
            noted_deadline: None,
            sent: 0,
            bursts: Bursts::default(),
        }
    }

    /// Takes a datagram of the peer's.
    pub(super) fn on_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<Step, Error> {
        self.slot.counters().received(datagram.len());
        self.transfer.on_datagram(datagram, now)
    }

    /// Returns when to call [`TransferEntry::on_deadline`].
    pub(super) fn deadline(&self) -> Instant {
        match self.state {
            State::Active | State::Dallying => self.transfer.deadline(),
            State::NoRoom { until, .. } | State::Committing { until, .. } => until,
        }
    }

    /// Decides what to do at the deadline, which may not have come yet.
    pub(super) fn on_deadline(
        &mut self,
        socket: &mut UdpLoop,
        now: Instant,
    ) -> Result<Step, Error> {
        match self.state {
            State::NoRoom { until, pause } if until <= now => {
                self.send_rest(socket, pause * 2);
                Ok(Step::Wait)
            }
            State::NoRoom { .. } => Ok(Step::Wait),
            State::Committing { until, .. } if until <= now => {
                Err(Error::denied(ErrorCode::NotDefined, "The disk takes too long"))
            }
            State::Committing { .. } => Ok(Step::Wait),
            State::Active | State::Dallying => self.transfer.on_deadline(now),
        }
    }

    /// Sends the side's packets.
    pub(super) fn send(&mut self, socket: &mut UdpLoop) {
        self.sent = 0;
        trace_sent(socket, &self.client, self.transfer.side.packets());
        self.send_rest(socket, FIRST_PAUSE);
    }

    /// Lets the side work ahead while the peer is busy.
    pub(super) fn work_ahead(&mut self) -> Result<(), Error> {
        if self.transfer.side.work_ahead()? {
            self.transfer.on_busy(Instant::now());
        }
        Ok(())
    }

    /// Sends the packets for which there was no room. What finds none for too long counts as lost,
    /// and so does what is refused for another reason.
    fn send_rest(&mut self, socket: &mut UdpLoop, mut pause: Duration) {
        let Packets { size, pieces: [first, second] } = self.transfer.side.packets();
        let before = self.sent;
        let has_no_room = loop {
            let row = match first.get(self.sent..).unwrap_or_default() {
                [] => second.get(self.sent.saturating_sub(first.len())..).unwrap_or_default(),
                row => row,
            };
            if row.is_empty() {
                break false;
            }
            match socket.send(&self.client, row, size, &mut self.bursts) {
                Ok(sent) => {
                    self.sent += sent;
                    pause = FIRST_PAUSE;
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS) => break pause <= MAX_PAUSE,
                Err(_) => self.sent += size.min(row.len()),
            }
        };
        self.slot.counters().sent(self.sent - before);
        let now = Instant::now();
        if let State::Active | State::NoRoom { .. } = self.state {
            self.state = match has_no_room {
                true => State::NoRoom { until: now + pause, pause },
                false => State::Active,
            };
        }
        self.transfer.on_sent(now);
    }

    /// Sends a packet that is not the side's present one.
    pub(super) fn answer(&mut self, socket: &mut UdpLoop, packet: &[u8]) {
        self.slot.counters().sent(packet.len());
        let _ = socket.send(&self.client, packet, packet.len(), &mut self.bursts); // best effort
        trace_sent(socket, &self.client, Packets::single(packet));
    }

    /// Starts a helper process that commits the file, for as long as the disk takes. Without one
    /// the file is committed here.
    pub(super) fn commit(&mut self, socket: &mut UdpLoop, until: Instant) -> Result<(), Error> {
        let side = &mut self.transfer.side;
        let work = || side.commit().map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0);
        match socket.spawn(self.client.peer(), work) {
            Ok(helper) => {
                self.state = State::Committing { helper, until };
                Ok(())
            }
            Err(_) => {
                self.transfer.side.commit().map_err(|error| Error::from_io(&error))?;
                self.on_committed(socket, Some(0))
            }
        }
    }

    /// Sends the last ACK after the helper process has ended with code 0; any other code is an
    /// errno.
    pub(super) fn on_committed(
        &mut self,
        socket: &mut UdpLoop,
        code: Option<i32>,
    ) -> Result<(), Error> {
        if let Some(errno) = code.filter(|code| *code != 0) {
            return Err(Error::from_errno(Errno::from_raw(errno)));
        }
        if code.is_none() {
            return Err(Error::denied(ErrorCode::NotDefined, "The file was not kept"));
        }
        self.transfer.side.on_committed();
        self.state = State::Dallying;
        self.send(socket);
        self.log(&Ok(()));
        let interval = self.transfer.side.options().timeout;
        self.transfer.dally(dally_time(self.transfer.is_lossless, interval), Instant::now());
        Ok(())
    }

    /// Writes the one line of the transfer.
    pub(super) fn log(&self, result: &Result<(), Error>) {
        let (peer, side) = (self.client.peer(), &*self.transfer.side);
        TransferLine { peer, request: &self.shown, side, since: self.since, result }.log();
    }
}

/// Sends an ERROR to the peer, where the failure is ours.
pub(super) fn send_error(socket: &mut UdpLoop, client: &Sender, error: &Error) {
    if let Error::Denied { code, reason } = error {
        let packet = packet::error(*code, reason);
        let _ = socket.send(client, &packet, packet.len(), &mut Bursts::default()); // best effort
        trace_sent(socket, client, Packets::single(&packet));
    }
}

/// Writes packets that were sent into the transcript.
fn trace_sent(socket: &mut UdpLoop, to: &Sender, packets: Packets<'_>) {
    let transcript = socket.transcript();
    if transcript.is_on() {
        transcript.set_peer(to.peer());
        packets.iter().for_each(|packet| transcript.server(describe(packet).as_bytes()));
    }
}

/// Writes the present datagram, which this peer has sent, into the transcript.
pub(super) fn trace_received(socket: &mut UdpLoop, peer: SocketAddr) {
    if socket.transcript().is_on() {
        let line = describe(socket.datagram());
        let transcript = socket.transcript();
        transcript.set_peer(peer);
        transcript.client(line.as_bytes());
    }
}
