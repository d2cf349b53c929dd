//! Datagrams beside a server for streams: one process answers all of them in turn, as the slide's
//! `dg_echo` does. The parent looks after it and does none of its work. Under the thread model it is
//! a thread, for a process with threads must not fork, and what cannot fork cannot replace a child.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use crate::children::account;
use crate::datagrams::Datagrams;
use crate::error::{Result, reason, strerror};
use crate::fork::{EXIT_FAILED, EXIT_OK, Fork, child, contain, fork};
use crate::listen::Listener;
use crate::models::Model;
use crate::parent::Parent;
use crate::reaper::Ended;
use crate::scoreboard::{Progress, Scoreboard};
use crate::transcript::Transcript;

/// Answers datagrams until [`Datagrams::recvfrom`] gives no more.
pub type DatagramService = fn(&mut Datagrams) -> io::Result<()>;

/// A process that ends sooner than this after its start has its successor wait for as long: one
/// that cannot live is no reason to fork without end.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The service for datagrams, as the parent sees it.
#[derive(Debug)]
pub(crate) struct Beside {
    service: DatagramService,
    sockets: Vec<Listener>,
    /// Under inetd: how long without a datagram until the service is over.
    idle: Option<Duration>,
    progress: Progress,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A process is to be started then.
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
    /// Nobody came for the idle limit.
    Over,
}

impl Beside {
    pub(crate) fn new(
        service: DatagramService,
        sockets: Vec<Listener>,
        idle: Option<Duration>,
    ) -> Result<Option<Beside>> {
        if sockets.is_empty() {
            return Ok(None);
        }
        let Some(progress) = Scoreboard::new(1)?.take() else { return Ok(None) };
        let state = State::Due(Instant::now());
        Ok(Some(Beside { service, sockets, idle, progress, state }))
    }

    /// `listening on 127.0.0.1:7 (udp)`, or `listening on unix-dgram:/run/echod`.
    pub(crate) fn log_sockets(&self) {
        for socket in &self.sockets {
            let udp = if socket.port().is_some() { " (udp)" } else { "" };
            info!("listening on {socket}{udp}");
        }
    }

    /// How long until [`start_if_due`] has something to do; `None` while a process runs.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        match self.state {
            State::Due(at) => Some(at.saturating_duration_since(Instant::now())),
            State::Running { .. } | State::Thread { .. } | State::Over => None,
        }
    }

    /// Under inetd: nobody came for too long.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// A child has ended that serves no client. It may be ours.
    pub(crate) fn heed_end(&mut self, ended: Ended) {
        let State::Running { pid, since } = self.state else { return };
        if pid.as_raw() != ended.pid {
            return;
        }
        let did = account(self.progress, since.elapsed());
        if ended.well() && self.idle.is_some() {
            info!("datagrams end: pid {pid}, {ended}, {did}");
            self.state = State::Over;
            return;
        }
        warn!("datagrams end: pid {pid}, {ended}, {did}; another process takes over");
        let pause = if since.elapsed() < SHORT_LIFE { SHORT_LIFE } else { Duration::ZERO };
        self.state = State::Due(Instant::now() + pause);
    }

    /// A thread that answers until it is told to stop. A panic ends one datagram only; after an error
    /// the next one has to wait.
    fn start_thread(&mut self, transcript: Transcript) -> io::Result<()> {
        let stop = OwnedFd::from(EventFd::new()?);
        let told = Some(stop.try_clone()?);
        let sockets = self.sockets.iter().map(Listener::duplicate).collect::<io::Result<_>>()?;
        let (service, progress) = (self.service, self.progress);
        let mut datagrams = Datagrams::new(sockets, transcript, progress, None, told);
        let life = move || {
            while contain(|| answer(service, &mut datagrams)) != EXIT_OK {
                std::thread::sleep(SHORT_LIFE);
            }
        };
        let thread = Builder::new().name("datagrams".into()).spawn(life)?;
        info!("datagrams start");
        self.state = State::Thread { thread, stop, since: Instant::now() };
        Ok(())
    }

    /// SIGUSR1: a line for the table of clients.
    pub(crate) fn log_line(&self) {
        let (who, since) = match &self.state {
            State::Running { pid, since } => (format!(" pid {pid}"), since),
            State::Thread { since, .. } => (String::new(), since),
            State::Due(_) | State::Over => return,
        };
        let (received, sent) = self.progress.octets();
        let age = since.elapsed().as_secs();
        info!("datagrams{who}: {received} in, {sent} out, for {age} s");
    }

    /// Ends the service at once: a datagram is no session that could be finished.
    pub(crate) fn stop(self) {
        match self.state {
            State::Running { pid, since } => {
                end(pid);
                info!("datagrams end: pid {pid}, {}", account(self.progress, since.elapsed()));
            }
            State::Thread { thread, stop, since } => {
                let told = nix::unistd::write(&stop, &1_u64.to_ne_bytes());
                if told.is_err() || thread.join().is_err() {
                    warn!("datagrams: the thread cannot be stopped");
                }
                info!("datagrams end: {}", account(self.progress, since.elapsed()));
            }
            State::Due(_) | State::Over => {}
        }
        self.sockets.into_iter().for_each(Listener::close);
    }
}

/// SIGKILL, which a stopped process hears too, and waits for its end. The handlers run in ppoll
/// only; waitid(2) tells whether one of them has taken the process off the table already, and its id
/// may be another's.
fn end(pid: Pid) {
    let is_ours =
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
    if is_ours.is_ok()
        && let Err(errno) = kill(pid, Signal::SIGKILL).and_then(|()| waitpid(pid, None))
    {
        warn!("end of {pid}: {}", strerror(errno));
    }
}

/// fork, when there is no process for the datagrams and it is time for one; or pthread_create.
pub(crate) fn start_if_due(parent: &mut Parent) {
    let Some(beside) = parent.beside.as_mut().filter(|b| b.due_in() == Some(Duration::ZERO)) else {
        return;
    };
    if parent.options.model == Model::Thread && !parent.listeners.is_empty() {
        let started = beside.start_thread(Transcript::of_nobody(parent.transcript.clone()));
        return started.unwrap_or_else(|error| {
            warn!("datagrams: thread: {}", reason(&error));
            beside.state = State::Due(Instant::now() + SHORT_LIFE);
        });
    }
    let this = getpid();
    match fork() {
        Ok(Fork::Child) => child(|| serve(parent, this)), // never returns
        Ok(Fork::Parent(pid)) => {
            info!("datagrams start: pid {pid}");
            beside.state = State::Running { pid, since: Instant::now() };
        }
        Err(errno) => {
            warn!("datagrams: fork: {}", strerror(errno));
            beside.state = State::Due(Instant::now() + SHORT_LIFE);
        }
    }
}

/// The child's half. It dies with its parent, however that dies: it would hold the port.
fn serve(parent: &mut Parent, parents_id: Pid) -> i32 {
    let Some(beside) = parent.beside.take() else { return EXIT_FAILED };
    parent.titles.datagrams(&beside.sockets);
    parent.become_child();
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        warn!("prctl: {}", strerror(errno));
    }
    if getppid() != parents_id {
        return EXIT_FAILED; // the parent died before the line above
    }
    let transcript = Transcript::of_nobody(parent.transcript.take());
    let Beside { service, sockets, idle, progress, .. } = beside;
    answer(service, &mut Datagrams::new(sockets, transcript, progress, idle, None))
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
