//! Processes forked in advance: each worker waits, accepts a client, serves it, and waits again.
//! The parent only replaces workers that end.

mod line;
mod worker;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use sys::fork::{Fork, OneTask, child, fork};

use crate::error::{Error, Result, strerror};
use crate::net::interrupt::POLL_INTERVAL;
use crate::net::peer::Peer;
use crate::options::limits::Over;
use crate::serve::children::{EndedChild, log_client};
use crate::serve::exit_code::EXIT_FAILED;
use crate::serve::hangup_pipe::HangupPipe;
use crate::serve::limits::Refusal;
use crate::serve::master::{Master, Round};
use crate::serve::permit::{self, Answer, ParentEnd, Question};
use crate::serve::prefork::line::WorkerLine;
use crate::serve::prefork::worker::{Limited, Link, Worker};
use crate::serve::scoreboard::Slot;
use crate::serve::session::{Client, Conn};
use crate::serve::wakeup::Waker;

/// Most clients that are refused before the parent tries to fork again.
const MAX_REFUSED: usize = 64;
/// A worker that fails sooner than this has failed at its start.
const FAILED_START: Duration = Duration::from_millis(200);

/// Longest wait of the parent in accept(2), which normally does not block.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(50);

/// Stevens' preforked server: the children call accept, the parent replaces those that end.
#[inline(never)]
pub(crate) fn serve(
    mut master: Master,
    serve: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    let mut pool = Pool::new(&mut master)?;
    master.ready()?;
    loop {
        pool.reap(&mut master);
        pool.fill(&mut master, &serve)?;
        master.start_helper_if_due(|| drop(pool.close_in_child()));
        let clients = pool.clients();
        let accepting = pool.refuses_over_limit && clients >= pool.size;
        let round = Round { accepting, clients, timeout: pool.poll_in() };
        let parent_end = pool.workers.values().filter_map(|(_, parent_end)| parent_end.as_ref());
        let parent_end: Vec<_> = parent_end.map(AsFd::as_fd).collect();
        let ready = master.wait_for_others(&round, &parent_end)?;
        pool.reap(&mut master);
        if ready.has_old_processes {
            pool.replace_workers();
        }
        if ready.table_wanted {
            pool.log(&mut master);
        }
        if !ready.others.is_empty() {
            pool.answer_questions(&mut master);
        }
        if pool.was_used() {
            master.reset_idle();
        }
        if master.must_stop_with(pool.clients()) {
            return pool.shut_down(&mut master);
        }
        for listener in ready.listeners {
            let accepted = pool.accepted();
            if let Err(full) = master.after_grace(|_| pool.has_idle_worker(accepted)) {
                refuse_one(&mut master, listener, full)?;
            }
        }
    }
}

/// The parent's side of what it shares with its workers.
struct Pipes {
    server: HangupPipe,
    generation: HangupPipe,
    waker: Waker,
}

/// The parent's side of the workers.
struct Pool {
    size: usize,
    /// The slot of each worker by number, and the socket by which it asks about limits.
    workers: HashMap<usize, (Slot, Option<ParentEnd>)>,
    /// Workers ask about limits.
    asks_parent: bool,
    alone: OneTask,
    /// `None` in a child.
    pipes: Option<Pipes>,
    /// The parent refuses clients while all workers are busy.
    refuses_over_limit: bool,
    /// The last number of accepted clients, and the time when that last changed.
    last_poll: (u64, Instant),
    /// A worker has failed at its start.
    has_failed: bool,
    /// The failure to fork was logged.
    has_warned: bool,
}

impl Pool {
    fn new(master: &mut Master) -> Result<Pool> {
        let (workers, limit) = (master.options().workers, master.options().max_clients);
        let size = workers.min(limit);
        let asks_parent = master.options().rate.is_some() || master.options().max_per_ip < size;
        let refuses_over_limit = workers >= limit && master.options().over == Over::Busy;
        master.set_logs_no_ends();
        Ok(Pool {
            size,
            workers: HashMap::new(),
            asks_parent,
            alone: master.alone()?,
            pipes: Some(Pipes {
                server: HangupPipe::new().map_err(Error::os("pipe"))?,
                generation: HangupPipe::new().map_err(Error::os("pipe"))?,
                waker: master.make_waker()?,
            }),
            refuses_over_limit,
            last_poll: (0, Instant::now()),
            has_failed: false,
            has_warned: false,
        })
    }

