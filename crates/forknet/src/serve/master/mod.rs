//! The parent while it serves: what it waits for, and what the designs share.

mod admission;
mod child;
mod on_signal;
mod shutdown;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use smallvec::SmallVec;
use sys::fork::OneTask;
use sys::shared_memory::Layout;
use sys::wait::Ended;

use crate::error::{Error, Result};
use crate::log::stderr::{self, Collecting};
use crate::log::transcript::Transcript;
use crate::net::deadlines::Timeouts;
use crate::net::listener::Listener;
use crate::options::{ServerOptions, model::Model};
use crate::serve::announcer::Announcer;
use crate::serve::children::{Children, EndedChild};
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::files::Files;
use crate::serve::listeners::Listeners;
use crate::serve::refusals::{Refusals, Replies};
use crate::serve::server_end::ServerEnd;
use crate::serve::session::{SessionHost, Settings};
use crate::serve::signals::Signals;
use crate::serve::spare_fd::SpareFd;
use crate::serve::threads::Threads;
use crate::serve::title::Titles;
use crate::serve::wakeup::{self, Waker, Wakeup};

/// What happens on SIGHUP.
pub(crate) type Reread = Box<dyn Fn()>;

/// The parent's state while it serves.
pub(crate) struct Master {
    options: ServerOptions,
    listeners: Listeners,
    signals: Signals,
    children: Children,
    threads: Arc<Threads>,
    spare_fd: SpareFd,
    refusals: Refusals,
    settings: &'static Settings,
    server_end: ServerEnd,
    /// Makes the parent look after something: a thread or worker says so.
    wakeup: Option<Wakeup>,
    helper: Option<DatagramHelper>,
    reread: Option<Reread>,
    announcer: Announcer,
    /// Under inetd's `wait` the server ends when `--timeout` has passed without a client since this
    /// instant; inetd then watches the socket again.
    idle_since: Option<Instant>,
    files: Files,
    /// Other processes have yet to hear of it.
    has_new_transcript: bool,
    /// Children that have ended and that the design has not looked at.
    ended_children: Vec<EndedChild>,
    /// Children that have no place, for a design that wants to hear of them.
    unrelated: Option<Vec<Ended>>,
    /// The ends of the others are logged as soon as they are known; else the design does it.
    logs_ends: bool,
    /// Lines of the log are written together, before each wait.
    _collecting: Collecting,
}

/// What a round of the loop waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// The listeners too: there is a place for a client, or a word for it.
    pub(crate) accepting: bool,
    /// Clients that are served now.
    pub(crate) clients: usize,
    /// Longest wait.
    pub(crate) timeout: Option<Duration>,
}

/// Numbers of descriptors, where a few need no heap: what the parent changes in a round, each child
/// that lives has to itself.
pub(crate) type Numbers = SmallVec<[usize; 4]>;

/// What a round has found.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Numbers of the listeners that are readable.
    pub(crate) listeners: Numbers,
    /// Numbers of the other descriptors that are.
    pub(crate) others: Numbers,
    /// SIGUSR1 came: a design that counts its clients itself logs them.
    pub(crate) table_wanted: bool,
    /// SIGHUP came, and there is another file for the transcript: for a design whose processes outlive
    /// their clients.
    pub(crate) new_transcript: bool,
}

impl Master {
    /// The parent of a server with these listeners. The handlers are registered, and let in from now on.
    ///
    /// # Errors
    /// No memory for the children's places.
    pub(crate) fn new(
        options: ServerOptions,
        listeners: Vec<Listener>,
        signals: Signals,
        titles: Titles,
        layout: Layout,
    ) -> Result<Master> {
        stderr::keep_private()?;
        let children = Children::new(&options, signals.reaper(), layout)?;
        signals.handle()?;
        let host = match options.model {
            Model::Fork => SessionHost::Child,
            Model::Prefork | Model::Iterative => SessionHost::Sequential,
            Model::Thread => SessionHost::Thread,
        };
        let timeouts = Timeouts { idle: options.timeout, deadline: options.deadline };
        Ok(Master {
            settings: Settings::new(host, timeouts, titles),
            idle_since: options.inetd.then(Instant::now),
            announcer: Announcer::new(titles, options.max_clients),
            options,
            listeners: Listeners::new(listeners),
            signals,
            children,
            threads: Arc::default(),
            spare_fd: SpareFd::new(),
            refusals: Refusals::default(),
            server_end: ServerEnd::default(),
            wakeup: None,
            helper: None,
            reread: None,
            files: Files::default(),
            has_new_transcript: false,
            ended_children: Vec::new(),
            unrelated: None,
            logs_ends: true,
            _collecting: stderr::collect(),
        })
    }

