//! `--single-port`: one process and one port for all transfers, which differ by their peers.
//!
//! Slide "UDP Echo Server: dg_echo": receive a datagram, answer it, repeat. Each transfer has its
//! own side and timer, as in a process of its own, but the process never waits for a single
//! transfer. Reading and sending a block does not block. Committing an upload blocks on the disk,
//! so a helper process does that while the other transfers go on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forknet::{Event, Refusal, Sender, Slot, UdpLoop};
use nix::unistd::Pid;

use super::event_wait::EventWait;
use super::limits::{patience, retry_limits};
use super::request::{ValidRequest, is_request, is_whole_request, open_receiver, open_sender};
use super::transfer_entry::{State, TransferEntry, send_error, trace_received};
use super::transfer_log::log_refusal;
use crate::error::Error;
use crate::options::Config;
use crate::transfer::side::Side;
use crate::transfer::timer::RetryLimits;
use crate::transfer::{Step, Transfer};
use crate::wire::negotiation::MaxOptions;
use crate::wire::packet::describe;
use crate::wire::request::Direction;

/// Largest window in bytes. All transfers share one socket and the memory of one process.
const MAX_WINDOW_BYTES: usize = 256 << 10;

/// Most requests that wait for a place (`--over queue`); of more, the oldest are forgotten, and asked again.
const MAX_WAITING: usize = 1024;
/// Longest wait of a request: its client has asked again since, or has gone.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A request that waits for a place.
struct Waiting {
    client: Sender,
    request: Vec<u8>,
    since: Instant,
}

/// The transfers of one process.
struct TransferTable<'c> {
    config: &'c Config,
    limits: RetryLimits,
    entries: HashMap<SocketAddr, TransferEntry>,
    /// The deadlines of the transfers. An item may be outdated: see `queued_deadline`.
    deadlines: BinaryHeap<Reverse<(Instant, SocketAddr)>>,
    waiting: VecDeque<Waiting>,
}

/// Serves all clients until SIGTERM.
///
/// # Errors
/// ppoll(2) failed.
pub fn serve(socket: &mut UdpLoop, config: &Config) -> forknet::Result<()> {
    let (idle, whole) = socket.timeouts();
    let limits = retry_limits(config.retries, idle, whole);
    let (entries, deadlines, waiting) = (HashMap::new(), BinaryHeap::new(), VecDeque::new());
    let mut table = TransferTable { config, limits, entries, deadlines, waiting };
    let mut wait = EventWait::new();
    loop {
        let deadline = table.deadlines.peek().map(|Reverse((at, _))| *at);
        match wait.next(socket, deadline, table.client_count(socket))? {
            Event::Datagram(client) => table.on_datagram(socket, client),
            Event::Gone(peer) => table.end(socket, peer, &Err(Error::PortClosed)),
            Event::HelperEnded(helper, code) => table.on_helper_exit(socket, helper, code),
            Event::TableWanted => table.log(),
            Event::Time => (),
            Event::Stop => return Ok(()),
        }
        table.check_deadlines(socket);
        table.begin_waiting(socket);
    }
}

