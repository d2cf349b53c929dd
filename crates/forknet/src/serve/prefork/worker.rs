//! A prefork worker: waits, accepts, serves, and waits again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::{Pid, geteuid, getppid, getresuid};

use crate::error::{reason, strerror};
use crate::log::{contract, stderr};
use crate::net::interrupt::{
    Interrupts, POLL_INTERVAL, Waited, Woken, is_readable, shutting_down, wait,
};
use crate::net::listener::{Listener, stop_listening};
use crate::net::peer::Peer;
use crate::options::limits::Rate;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::limits::Refusal;
use crate::serve::line::Line;
use crate::serve::permit::{Answer, WorkerEnd};
use crate::serve::prefork::line::WorkerLine;
use crate::serve::scoreboard::Slot;
use crate::serve::session::{self, Client, Conn, Settings};
use crate::serve::spare_fd::SpareFd;
use crate::serve::title::Titles;
use crate::serve::wakeup::Waker;

/// The number of the parent's pipes in events of epoll(7).
const PARENT: u64 = u64::MAX;
/// The number of the line to the keeper.
const KEEPER: u64 = u64::MAX - 1;
/// Most events of one epoll_wait(2).
const MAX_EVENTS: usize = 8;
/// Grace for a slot that is about to be freed, because another worker may not yet have reported the
/// end of its client.
const GRACE: Duration = Duration::from_millis(10);
/// Longest time between the ends of file of a killed parent's two pipes.
const HANGUP_GAP: Duration = Duration::from_millis(20);
/// Longest wait for the end of a mailbox's process that has said its last word: its user can stop it.
const BOX_END: Duration = Duration::from_secs(1);
/// Pause between two questions during the grace.
const RETRY_INTERVAL: Duration = Duration::from_micros(500);

/// A worker's link to its parent.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    parent: Pid,
    /// End of file when the server stops, or its parent was killed.
    server: Arc<OwnedFd>,
    /// End of file when a new worker is to replace this one.
    generation: Arc<OwnedFd>,
}

impl Link {
    pub(crate) fn new(parent: Pid, [server, generation]: [Arc<OwnedFd>; 2]) -> Link {
        Link { parent, server, generation }
    }

    fn server_has_ended(&self) -> bool {
        is_readable(self.server.as_fd())
    }

    fn server_ends_within(&self, limit: Duration) -> bool {
        let server = (self.server.as_fd(), PollFlags::POLLIN);
        wait(&[server], [None, None], limit).is_ok_and(|woken| woken == Woken::Client)
    }

    fn must_end(&self) -> bool {
        self.server_has_ended() || is_readable(self.generation.as_fd())
    }
}

/// The limits that a worker asks its parent about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    pub(crate) max_per_ip: usize,
    pub(crate) rate: Option<Rate>,
}

#[derive(Debug)]
pub(crate) struct Worker {
    listeners: Vec<Listener>,
    /// Copies of the listeners that are not inherited.
    own: Arc<[OwnedFd]>,
    /// Index of the listener that is tried first.
    turn: usize,
    link: Link,
    slot: Slot,
    line: WorkerLine,
    settings: &'static Settings,
    titles: Titles,
    spare_fd: SpareFd,
    /// Where to ask the parent about limits, if one can be reached.
    permit: Option<(WorkerEnd, Limited)>,
    waker: Option<Waker>,
    /// Wakes the parent up for every client.
    notifies_each: bool,
    /// Start of the last client.
    last: Option<Instant>,
    /// Idle sessions end when the server stops.
    ends_idle: bool,
    keeper: Option<Line>,
    signer: Option<Line>,
}

impl Worker {
    pub(crate) fn new(
        (listeners, link): (Vec<Listener>, Link),
        slot: Slot,
        settings: &'static Settings,
        titles: Titles,
        ends_idle: bool,
    ) -> Worker {
        Worker {
            own: listeners.iter().filter_map(Listener::own_copy).collect(),
            listeners,
            turn: 0,
            link,
            slot,
            line: WorkerLine::new(slot.counters()),
            settings,
            titles,
            spare_fd: SpareFd::new(),
            permit: None,
            waker: None,
            notifies_each: false,
            last: None,
            ends_idle,
            keeper: None,
            signer: None,
        }
    }

    /// Makes the worker ask the parent about each client.
    pub(crate) fn set_permit(&mut self, permit: WorkerEnd, limits: Limited) {
        self.permit = Some((permit, limits));
    }

    /// Sets the worker's lines to the keeper and to the signer.
    pub(crate) fn set_lines(&mut self, keeper: Option<Line>, signer: Option<Line>) {
        (self.keeper, self.signer) = (keeper, signer);
    }

