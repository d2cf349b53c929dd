//! The parent while it serves: what it waits for, and what the models share.

use std::array;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;

use crate::accept::{Accepted, Peer, Verdict, verdict};
use crate::attention::Attention;
use crate::bell::Bell;
use crate::beside::{self, Beside};
use crate::caretaker::Caretaker;
use crate::children::Children;
use crate::daemonize::Starter;
use crate::error::{Error, Result, strerror};
use crate::limits::{Over, Refusal};
use crate::lines;
use crate::listen::Listener;
use crate::models::Model;
use crate::notify::Notifier;
use crate::options::ServerOptions;
use crate::pidfile::PidFile;
use crate::ports::Ports;
use crate::ready::{MOST_LISTENERS, Ready};
use crate::reaper::Ended;
use crate::reserve::Reserve;
use crate::rw::Connection;
use crate::scoreboard::Progress;
use crate::server::{Client, Reread, Server, patience};
use crate::signals::Signals;
use crate::tally::Tally;
use crate::threads::Threads;
use crate::title::{Title, Titles};
use crate::transcript::Transcript;

/// A client over a limit may only seem to be one too many for so long.
const A_MOMENT: Duration = Duration::from_millis(10);
/// How often it looks meanwhile: a prefork worker that becomes idle tells nobody.
const A_LOOK: Duration = Duration::from_millis(1);
/// Afterwards such clients are refused at once for so long: who refuses many must not tarry.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// The parent's state while it serves.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) signals: Signals,
    pub(crate) children: Children,
    pub(crate) reserve: Reserve,
    pub(crate) busy: Vec<u8>,
    pub(crate) unavailable: Vec<u8>,
    pub(crate) is_request: fn(&[u8]) -> bool,
    pub(crate) ports: Option<Ports>,
    /// Called on SIGHUP.
    reread: Option<Reread>,
    pub(crate) options: ServerOptions,
    /// systemd, where it wants to know how we do.
    pub(crate) notifier: Notifier,
    /// The file of `--transcript`; each child takes its copy.
    pub(crate) transcript: Option<Arc<File>>,
    pub(crate) titles: Titles,
    /// The title of this process.
    pub(crate) tally: Tally,
    /// Idle clients are told of a shutdown.
    pub(crate) tell_idle: bool,
    /// Readable for the children once the server is shutting down.
    shutdown: Option<Arc<OwnedFd>>,
    /// Rung by workers and threads when the parent has to look after something.
    pub(crate) bell: Option<Arc<Bell>>,
    /// Who is served by a thread.
    pub(crate) threads: Arc<Threads>,
    /// The service for datagrams, where there is one.
    pub(crate) beside: Option<Beside>,
    /// Under inetd's `wait` the server ends when `--timeout` has passed without a client since this
    /// instant; inetd then watches the socket again.
    idle_since: Option<Instant>,
    /// The number of the listener whose turn it is, where there is not a place for a client of each.
    turn: u32,
    /// How soon a model wants to look after its own.
    pub(crate) look: Option<Duration>,
    /// Until then a client over a limit is refused at once: see [`Parent::after_a_moment`].
    impatient_until: Option<Instant>,
    /// How many clients this process serves itself, where it does.
    pub(crate) own_clients: usize,
    /// Somebody wants to know who they are.
    pub(crate) table_wanted: bool,
    /// Ended children that serve no client.
    pub(crate) errands: Vec<Ended>,
    /// Removed from the file system when the parent ends.
    pid_file: Option<PidFile>,
    caretaker: Option<Caretaker>,
}

/// What a round of the loop waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// The listeners too: there is a place for a client, or somebody to tell it that there is none.
    pub(crate) accepting: bool,
    /// How many clients are served now.
    pub(crate) clients: usize,
}

impl Parent {
    /// Lets the handlers in, then says that it listens.
    pub(crate) fn new(server: Server) -> Result<Parent> {
        if server.listeners.len() > MOST_LISTENERS {
            let why = format!("more than {MOST_LISTENERS} addresses to listen at");
            return Err(Error::Refused(why));
        }
        let children = Children::new(&server.options, server.reaper)?; // and what is shared with them
        server.signals.handle(server.reaper)?;
        server.signals.put_handlers_aside()?;
        let shutdown = server.end_idle_on_shutdown.then(EventFd::new).transpose();
        let shutdown = shutdown.map_err(Error::os("eventfd"))?;
        let idle = server.options.inetd.then_some(server.options.timeout);
        let beside = server.datagrams.map(|service| Beside::new(service, server.beside, idle));
        let beside = beside.transpose()?.flatten();
        let mut parent = Parent {
            notifier: server.notifier,
            signals: server.signals,
            children,
            reserve: Reserve::new(),
            busy: server.busy,
            unavailable: server.unavailable,
            is_request: server.is_request,
            ports: server.ports,
            reread: server.reread,
            transcript: server.transcript,
            titles: server.titles,
            tally: Tally::new(server.titles),
            tell_idle: server.end_idle_on_shutdown,
            shutdown: shutdown.map(|fd| Arc::new(OwnedFd::from(fd))),
            bell: None,
            threads: Arc::default(),
            idle_since: (server.options.inetd && beside.is_none()).then(Instant::now),
            beside,
            turn: 0,
            look: None,
            impatient_until: None,
            own_clients: 0,
            table_wanted: false,
            errands: Vec::new(),
            listeners: server.listeners,
            pid_file: server.pid_file,
            caretaker: server.caretaker,
            options: server.options,
        };
        parent.tally.show(0, parent.options.max_clients, &parent.listeners);
        for listener in &parent.listeners {
            info!("listening on {listener}");
        }
        parent.beside.as_ref().inspect(|beside| beside.log_sockets());
        parent.notifier.ready(server.starter.is_some());
        server.starter.map_or(Ok(()), Starter::ready)?;
        Ok(parent)
    }

