//! A server from its options to its last client.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use crate::accept::Peer;
use crate::caretaker::Caretaker;
use crate::children::{Children, account};
use crate::chroot;
use crate::daemonize::{self, Starter};
use crate::error::{Error, Result, reason, strerror};
use crate::fork::{EXIT_FAILED, EXIT_OK};
use crate::inherit::{self, StandardInput};
use crate::lines;
use crate::listen::Listener;
use crate::logging;
use crate::models::{self, datagram::Request};
use crate::notify::Notifier;
use crate::options::{ServerOptions, Service};
use crate::pidfile::PidFile;
use crate::privdrop;
use crate::reaper::Reaper;
use crate::recvfrom;
use crate::reserve::Reserve;
use crate::rlimits::{self, Needs};
use crate::rw::Connection;
use crate::signals::{self, Signals};
use crate::systemd;
use crate::title::{Title, Titles};
use crate::transcript::Transcript;

/// One client: its connection, who it is, the transcript of the dialogue, the process's title.
#[derive(Debug)]
pub struct Client {
    /// What is said to and by the client.
    pub conn: Connection,
    /// Who the client is.
    pub peer: Peer,
    /// The file of `--transcript`, or nothing.
    pub transcript: Transcript,
    /// What `ps` shows, where the process serves this client alone.
    pub title: Title,
}

/// A server that is being set up, in the slides' order: listen, detach, drop privileges, serve.
#[derive(Debug)]
pub struct Server {
    /// What a client is told, in the protocol's own words, when the limit of clients is reached.
    pub busy: Vec<u8>,
    /// What a client is told when there is no process or descriptor for it.
    pub unavailable: Vec<u8>,
    /// Which datagrams get an answer. The others meet with silence, and cost no process.
    pub is_request: fn(&[u8]) -> bool,
    /// On SIGTERM the reads of idle clients end with `ConnectionAborted`, so that the session can
    /// take its leave; else sessions are left to end by themselves.
    pub end_idle_on_shutdown: bool,
    /// The slides' three reapers.
    pub reaper: Reaper,
    /// Octets of the longest file that a client may make; the kernel is told too.
    pub longest_file: Option<u64>,
    service: &'static Service,
    options: ServerOptions,
    signals: Signals,
    titles: Titles,
    listeners: Vec<Listener>,
    client: Option<(Connection, Peer)>,
    transcript: Option<File>,
    starter: Option<Starter>,
    pid_file: Option<PidFile>,
    /// Descriptors that systemd has passed.
    passed: Vec<OwnedFd>,
    notifier: Notifier,
    caretaker: Option<Caretaker>,
}

impl Server {
    /// A server with these options; blocks the signals, takes over what systemd has passed, takes the
    /// space for titles, opens the file of `--transcript`.
    ///
    /// # Errors
    /// The transcript cannot be opened; a passed descriptor is not open.
    pub fn new(service: &'static Service, options: ServerOptions) -> Result<Server> {
        let signals = Signals::block()?;
        let passed = systemd::passed_descriptors()?; // before any descriptor of our own
        logging::find_syslogd(service.name);
        let notifier = Notifier::from_environment();
        signals::ignore_file_size_signal()?;
        let transcript = options.transcript.as_deref().map(Transcript::open).transpose()?;
        Ok(Server {
            busy: Vec::new(),
            unavailable: Vec::new(),
            is_request: |_| true,
            end_idle_on_shutdown: false,
            reaper: Reaper::default(),
            longest_file: None,
            service,
            options,
            signals,
            titles: Titles::claim(service.name),
            listeners: Vec::new(),
            client: None,
            transcript,
            starter: None,
            pid_file: None,
            passed,
            notifier,
            caretaker: None,
        })
    }

    /// socket, bind, listen; or the sockets that systemd passed; or standard input under `--inetd`.
    ///
    /// # Errors
    /// `bind 0.0.0.0:110: Permission denied`, and the like.
    pub fn listen(&mut self) -> Result<()> {
        if let Some(sockets) = self.passed()? {
            let sockets = sockets.no_datagrams()?;
            (self.listeners, self.client) = (sockets.listeners, sockets.client);
            return Ok(());
        }
        if self.options.inetd {
            match inherit::standard_input(self.options.timeout)? {
                StandardInput::Client(conn, peer) => self.client = Some((conn, peer)),
                StandardInput::Listener(listener) => self.listeners.push(listener),
                StandardInput::Datagrams(_) => {
                    let why = "standard input is a UDP socket: this protocol needs TCP";
                    return Err(Error::Refused(why.into()));
                }
            }
            return Ok(());
        }
        let backlog = self.options.backlog;
        let listeners = self.options.listen.iter().map(|e| Listener::stream(e, backlog));
        self.listeners = listeners.collect::<Result<_>>()?;
        Ok(())
    }

