//! Datagrams of a stream server: one process answers all of them in turn, as the slide's `dg_echo`
//! does. The parent only supervises it. Under the thread model it is a thread, because a process
//! with threads must not fork.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use sys::fork::{Fork, OneTask, child, contain, fork};
use sys::signal::kill_child;
use sys::wait::{self, Ended};

use crate::error::{reason, strerror};
use crate::log::contract::{self, Account};
use crate::log::transcript::Transcript;
use crate::net::counters::Counters;
use crate::net::datagrams::Datagrams;
use crate::net::listener::Listener;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::title::Titles;

/// Answers datagrams until [`Datagrams::recvfrom`] returns none.
pub type DatagramService = fn(&mut Datagrams) -> io::Result<()>;

/// Restart throttle: the pause after a process that ended sooner than this.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The parent's side of the datagram service.
#[derive(Debug)]
pub(crate) struct DatagramHelper {
    service: DatagramService,
    sockets: Vec<Listener>,
    /// Under inetd, the longest time without a datagram before the service ends.
    idle: Option<Duration>,
    counters: Counters,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A process is started at this time.
    Due(Instant),
    Running {
        pid: Pid,
        since: Instant,
    },
    Thread {
        thread: JoinHandle<()>,
        stop: OwnedFd,
        since: Instant,
    },
    /// The idle limit has passed without a datagram.
    Over,
}

impl DatagramHelper {
    /// Makes a helper; `None` without sockets.
    pub(crate) fn new(
        service: DatagramService,
        sockets: Vec<Listener>,
        idle: Option<Duration>,
    ) -> Option<DatagramHelper> {
        let (counters, state) = (Counters::unshared(), State::Due(Instant::now()));
        (!sockets.is_empty()).then(|| DatagramHelper { service, sockets, idle, counters, state })
    }

    /// Logs `listening on 127.0.0.1:7 (udp)`, or `listening on unix-dgram:/run/echod`.
    pub(crate) fn log_sockets(&self) {
        for socket in &self.sockets {
            let udp = if socket.port().is_some() { " (udp)" } else { "" };
            contract::listening(format_args!("{socket}{udp}"));
        }
    }