impl TransferTable<'_> {
    /// Returns the number of clients being served. While the server stops, dallying transfers do
    /// not count.
    fn client_count(&self, socket: &UdpLoop) -> usize {
        if !socket.is_stopping() {
            return self.entries.len();
        }
        self.entries.values().filter(|entry| entry.state != State::Dallying).count()
    }

    /// Handles a datagram: a packet of a transfer, or a request.
    fn on_datagram(&mut self, socket: &mut UdpLoop, client: Sender) {
        let (peer, data) = (client.peer(), socket.datagram());
        let is_request = is_request(data);
        if is_request || self.entries.contains_key(&peer) {
            trace_received(socket, peer);
        }
        let Some(entry) = self.entries.get_mut(&peer) else {
            match is_request {
                true => self.begin(socket, client, socket.datagram().to_vec()),
                false => socket.log_not_a_request(peer),
            }
            return;
        };
        match entry.state {
            State::Committing { .. } => (), // the peer will retransmit
            State::Active | State::NoRoom { .. }
                if entry.request == socket.datagram()
                    && client.asks_same_address(&entry.client) =>
            {
                match entry.transfer.on_repeated_request(Instant::now()) {
                    Ok(()) => self.perform(socket, peer, Ok(Step::Wait)),
                    Err(error) => {
                        self.end(socket, peer, &Err(error));
                        self.begin(socket, client, socket.datagram().to_vec());
                    }
                }
            }
            // A different request from the same port means that the client abandoned the first one.
            // After the end any request is a new one. One that is cut short is a packet as others.
            _ if is_whole_request(socket.datagram()) => {
                self.end(socket, peer, &Err(Error::NewRequest));
                self.begin(socket, client, socket.datagram().to_vec());
            }
            _ => {
                let step = entry.on_datagram(socket.datagram(), Instant::now());
                self.perform(socket, peer, step);
            }
        }
    }

    /// Begins a new transfer, refuses it, or lets it wait. A stopping server ignores new requests.
    fn begin(&mut self, socket: &mut UdpLoop, client: Sender, request: Vec<u8>) {
        if socket.is_stopping() {
            return;
        }
        let (peer, started_at) = (client.peer(), Instant::now());
        let slot = match self.acquire(socket, peer) {
            Ok(slot) => slot,
            Err(Refusal::Full(_)) if socket.lets_wait() => return self.wait(client, request),
            Err(refusal) => return socket.refuse(&client, refusal),
        };
        slot.counters().received(request.len());
        let side = ValidRequest::parse(self.config, &request, client.local(), peer)
            .map_err(|error| (error, describe(&request)))
            .and_then(|valid| {
                let side = self.open_side(&valid, socket.receive_buffer());
                let log = self.config.transfer_log.clone();
                let log = log.map(|log| Box::new((log, valid.file.to_vec())));
                side.map(|side| (side, log)).map_err(|error| (error, valid.to_string()))
            });
        match side {
            Ok(((side, description), log)) => {
                let transfer = Transfer::new(side, self.limits, started_at);
                let mut entry =
                    TransferEntry::new(client, transfer, (request, description), started_at, slot);
                entry.transfer_log = log;
                self.entries.insert(peer, entry);
                self.perform(socket, peer, Ok(Step::Send));
            }
            Err((error, description)) => {
                if !matches!(error, Error::Denied { code, .. } if self.config.keeps_silent(code)) {
                    send_error(socket, &client, &error);
                }
                if socket.may_log_unproven() {
                    log_refusal(peer, &description, started_at, &error);
                }
                socket.release(slot);
            }
        }
    }

    /// Lets a request wait. A client that asks again waits once, with its last request.
    fn wait(&mut self, client: Sender, request: Vec<u8>) {
        self.waiting.retain(|other| other.client.peer() != client.peer());
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { client, request, since: Instant::now() });
    }

    /// Begins the transfers that have waited for the places that are free now.
    fn begin_waiting(&mut self, socket: &mut UdpLoop) {
        while let Some(waiting) = self.waiting.front() {
            if !socket.has_place() && !self.can_make_room() {
                return;
            }
            let (peer, is_late) = (waiting.client.peer(), waiting.since.elapsed() >= MAX_WAIT);
            let Some(Waiting { client, request, .. }) = self.waiting.pop_front() else { return };
            if !is_late && !self.entries.contains_key(&peer) {
                self.begin(socket, client, request);
            }
        }
    }

    /// Returns whether a transfer would give way.
    fn can_make_room(&self) -> bool {
        let patience = patience(true);
        self.entries.values().any(|entry| {
            let is_late = entry.started_at.elapsed() >= patience;
            entry.state == State::Dallying || is_late && !entry.transfer.peer_has_answered()
        })
    }

    /// Acquires a slot for one more client. If none is free, ends the transfer that has dallied longest; without one,
    /// that whose client has not answered for the longest time, because its address may be forged.
    fn acquire(&mut self, socket: &mut UdpLoop, peer: SocketAddr) -> Result<Slot, Refusal> {
        loop {
            let full = match socket.admit(peer) {
                Err(full @ (Refusal::Full(_) | Refusal::PerAddress(_))) => full,
                answer => return answer,
            };
            let any = matches!(full, Refusal::Full(_));
            let of_address = |other: &SocketAddr| any || other.ip() == peer.ip();
            let dallies = |entry: &TransferEntry| entry.state == State::Dallying;
            let patience = patience(socket.lets_wait());
            let is_silent = |entry: &TransferEntry| {
                entry.started_at.elapsed() >= patience && !entry.transfer.peer_has_answered()
            };
            let oldest = |gives_way: &dyn Fn(&TransferEntry) -> bool| {
                let all = self.entries.iter();
                let fit = all.filter(|(other, entry)| of_address(other) && gives_way(entry));
                fit.min_by_key(|(_, entry)| entry.started_at).map(|(other, _)| *other)
            };
            if let Some(other) = oldest(&dallies) {
                self.end(socket, other, &Ok(()));
                continue;
            }
            let other = oldest(&is_silent).ok_or(full)?;
            socket.log_gave_way(other, "not answered");
            if let Some(entry) = self.entries.remove(&other) {
                socket.release(entry.slot);
            }
        }
    }

    /// Opens the file of a request. Returns the side that answers it, and the request for the log.
    fn open_side(
        &self,
        request: &ValidRequest<'_>,
        receive_buffer: usize,
    ) -> Result<(Box<dyn Side>, String), Error> {
        let max = self.config.max_options;
        let max = MaxOptions { window_bytes: max.window_bytes.min(MAX_WINDOW_BYTES), ..max };
        let (side, granted): (Box<dyn Side>, _) = match request.raw.direction {
            Direction::Read => {
                let (sender, granted) = open_sender(request, max)?;
                (Box::new(sender), granted)
            }
            Direction::Write => {
                let half = |_| receive_buffer / 2; // the rest is for other clients
                let (receiver, granted) = open_receiver(self.config, request, max, half, || ())?;
                (Box::new(receiver), granted)
            }
        };
        Ok((side, request.describe(&granted)))
    }

    /// Performs a step of a transfer, and queues its next deadline.
    fn perform(&mut self, socket: &mut UdpLoop, peer: SocketAddr, step: Result<Step, Error>) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let done = match step {
            Ok(Step::Wait) => Ok(()),
            Ok(Step::Send) => {
                entry.send(socket);
                entry.transfer.work_ahead()
            }
            Ok(Step::Answer(packet)) => {
                entry.answer(socket, &packet);
                Ok(())
            }
            Ok(Step::Commit) => entry.commit(socket, Instant::now() + self.limits.whole),
            Ok(Step::End) => return self.end(socket, peer, &Ok(())),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            return self.end(socket, peer, &Err(error));
        }
        let deadline = entry.deadline();
        if entry.queued_deadline.is_none_or(|queued| deadline < queued) {
            entry.queued_deadline = Some(deadline);
            self.deadlines.push(Reverse((deadline, peer)));
        }
    }

    /// Handles the transfers whose deadline has passed.
    fn check_deadlines(&mut self, socket: &mut UdpLoop) {
        while let Some(Reverse((at, peer))) = self.deadlines.peek().copied() {
            let now = Instant::now();
            if at > now {
                return;
            }
            self.deadlines.pop();
            // Other items belong to a transfer that has ended, or was queued again with an earlier
            // deadline.
            let entry = self.entries.get_mut(&peer);
            if let Some(entry) = entry.filter(|entry| entry.queued_deadline == Some(at)) {
                entry.queued_deadline = None;
                let step = entry.on_deadline(socket, now);
                self.perform(socket, peer, step);
            }
        }
    }

    /// Sends the last ACK after the helper process has committed the file, or ends the transfer.
    fn on_helper_exit(&mut self, socket: &mut UdpLoop, ended: Pid, code: Option<i32>) {
        let has_helper = |entry: &TransferEntry| matches!(entry.state, State::Committing { helper, .. } if helper == ended);
        let found = self.entries.iter_mut().find(|(_, entry)| has_helper(entry));
        let Some((&peer, entry)) = found else { return };
        let step = entry.on_committed(socket, code).map(|()| Step::Wait);
        self.perform(socket, peer, step);
    }

    /// Ends a transfer. The end of a dallying one was logged already.
    fn end(&mut self, socket: &mut UdpLoop, peer: SocketAddr, result: &Result<(), Error>) {
        let Some(entry) = self.entries.remove(&peer) else { return };
        if entry.state != State::Dallying {
            if entry.transfer.peer_has_answered() || socket.may_log_unproven() {
                entry.log(result);
            }
            if let Err(error) = result {
                send_error(socket, &entry.client, error);
            }
        }
        if let State::Committing { helper, .. } = entry.state {
            socket.cancel(helper);
        }
        socket.release(entry.slot);
    }

    /// Logs the table of clients (SIGUSR1).
    fn log(&self) {
        for (peer, entry) in &self.entries {
            let (side, seconds) = (&entry.transfer.side, entry.started_at.elapsed().as_secs());
            log::info!(
                "client {peer} {}: {} octets, for {seconds} s",
                entry.description,
                side.bytes()
            );
        }
    }
}