    /// As [`Server::listen`] for UDP: socket, bind.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn bind_datagram(&mut self) -> Result<()> {
        if let Some(sockets) = self.passed()? {
            self.listeners = sockets.no_streams()?.datagrams;
        } else if self.options.inetd {
            let StandardInput::Datagrams(socket) = inherit::standard_input(self.options.timeout)?
            else {
                return Err(Error::Refused("standard input is no UDP socket".into()));
            };
            self.listeners.push(socket);
        } else {
            let listeners = self.options.listen.iter().map(Listener::datagram);
            self.listeners = listeners.collect::<Result<_>>()?;
        }
        for listener in &self.listeners {
            recvfrom::tell_local_address(listener).map_err(Error::os("setsockopt IP_PKTINFO"))?;
        }
        Ok(())
    }

    fn passed(&mut self) -> Result<Option<systemd::Sockets>> {
        systemd::classify(std::mem::take(&mut self.passed), self.options.timeout)
    }

    /// `--daemon` and `--pid-file`. With `--daemon` only the child returns from here; the starting
    /// command ends when the child serves, or fails with it.
    ///
    /// # Errors
    /// fork failed, or the pid file belongs to another running server.
    pub fn detach(&mut self) -> Result<()> {
        if self.options.daemon {
            self.starter = Some(daemonize::detach(&self.signals)?);
            self.listeners.iter_mut().for_each(Listener::adopt);
        }
        self.pid_file = self.options.pid_file.as_deref().map(PidFile::write).transpose()?;
        Ok(())
    }

    /// `--user` and `--chroot`: become that user for good, and see nothing but that folder. What
    /// cannot be removed any more then, at the end, is left to a caretaker.
    ///
    /// # Errors
    /// No such user, no permission, or root without `--user` where the service refuses that.
    pub fn drop_privileges(&mut self) -> Result<()> {
        let who = privdrop::whom(self.options.user.as_deref(), self.service.root)?;
        if who.is_some() || self.options.chroot.is_some() {
            self.hire_caretaker()?;
        }
        if let Some(folder) = &self.options.chroot {
            chroot::enter(folder)?;
        }
        if let Some(who) = who {
            who.assume()?;
        }
        if self.options.chroot.is_some() && geteuid().is_root() {
            warn!("--chroot is no jail for root, who can leave it: name a user with -u USER");
        }
        Ok(())
    }

    fn hire_caretaker(&mut self) -> Result<()> {
        let sockets: Vec<_> = self.listeners.iter_mut().filter_map(Listener::entrust).collect();
        if self.pid_file.is_some() || !sockets.is_empty() {
            let pid_file = self.pid_file.as_mut().map(PidFile::entrust);
            let name = self.service.name;
            self.caretaker = Some(Caretaker::hire(name, self.titles, pid_file, &sockets)?);
        }
        Ok(())
    }

    /// accept, fork, reap: one child process for each client, until SIGTERM.
    ///
    /// # Errors
    /// Only what makes serving impossible: a broken listener, no memory for the scoreboard.
    pub fn serve(mut self, session: impl Fn(&mut Client) -> io::Result<()>) -> Result<()> {
        self.limit();
        if let Some((conn, peer)) = self.client.take() {
            return self.serve_one(conn, peer, session);
        }
        models::fork::serve(Parent::new(self)?, session)
    }

    /// recvfrom, fork, reap: one child process for each request, until SIGTERM.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_datagrams(self, transfer: impl Fn(&mut Request) -> io::Result<()>) -> Result<()> {
        self.limit();
        models::datagram::serve(Parent::new(self)?, transfer)
    }

    /// setrlimit, for this process and its children.
    fn limit(&self) {
        let options = &self.options;
        let log = !options.daemon && !options.syslog && rlimits::grows(io::stderr());
        let may_be_cut = !log && !self.transcript.as_ref().is_some_and(rlimits::grows);
        let clients = if self.client.is_some() { 1 } else { options.max_clients as u64 };
        rlimits::set(Needs {
            clients,
            processes: clients,
            is_shared: false,
            memory: self.service.memory,
            file: self.longest_file.filter(|_| may_be_cut),
        });
    }

    /// inetd's `nowait`: this process is the child already.
    fn serve_one(
        mut self,
        conn: Connection,
        peer: Peer,
        session: impl Fn(&mut Client) -> io::Result<()>,
    ) -> Result<()> {
        self.signals.release().map_err(Error::os("sigprocmask"))?;
        let (since, progress) = (Instant::now(), conn.progress());
        let transcript = Transcript::of(self.transcript, peer);
        info!("client {peer} start");
        self.notifier.ready(false);
        let title = self.titles.client(peer);
        let code = one_client(Client { conn, peer, transcript, title }, session);
        info!("client {peer} end: exit {code}, {}", account(progress, since.elapsed()));
        if code == EXIT_OK { Ok(()) } else { Err(Error::Refused(format!("client {peer} failed"))) }
    }
}

