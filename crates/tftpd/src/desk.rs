//! `--single-port`: one process and one port, many transfers told apart by their peers.
//!
//! Slide "UDP Echo Server: dg_echo": receive a datagram, answer it, round again. Each transfer is a
//! half and a clock of its own, as in a process of its own; what differs is that nobody waits for one
//! alone. Reading a block and sending it never waits for anybody. Writing an upload to the disk for
//! good does, for as long as the disk takes: a short-lived child does that, and the others go on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use forknet::{Caller, Event, Postbox, Progress, Refusal};

use crate::failure::Failure;
use crate::negotiation::Caps;
use crate::options::Config;
use crate::packet::{Direction, describe};
use crate::served::{Served, State, tell};
use crate::server::UNPROVEN_SENDS;
use crate::service::{self, Asked, log_refusal};
use crate::timer::Limits;
use crate::transfer::{Half, Step, Transfer};

/// Octets of a window at most: all transfers share one socket, and the memory of one process.
const WINDOW: usize = 256 << 10;

/// The transfers of one process.
struct Desk<'c> {
    config: &'c Config,
    limits: Limits,
    served: HashMap<SocketAddr, Served>,
    /// When a transfer is to be looked at, at the latest: one entry for each, which may be early.
    due: BinaryHeap<Reverse<(Instant, SocketAddr)>>,
}

/// Serves until SIGTERM.
///
/// # Errors
/// ppoll(2) failed.
pub fn serve(postbox: &mut Postbox, config: &Config) -> forknet::Result<()> {
    let (idle, whole) = postbox.limits();
    let limits = Limits { retries: config.retries, unproven_sends: UNPROVEN_SENDS, idle, whole };
    let mut desk = Desk { config, limits, served: HashMap::new(), due: BinaryHeap::new() };
    loop {
        let due = desk.due.peek().map(|Reverse((at, _))| *at);
        match postbox.next(due, desk.clients(postbox))? {
            Event::Letter(caller) => desk.letter(postbox, caller),
            Event::Gone(peer) => desk.end(postbox, peer, &Err(Failure::Gone)),
            Event::Errand(pid, code) => desk.errand_ended(postbox, pid, code),
            Event::Table => desk.log_table(),
            Event::Time => (),
            Event::Over => return Ok(()),
        }
        desk.clock(postbox);
    }
}

