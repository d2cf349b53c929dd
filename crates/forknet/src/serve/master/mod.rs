//! The parent while it serves: what it waits for, and what the designs share.

mod shutdown;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use sys::eventfd::Wakeup;
use sys::fork::OneTask;
use sys::shared_memory::Layout;
use sys::wait::Ended;

use crate::error::{Error, Result, reason, strerror};
use crate::log::contract;
use crate::log::stderr::{self, Collecting};
use crate::log::throttle::Throttle;
use crate::log::transcript::Transcript;
use crate::net::deadlines::Timeouts;
use crate::net::listener::{Blocks, Listener};
use crate::net::peer::Peer;
use crate::options::limits::Over;
use crate::options::{ServerOptions, model::Model};
use crate::serve::children::{Children, Gone, log_client};
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::limits::Refusal;
use crate::serve::scoreboard::Slot;
use crate::serve::server_end::ServerEnd;
use crate::serve::session::{Conn, Settings, Whose};
use crate::serve::signals::{self, Signals};
use crate::serve::spare_fd::SpareFd;
use crate::serve::threads::Threads;
use crate::serve::title::{ParentTitle, Titles};
use crate::setup::cleanup::Cleanup;
use crate::setup::daemonize::Starter;
use crate::setup::pidfile::PidFile;
use crate::setup::sd_notify::Notifier;
use crate::setup::transcript_file::TranscriptFile;

/// Grace for a slot that is about to be freed: how long a client over a limit waits for that.
const GRACE: Duration = Duration::from_millis(10);
/// How often it is looked for meanwhile: a prefork worker that becomes idle tells nothing.
const GRACE_LOOK: Duration = Duration::from_millis(1);
/// After a vain wait, refuses immediately for this long.
const HASTE: Duration = Duration::from_secs(1);

/// What happens on SIGHUP.
pub(crate) type Reread = Box<dyn Fn()>;

/// What clients are told that are not served, in the protocol's own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    /// A limit is reached.
    pub(crate) busy: Vec<u8>,
    /// There is no process or descriptor.
    pub(crate) unavailable: Vec<u8>,
}

/// The files that go when the server does.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Before the helper, which waits until all are gone.
    _pid_file: Option<PidFile>,
    cleanup: Option<Cleanup>,
    transcript: Option<TranscriptFile>,
}

impl Files {
    pub(crate) fn new(
        pid_file: Option<PidFile>,
        cleanup: Option<Cleanup>,
        transcript: Option<TranscriptFile>,
    ) -> Files {
        let transcript = transcript.filter(TranscriptFile::can_change);
        Files { _pid_file: pid_file, cleanup, transcript }
    }

    /// Opens the transcript again, or has the helper do it where this process no longer may. `None`
    /// without one.
    pub(crate) fn reopen_transcript(&self) -> Option<io::Result<File>> {
        let transcript = self.transcript.as_ref()?;
        Some(match &self.cleanup {
            Some(cleanup) => cleanup.open_transcript(),
            None => transcript.open().map_err(io::Error::other),
        })
    }
}

/// The parent's state while it serves.
pub(crate) struct Master {
    options: ServerOptions,
    listeners: Vec<Listener>,
    /// Modes of inherited listeners that were closed, restored when this goes.
    blocking: Vec<Blocks>,
    /// The number of the listener whose turn it is, where there is not a place for a client of each.
    turn: usize,
    signals: Signals,
    children: Children,
    threads: Arc<Threads>,
    spare_fd: SpareFd,
    replies: Replies,
    refusals: Throttle,
    /// Until then a client over a limit is refused at once: see [`Master::after_grace`].
    hasty_until: Option<Instant>,
    settings: &'static Settings,
    server_end: ServerEnd,
    /// Makes the parent look after something: a thread or worker says so.
    wakeup: Option<Arc<Wakeup>>,
    helper: Option<DatagramHelper>,
    reread: Option<Reread>,
    notifier: Notifier,
    starter: Option<Starter>,
    titles: Titles,
    title: ParentTitle,
    /// Under inetd's `wait` the server ends when `--timeout` has passed without a client since this
    /// instant; inetd then watches the socket again.
    idle_since: Option<Instant>,
    files: Files,
    /// The end was announced, and a design that counts its clients itself serves on until it comes.
    is_stopping: bool,
    /// Other processes have yet to hear of it.
    has_new_transcript: bool,
    /// Children that have ended and that the design has not looked at.
    gone: Vec<Gone>,
    /// Children that have no place, for a design that wants to hear of them.
    unrelated: Option<Vec<Ended>>,
    /// The ends of the others are logged as soon as they are known; else the design does it.
    logs_ends: bool,
    /// Lines of the log are written together, before each wait.
    _collecting: Collecting,
}