    /// Forks until there are enough workers. Pauses after one that failed at its start, because the
    /// next one would fail too.
    fn fill(
        &mut self,
        master: &mut Master,
        serve: &impl Fn(&mut Client) -> io::Result<()>,
    ) -> Result<()> {
        while self.workers.len() < self.size && master.spare_fd().pause_left().is_none() {
            if std::mem::take(&mut self.has_failed) {
                master.spare_fd().pause();
                return Ok(());
            }
            let (asking, parent_end) = match self.asks_parent.then(permit::pair).transpose() {
                Ok(pair) => pair.unzip(),
                Err(errno) => return self.cannot_fork(master, None, errno),
            };
            let line = match master.line(None)? {
                Ok(line) => line,
                Err(errno) => return self.cannot_fork(master, None, errno),
            };
            let signer = match master.signer_line() {
                Ok(signer) => signer,
                Err(errno) => return self.cannot_fork(master, None, errno),
            };
            let Some(slot) = master.children().admit_worker() else { return Ok(()) };
            match fork(self.alone) {
                Ok(Fork::Child) => child(|| {
                    drop(parent_end); // the parent's end
                    let Some(mut worker) = self.worker(master, slot) else { return EXIT_FAILED };
                    let options = master.options();
                    let (max_per_ip, rate) = (options.max_per_ip, options.rate);
                    if let Some(asking) = asking {
                        worker.set_permit(asking, Limited { max_per_ip, rate });
                    }
                    worker.set_lines(line, signer);
                    if let Err(errno) = master.confine() {
                        warn!("confinement: {}", strerror(errno));
                        return EXIT_FAILED;
                    }
                    let replies = master.replies();
                    worker.work((&replies.busy, &replies.unavailable), serve)
                }),
                Ok(Fork::Parent(pid)) => {
                    master.children().add(pid, slot);
                    self.workers.insert(slot.number(), (slot, parent_end));
                    self.has_warned = false;
                }
                Err(errno) => return self.cannot_fork(master, Some(slot), errno),
            }
        }
        Ok(())
    }