    /// Makes the worker wake the parent up for its first client after a pause, or for every client.
    pub(crate) fn set_waker(&mut self, waker: Waker, notifies_each: bool) {
        (self.waker, self.notifies_each) = (Some(waker), notifies_each);
    }

    /// Runs the worker; returns its exit code. `busy` and `unavailable` are the replies to clients
    /// that cannot be served.
    pub(crate) fn work(
        mut self,
        (busy, unavailable): (&[u8], &[u8]),
        serve: &impl Fn(&mut Client) -> io::Result<()>,
    ) -> i32 {
        let epoll = match self.epoll() {
            Ok(epoll) => epoll,
            Err(errno) => {
                warn!("epoll: {}", strerror(errno));
                return EXIT_FAILED;
            }
        };
        let is_root = geteuid().is_root();
        let _collecting = stderr::collect(); // flushed before each wait
        if self.keeper.is_some() {
            sys::wipe::wipe_freed();
        }
        self.titles.show("worker, idle");
        let waits_first = self.waits_first();
        loop {
            if waits_first && !self.wait(&epoll) {
                return EXIT_OK;
            }
            match self.accept(unavailable) {
                Ok(Some(conn)) => {
                    self.serve(conn, busy, serve);
                    if !self.can_ask() {
                        return EXIT_OK;
                    }
                }
                Ok(None) if waits_first || self.wait(&epoll) => {}
                Ok(None) => return EXIT_OK,
                Err(errno) => return self.listener_failed(errno),
            }
            if is_root && getresuid().is_ok_and(|id| !(id.real.is_root() && id.effective.is_root()))
            {
                return EXIT_OK; // the session has become its user for good; a new worker takes over
            }
        }
    }

    /// Whether the next client can be served by this process, in which nothing is left of the last one: freed memory
    /// is wiped already. A line is of no use when an answer did not come, or a mailbox's process does not end.
    fn can_ask(&self) -> bool {
        if self.keeper.is_some() {
            sys::wipe::wipe_stack();
        }
        self.keeper.as_ref().is_none_or(|line| line.becomes_free(BOX_END))
            && !self.signer.as_ref().is_some_and(Line::is_taken)
    }

    /// Returns true where a worker must check for its end before each accept(2), because the
    /// listener does not show it: an inherited one is not shut down, and SIGHUP replaces the
    /// transcript.
    fn waits_first(&self) -> bool {
        self.own.len() < self.listeners.len() || self.settings.transcript().is_some()
    }

    /// Returns true when the worker must accept no more clients. Shuts the listeners down if the
    /// server has ended.
    fn must_end(&self) -> bool {
        let must_end = self.link.must_end();
        // The pipes of a killed parent end one after the other, in any order.
        if must_end && self.link.server_ends_within(HANGUP_GAP) {
            stop_listening(&self.own);
        }
        must_end
    }

