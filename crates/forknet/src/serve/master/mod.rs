//! The serving parent: what it waits for, and what the designs share.

mod admission;
mod child;
mod on_signal;
mod shutdown;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
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
use crate::net::peer::Peer;
use crate::options::{ServerOptions, model::Model};
use crate::serve::announcer::Announcer;
use crate::serve::children::{Children, EndedChild};
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::files::Files;
use crate::serve::keeper::Keeper;
use crate::serve::line::Line;
use crate::serve::listeners::Listeners;
use crate::serve::refusals::{Refusals, Replies};
use crate::serve::server_end::ServerEnd;
use crate::serve::session::{SessionHost, Settings};
use crate::serve::signals::Signals;
use crate::serve::signer::Signer;
use crate::serve::spare_fd::SpareFd;
use crate::serve::threads::Threads;
use crate::serve::title::Titles;
use crate::serve::wakeup::{self, Waker, Wakeup};
use crate::setup::confinement::{Confinement, confine_parent};
use crate::setup::heap;

/// The callback of SIGHUP.
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
    /// Wakes the parent up, from a thread or worker.
    wakeup: Option<Wakeup>,
    helper: Option<DatagramHelper>,
    keeper: Option<Keeper>,
    signer: Option<Signer>,
    /// What processes that talk to clients enter, in a server with a keeper.
    confinement: Option<Confinement>,
    reread: Option<Reread>,
    announcer: Announcer,
    /// Under inetd's `wait`, the last time with a client. `--timeout` after it the server ends, and
    /// inetd watches the socket again.
    idle_since: Option<Instant>,
    files: Files,
    /// The transcript was reopened, TLS has other keys, or the keeper has found something else, and the design has not replaced its processes yet.
    has_old_processes: bool,
    /// Ended children that the design has not taken yet.
    ended_children: Vec<EndedChild>,
    /// Ended children without a slot, for a design that uses them.
    unrelated: Option<Vec<Ended>>,
    /// Logs the ends of children here; otherwise the design does.
    logs_ends: bool,
    /// Log lines are written together, before each wait.
    _collecting: Collecting,
}

/// What a round of the loop waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Whether the listeners are waited for: there is a slot for a client, or a refusal.
    pub(crate) accepting: bool,
    /// Number of clients served now.
    pub(crate) clients: usize,
    /// Longest wait.
    pub(crate) timeout: Option<Duration>,
}

/// Indexes of descriptors. A few need no heap, because a page that the parent writes in a round is
/// copied for each child.
pub(crate) type Numbers = SmallVec<[usize; 4]>;

/// The result of a round.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Indexes of the readable listeners.
    pub(crate) listeners: Numbers,
    /// Indexes of the other readable descriptors.
    pub(crate) others: Numbers,
    /// SIGUSR1 came, for a design that logs its clients itself.
    pub(crate) table_wanted: bool,
    /// The transcript was reopened (SIGHUP), or TLS has other keys, for a design whose processes outlive
    /// their clients.
    pub(crate) has_old_processes: bool,
}

impl Master {
    /// Makes the parent of a server with these listeners, and registers the signal handlers.
    ///
    /// # Errors
    /// No memory for the slots.
    pub(crate) fn new(
        options: ServerOptions,
        listeners: Vec<Listener>,
        signals: Signals,
        (titles, replies): (Titles, Replies),
        layout: Layout,
    ) -> Result<Master> {
        stderr::keep_private()?;
        let children = Children::new(&options, signals.reaper(), layout)?;
        let refusals = Refusals::new(replies.clone(), options.max_clients)?;
        signals.handle()?;
        let host = match options.model {
            Model::Fork => SessionHost::Child,
            Model::Prefork | Model::Iterative => SessionHost::Sequential,
            Model::Thread => SessionHost::Thread,
        };
        let timeouts = Timeouts { idle: options.timeout, deadline: options.deadline };
        Ok(Master {
            settings: Settings::new(host, timeouts, titles, (options.proxy_from.clone(), replies)),
            idle_since: options.inetd.then(Instant::now),
            announcer: Announcer::new(titles, options.max_clients),
            options,
            listeners: Listeners::new(listeners),
            signals,
            children,
            threads: Arc::default(),
            spare_fd: SpareFd::new(),
            refusals,
            server_end: ServerEnd::default(),
            wakeup: None,
            helper: None,
            keeper: None,
            signer: None,
            confinement: None,
            reread: None,
            files: Files::default(),
            has_old_processes: false,
            ended_children: Vec::new(),
            unrelated: None,
            logs_ends: true,
            _collecting: stderr::collect(),
        })
    }