    /// Waits for clients and signals, and does what the signals ask for; gives the numbers of the
    /// listeners that are ready.
    ///
    /// Neither half is inlined: what they have on the stack lies at the same place then, on fewer pages
    /// that have to be copied after each fork.
    #[inline(never)]
    pub(crate) fn wait(&mut self, round: Round) -> Result<Ready> {
        let mut ready = self.poll(round)?;
        self.turn = ready.begin_with(self.turn);
        self.heed_signals();
        if !(ready.is_empty() && round.clients == 0) {
            self.is_used();
        }
        Ok(ready)
    }

    /// ppoll(2) on all that the parent waits for.
    #[inline(never)]
    fn poll(&mut self, round: Round) -> Result<Ready> {
        beside::start_if_due(self);
        let again = self.tally.show(round.clients, self.options.max_clients, &self.listeners);
        let rest = self.reserve.rest();
        let accepting = round.accepting && rest.is_none();
        let listeners = if accepting { &self.listeners[..] } else { &[][..] };
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let bell = self.bell.as_deref().map(Bell::as_fd);
        let count = listeners.len() + usize::from(bell.is_some());
        let (mut waited, nobody) = (listeners.iter().map(Listener::as_fd).chain(bell), io::stdin());
        let mut fds: [PollFd<'_>; MOST_LISTENERS + 1] =
            array::from_fn(|_| readable(waited.next().unwrap_or(nobody.as_fd())));
        let fds = fds.get_mut(..count).unwrap_or_default();
        let beat = self.notifier.tend(round.clients, self.options.max_clients);
        let due = self.beside.as_ref().and_then(Beside::due_in);
        let look = self.children.end_unheard().filter(|_| !round.accepting);
        // Of a worker's client nobody tells here that it has gone.
        let unheard = self.options.model == Model::Prefork;
        let idle = rest.or(self.idle_left(if unheard { 0 } else { round.clients }));
        let ended = self.threads.look_again(!accepting);
        let timeouts = [idle, beat, due, again, look, self.look, ended];
        let timeout = timeouts.into_iter().flatten().min();
        // A signal that was let in elsewhere, in a session or by `admit`, is not waited for again.
        let timeout = if self.signals.came() { Some(Duration::ZERO) } else { timeout };
        let timeout = timeout.map(TimeSpec::from);
        let mut ready = Ready::default();
        if self.signals.wait(fds, timeout)? {
            (0..)
                .zip(&*fds)
                .filter(|(_, fd)| fd.any() != Some(false))
                .for_each(|(i, _)| ready.add(i));
        }
        if bell.is_some() && ready.remove(listeners.len()) {
            self.bell.as_deref().map(Bell::heard);
        }
        Ok(ready)
    }

    /// There is a client, or was just now: the time without one begins anew, where it is limited.
    pub(crate) fn is_used(&mut self) {
        self.idle_since = self.idle_since.map(|_| Instant::now());
    }

    /// What is left of the time without a client, where that is limited.
    fn idle_left(&self, clients: usize) -> Option<Duration> {
        let since = self.idle_since.filter(|_| clients == 0)?;
        Some(self.options.timeout.saturating_sub(since.elapsed()))
    }

    /// Takes back the places of those that have ended.
    fn collect(&mut self) {
        self.children.collect();
        let strangers = self.children.strangers();
        match &mut self.beside {
            Some(beside) => strangers.into_iter().for_each(|ended| beside.heed_end(ended)),
            None => self.errands.extend(strangers),
        }
        for (peer, progress) in self.threads.ended() {
            self.children.dismiss(peer, progress);
        }
    }

    /// How many clients are served by children and threads.
    pub(crate) fn clients(&self) -> usize {
        self.children.clients() + self.threads.len() + self.own_clients
    }

    /// True when nobody is left to wait for.
    pub(crate) fn is_alone(&self) -> bool {
        self.children.is_empty() && self.threads.len() == 0
    }

    pub(crate) fn heed_signals(&mut self) {
        self.collect();
        if self.signals.hangup() {
            info!("SIGHUP: the next client sees the files as they are then");
            self.reread.iter().for_each(Reread::call);
            self.notifier.reloaded();
        }
        if self.signals.table_wanted() {
            info!("{} of {} clients", self.clients(), self.options.max_clients);
            self.children.log();
            self.threads.log();
            self.table_wanted = true;
            self.beside.as_ref().inspect(|beside| beside.log_line());
        }
    }

    /// True when the next client is to wait in the backlog: no place is free, under `--over queue`.
    pub(crate) fn lets_wait(&mut self) -> bool {
        self.options.over == Over::Queue && self.children.has_no_place()
    }

    /// A place for a client, or why there is none.
    pub(crate) fn admit(&mut self, peer: Peer) -> std::result::Result<Progress, Refusal> {
        self.after_a_moment(|parent| parent.children.admit(peer))
    }

    /// Tries again where a limit seems to be reached.
    ///
    /// Often it only seems so: a client that has closed and comes again can be quicker than the
    /// process that served it. So the parent waits for the next session to end, a moment only, and
    /// not at all in the second after it has waited in vain.
    pub(crate) fn after_a_moment<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Parent) -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        let begin = Instant::now();
        let hasty = self.impatient_until.is_some_and(|until| begin < until);
        let patience = if hasty { Duration::ZERO } else { A_MOMENT };
        loop {
            let refusal = match attempt(self) {
                Ok(place) => return Ok(place),
                Err(refusal @ Refusal::TooOften(_)) => return Err(refusal),
                Err(refusal) => refusal,
            };
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                self.impatient_until =
                    if hasty { self.impatient_until } else { Some(begin + IMPATIENCE) };
                return Err(refusal);
            }
            let bell = self.bell.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN));
            let mut fds: Vec<PollFd<'_>> = bell.collect();
            let _interrupted = self.signals.wait(&mut fds, Some(TimeSpec::from(left.min(A_LOOK))));
            self.bell.as_deref().map(Bell::heard);
            self.collect();
        }
    }

    /// SIGTERM or SIGINT came, or nobody for too long under inetd.
    pub(crate) fn must_stop(&self, clients: usize) -> bool {
        let is_over = self.beside.as_ref().is_some_and(Beside::is_over);
        is_over
            || self.signals.stops() > 0
            || self.idle_left(clients).is_some_and(|left| left.is_zero())
    }

    /// Tells the idle clients' processes that the server is shutting down.
    pub(crate) fn announce_shutdown(&self) {
        let Some(fd) = &self.shutdown else { return };
        if let Err(errno) = nix::unistd::write(fd, &1_u64.to_ne_bytes()) {
            warn!("eventfd: {}", strerror(errno));
        }
    }

    /// Ends the service for datagrams and closes the listeners; the files of UNIX-domain ones go
    /// with them.
    pub(crate) fn stop_listening(&mut self) {
        if let Some(beside) = self.beside.take() {
            beside.stop();
        }
        self.listeners.drain(..).for_each(Listener::close);
        if let Some(caretaker) = &self.caretaker {
            caretaker.listeners_closed();
        }
    }

    /// First thing in a child: default signals, and none of the parent's descriptors but the
    /// transcript's.
    pub(crate) fn become_child(&mut self) {
        lines::of_a_child();
        if let Err(errno) = self.signals.restore() {
            warn!("sigaction: {}", strerror(errno));
        }
        self.listeners.clear(); // Close(listenfd)
        self.beside = None;
        self.reserve.give_up();
        self.pid_file = None;
        self.caretaker = None;
        self.notifier.close();
        self.bell = None;
    }

    /// A client's session, as a model sets it up.
    pub(crate) fn client(&self, accepted: Accepted, progress: Progress) -> Client {
        let Accepted { conn, peer, receive_limit, name, at } = accepted;
        let patience = patience(&self.options);
        let mut conn = match receive_limit {
            Duration::ZERO => Connection::socket(conn, patience, progress),
            limit => Connection::prepared(conn, patience, limit, progress),
        };
        conn.began(at);
        conn.attend(self.shutdown.clone().map(Attention::Shutdown));
        if self.options.model == Model::Fork {
            conn.answer_soon();
        }
        let title = match self.options.model {
            Model::Thread => Title::none(), // the process serves others too
            Model::Fork | Model::Prefork | Model::Iterative => {
                self.titles.client_named(peer, &name)
            }
        };
        Client { conn, peer, transcript: Transcript::of(self.transcript.clone(), peer), title }
    }

    /// An error of accept is the server's end only when the listener itself is broken.
    pub(crate) fn tolerate(&mut self, listener: usize, errno: Errno) -> Result<()> {
        let Some(listener) = self.listeners.get(listener) else { return Ok(()) };
        match verdict(errno) {
            Verdict::GoRound => Ok(()),
            Verdict::Exhausted => {
                self.reserve.answer(listener, &self.unavailable, errno);
                Ok(())
            }
            Verdict::Fatal => Err(Error::os(format!("accept {listener}"))(errno)),
        }
    }
}