    /// Makes the epoll(7) instance. Each listener wakes one worker only (EPOLLEXCLUSIVE), without a
    /// thundering herd.
    fn epoll(&self) -> nix::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let one_of_us = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        for listener in &self.listeners {
            epoll.add(listener, EpollEvent::new(one_of_us, 0))?;
        }
        for pipe in [&self.link.server, &self.link.generation] {
            epoll.add(pipe.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, PARENT))?;
        }
        if let Some(line) = &self.keeper {
            epoll.add(line, EpollEvent::new(EpollFlags::empty(), KEEPER))?; // EPOLLHUP alone
        }
        Ok(epoll)
    }

    /// Accepts a waiting client. The last listener with a client is tried last, so that a busy one
    /// does not starve the others.
    fn accept(&mut self, unavailable: &[u8]) -> nix::Result<Option<Conn>> {
        for _ in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get(self.turn) else { break };
            let answer = listener.accept();
            self.turn = (self.turn + 1) % self.listeners.len();
            match answer {
                Ok(accepted) => {
                    self.spare_fd.recovered();
                    return Ok(Some(Conn::accepted(accepted, self.settings)));
                }
                Err(Errno::EAGAIN) => {}
                Err(errno) => {
                    let words = listener.refusal(unavailable);
                    self.spare_fd.accept_failed(listener, words, errno)?;
                }
            }
        }
        if let Some(rest) = self.spare_fd.pause_left() {
            stderr::flush();
            std::thread::sleep(rest);
        }
        Ok(None)
    }

    /// Blocks until there may be a client; returns false when the worker must end.
    fn wait(&self, epoll: &Epoll) -> bool {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        stderr::flush();
        let is_of = |events: &[EpollEvent], number| events.iter().any(|it| it.data() == number);
        match epoll.wait(&mut events, EpollTimeout::NONE).map(|n| events.get(..n)) {
            Ok(Some(events)) if is_of(events, PARENT) => !self.must_end(),
            Ok(Some(events)) => !is_of(events, KEEPER), // closed: no client can be served
            Ok(None) | Err(Errno::EINTR) => true,
            Err(errno) => {
                warn!("epoll_wait: {}", strerror(errno));
                false
            }
        }
    }

    /// Returns the exit code after a fatal error of accept(2), which is no failure when the server
    /// has ended.
    fn listener_failed(&self, errno: Errno) -> i32 {
        if self.link.must_end() {
            return EXIT_OK;
        }
        warn!("accept: {}", strerror(errno));
        EXIT_FAILED
    }

    fn serve(
        &mut self,
        mut conn: Conn,
        busy: &[u8],
        serve: &impl Fn(&mut Client) -> io::Result<()>,
    ) {
        conn.set_line(self.keeper.clone());
        conn.set_signer(self.signer.clone());
        conn.set_interrupts(Some(Box::new(ParentWatch {
            link: self.link.clone(),
            listeners: Arc::clone(&self.own),
            ends_idle: self.ends_idle,
            has_ended: false,
        })));
        if conn.awaits_header() {
            self.begin(conn.peer()); // it is served already, though not counted
            if conn.read_proxy().is_err() {
                return self.end();
            }
        }
        let peer = conn.peer();
        if let Err(why) = self.admit(peer) {
            contract::client_refused(peer, why);
            conn.refuse(busy);
            return self.end();
        }
        self.begin(peer);
        session::run(conn, self.slot.with_peer(peer), serve);
        self.permit.iter().for_each(|(permit, _)| permit.client_gone());
        self.end();
    }

    /// Notes the client for the parent.
    fn begin(&mut self, peer: Peer) {
        self.line.begin(peer);
        let was_long_ago = self.last.is_none_or(|last| last.elapsed() >= POLL_INTERVAL);
        self.last = Some(Instant::now());
        if was_long_ago || self.notifies_each {
            self.waker.iter().for_each(Waker::notify);
        }
    }

    fn end(&self) {
        self.line.end();
        self.titles.show("worker, idle");
    }

    /// Asks the parent whether a client may be served.
    ///
    /// # Errors
    /// The reason why not: the limit that it would exceed, or no answer.
    fn admit(&self, peer: Peer) -> Result<(), String> {
        let Some((permit, limits)) = &self.permit else { return Ok(()) };
        let begin = Instant::now();
        let refusal = loop {
            match permit.may_serve(peer).map_err(|error| reason(&error))? {
                Answer::Yes => return Ok(()),
                Answer::PerAddress if begin.elapsed() < GRACE => std::thread::sleep(RETRY_INTERVAL),
                Answer::PerAddress => break Some(Refusal::PerAddress(limits.max_per_ip)),
                Answer::TooOften => break limits.rate.map(Refusal::TooOften),
            }
        };
        refusal.map_or(Ok(()), |refusal| Err(refusal.to_string()))
    }
}

/// Watches the parent. When it has stopped or was killed, shuts the listeners down, so that the
/// next server can bind the port.
#[derive(Debug)]
struct ParentWatch {
    link: Link,
    listeners: Arc<[OwnedFd]>,
    ends_idle: bool,
    /// The server has ended, and the listeners are shut down.
    has_ended: bool,
}

impl Interrupts for ParentWatch {
    fn wait(&mut self, client: &[Waited<'_>], is_idle: bool, limit: Duration) -> io::Result<bool> {
        // After a SIGKILL of the parent, sessions continue.
        if self.has_ended && self.ends_idle && is_idle && getppid() == self.link.parent {
            return Err(shutting_down());
        }
        let server = (!self.has_ended).then(|| self.link.server.as_fd());
        let woken = wait(client, [server, None], limit)?;
        if woken == Woken::Other {
            self.poll_now()?;
        }
        Ok(woken == Woken::Client)
    }

    fn poll_now(&mut self) -> io::Result<()> {
        if !self.has_ended && self.link.server_has_ended() {
            self.has_ended = true;
            stop_listening(&self.listeners);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_worker_that_never_waits_releases_the_port_of_a_parent_that_has_ended() {
        let (server, life) = std::io::pipe().unwrap();
        let (generation, _same) = std::io::pipe().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let link = Link::new(getppid(), [Arc::new(server.into()), Arc::new(generation.into())]);
        let mut watch = ParentWatch {
            link,
            listeners: [listener.into()].into(),
            ends_idle: false,
            has_ended: false,
        };
        watch.poll_now().unwrap();
        assert!(TcpStream::connect(address).is_ok());
        drop(life);
        watch.poll_now().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }
}
