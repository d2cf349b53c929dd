//! A transfer of `--single-port`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forknet::{LogFile, Sender, Slot, UdpLoop};
use nix::errno::Errno;
use nix::unistd::Pid;
use sys::gso::Bursts;

use super::limits::dally_time;
use super::transfer_log::{Subject, TransferLine};
use crate::error::Error;
use crate::transfer::channel::{FIRST_PAUSE, MAX_PAUSE};
use crate::transfer::packets::Packets;
use crate::transfer::side::Side;
use crate::transfer::{Step, Transfer};
use crate::wire::error_code::ErrorCode;
use crate::wire::packet::{self, Packet, describe};
use crate::wire::request::Mode;

/// A transfer, its client, and its description for the log.
pub(super) struct TransferEntry {
    pub(super) client: Sender,
    pub(super) transfer: Transfer<Box<dyn Side>>,
    /// The datagram of the request.
    pub(super) request: Vec<u8>,
    /// The request for the log, with the options that were granted.
    pub(super) description: String,
    pub(super) started_at: Instant,
    pub(super) slot: Slot,
    pub(super) state: State,
    /// `--transfer-log`, and the file's name below the root.
    pub(super) transfer_log: Option<Box<(LogFile, Vec<u8>)>>,
    /// The deadline that the table has queued.
    pub(super) queued_deadline: Option<Instant>,
    /// Bytes of the current packets that were sent.
    sent: usize,
    bursts: Bursts,
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The peer.
    Active,
    /// Room in the socket or the network interface. Tries again at `until`, after this pause.
    NoRoom { until: Instant, pause: Duration },
    /// The helper process that commits the file, until `until` at the latest.
    Committing { helper: Pid, until: Instant },
    /// The peer's repetition of its last block, in case the last ACK was lost.
    Dallying,
}

impl TransferEntry {
    /// Creates an entry that has not sent anything yet. The request is given as received, and as
    /// described in the log.
    pub(super) fn new(
        client: Sender,
        transfer: Transfer<Box<dyn Side>>,
        (request, description): (Vec<u8>, String),
        started_at: Instant,
        slot: Slot,
    ) -> TransferEntry {
        TransferEntry {
            client,
            transfer,
            request,
            description,
            started_at,
            slot,
            state: State::Active,
            transfer_log: None,
            queued_deadline: None,
            sent: 0,
            bursts: Bursts::default(),
        }
    }

    /// Handles a datagram from the peer.
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

    /// Sends the packets that are not sent yet. Packets without room after the longest pause count
    /// as lost, and so do packets that fail for another reason.
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

    /// Sends a packet other than the side's current ones.
    pub(super) fn answer(&mut self, socket: &mut UdpLoop, packet: &[u8]) {
        self.slot.counters().sent(packet.len());
        let _ = socket.send(&self.client, packet, packet.len(), &mut self.bursts); // best effort
        trace_sent(socket, &self.client, Packets::single(packet));
    }

    /// Starts a helper process that commits the file. If that fails, commits it in this process.
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

    /// Sends the last ACK if the helper process has exited with 0. Any other exit code is an errno.
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

    /// Logs the transfer's line.
    pub(super) fn log(&self, result: &Result<(), Error>) {
        let (peer, side) = (self.client.peer(), &*self.transfer.side);
        let line = TransferLine {
            peer,
            request: &self.description,
            side,
            unexpected: self.transfer.unexpected,
            started_at: self.started_at,
            result,
        };
        let also = self.transfer_log.as_ref().and_then(|both| {
            let (log, file) = &**both;
            let Ok(Packet::Request(request)) = Packet::parse(&self.request) else { return None };
            let mode = Mode::parse(request.mode)?;
            Some((log, Subject { direction: request.direction, mode, file }))
        });
        line.log(also);
    }
}

/// Sends an ERROR to the peer if this end has failed.
pub(super) fn send_error(socket: &mut UdpLoop, client: &Sender, error: &Error) {
    if let Error::Denied { code, reason } = error {
        let packet = packet::error(*code, reason);
        let _ = socket.send(client, &packet, packet.len(), &mut Bursts::default()); // best effort
        trace_sent(socket, client, Packets::single(&packet));
    }
}

/// Writes sent packets to the transcript.
fn trace_sent(socket: &mut UdpLoop, to: &Sender, packets: Packets<'_>) {
    let transcript = socket.transcript();
    if transcript.is_on() {
        transcript.set_peer(to.peer());
        packets.iter().for_each(|packet| transcript.server(describe(packet).as_bytes()));
    }
}

/// Writes the current datagram, from `peer`, to the transcript.
pub(super) fn trace_received(socket: &mut UdpLoop, peer: SocketAddr) {
    if socket.transcript().is_on() {
        let line = describe(socket.datagram());
        let transcript = socket.transcript();
        transcript.set_peer(peer);
        transcript.client(line.as_bytes());
    }
}