    pub(crate) fn set_replies(&mut self, replies: Replies) {
        self.refusals = Refusals::new(replies);
    }

    pub(crate) fn set_files(&mut self, files: Files) {
        self.files = files;
    }

    /// Called on SIGHUP.
    pub(crate) fn set_reread(&mut self, reread: Option<Reread>) {
        self.reread = reread;
    }

    /// The service for datagrams, which keeps an otherwise idle server under inetd alive.
    pub(crate) fn set_helper(&mut self, helper: Option<DatagramHelper>) {
        if helper.is_some() {
            self.idle_since = None;
        }
        self.helper = helper;
    }

    /// On SIGTERM idle sessions are told; else they are left to end by themselves.
    pub(crate) fn set_ends_idle(&mut self) -> Result<()> {
        self.server_end.set_ends_idle().map_err(Error::os("pipe"))
    }

    /// The ends of children are logged by the design, which knows more about them.
    pub(crate) fn set_logs_no_ends(&mut self) {
        self.logs_ends = false;
    }

    /// The sessions are threads of this process.
    pub(crate) fn set_threads(&mut self) -> Result<Arc<Threads>> {
        self.server_end.end_threads().map_err(Error::os("pipe"))?;
        Ok(Arc::clone(&self.threads))
    }

    /// Makes what threads or children wake the parent up with, to look after its own.
    pub(crate) fn make_waker(&mut self) -> Result<Waker> {
        let (wakeup, waker) = wakeup::pair().map_err(Error::os("pipe"))?;
        self.wakeup = Some(wakeup);
        Ok(waker)
    }

    /// Those that are told once the server serves.
    pub(crate) fn announcer(&mut self) -> &mut Announcer {
        &mut self.announcer
    }

    /// Says in the log, to the service manager and to the starting command that the server serves: when
    /// nothing can go wrong any more that would end it.
    ///
    /// # Errors
    /// There is no starting command any more.
    pub(crate) fn ready(&mut self) -> Result<()> {
        self.announcer.ready(self.listeners.as_slice(), self.helper.as_ref())
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.options
    }

    pub(crate) fn listeners(&self) -> &[Listener] {
        self.listeners.as_slice()
    }

    pub(crate) fn children(&mut self) -> &mut Children {
        &mut self.children
    }

    pub(crate) fn replies(&self) -> &Replies {
        self.refusals.replies()
    }

    pub(crate) fn titles(&self) -> Titles {
        self.announcer.titles()
    }

    pub(crate) fn spare_fd(&mut self) -> &mut SpareFd {
        &mut self.spare_fd
    }

    /// Returns true while the listeners are left alone, because accept or recvmsg goes on failing.
    pub(crate) fn is_paused(&self) -> bool {
        self.spare_fd.pause_left().is_some()
    }

    pub(crate) fn server_end(&self) -> &ServerEnd {
        &self.server_end
    }

    pub(crate) fn signals(&self) -> Signals {
        self.signals
    }

    /// The dialogue's file, before it is known whose dialogue it is.
    pub(crate) fn transcript(&self) -> Transcript {
        Transcript::without_peer(self.settings.transcript())
    }

    /// The dialogue of this peer's.
    pub(crate) fn transcript_of(&self, peer: impl std::fmt::Display) -> Transcript {
        Transcript::new(self.settings.transcript(), peer)
    }

    /// Proof that this process may fork.
    ///
    /// # Errors
    /// It has threads.
    pub(crate) fn alone(&self) -> Result<OneTask> {
        OneTask::check().map_err(Error::os("fork"))
    }