    /// Returns the time until a process is started; `None` while one runs.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        match self.state {
            State::Due(at) => Some(at.saturating_duration_since(Instant::now())),
            State::Running { .. } | State::Thread { .. } | State::Over => None,
        }
    }

    /// Returns true when it is time to start a process.
    pub(crate) fn is_due(&self) -> bool {
        self.due_in() == Some(Duration::ZERO)
    }

    /// Returns true when the idle limit under inetd has passed.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Handles the end of a child without a slot, which may be the helper.
    pub(crate) fn has_ended(&mut self, ended: Ended) {
        let State::Running { pid, since } = self.state else { return };
        if pid.as_raw() != ended.pid {
            return;
        }
        let did = self.account(since);
        if ended.code() == Some(EXIT_OK) && self.idle.is_some() {
            contract::datagrams_end(ended.pid, ended, did);
            self.state = State::Over;
            return;
        }
        contract::datagrams_taken_over(ended.pid, ended, did);
        let pause = if since.elapsed() < SHORT_LIFE { SHORT_LIFE } else { Duration::ZERO };
        self.state = State::Due(Instant::now() + pause);
    }

    /// fork: the child answers. `close_in_child` closes there what else its parent has.
    pub(crate) fn start_process(
        &mut self,
        transcript: Transcript,
        titles: Titles,
        close_in_child: impl FnOnce(OneTask) -> nix::Result<()>,
    ) {
        let parent = getpid();
        match OneTask::check().and_then(|alone| Ok((alone, fork(alone)?))) {
            Ok((alone, Fork::Child)) => child(|| {
                titles.datagrams(&self.sockets);
                if let Err(errno) = close_in_child(alone) {
                    warn!("datagrams: munmap: {}", strerror(errno));
                    return EXIT_FAILED;
                }
                self.answer_as_child(parent, transcript)
            }),
            Ok((_, Fork::Parent(pid))) => {
                contract::datagrams_start(Some(pid.as_raw()));
                self.state = State::Running { pid, since: Instant::now() };
            }
            Err(errno) => {
                warn!("datagrams: fork: {}", strerror(errno));
                self.state = State::Due(Instant::now() + SHORT_LIFE);
            }
        }
    }

    /// Runs the child. It dies with its parent, also by SIGKILL, so that it does not hold the port.
    fn answer_as_child(&mut self, parent: Pid, transcript: Transcript) -> i32 {
        if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
            warn!("prctl: {}", strerror(errno));
        }
        if getppid() != parent {
            return EXIT_FAILED; // the parent died before the line above
        }
        let sockets = std::mem::take(&mut self.sockets);
        let mut datagrams = Datagrams::new(sockets, transcript, self.counters, self.idle, None);
        answer(self.service, &mut datagrams)
    }

    /// Closes the sockets and unmaps the helper's line, in a child that serves a client.
    pub(crate) fn close_in_child(self) {
        if let Err(errno) = OneTask::check().and_then(|alone| self.counters.unmap_all(alone)) {
            warn!("munmap: {}", strerror(errno));
        }
    }

    /// pthread_create. A failure is tried again later.
    pub(crate) fn start_thread(&mut self, transcript: Transcript) {
        if let Err(error) = self.try_thread(transcript) {
            warn!("datagrams: thread: {}", reason(&error));
            self.state = State::Due(Instant::now() + SHORT_LIFE);
        }
    }

    /// Starts a thread that answers until it is stopped. A panic ends one datagram only; after an
    /// error it pauses.
    fn try_thread(&mut self, transcript: Transcript) -> io::Result<()> {
        let stop = OwnedFd::from(EventFd::new()?);
        let stop_copy = Some(stop.try_clone()?);
        let sockets = self.sockets.iter().map(Listener::duplicate).collect::<io::Result<_>>()?;
        let (service, counters) = (self.service, self.counters);
        let mut datagrams = Datagrams::new(sockets, transcript, counters, None, stop_copy);
        let life = move || {
            while contain(|| answer(service, &mut datagrams)) != EXIT_OK {
                std::thread::sleep(SHORT_LIFE);
            }
        };
        let thread = Builder::new().name("datagrams".into()).spawn(life)?;
        contract::datagrams_start(None);
        self.state = State::Thread { thread, stop, since: Instant::now() };
        Ok(())
    }

    /// Logs a line for the table of clients (SIGUSR1).
    pub(crate) fn log_line(&self) {
        let (who, since) = match &self.state {
            State::Running { pid, since } => (format!(" pid {pid}"), since),
            State::Thread { since, .. } => (String::new(), since),
            State::Due(_) | State::Over => return,
        };
        let (received, sent) = self.counters.bytes();
        let age = since.elapsed().as_secs();
        info!("datagrams{who}: {received} in, {sent} out, for {age} s");
    }

    /// Ends the service immediately, because a datagram is no session to be finished.
    pub(crate) fn stop(mut self) {
        self.end();
        self.sockets.into_iter().for_each(|socket| drop(socket.close()));
    }

    /// Restarts the service with the new transcript. Datagrams wait in their sockets.
    pub(crate) fn restart(&mut self) {
        if !self.is_over() {
            self.end();
        }
    }

    /// Ends the process or thread, so that another one is due.
    fn end(&mut self) {
        match std::mem::replace(&mut self.state, State::Due(Instant::now())) {
            State::Running { pid, since } => {
                end(pid);
                contract::datagrams_stopped(Some(pid.as_raw()), self.account(since));
            }
            State::Thread { thread, stop, since } => {
                let was_told = nix::unistd::write(stop, &1_u64.to_ne_bytes()).is_ok();
                let account = self.account(since);
                if !(was_told && thread.join().is_ok()) {
                    warn!("datagrams: the thread cannot be stopped");
                }
                contract::datagrams_stopped(None, account);
            }
            State::Due(_) | State::Over => {}
        }
    }

    fn account(&self, since: Instant) -> Account {
        Account { bytes: self.counters.bytes(), time: since.elapsed() }
    }
}

/// Sends SIGKILL, which also ends a stopped process, and waits. Does nothing if the process was
/// reaped already.
fn end(pid: Pid) {
    match kill_child(pid, Signal::SIGKILL).and_then(|()| wait::wait_for(pid)) {
        Ok(()) | Err(nix::errno::Errno::ECHILD) => {}
        Err(errno) => warn!("end of {pid}: {}", strerror(errno)),
    }
}

fn answer(service: DatagramService, datagrams: &mut Datagrams) -> i32 {
    match service(datagrams) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            warn!("datagrams: {}", reason(&error));
            EXIT_FAILED
        }
    }
}