    fn cannot_fork(
        &mut self,
        master: &mut Master,
        slot: Option<Slot>,
        errno: nix::errno::Errno,
    ) -> Result<()> {
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!("fork of a worker: {}: tried again until it works", strerror(errno));
        }
        slot.into_iter().for_each(|slot| master.children().release(slot));
        if self.workers.is_empty() {
            refuse_all(master)?;
        }
        master.spare_fd().pause();
        Ok(())
    }

    /// Closes, in a child, the sockets with which it could answer for the parent. Returns the
    /// pipes, which the child must drop, because they keep workers alive.
    fn close_in_child(&mut self) -> Option<Pipes> {
        self.workers.clear();
        self.pipes.take()
    }

    /// Makes the worker, in a child: keeps its own line, the listeners and the reading ends of the
    /// pipes.
    fn worker(&mut self, master: &mut Master, slot: Slot) -> Option<Worker> {
        let Pipes { server, generation, waker } = self.close_in_child()?;
        let link = Link::new(getppid(), [server, generation].map(|pipe| pipe.reader()));
        if let Err(errno) = slot.counters().keep_only(self.alone) {
            warn!("munmap: {}", strerror(errno));
            return None;
        }
        let ends_idle = master.server_end().ends_idle();
        let listeners = master.become_worker();
        let settings = master.settings();
        let mut worker = Worker::new((listeners, link), slot, settings, master.titles(), ends_idle);
        worker.set_waker(waker, self.refuses_over_limit);
        Some(worker)
    }

    /// Makes all workers end, busy ones after their client, so that new ones replace them.
    fn replace_workers(&mut self) {
        match (HangupPipe::new(), &mut self.pipes) {
            (Ok(pipe), Some(pipes)) => {
                std::mem::replace(&mut pipes.generation, pipe).notify();
            }
            (Err(errno), _) => {
                warn!("pipe: {}: the old workers go on", strerror(errno));
            }
            (Ok(_), None) => {}
        }
    }

    /// Returns the number of workers that report a client.
    fn clients(&self) -> usize {
        self.lines().filter(|line| line.peer().is_some()).count()
    }

    /// Returns the number of clients that the workers report as accepted.
    fn accepted(&self) -> u64 {
        self.lines().fold(0, |sum, line| sum.wrapping_add(line.accepted()))
    }

    fn lines(&self) -> impl Iterator<Item = WorkerLine> + '_ {
        self.workers.values().map(|(slot, _)| WorkerLine::new(slot.counters()))
    }

    /// Returns true when there are clients, or were since the last call. While there are, the
    /// parent checks every [`POLL_INTERVAL`]; after a longer pause, a worker wakes it up.
    fn was_used(&mut self) -> bool {
        let accepted = self.accepted();
        let was_used = accepted != self.last_poll.0 || self.clients() > 0;
        if was_used {
            self.last_poll = (accepted, Instant::now());
        }
        was_used
    }

    /// Returns the time until the next check.
    fn poll_in(&self) -> Option<Duration> {
        let since = self.last_poll.1.elapsed();
        (self.clients() > 0 || since <= POLL_INTERVAL).then_some(POLL_INTERVAL)
    }

    /// Checks that a worker is idle and will accept the next client, or was idle since this number
    /// of accepted clients was read.
    fn has_idle_worker(&self, accepted: u64) -> std::result::Result<(), Refusal> {
        let is_free = self.clients() < self.size || self.accepted() != accepted;
        if is_free { Ok(()) } else { Err(Refusal::Full(self.size)) }
    }

    /// Answers the workers' questions about limits.
    fn answer_questions(&mut self, master: &mut Master) {
        for (slot, line) in self.workers.values_mut() {
            let Some(parent_end) = line else { continue };
            match parent_end.question() {
                Question::Nothing | Question::Malformed => {}
                Question::Gone => master.children().release_from_worker(*slot),
                Question::May(address) => {
                    let peer = Peer::Ip(address);
                    parent_end.answer(match master.children().admit_to_worker(*slot, peer) {
                        Ok(()) => Answer::Yes,
                        Err(Refusal::TooOften(_)) => Answer::TooOften,
                        Err(_) => Answer::PerAddress,
                    });
                }
                // It has ended or misbehaves; its socket would stay readable for ever.
                Question::HungUp => {
                    master.children().signal_one(*slot, Signal::SIGKILL);
                    *line = None;
                }
            }
        }
    }

    /// Handles the ends of workers.
    fn reap(&mut self, master: &mut Master) {
        master.ended_children().iter().for_each(|child| self.has_ended(child));
    }

    /// Handles the end of a worker, and logs the end of its client, if it had one.
    fn has_ended(&mut self, child: &EndedChild) {
        let Some((slot, _)) = self.workers.remove(&child.slot.number()) else { return };
        let peer = WorkerLine::new(slot.counters()).peer();
        let line = WorkerLine::new(slot.counters());
        let since = |peer| EndedChild { slot: slot.with_peer(peer), age: line.age(), ..*child };
        let child = peer.map_or(*child, since);
        child.log(false);
        self.has_failed |= peer.is_none() && child.ended.status != 0 && child.age < FAILED_START;
    }

    /// Logs the workers (SIGUSR1).
    fn log(&self, master: &mut Master) {
        for (pid, slot, _) in master.children().iter() {
            match WorkerLine::new(slot.counters()).peer() {
                Some(peer) => log_client(peer, pid, slot, None),
                None => info!("worker idle, pid {pid}"),
            }
        }
    }

    /// Shuts down (SIGTERM): idle workers end immediately, the others after their client.
    fn shut_down(mut self, master: &mut Master) -> Result<()> {
        self.pipes.iter_mut().for_each(|pipes| pipes.server.notify());
        master.shut_down_with(|master| {
            self.reap(master);
            self.clients()
        })
    }
}

/// Refuses all waiting clients, because there is no process for them, as under fork.
fn refuse_all(master: &mut Master) -> Result<()> {
    for listener in 0..master.listeners().len() {
        for _ in 0..MAX_REFUSED {
            let Some(conn) = accept(master, listener)? else { break };
            master.log_refusal(conn.peer(), "no worker");
            conn.refuse(&master.replies().unavailable);
        }
    }
    Ok(())
}

/// Accepts a client. Interrupts accept(2), because a worker that is taken over could make the
/// shared listener blocking, and accept the client first.
fn accept(master: &mut Master, listener: usize) -> Result<Option<Conn>> {
    let conn = sys::alarm::interrupted(ACCEPT_TIMEOUT, || master.accept(listener));
    conn.map_err(Error::os("setitimer"))?
}

/// Refuses a client, because all workers are busy and there must be no more clients.
fn refuse_one(master: &mut Master, listener: usize, full: Refusal) -> Result<()> {
    if let Some(conn) = accept(master, listener)? {
        master.refuse(&conn, full);
    }
    Ok(())
}
