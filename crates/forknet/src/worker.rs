//! A prefork worker: wait, accept, serve, and round again.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::{geteuid, getresuid};

use crate::accept::{Accepted, Verdict, verdict};
use crate::attention::{Attention, Watch, stop_listening};
use crate::bell::Bell;
use crate::children::account;
use crate::error::strerror;
use crate::fork::{EXIT_FAILED, EXIT_OK};
use crate::limits::Refusal;
use crate::lines;
use crate::listen::Listener;
use crate::parent::Parent;
use crate::rw::refuse;
use crate::scoreboard::Progress;
use crate::server::{Client, one_client};

/// What epoll(7) gives back for the pipe that ends with the parent.
const THE_PARENT: u64 = u64::MAX;
/// A client over a limit may only seem to be one too many for so long: another worker may not yet
/// have seen that its own client is gone.
const A_MOMENT: Duration = Duration::from_millis(10);
const A_LITTLE: Duration = Duration::from_micros(500);

/// A worker and what it has of the parent's.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pub(crate) parent: &'a mut Parent,
    pub(crate) listeners: Vec<Listener>,
    /// The number of the listener whose turn it is.
    pub(crate) turn: usize,
    /// To be rung for the first client in a while, and for one that makes all workers busy.
    pub(crate) bell: Option<Arc<Bell>>,
    pub(crate) watch: Watch,
    pub(crate) progress: Progress,
    pub(crate) size: usize,
    /// The parent wants to know when no worker is idle any more.
    pub(crate) tells_busy: bool,
}

impl Worker<'_> {
    /// The worker's whole life; gives its exit code.
    pub(crate) fn work(mut self, session: impl Fn(&mut Client) -> io::Result<()>) -> i32 {
        let epoll = match self.epoll() {
            Ok(epoll) => epoll,
            Err(errno) => {
                warn!("epoll: {}", strerror(errno));
                return EXIT_FAILED;
            }
        };
        let is_root = geteuid().is_root();
        let _kept = lines::collect(); // written before each wait, for the next client or for this
        self.parent.titles.show("worker, idle");
        while !self.watch.board.is_stopping() {
            match self.accept() {
                Ok(Some(accepted)) => self.serve(accepted, &session),
                Ok(None) if self.wait(&epoll) => {}
                Ok(None) => break,
                Err(errno) => return self.give_up(errno),
            }
            if is_root && getresuid().is_ok_and(|id| !(id.real.is_root() && id.effective.is_root()))
            {
                break; // the session has become its user for good: a fresh worker takes over
            }
        }
        EXIT_OK
    }

    /// Each listener wakes one worker only (EPOLLEXCLUSIVE): no thundering herd.
    fn epoll(&self) -> nix::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let one_of_us = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        for listener in &self.listeners {
            epoll.add(listener, EpollEvent::new(one_of_us, 0))?;
        }
        epoll.add(self.watch.pipe.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, THE_PARENT))?;
        Ok(epoll)
    }

    /// The next client that is waiting already. The listener that had one last comes last: one that
    /// is never without must not keep the clients of the others waiting. Without a descriptor for it
    /// the worker does as the parent of the other models: it tells the client so, or rests.
    fn accept(&mut self) -> nix::Result<Option<Accepted>> {
        let reserve = &mut self.parent.reserve;
        for _ in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get(self.turn) else { break };
            let answer = listener.accept();
            self.turn = (self.turn + 1) % self.listeners.len();
            match answer {
                Ok(accepted) => {
                    reserve.recovered();
                    return Ok(Some(accepted));
                }
                Err(Errno::EAGAIN) => {}
                Err(errno) => match verdict(errno) {
                    Verdict::GoRound => {}
                    Verdict::Exhausted => reserve.answer(listener, &self.parent.unavailable, errno),
                    Verdict::Fatal => return Err(errno),
                },
            }
        }
        if let Some(rest) = reserve.rest() {
            lines::write_out();
            std::thread::sleep(rest);
        }
        Ok(None)
    }

    /// Blocks until there may be a client; false when the parent is gone.
    fn wait(&self, epoll: &Epoll) -> bool {
        let mut events = [EpollEvent::empty(); 8];
        lines::write_out();
        match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(n) if events.iter().take(n).any(|event| event.data() == THE_PARENT) => {
                stop_listening(&self.watch.listeners);
                false
            }
            Ok(_) | Err(Errno::EINTR) => true,
            Err(errno) => {
                warn!("epoll_wait: {}", strerror(errno));
                false
            }
        }
    }

    /// The listener is no more: of no use to the worker, unless the server ends so or was killed.
    fn give_up(&self, errno: Errno) -> i32 {
        if self.watch.board.is_stopping() || self.watch.sees_the_end() {
            return EXIT_OK;
        }
        warn!("accept: {}", strerror(errno));
        EXIT_FAILED
    }

    fn serve(&mut self, accepted: Accepted, session: impl Fn(&mut Client) -> io::Result<()>) {
        let (peer, since, progress) = (accepted.peer, Instant::now(), self.progress);
        if let Err(refusal) = self.admit(&accepted, since) {
            warn!("client {peer} refused: {refusal}");
            return refuse(&accepted.conn, &self.parent.busy);
        }
        self.parent.children.worker_serves(progress, peer);
        // Of two workers that take the last places at once, one must see the other; and the parent,
        // which takes the word back before it counts, must not miss both.
        fence(SeqCst);
        let is_news = self.watch.board.has_client();
        let all_busy = || self.parent.children.busy_workers(self.size) >= self.size;
        if is_news || self.tells_busy && all_busy() {
            self.bell.as_deref().map(Bell::ring);
        }
        let pid = std::process::id();
        info!("client {peer} start: pid {pid}");
        let mut client = self.parent.client(accepted, progress);
        client.conn.attend(Some(Attention::Parent(self.watch.clone())));
        let code = one_client(&mut client, session);
        if let Some(Attention::Parent(watch)) = client.conn.attention() {
            self.watch.last_look = watch.last_look;
        }
        drop(client);
        self.parent.children.limits().leave(peer);
        progress.serves_nobody();
        self.parent.titles.show("worker, idle");
        let did = account(progress, since.elapsed());
        if code == EXIT_OK {
            info!("client {peer} end: pid {pid}, exit {code}, {did}");
        } else {
            warn!("client {peer} end: pid {pid}, exit {code}, {did}");
        }
    }

    fn admit(&self, accepted: &Accepted, since: Instant) -> Result<(), Refusal> {
        loop {
            match self.parent.children.limits().admit(accepted.peer) {
                Err(Refusal::PerAddress(_)) if since.elapsed() < A_MOMENT => {
                    std::thread::sleep(A_LITTLE);
                }
                answer => return answer,
            }
        }
    }
}