impl Desk<'_> {
    /// How many are served; those that are complete don't keep a server that is to end.
    fn clients(&self, postbox: &Postbox) -> usize {
        if !postbox.is_stopping() {
            return self.served.len();
        }
        self.served.values().filter(|served| served.state != State::Lingering).count()
    }

    /// A datagram: of a transfer, or a request.
    fn letter(&mut self, postbox: &mut Postbox, caller: Caller) {
        let (peer, data) = (caller.peer, postbox.datagram());
        let is_request = service::is_request(data);
        if postbox.transcript.is_on() && (is_request || self.served.contains_key(&peer)) {
            let words = describe(data);
            postbox.transcript.turn_to(peer);
            postbox.transcript.client(words.as_bytes());
        }
        let Some(served) = self.served.get_mut(&peer) else {
            if is_request {
                self.begin(postbox, caller);
            }
            return;
        };
        match served.state {
            State::Keeping(..) => (), // the clock of the peer's will ask again
            State::Underway | State::Congested(..)
                if served.request == postbox.datagram() && caller.asks_where(&served.caller) =>
            {
                match served.transfer.asked_again(Instant::now()) {
                    Ok(()) => self.take(postbox, peer, Ok(Step::Wait)),
                    Err(renewed) => {
                        self.end(postbox, peer, &Err(renewed));
                        self.begin(postbox, caller);
                    }
                }
            }
            // What is not the same request again is another one: whoever sends it from the same port
            // has given the first one up. And what comes after the end is a new one in any case.
            _ if is_request => {
                self.end(postbox, peer, &Err(Failure::Renewed));
                self.begin(postbox, caller);
            }
            _ => {
                let step = served.receive(postbox.datagram(), Instant::now());
                self.take(postbox, peer, step);
            }
        }
    }

    /// A new transfer, or a refusal. A server that is to end takes nothing new.
    fn begin(&mut self, postbox: &mut Postbox, caller: Caller) {
        if postbox.is_stopping() {
            return;
        }
        let (peer, since) = (caller.peer, Instant::now());
        let progress = match self.admit(postbox, peer) {
            Ok(progress) => progress,
            Err(refusal) => {
                log::warn!("client {peer} refused: {refusal}");
                return postbox.refuse(&caller);
            }
        };
        let request = postbox.datagram().to_vec();
        progress.received(request.len());
        let answer = service::read(self.config, &request, peer)
            .map_err(|failure| (failure, describe(&request)))
            .and_then(|asked| {
                let half = self.half(&asked, postbox.room());
                half.map_err(|failure| (failure, asked.to_string()))
            });
        match answer {
            Ok((half, shown)) => {
                let transfer = Transfer::new(half, self.limits, since);
                let served = Served::new(caller, transfer, (request, shown), since, progress);
                self.served.insert(peer, served);
                self.take(postbox, peer, Ok(Step::Send));
            }
            Err((failure, shown)) => {
                tell(postbox, &caller, &failure);
                log_refusal(peer, &shown, since, &failure);
                postbox.dismiss(peer, progress);
            }
        }
    }

    /// A place for one more; one that is complete gives way.
    fn admit(&mut self, postbox: &mut Postbox, peer: SocketAddr) -> Result<Progress, Refusal> {
        loop {
            let full = match postbox.admit(peer) {
                Err(full @ (Refusal::Full(_) | Refusal::PerAddress(_))) => full,
                answer => return answer,
            };
            let any = matches!(full, Refusal::Full(_));
            let gives_way = self.served.iter().filter(|(of, served)| {
                served.state == State::Lingering && (any || of.ip() == peer.ip())
            });
            let oldest = gives_way.min_by_key(|(_, served)| served.since).map(|(of, _)| *of);
            self.end(postbox, oldest.ok_or(full)?, &Ok(()));
        }
    }

    /// What answers a request, and how the log calls it.
    fn half(&self, asked: &Asked<'_>, room: usize) -> Result<(Box<dyn Half>, String), Failure> {
        let caps = Caps { window: self.config.caps.window.min(WINDOW), ..self.config.caps };
        let (half, granted): (Box<dyn Half>, _) = match asked.request.direction {
            Direction::Read => {
                let (sender, granted) = service::sender(self.config, asked, caps)?;
                (Box::new(sender), granted)
            }
            Direction::Write => {
                // Half of the buffer: others want to be heard too.
                let room = |_| room / 2;
                let (receiver, granted) = service::receiver(self.config, asked, caps, room, || ())?;
                (Box::new(receiver), granted)
            }
        };
        Ok((half, asked.shown(&granted)))
    }

    /// Does what a transfer asks for, and notes when to look at it again.
    fn take(&mut self, postbox: &mut Postbox, peer: SocketAddr, step: Result<Step, Failure>) {
        let Some(served) = self.served.get_mut(&peer) else { return };
        let done = match step {
            Ok(Step::Wait) => Ok(()),
            Ok(Step::Send) => {
                served.send(postbox);
                let worked = served.transfer.half.meanwhile();
                worked.map(|worked| {
                    if worked {
                        served.transfer.free(Instant::now());
                    }
                })
            }
            Ok(Step::Answer(packet)) => {
                served.answer(postbox, &packet);
                Ok(())
            }
            Ok(Step::Keep) => served.keep(postbox, Instant::now() + self.limits.whole),
            Ok(Step::End) => return self.end(postbox, peer, &Ok(())),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            return self.end(postbox, peer, &Err(failure));
        }
        let due = served.deadline();
        if served.due.is_none_or(|earlier| due < earlier) {
            served.due = Some(due);
            self.due.push(Reverse((due, peer)));
        }
    }

    /// Looks at the transfers whose time has come.
    fn clock(&mut self, postbox: &mut Postbox) {
        while let Some(Reverse((at, peer))) = self.due.peek().copied() {
            let now = Instant::now();
            if at > now {
                return;
            }
            self.due.pop();
            // Else the entry is of one that has ended, or was to be looked at earlier and was.
            if let Some(served) = self.served.get_mut(&peer).filter(|its| its.due == Some(at)) {
                served.due = None;
                let step = served.clock(postbox, now);
                self.take(postbox, peer, step);
            }
        }
    }

    /// A process that keeps a file has ended: only now may the last ACK be sent.
    fn errand_ended(&mut self, postbox: &mut Postbox, pid: i32, code: Option<i32>) {
        let keeps = |served: &Served| matches!(served.state, State::Keeping(of, _) if of == pid);
        let found = self.served.iter_mut().find(|(_, served)| keeps(served));
        let Some((&peer, served)) = found else { return };
        let step = served.kept(postbox, code).map(|()| Step::Wait);
        self.take(postbox, peer, step);
    }

    /// The end of a transfer. One that lingers was told to have ended already.
    fn end(&mut self, postbox: &mut Postbox, peer: SocketAddr, result: &Result<(), Failure>) {
        let Some(served) = self.served.remove(&peer) else { return };
        if served.state != State::Lingering {
            served.log(result);
            if let Err(failure) = result {
                tell(postbox, &served.caller, failure);
            }
        }
        if let State::Keeping(errand, _) = served.state {
            postbox.cancel(errand);
        }
        postbox.dismiss(peer, served.progress);
    }

    /// SIGUSR1.
    fn log_table(&self) {
        for (peer, served) in &self.served {
            let (half, seconds) = (&served.transfer.half, served.since.elapsed().as_secs());
            log::info!("client {peer} {}: {} octets, for {seconds} s", served.shown, half.octets());
        }
    }
}