/// What a round of the loop waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round<'f> {
    /// The listeners too: there is a place for a client, or a word for it.
    pub(crate) accepting: bool,
    /// Clients that are served now.
    pub(crate) clients: usize,
    /// Other descriptors.
    pub(crate) others: Vec<BorrowedFd<'f>>,
    /// Longest wait.
    pub(crate) timeout: Option<Duration>,
}

/// What a round has found.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Numbers of the listeners that are readable.
    pub(crate) listeners: Vec<usize>,
    /// Numbers of the other descriptors that are.
    pub(crate) others: Vec<usize>,
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
    /// No memory for the children's places; no eventfd.
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
        let whose = match options.model {
            Model::Fork => Whose::Child,
            Model::Prefork | Model::Iterative => Whose::OneByOne,
            Model::Thread => Whose::Thread,
        };
        let timeouts = Timeouts { idle: options.timeout, deadline: options.deadline };
        Ok(Master {
            settings: Settings::new(whose, timeouts, titles, None),
            idle_since: options.inetd.then(Instant::now),
            options,
            listeners,
            blocking: Vec::new(),
            turn: 0,
            signals,
            children,
            threads: Arc::default(),
            spare_fd: SpareFd::new(),
            replies: Replies::default(),
            refusals: Throttle::default(),
            hasty_until: None,
            server_end: ServerEnd::default(),
            wakeup: None,
            helper: None,
            reread: None,
            notifier: Notifier::default(),
            starter: None,
            titles,
            title: ParentTitle::new(titles),
            files: Files::default(),
            is_stopping: false,
            has_new_transcript: false,
            gone: Vec::new(),
            unrelated: None,
            logs_ends: true,
            _collecting: stderr::collect(),
        })
    }

    pub(crate) fn set_replies(&mut self, replies: Replies) {
        self.replies = replies;
    }

    pub(crate) fn set_transcript(&mut self, file: Option<Arc<File>>) {
        self.settings.set_transcript(file);
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
    pub(crate) fn set_end_idle(&mut self) -> Result<()> {
        self.server_end.tell_idle().map_err(Error::os("eventfd"))
    }

    /// The ends of children are logged by the design, which knows more about them.
    pub(crate) fn set_logs_no_ends(&mut self) {
        self.logs_ends = false;
    }

    /// The sessions are threads of this process.
    pub(crate) fn set_threads(&mut self) -> Result<Arc<Threads>> {
        self.server_end.end_threads().map_err(Error::os("eventfd"))?;
        Ok(Arc::clone(&self.threads))
    }

    /// A descriptor that makes the parent look after its own.
    pub(crate) fn make_wakeup(&mut self) -> Result<Arc<Wakeup>> {
        let wakeup = Arc::new(Wakeup::new().map_err(Error::os("eventfd"))?);
        self.wakeup = Some(Arc::clone(&wakeup));
        Ok(wakeup)
    }

    /// Who is told once the server serves.
    pub(crate) fn set_starter(&mut self, notifier: Notifier, starter: Option<Starter>) {
        (self.notifier, self.starter) = (notifier, starter);
    }

    /// Says in the log, to the service manager and to the starting command that the server serves: when
    /// nothing can go wrong any more that would end it.
    ///
    /// # Errors
    /// There is no starting command any more.
    pub(crate) fn ready(&mut self) -> Result<()> {
        self.title.show(0, self.options.max_clients, &self.listeners);
        self.listeners.iter().for_each(contract::listening);
        self.helper.iter().for_each(DatagramHelper::log_sockets);
        let starter = self.starter.take();
        self.notifier.ready(starter.is_some());
        starter.map_or(Ok(()), Starter::ready)
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.options
    }

    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    pub(crate) fn children(&mut self) -> &mut Children {
        &mut self.children
    }

    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    pub(crate) fn titles(&self) -> Titles {
        self.titles
    }

    pub(crate) fn spare_fd(&mut self) -> &mut SpareFd {
        &mut self.spare_fd
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
    pub(crate) fn wait(&mut self) -> Result<Vec<usize>> {
        let (accepting, clients) = (!self.lets_wait(), self.clients());
        Ok(self.wait_for(&Round { accepting, clients, ..Round::default() })?.listeners)
    }

    /// As [`Master::wait`], for a design that says what it waits for.
    pub(crate) fn wait_for(&mut self, round: &Round<'_>) -> Result<Ready> {
        let mut ready = self.poll(round)?;
        let first = ready.listeners.iter().position(|number| *number >= self.turn).unwrap_or(0);
        ready.listeners.rotate_left(first); // the one that was served first comes last the next time
        self.turn = ready.listeners.first().map_or(self.turn, |number| number + 1);
        ready.table_wanted = self.attend_to_signals(round.clients);
        ready.new_transcript = std::mem::take(&mut self.has_new_transcript);
        if !ready.listeners.is_empty() || round.clients > 0 {
            self.is_used();
        }
        Ok(ready)
    }

    /// ppoll(2) on all that the parent waits for.
    fn poll(&mut self, round: &Round<'_>) -> Result<Ready> {
        self.start_helper_if_due();
        self.log_left_out_refusals();
        let timeout = self.timeout(round).map(TimeSpec::from);
        let accepting = round.accepting && self.spare_fd.rest().is_none();
        let listeners = if accepting { self.listeners.len() } else { 0 };
        let fds = self.listeners.iter().take(listeners).map(AsFd::as_fd);
        let fds = fds.chain(round.others.iter().copied());
        let fds = fds.chain(self.wakeup.as_deref().map(AsFd::as_fd));
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let mut ready = Ready::default();
        if self.signals.wait(&mut fds, timeout)? {
            let is_readable =
                |number: &usize| fds.get(*number).is_some_and(|fd| fd.any() != Some(false));
            ready.listeners = (0..listeners).filter(is_readable).collect();
            let others = listeners..listeners + round.others.len();
            if is_readable(&others.end) {
                self.wakeup.iter().for_each(|wakeup| wakeup.drain());
            }
            ready.others = others.filter(is_readable).map(|number| number - listeners).collect();
        }
        Ok(ready)
    }

    /// How long the next wait may be.
    fn timeout(&mut self, round: &Round<'_>) -> Option<Duration> {
        // A signal that was let in elsewhere, in a session or by `admit`, is not waited for again.
        if self.signals.came() && !self.is_stopping {
            return Some(Duration::ZERO);
        }
        let timeouts = [
            round.timeout,
            self.spare_fd.rest(),
            self.idle_left(round.clients),
            self.tell_count(round.clients),
            self.helper.as_ref().and_then(DatagramHelper::due_in),
            self.children.end_unheard().filter(|_| !round.accepting),
            self.threads.look_again(!round.accepting),
            self.refusals.due_in(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Tells the service manager and `ps` how many clients there are; returns how soon to do it again.
    fn tell_count(&mut self, clients: usize) -> Option<Duration> {
        if self.is_stopping {
            self.titles.stopping(clients);
            return self.notifier.beat();
        }
        let max_clients = self.options.max_clients;
        let manager = self.notifier.tend(clients, max_clients);
        let title = self.title.show(clients, max_clients, &self.listeners);
        manager.into_iter().chain(title).min()
    }

    /// There is a client, or was just now: the time without one begins again, where it is limited.
    pub(crate) fn is_used(&mut self) {
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

    /// Frees the places of children and threads that have ended, and logs the children's ends.
    fn collect(&mut self) {
        let (helper, unrelated) = (&mut self.helper, &mut self.unrelated);
        let gone = self.children.collect(|ended| {
            helper.iter_mut().for_each(|helper| helper.has_ended(ended));
            unrelated.iter_mut().for_each(|unrelated| unrelated.push(ended));
        });
        for slot in self.threads.ended() {
            self.children.release(slot);
        }
        if self.logs_ends {
            gone.iter().for_each(|gone| gone.log(false));
        } else {
            self.gone.extend(gone);
        }
    }

    /// Children that have ended since the last call, for a design that logs their ends itself.
    pub(crate) fn gone(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }

    /// The design wants to hear of children that have no place.
    pub(crate) fn set_keeps_unrelated(&mut self) {
        self.unrelated = Some(Vec::new());
    }

    /// Children without a place that have ended since the last call.
    pub(crate) fn unrelated(&mut self) -> Vec<Ended> {
        self.unrelated.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// True when the table of clients is wanted.
    fn attend_to_signals(&mut self, clients: usize) -> bool {
        self.collect();
        if self.signals.hangup() {
            info!("SIGHUP: the next client sees the files as they are then");
            self.reread.iter().for_each(|reread| reread());
            self.reopen_transcript();
            self.notifier.reloaded();
        }
        let is_wanted = self.signals.table_wanted();
        if is_wanted {
            self.log_table(clients);
        }
        is_wanted
    }

    /// SIGHUP: dialogues that begin from now on are written to the file that has the name now.
    fn reopen_transcript(&mut self) {
        match self.files.reopen_transcript() {
            Some(Ok(file)) => {
                self.set_transcript(Some(Arc::new(file)));
                self.helper.iter_mut().for_each(DatagramHelper::renew);
                self.has_new_transcript = true;
            }
            Some(Err(error)) => warn!("{}: the old file goes on", reason(&error)),
            None => {}
        }
    }

    /// SIGUSR1: the clients into the log.
    fn log_table(&self, clients: usize) {
        info!("{clients} of {} clients", self.options.max_clients);
        for (pid, slot, age) in self.children.iter() {
            slot.peer().iter().for_each(|peer| log_client(*peer, pid, slot, Some(age)));
        }
        self.threads.log();
        self.helper.iter().for_each(DatagramHelper::log_line);
    }

    /// True when the next client is to wait in the backlog: no place is free, under `--over queue`.
    fn lets_wait(&mut self) -> bool {
        self.options.over == Over::Queue && self.children.is_full()
    }

    /// accept: a client, or none, because it is gone already or has to wait.
    ///
    /// # Errors
    /// The listener itself is broken.
    pub(crate) fn accept(&mut self, number: usize) -> Result<Option<Conn>> {
        if self.lets_wait() {
            return Ok(None); // the one before has taken the last place
        }
        let Some(listener) = self.listeners.get(number) else { return Ok(None) };
        match listener.accept() {
            Ok(accepted) => {
                self.spare_fd.recovered();
                let mut conn = Conn::accepted(accepted, self.settings);
                conn.interrupted_by(self.server_end.interrupts());
                Ok(Some(conn))
            }
            Err(errno) => {
                let words = &self.replies.unavailable;
                let tolerated = self.spare_fd.accept_failed(listener, words, errno);
                tolerated.map_err(Error::os(format!("accept {listener}")))?;
                Ok(None)
            }
        }
    }

    /// A place for a client; one that is over a limit is told so.
    pub(crate) fn admit(&mut self, conn: &Conn) -> Option<Slot> {
        let peer = conn.peer();
        match self.after_grace(|master| master.children.admit(peer)) {
            Ok(slot) => Some(slot),
            Err(refusal) => {
                self.refuse(conn, refusal);
                None
            }
        }
    }

    /// A client that is over a limit is told so.
    pub(crate) fn refuse(&mut self, conn: &Conn, refusal: Refusal) {
        self.log_refusal(conn.peer(), refusal);
        conn.refuse(&self.replies.busy);
    }

    /// There is no process for a client: it is told so, and its place is free again.
    pub(crate) fn cannot_serve(&mut self, conn: Conn, slot: Slot, error: impl Into<io::Error>) {
        let call = if self.options.model == Model::Thread { "thread" } else { "fork" };
        let why = reason(&error.into());
        self.log_refusal(conn.peer(), format_args!("{call}: {why}"));
        self.children.release(slot);
        conn.refuse(&self.replies.unavailable);
        drop(conn);
    }

    /// Logs that a client is not served, within the bound for such lines.
    pub(crate) fn log_refusal(&mut self, peer: Peer, why: impl std::fmt::Display) {
        if self.refusals.allows() {
            contract::client_refused(peer, why);
        }
    }

    fn log_left_out_refusals(&mut self) {
        if let Some(more) = self.refusals.left_out() {
            contract::more_refused(more);
        }
    }

    /// Tries again where a limit seems to be reached.
    ///
    /// Often it only seems so: a client that has closed and comes again can be quicker than the
    /// process that served it. So the parent waits up to [`GRACE`] for the next session to end. In the
    /// second after it has waited in vain it does not wait at all.
    pub(crate) fn after_grace<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Master) -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        let begin = Instant::now();
        let is_hasty = self.hasty_until.is_some_and(|until| begin < until);
        let grace = if is_hasty { Duration::ZERO } else { GRACE };
        loop {
            let refusal = match attempt(self) {
                Ok(place) => return Ok(place),
                Err(refusal @ Refusal::TooOften(_)) => return Err(refusal),
                Err(refusal) => refusal,
            };
            let left = grace.saturating_sub(begin.elapsed());
            if left.is_zero() {
                if !is_hasty {
                    self.hasty_until = Some(begin + HASTE);
                }
                return Err(refusal);
            }
            self.rest(left.min(GRACE_LOOK));
            self.collect();
        }
    }

    /// Waits for signals, threads and workers alone.
    fn rest(&self, limit: Duration) {
        let wakeup = self.wakeup.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<_> = wakeup.collect();
        match self.signals.wait(&mut fds, Some(TimeSpec::from(limit))) {
            Ok(true) => self.wakeup.iter().for_each(|wakeup| wakeup.drain()),
            Ok(false) => {}
            Err(error) => log::debug!("{error}"),
        }
    }

    /// SIGTERM or SIGINT came, or no client for too long under inetd.
    pub(crate) fn must_stop(&self) -> bool {
        self.must_stop_with(self.clients())
    }

    /// As [`Master::must_stop`], for a design that counts its clients itself.
    pub(crate) fn must_stop_with(&self, clients: usize) -> bool {
        let is_over = self.helper.as_ref().is_some_and(DatagramHelper::is_over);
        let is_idle = self.idle_left(clients).is_some_and(|left| left.is_zero());
        is_over || is_idle || self.signals.stops() > 0
    }

    /// First thing in a child: default signals, and none of the parent's descriptors but the
    /// transcript's.
    pub(crate) fn close_listeners(&mut self) {
        if let Err(errno) = signals::restore() {
            log::warn!("sigaction: {}", strerror(errno));
        }
        self.listeners.clear(); // Close(listenfd)
        self.helper = None;
        self.spare_fd.give_up();
        self.files = Files::default();
        self.notifier.close();
        self.wakeup = None;
    }

    /// As [`Master::close_listeners`], for a prefork worker, which goes on listening.
    pub(crate) fn become_worker(&mut self) -> Vec<Listener> {
        let listeners = std::mem::take(&mut self.listeners);
        self.close_listeners();
        listeners
    }

    /// fork or pthread_create for the datagrams, where there is no process for them and it is time.
    fn start_helper_if_due(&mut self) {
        let Some(mut helper) = self.helper.take_if(|helper| helper.is_due()) else { return };
        let as_thread = self.options.model == Model::Thread && !self.listeners.is_empty();
        let transcript = self.transcript();
        let titles = self.titles;
        if as_thread {
            helper.start_thread(transcript);
        } else {
            helper.start_process(transcript, titles, || self.close_listeners());
        }
        self.helper = Some(helper);
    }

    /// For a worker, which makes its parent look.
    pub(crate) fn take_wakeup(&mut self) -> Option<Arc<Wakeup>> {
        self.wakeup.take()
    }

    /// What all sessions have in common.
    pub(crate) fn settings(&self) -> &'static Settings {
        self.settings
    }

    /// Lends the helper to a session that has to end it when the server stops.
    pub(crate) fn take_helper(&mut self) -> Option<DatagramHelper> {
        self.helper.take()
    }

    /// The present process's title is another one than the parent's.
    pub(crate) fn title_was_replaced(&mut self) {
        self.title.reset();
    }

    /// The service manager is told that the server ends.
    pub(crate) fn announce_end(&mut self, clients: usize, longest: Duration) {
        self.is_stopping = true;
        self.notifier.stopping(clients, longest);
        self.titles.stopping(clients);
    }

    /// Ends the service for datagrams and closes the listeners; the files of UNIX-domain ones go
    /// with them.
    fn stop_listening(&mut self) {
        if let Some(helper) = self.helper.take() {
            helper.stop();
        }
        self.blocking.extend(self.listeners.drain(..).filter_map(Listener::close));
        if let Some(cleanup) = &self.files.cleanup {
            cleanup.listeners_closed();
        }
    }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Master")
    }
}