    pub(crate) fn set_files(&mut self, files: Files) {
        self.files = files;
    }

    /// Sets the keeper, and the signer where there is one, and makes what the processes enter that talk to
    /// clients.
    ///
    /// # Errors
    /// landlock_create_ruleset(2) failed.
    pub(crate) fn set_keeper(&mut self, keeper: Keeper, signer: Option<Signer>) -> Result<()> {
        self.confinement = Some(Confinement::new(self.options.model)?);
        (self.keeper, self.signer) = (Some(keeper), signer);
        Ok(())
    }

    /// Makes a line to the keeper, if there is one, for a client if it is one alone.
    ///
    /// # Errors
    /// The keeper has ended; the inner one is a lack of descriptors.
    pub(crate) fn line(
        &self,
        client: Option<Peer>,
    ) -> Result<std::result::Result<Option<Line>, Errno>> {
        match self.keeper.as_ref().map(|keeper| keeper.line(client)).transpose() {
            Err(Errno::EPIPE | Errno::ECONNRESET) => {
                Err(Error::Refused("the keeper has ended".into()))
            }
            line => Ok(line),
        }
    }

    /// Makes a line to the signer, if there is one. If it has ended, which it never should, another is made.
    ///
    /// # Errors
    /// A lack of descriptors; EPIPE when there is no signer any more.
    pub(crate) fn signer_line(&mut self) -> nix::Result<Option<Line>> {
        match self.signer.as_ref().map(Signer::line).transpose() {
            Err(Errno::EPIPE | Errno::ECONNRESET) if self.renew_signer() => {
                self.signer.as_ref().map(Signer::line).transpose()
            }
            line => line,
        }
    }

    /// Gives up, in a process that talks to clients, what it does not need, in a server with a keeper.
    ///
    /// # Errors
    /// One of the kernel's barriers cannot be put up.
    pub(crate) fn confine(&mut self) -> nix::Result<()> {
        self.confinement.take().map_or(Ok(()), |confinement| confinement.enter())
    }

    /// Sets the callback of SIGHUP.
    pub(crate) fn set_reread(&mut self, reread: Option<Reread>) {
        self.reread = reread;
    }

    /// Sets the datagram service, which keeps an idle server under inetd alive.
    pub(crate) fn set_helper(&mut self, helper: Option<DatagramHelper>) {
        if helper.is_some() {
            self.idle_since = None;
        }
        self.helper = helper;
    }

    /// Makes idle sessions end on SIGTERM; otherwise they end by themselves.
    pub(crate) fn set_ends_idle(&mut self) -> Result<()> {
        self.server_end.set_ends_idle().map_err(Error::os("pipe"))
    }

    /// Leaves the log of children's ends to the design, which knows more about them.
    pub(crate) fn set_logs_no_ends(&mut self) {
        self.logs_ends = false;
    }

    /// Makes the table of threads, for a design whose sessions are threads.
    pub(crate) fn set_threads(&mut self) -> Result<Arc<Threads>> {
        self.server_end.end_threads().map_err(Error::os("pipe"))?;
        Ok(Arc::clone(&self.threads))
    }

    /// Makes the pipe by which threads or children wake the parent up.
    pub(crate) fn make_waker(&mut self) -> Result<Waker> {
        let (wakeup, waker) = wakeup::pair().map_err(Error::os("pipe"))?;
        self.wakeup = Some(wakeup);
        Ok(waker)
    }

