//! `--single-port`: one process and one port, with many transfers told apart by their peers.
//!
//! Slide "UDP Echo Server: dg_echo": receive a datagram, answer it, round again. Each transfer is a
//! side and a timer of its own, as in a process of its own, but the process never waits for one of
//! them alone. Reading a block and sending it does not block. Committing an upload does, for as
//! long as the disk takes: a helper process does that, while the others go on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use forknet::{Event, Refusal, Sender, Slot, UdpLoop};
use nix::unistd::Pid;

use super::event_wait::EventWait;
use super::limits::retry_limits;
use super::request::{ValidRequest, is_request, open_receiver, open_sender};
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

/// Largest window in bytes: all transfers share one socket, and the memory of one process.
const MAX_WINDOW_BYTES: usize = 256 << 10;

/// The transfers of one process.
struct TransferTable<'c> {
    config: &'c Config,
    limits: RetryLimits,
    entries: HashMap<SocketAddr, TransferEntry>,
    /// When a transfer is to be looked at, at the latest: one item for each, which may be early.
    deadlines: BinaryHeap<Reverse<(Instant, SocketAddr)>>,
}

/// Serves until SIGTERM.
///
/// # Errors
/// ppoll(2) failed.
pub fn serve(socket: &mut UdpLoop, config: &Config) -> forknet::Result<()> {
    let (idle, whole) = socket.timeouts();
    let limits = retry_limits(config.retries, idle, whole);
    let (entries, deadlines) = (HashMap::new(), BinaryHeap::new());
    let mut table = TransferTable { config, limits, entries, deadlines };
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
    }
}

impl TransferTable<'_> {
    /// Returns how many clients are served. While the server stops, those that are complete and
    /// only dally do not count.
    fn client_count(&self, socket: &UdpLoop) -> usize {
        if !socket.is_stopping() {
            return self.entries.len();
        }
        self.entries.values().filter(|entry| entry.state != State::Dallying).count()
    }

    /// Takes a datagram: of a transfer, or a request.
    fn on_datagram(&mut self, socket: &mut UdpLoop, client: Sender) {
        let (peer, data) = (client.peer(), socket.datagram());
        let is_request = is_request(data);
        if is_request || self.entries.contains_key(&peer) {
            trace_received(socket, peer);
        }
        let Some(entry) = self.entries.get_mut(&peer) else {
            if is_request {
                self.begin(socket, client);
            }
            return;
        };
        match entry.state {
            State::Committing { .. } => (), // the peer's timer will ask again
            State::Active | State::NoRoom { .. }
                if entry.request == socket.datagram()
                    && client.asks_same_address(&entry.client) =>
            {
                match entry.transfer.on_repeated_request(Instant::now()) {
                    Ok(()) => self.perform(socket, peer, Ok(Step::Wait)),
                    Err(error) => {
                        self.end(socket, peer, &Err(error));
                        self.begin(socket, client);
                    }
                }
            }
            // Another request from the same port: the client has given the first one up. And what
            // comes after the end is a new one in any case.
            _ if is_request => {
                self.end(socket, peer, &Err(Error::NewRequest));
                self.begin(socket, client);
            }
            _ => {
                let step = entry.on_datagram(socket.datagram(), Instant::now());
                self.perform(socket, peer, step);
            }
        }
    }

    /// Begins a new transfer, or refuses it. A server that stops takes nothing new.
    fn begin(&mut self, socket: &mut UdpLoop, client: Sender) {
        if socket.is_stopping() {
            return;
        }
        let (peer, since) = (client.peer(), Instant::now());
        let slot = match self.acquire(socket, peer) {
            Ok(slot) => slot,
            Err(refusal) => return socket.refuse(&client, refusal),
        };
        let request = socket.datagram().to_vec();
        slot.counters().received(request.len());
        let side = ValidRequest::parse(self.config, &request, peer)
            .map_err(|error| (error, describe(&request)))
            .and_then(|valid| {
                let side = self.open_side(&valid, socket.receive_buffer());
                side.map_err(|error| (error, valid.to_string()))
            });
        match side {
            Ok((side, shown)) => {
                let transfer = Transfer::new(side, self.limits, since);
                let entry = TransferEntry::new(client, transfer, (request, shown), since, slot);
                self.entries.insert(peer, entry);
                self.perform(socket, peer, Ok(Step::Send));
            }
            Err((error, shown)) => {
                send_error(socket, &client, &error);
                log_refusal(peer, &shown, since, &error);
                socket.release(slot);
            }
        }
    }

    /// Acquires a slot for one more client; one that only dallies gives way.
    fn acquire(&mut self, socket: &mut UdpLoop, peer: SocketAddr) -> Result<Slot, Refusal> {
        loop {
            let full = match socket.admit(peer) {
                Err(full @ (Refusal::Full(_) | Refusal::PerAddress(_))) => full,
                answer => return answer,
            };
            let any = matches!(full, Refusal::Full(_));
            let dallying = self.entries.iter().filter(|(other, entry)| {
                entry.state == State::Dallying && (any || other.ip() == peer.ip())
            });
            let oldest = dallying.min_by_key(|(_, entry)| entry.since).map(|(other, _)| *other);
            self.end(socket, oldest.ok_or(full)?, &Ok(()));
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
                let (sender, granted) = open_sender(self.config, request, max)?;
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

    /// Does what a transfer's step asks for, and notes when to look at it again.
    fn perform(&mut self, socket: &mut UdpLoop, peer: SocketAddr, step: Result<Step, Error>) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let done = match step {
            Ok(Step::Wait) => Ok(()),
            Ok(Step::Send) => {
                entry.send(socket);
                entry.work_ahead()
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
        if entry.noted_deadline.is_none_or(|noted| deadline < noted) {
            entry.noted_deadline = Some(deadline);
            self.deadlines.push(Reverse((deadline, peer)));
        }
    }

    /// Looks at the transfers whose deadline has come.
    fn check_deadlines(&mut self, socket: &mut UdpLoop) {
        while let Some(Reverse((at, peer))) = self.deadlines.peek().copied() {
            let now = Instant::now();
            if at > now {
                return;
            }
            self.deadlines.pop();
            // Otherwise the item is of a transfer that has ended, or was looked at earlier.
            let entry = self.entries.get_mut(&peer);
            if let Some(entry) = entry.filter(|entry| entry.noted_deadline == Some(at)) {
                entry.noted_deadline = None;
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

    /// Ends a transfer. The end of one that dallies was logged already.
    fn end(&mut self, socket: &mut UdpLoop, peer: SocketAddr, result: &Result<(), Error>) {
        let Some(entry) = self.entries.remove(&peer) else { return };
        if entry.state != State::Dallying {
            entry.log(result);
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
            let (side, seconds) = (&entry.transfer.side, entry.since.elapsed().as_secs());
            log::info!("client {peer} {}: {} octets, for {seconds} s", entry.shown, side.bytes());
        }
    }
}