    /// Waits for clients and signals, and does what the signals ask for; gives the numbers of the
    /// listeners that are ready. Under `--over queue` a server without a place leaves them alone.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub(crate) fn wait(&mut self) -> Result<Numbers> {
        self.start_helper_if_due(|| ());
        let (accepting, clients) = (!self.must_queue(), self.clients());
        Ok(self.wait_for(&Round { accepting, clients, timeout: None })?.listeners)
    }

    /// As [`Master::wait`], for a design that says what it waits for.
    pub(crate) fn wait_for(&mut self, round: &Round) -> Result<Ready> {
        self.wait_for_others(round, &[])
    }

    /// As [`Master::wait_for`], for a design that waits for other descriptors too.
    pub(crate) fn wait_for_others(
        &mut self,
        round: &Round,
        others: &[BorrowedFd<'_>],
    ) -> Result<Ready> {
        let mut ready = self.poll(round, others)?;
        self.listeners.rotate(&mut ready.listeners);
        ready.table_wanted = self.handle_signals(round.clients);
        ready.new_transcript = std::mem::take(&mut self.has_new_transcript);
        if !ready.listeners.is_empty() || round.clients > 0 {
            self.reset_idle();
        }
        Ok(ready)
    }

    /// ppoll(2) on all that the parent waits for.
    fn poll(&mut self, round: &Round, others: &[BorrowedFd<'_>]) -> Result<Ready> {
        let timeout = self.timeout(round).map(TimeSpec::from);
        let accepting = round.accepting && self.spare_fd.pause_left().is_none();
        let listeners = if accepting { self.listeners.as_slice().len() } else { 0 };
        let fds = self.listeners.fds().take(listeners);
        let fds = fds.chain(others.iter().copied());
        let fds = fds.chain(self.wakeup.as_ref().map(AsFd::as_fd));
        let mut fds: SmallVec<[_; 8]> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let mut ready = Ready::default();
        if self.signals.wait(&mut fds, timeout)? {
            let is_readable =
                |number: &usize| fds.get(*number).is_some_and(|fd| fd.any() != Some(false));
            ready.listeners = (0..listeners).filter(is_readable).collect();
            let others = listeners..listeners + others.len();
            if is_readable(&others.end) {
                self.wakeup.iter().for_each(Wakeup::drain);
            }
            ready.others = others.filter(is_readable).map(|number| number - listeners).collect();
        }
        Ok(ready)
    }

    /// How long the next wait may be.
    fn timeout(&mut self, round: &Round) -> Option<Duration> {
        // A signal that was let in elsewhere, in a session or by `admit`, is not waited for again.
        if self.signals.is_pending() && !self.announcer.is_stopping() {
            return Some(Duration::ZERO);
        }
        let timeouts = [
            round.timeout,
            self.spare_fd.pause_left(),
            self.idle_left(round.clients),
            self.announcer.count(round.clients, self.listeners.as_slice()),
            self.helper.as_ref().and_then(DatagramHelper::due_in),
            self.children.poll_interval().filter(|_| !round.accepting),
            self.threads.poll_in(!round.accepting),
            self.refusals.log_left_out(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// There is a client, or was just now: the time without one begins again, where it is limited.
    pub(crate) fn reset_idle(&mut self) {
        self.idle_since = self.idle_since.map(|_| Instant::now());
    }

    /// What is left of the time without a client, where that is limited.
    fn idle_left(&self, clients: usize) -> Option<Duration> {
        let since = self.idle_since.filter(|_| clients == 0)?;
        Some(self.options.timeout.saturating_sub(since.elapsed()))
    }

    /// Clients that are served by children and threads.
    pub(crate) fn clients(&self) -> usize {
        self.children.len() + self.threads.len()
    }

    /// Waits for signals, threads and workers alone.
    fn pause(&self, limit: Duration) {
        let wakeup = self.wakeup.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<_> = wakeup.collect();
        match self.signals.wait(&mut fds, Some(TimeSpec::from(limit))) {
            Ok(true) => self.wakeup.iter().for_each(Wakeup::drain),
            Ok(false) => {}
            Err(error) => log::debug!("{error}"),
        }
    }

    /// What all sessions have in common.
    pub(crate) fn settings(&self) -> &'static Settings {
        self.settings
    }

    /// Lends the helper to a session that has to end it when the server stops.
    pub(crate) fn take_helper(&mut self) -> Option<DatagramHelper> {
        self.helper.take()
    }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Master")
    }
}