    pub(crate) fn announcer(&mut self) -> &mut Announcer {
        &mut self.announcer
    }

    /// Reports that the server serves, to the log, the service manager and the starting command, once the
    /// parent has given up what it does not need either, in a server with a keeper. Call it after the last
    /// step that can fail.
    ///
    /// # Errors
    /// There is no starting command any more; seccomp(2) failed.
    pub(crate) fn ready(&mut self) -> Result<()> {
        if self.keeper.is_some() {
            confine_parent(self.options.model)?;
        }
        heap::take_holes();
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

    /// Returns true while the listeners pause, because accept or recvmsg keeps failing.
    pub(crate) fn is_paused(&self) -> bool {
        self.spare_fd.pause_left().is_some()
    }

    pub(crate) fn server_end(&self) -> &ServerEnd {
        &self.server_end
    }

    pub(crate) fn signals(&self) -> Signals {
        self.signals
    }

    /// Returns the transcript without a peer.
    pub(crate) fn transcript(&self) -> Transcript {
        Transcript::without_peer(self.settings.transcript())
    }

    /// Returns the transcript of this peer.
    pub(crate) fn transcript_of(&self, peer: impl std::fmt::Display) -> Transcript {
        Transcript::new(self.settings.transcript(), peer)
    }

    /// Returns the proof that this process may fork.
    ///
    /// # Errors
    /// It has threads.
    pub(crate) fn alone(&self) -> Result<OneTask> {
        OneTask::check().map_err(Error::os("fork"))
    }

    /// Waits for clients and signals, and handles the signals; returns the indexes of the ready
    /// listeners. Under `--over queue` a server without a free slot does not wait for them.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub(crate) fn wait(&mut self) -> Result<Numbers> {
        self.start_helper_if_due(|| ());
        let (accepting, clients) = (!self.must_queue(), self.clients());
        Ok(self.wait_for(&Round { accepting, clients, timeout: None })?.listeners)
    }

    /// As [`Master::wait`], for a design with its own conditions.
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
        self.answer_told();
        ready.table_wanted = self.handle_signals(round.clients);
        self.has_old_processes |= self.signer.as_mut().is_some_and(Signer::tick);
        ready.has_old_processes = std::mem::take(&mut self.has_old_processes);
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
        let fds = fds.chain(self.children.asking_fds());
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

    /// Returns the longest time of the next wait.
    fn timeout(&mut self, round: &Round) -> Option<Duration> {
        // A signal that was delivered elsewhere, in a session or in `admit`, would not end the
        // wait.
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

    /// Restarts the idle timeout under inetd, because there is or was a client.
    pub(crate) fn reset_idle(&mut self) {
        self.idle_since = self.idle_since.map(|_| Instant::now());
    }

    /// Returns the time left until the idle timeout under inetd.
    fn idle_left(&self, clients: usize) -> Option<Duration> {
        let since = self.idle_since.filter(|_| clients == 0)?;
        Some(self.options.timeout.saturating_sub(since.elapsed()))
    }

    /// Returns the number of clients that children and threads serve.
    pub(crate) fn clients(&self) -> usize {
        self.children.len() + self.threads.len()
    }

    /// Waits for signals, threads and workers only.
    fn pause(&self, limit: Duration) {
        let wakeup = self.wakeup.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<_> = wakeup.collect();
        match self.signals.wait(&mut fds, Some(TimeSpec::from(limit))) {
            Ok(true) => self.wakeup.iter().for_each(Wakeup::drain),
            Ok(false) => {}
            Err(error) => log::debug!("{error}"),
        }
    }

    /// Returns the settings of all sessions.
    pub(crate) fn settings(&self) -> &'static Settings {
        self.settings
    }

    /// Lends the helper to a session, which stops it on SIGTERM.
    pub(crate) fn take_helper(&mut self) -> Option<DatagramHelper> {
        self.helper.take()
    }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Master")
    }
}