/// One conversation, from greeting to the last octet; gives the exit code of its process.
pub(crate) fn one_client(
    mut client: Client,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> i32 {
    let code = match session(&mut client) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            warn!("client {}: {}", client.peer, reason(&error));
            EXIT_FAILED
        }
    };
    client.conn.linger();
    code
}

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
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    /// systemd, where it wants to know how we do.
    pub(crate) notifier: Notifier,
    max_clients: usize,
    /// The file of `--transcript`; each child takes its copy.
    pub(crate) transcript: Option<File>,
    pub(crate) titles: Titles,
    /// Readable for the children once the server is shutting down.
    shutdown: Option<EventFd>,
    /// Under inetd's `wait` the server ends when `--timeout` has passed without a client since this
    /// instant; inetd then watches the socket again.
    idle_since: Option<Instant>,
    /// Removed from the file system when the parent ends.
    pid_file: Option<PidFile>,
    caretaker: Option<Caretaker>,
}

impl Parent {
    /// Lets the handlers in, then says that it listens.
    fn new(server: Server) -> Result<Parent> {
        server.signals.handle(server.reaper)?;
        let children = Children::new(server.options.max_clients, server.reaper)?;
        let shutdown = server.end_idle_on_shutdown.then(EventFd::new).transpose();
        let mut parent = Parent {
            notifier: server.notifier,
            max_clients: server.options.max_clients,
            signals: server.signals,
            children,
            reserve: Reserve::new(),
            busy: server.busy,
            unavailable: server.unavailable,
            is_request: server.is_request,
            timeout: server.options.timeout,
            grace: server.options.grace,
            transcript: server.transcript,
            titles: server.titles,
            shutdown: shutdown.map_err(Error::os("eventfd"))?,
            idle_since: server.options.inetd.then(Instant::now),
            listeners: server.listeners,
            pid_file: server.pid_file,
            caretaker: server.caretaker,
        };
        parent.show_title();
        for listener in &parent.listeners {
            info!("listening on {listener}");
        }
        parent.notifier.ready(server.starter.is_some());
        server.starter.map_or(Ok(()), Starter::ready)?;
        Ok(parent)
    }

    /// Waits for clients and signals, and does what the signals ask for; gives the numbers of the
    /// listeners that are ready.
    pub(crate) fn wait(&mut self) -> Result<Vec<usize>> {
        self.show_title();
        let rest = self.reserve.rest();
        let listeners = if rest.is_some() { &[][..] } else { &self.listeners[..] };
        let mut fds: Vec<PollFd<'_>> =
            listeners.iter().map(|l| PollFd::new(l.as_fd(), PollFlags::POLLIN)).collect();
        let beat = self.notifier.tend(self.children.len(), self.max_clients);
        let timeout = [rest.or(self.idle_left()), beat].into_iter().flatten().min();
        let timeout = timeout.map(TimeSpec::from);
        let mut ready = Vec::new();
        if self.signals.wait(&mut fds, timeout)? {
            ready.extend((0..).zip(&fds).filter(|(_, fd)| fd.any() != Some(false)).map(|(i, _)| i));
        }
        self.heed_signals();
        if self.idle_since.is_some() && !(ready.is_empty() && self.children.is_empty()) {
            self.idle_since = Some(Instant::now());
        }
        Ok(ready)
    }

    fn show_title(&self) {
        self.titles.parent(self.children.len(), self.children.limit(), &self.listeners);
    }

    /// What is left of the time without a client, where that is limited.
    fn idle_left(&self) -> Option<Duration> {
        let since = self.idle_since.filter(|_| self.children.is_empty())?;
        Some(self.timeout.saturating_sub(since.elapsed()))
    }

    fn heed_signals(&mut self) {
        self.children.collect();
        if self.signals.hangup() {
            info!("SIGHUP: the next client sees the files as they are then");
            self.notifier.reloaded();
        }
        if self.signals.table_wanted() {
            self.children.log_table();
        }
    }

    /// SIGTERM or SIGINT came, or nobody for too long under inetd.
    pub(crate) fn must_stop(&self) -> bool {
        self.signals.stops() > 0 || self.idle_left().is_some_and(|left| left.is_zero())
    }

    /// Tells the idle children that the server is shutting down.
    pub(crate) fn announce_shutdown(&self) {
        if let Some(Err(errno)) = self.shutdown.as_ref().map(|fd| fd.write(1)) {
            warn!("eventfd: {}", strerror(errno));
        }
    }

    /// Closes the listeners; the files of UNIX-domain ones go with them.
    pub(crate) fn stop_listening(&mut self) {
        self.listeners.clear();
        if let Some(caretaker) = &self.caretaker {
            caretaker.listeners_closed();
        }
    }

    /// First thing in a child: default signals, and none of the parent's descriptors. What is left
    /// is the one that tells of a shutdown.
    pub(crate) fn become_child(&mut self) -> Option<OwnedFd> {
        lines::of_a_child();
        if let Err(errno) = self.signals.restore() {
            warn!("sigaction: {}", strerror(errno));
        }
        self.listeners.clear(); // Close(listenfd)
        self.reserve.give_up();
        self.pid_file = None;
        self.notifier.close();
        self.caretaker = None;
        self.shutdown.take().map(OwnedFd::from)
    }
}
