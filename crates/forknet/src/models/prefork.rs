//! Processes forked in advance: each worker blocks in its own wait, accepts a client, serves it,
//! and waits again. The parent only sees to it that there are always as many.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::attention::Watch;
use crate::bell::Bell;
use crate::drain::drain;
use crate::error::{Error, Result, strerror};
use crate::fork::{Fork, child, fork};
use crate::limits::{Over, Refusal};
use crate::listen::Listener;
use crate::parent::{Parent, Round};
use crate::reserve::Reserve;
use crate::rw::refuse;
use crate::scoreboard::{Board, Progress};
use crate::server::Client;
use crate::worker::Worker;

/// So many waiting clients are turned away before the parent looks whether it can fork again.
const AT_ONCE: usize = 64;
/// How often the parent counts its workers' clients while there are some, for its title and for
/// inetd's `wait`.
const LOOK: Duration = Duration::from_millis(100);

/// What parent and workers have in common.
#[derive(Debug)]
struct Pool {
    size: usize,
    board: Board,
    /// The end that only the parent holds: workers see its end.
    life: Option<OwnedFd>,
    watch: Arc<OwnedFd>,
    /// Over the limit clients are told so, by the parent, while all workers are busy.
    tells_busy: bool,
    /// When the parent looked last whether somebody was served.
    last_look: Option<Instant>,
    /// It was said that no worker can be forked.
    has_warned: bool,
}

/// Stevens' preforked server: the children call accept, the parent replaces those that end.
#[inline(never)]
pub(crate) fn serve(
    mut parent: Parent,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    let mut pool = Pool::new(&mut parent)?;
    loop {
        pool.fill(&mut parent, &session);
        let clients = pool.count(&mut parent);
        let all_busy = pool.tells_busy && clients >= pool.size;
        let ready = parent.wait(Round { accepting: all_busy, clients })?;
        let clients = pool.count(&mut parent);
        if parent.must_stop(clients) {
            return pool.dissolve(parent);
        }
        for listener in ready {
            let taken = pool.board.taken();
            if let Err(full) = parent.after_a_moment(|parent| pool.place(parent, taken)) {
                turn_away(&mut parent, listener, full)?;
            }
        }
    }
}

impl Pool {
    fn new(parent: &mut Parent) -> Result<Pool> {
        let (watch, life) = pipe2(OFlag::O_CLOEXEC).map_err(Error::os("pipe"))?;
        let (workers, limit) = (parent.options.workers, parent.options.max_clients);
        let tells_busy = workers >= limit && parent.options.over == Over::Busy;
        parent.bell = Some(Arc::new(Bell::new()?));
        Ok(Pool {
            size: workers.min(limit),
            board: Board::new()?,
            life: Some(life),
            watch: Arc::new(watch),
            tells_busy,
            last_look: None,
            has_warned: false,
        })
    }

    /// How many workers have a client. They accept by themselves, and ring for their first client in
    /// a while only; as long as there are some, the parent looks every [`LOOK`].
    fn count(&mut self, parent: &mut Parent) -> usize {
        let since = self.last_look.map_or(LOOK, |at| at.elapsed());
        let is_due = since >= LOOK;
        let had_some = self.board.had_clients(is_due);
        if is_due {
            self.last_look = Some(Instant::now());
        }
        let clients = parent.children.busy_workers(self.size);
        let is_used = had_some || clients > 0;
        parent.look = is_used.then(|| if is_due { LOOK } else { LOOK.saturating_sub(since) });
        if is_used {
            parent.is_used();
        }
        clients
    }

    /// Forks until there are enough workers. One that died at its start is not replaced at once:
    /// whatever killed it would only kill the next.
    fn fill(&mut self, parent: &mut Parent, session: &impl Fn(&mut Client) -> io::Result<()>) {
        while parent.children.len() < self.size && parent.reserve.rest().is_none() {
            if parent.children.a_worker_failed() {
                return parent.reserve.rest_a_while();
            }
            let Some(progress) = parent.children.worker() else { return };
            match fork() {
                Ok(Fork::Child) => child(|| self.work(parent, progress, session)), // never returns
                Ok(Fork::Parent(pid)) => {
                    parent.children.add_worker(pid, progress);
                    self.has_warned = false;
                }
                Err(errno) => {
                    if !std::mem::replace(&mut self.has_warned, true) {
                        warn!("fork of a worker: {}: tried again until it works", strerror(errno));
                    }
                    parent.children.no_worker(progress);
                    if parent.children.is_empty() {
                        turn_all_away(parent);
                    }
                    return parent.reserve.rest_a_while();
                }
            }
        }
    }

    /// A worker is idle, who will see to the client that is waiting; or one has taken a client since
    /// there were so many, and so was idle meanwhile.
    fn place(&self, parent: &Parent, taken: u64) -> std::result::Result<(), Refusal> {
        let is_free =
            parent.children.busy_workers(self.size) < self.size || self.board.taken() != taken;
        if is_free { Ok(()) } else { Err(Refusal::Full(self.size)) }
    }

    /// The worker's half.
    fn work(
        &mut self,
        parent: &mut Parent,
        progress: Progress,
        session: impl Fn(&mut Client) -> io::Result<()>,
    ) -> i32 {
        self.life = None; // else the worker would keep itself alive
        let listeners = std::mem::take(&mut parent.listeners);
        let bell = parent.bell.take();
        parent.become_child();
        parent.reserve = Reserve::new(); // it accepts by itself
        let watch = Watch {
            pipe: Arc::clone(&self.watch),
            listeners: listeners.iter().filter_map(Listener::own_copy).collect(),
            board: self.board,
            tell_idle: parent.tell_idle,
            parent_is_gone: false,
            last_look: Instant::now(),
        };
        Worker {
            parent,
            listeners,
            turn: 0,
            bell,
            watch,
            progress,
            size: self.size,
            tells_busy: self.tells_busy,
        }
        .work(session)
    }

    /// SIGTERM: idle workers end at once, the others after their client.
    fn dissolve(mut self, parent: Parent) -> Result<()> {
        self.board.stop();
        self.life = None;
        drain(parent)
    }
}

/// There is no process to serve anybody: those who are waiting are told so, as under fork.
fn turn_all_away(parent: &mut Parent) {
    for listener in &parent.listeners {
        for _ in 0..AT_ONCE {
            let Ok(accepted) = listener.accept() else { break };
            warn!("client {} refused: no worker", accepted.peer);
            refuse(&accepted.conn, &parent.unavailable);
        }
    }
}

/// All workers are busy, and there may be no more clients: the parent says so.
fn turn_away(parent: &mut Parent, listener: usize, full: Refusal) -> Result<()> {
    match parent.listeners.get(listener).map(Listener::accept) {
        Some(Ok(accepted)) => {
            parent.reserve.recovered();
            warn!("client {} refused: {full}", accepted.peer);
            refuse(&accepted.conn, &parent.busy);
            Ok(())
        }
        Some(Err(errno)) => parent.tolerate(listener, errno),
        None => Ok(()),
    }
}
