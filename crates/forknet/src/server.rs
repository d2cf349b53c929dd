//! A server from its options to its last client.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};
use nix::unistd::geteuid;

use crate::accept::Peer;
use crate::attention::LOOK;
use crate::beside::DatagramService;
use crate::caretaker::Caretaker;
use crate::children::account;
use crate::chroot;
use crate::daemonize::{self, Starter};
use crate::datagrams;
use crate::error::{Error, Result, reason};
use crate::fork::{EXIT_FAILED, EXIT_OK};
use crate::hugepage;
use crate::inherit::{self, StandardInput};
use crate::listen::{Listener, Queue};
use crate::logging;
use crate::models::{self, Model, datagram::Request, postbox::Postbox};
use crate::notify::Notifier;
use crate::options::{RootPolicy, ServerOptions, Service};
use crate::parent::Parent;
use crate::patience::Patience;
use crate::pidfile::PidFile;
use crate::ports::Ports;
use crate::privdrop;
use crate::reaper::Reaper;
use crate::recvfrom;
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

/// What a server does on SIGHUP.
pub struct Reread(Box<dyn Fn()>);

impl Reread {
    /// Calls `read` each time.
    pub fn new(read: impl Fn() + 'static) -> Reread {
        Reread(Box::new(read))
    }

    pub(crate) fn call(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Reread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reread")
    }
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
    /// Called on SIGHUP, to read files again that are not read for each client anyway.
    pub reread: Option<Reread>,
    /// Answers datagrams beside the streams, in a process of its own; without it there are none.
    pub datagrams: Option<DatagramService>,
    /// With [`Server::datagrams`]: a UDP socket beside each TCP socket, on the same port.
    pub udp: bool,
    /// The ports that transfers may have; without it any that is free.
    pub ports: Option<Ports>,
    pub(crate) service: &'static Service,
    pub(crate) options: ServerOptions,
    pub(crate) signals: Signals,
    pub(crate) titles: Titles,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) beside: Vec<Listener>,
    pub(crate) client: Option<(Connection, Peer)>,
    pub(crate) transcript: Option<Arc<File>>,
    pub(crate) starter: Option<Starter>,
    pub(crate) pid_file: Option<PidFile>,
    /// Descriptors that systemd has passed.
    pub(crate) passed: Vec<OwnedFd>,
    pub(crate) notifier: Notifier,
    pub(crate) caretaker: Option<Caretaker>,
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
        let transcript = transcript.map(Arc::new);
        Ok(Server {
            busy: Vec::new(),
            unavailable: Vec::new(),
            is_request: |_| true,
            end_idle_on_shutdown: false,
            reaper: Reaper::default(),
            longest_file: None,
            reread: None,
            datagrams: None,
            udp: false,
            ports: None,
            service,
            options,
            signals,
            titles: Titles::claim(service.name),
            listeners: Vec::new(),
            beside: Vec::new(),
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
            let any = self.datagrams.is_some();
            let sockets = if any { sockets } else { sockets.no_datagrams()? };
            (self.listeners, self.client) = (sockets.listeners, sockets.client);
            return self.bind_beside(sockets.datagrams);
        }
        if self.options.inetd {
            match inherit::standard_input(patience(&self.options))? {
                StandardInput::Client(conn, peer) => self.client = Some((conn, peer)),
                StandardInput::Listener(listener) => self.listeners.push(listener),
                StandardInput::Datagrams(socket) if self.datagrams.is_some() => {
                    self.bind_beside(vec![socket])?;
                }
                StandardInput::Datagrams(_) => {
                    let why = "standard input is a UDP socket: this protocol needs TCP";
                    return Err(Error::Refused(why.into()));
                }
            }
            return Ok(());
        }
        let endpoints = &self.options.listen;
        let first_wait = match self.options.model {
            Model::Prefork => self.options.timeout.min(LOOK),
            Model::Fork | Model::Thread | Model::Iterative => self.options.timeout,
        };
        let queue = Queue { backlog: self.options.backlog, first_wait };
        let (listeners, beside) = Listener::streams_and_datagrams(endpoints, queue, self.udp)?;
        self.listeners = listeners;
        self.bind_beside(beside)
    }

    /// Bound datagram sockets, for the service beside.
    fn bind_beside(&mut self, sockets: Vec<Listener>) -> Result<()> {
        sockets.iter().try_for_each(datagrams::prepare)?;
        self.beside.extend(sockets);
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
            let StandardInput::Datagrams(socket) =
                inherit::standard_input(patience(&self.options))?
            else {
                return Err(Error::Refused("standard input is no UDP socket".into()));
            };
            self.listeners.push(socket);
        } else {
            self.listeners = Listener::datagrams(&self.options.listen)?;
        }
        for listener in &self.listeners {
            recvfrom::tell_address_and_time(listener)
                .map_err(Error::os("setsockopt IP_PKTINFO"))?;
        }
        Ok(())
    }

    fn passed(&mut self) -> Result<Option<systemd::Sockets>> {
        systemd::classify(std::mem::take(&mut self.passed), patience(&self.options))
    }

    /// `--daemon` and `--pid-file`. With `--daemon` only the child returns from here; the starting
    /// command ends when the child serves, or fails with it.
    ///
    /// # Errors
    /// fork failed, or the pid file belongs to another running server.
    pub fn detach(&mut self) -> Result<()> {
        if self.options.daemon {
            self.starter = Some(daemonize::detach(&self.signals)?);
            self.listeners.iter_mut().chain(&mut self.beside).for_each(Listener::adopt);
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
        let is_shared = matches!(self.options.model, Model::Thread | Model::Iterative);
        if is_shared && self.service.root == RootPolicy::Refuse && geteuid().is_root() {
            warn!("users' rights need a process for each: only what is root's is served (--model)");
        }
        Ok(())
    }

    fn hire_caretaker(&mut self) -> Result<()> {
        let sockets = self.listeners.iter_mut().chain(&mut self.beside);
        let sockets: Vec<_> = sockets.filter_map(Listener::entrust).collect();
        if self.pid_file.is_some() || !sockets.is_empty() {
            let pid_file = self.pid_file.as_mut().map(PidFile::entrust);
            let name = self.service.name;
            self.caretaker = Some(Caretaker::hire(name, self.titles, pid_file, &sockets)?);
        }
        Ok(())
    }

    /// accept, fork, reap, or as `--model` says, until SIGTERM.
    ///
    /// # Errors
    /// Only what makes serving impossible: a broken listener, no memory for the scoreboard.
    pub fn serve(
        mut self,
        session: impl Fn(&mut Client) -> io::Result<()> + Send + Sync,
    ) -> Result<()> {
        self.limit();
        if let Some((conn, peer)) = self.client.take() {
            return self.serve_one(conn, peer, session);
        }
        // The fork model looks after a service that has datagrams only.
        let streams = !self.listeners.is_empty();
        match if streams { self.options.model } else { Model::Fork } {
            Model::Fork => {
                hugepage::use_for_text();
                models::fork::serve(Parent::new(self)?, session)
            }
            Model::Prefork => models::prefork::serve(Parent::new(self)?, session),
            Model::Thread => models::thread::serve(Parent::new(self)?, session),
            Model::Iterative => models::iterative::serve(Parent::new(self)?, session),
        }
    }

    /// recvfrom, fork, reap: one child process for each request, until SIGTERM.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_datagrams(self, transfer: impl Fn(&mut Request) -> io::Result<()>) -> Result<()> {
        self.limit();
        hugepage::use_for_text();
        models::datagram::serve(Parent::new(self)?, transfer)
    }

    /// One process and one port for all clients: `work` gets the sockets, and serves until
    /// [`Event::Over`](crate::Event::Over).
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_alone(self, work: impl FnOnce(&mut Postbox) -> Result<()>) -> Result<()> {
        self.limit_to(0, true);
        work(&mut Postbox::new(Parent::new(self)?))
    }

    /// setrlimit, for this process and its children.
    fn limit(&self) {
        let processes = match self.options.model {
            Model::Fork => self.clients(),
            Model::Prefork => self.options.workers as u64,
            Model::Thread | Model::Iterative => 0,
        };
        self.limit_to(processes, matches!(self.options.model, Model::Thread));
    }

    /// How many may be served at once.
    fn clients(&self) -> u64 {
        if self.client.is_some() { 1 } else { self.options.max_clients as u64 }
    }

    fn limit_to(&self, processes: u64, is_shared: bool) {
        let options = &self.options;
        let log = !options.daemon && !options.syslog && rlimits::grows(io::stderr());
        let may_be_cut = !log && !self.transcript.as_ref().is_some_and(rlimits::grows);
        rlimits::set(Needs {
            clients: self.clients(),
            processes,
            is_shared,
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
        self.signals.restore().map_err(Error::os("sigaction"))?;
        let (since, progress) = (Instant::now(), conn.progress());
        let transcript = Transcript::of(self.transcript, peer);
        let pid = std::process::id();
        info!("client {peer} start: pid {pid}");
        self.notifier.ready(false);
        let title = self.titles.client(peer);
        let code = one_client(&mut Client { conn, peer, transcript, title }, session);
        info!("client {peer} end: pid {pid}, exit {code}, {}", account(progress, since.elapsed()));
        if code == EXIT_OK { Ok(()) } else { Err(Error::Refused(format!("client {peer} failed"))) }
    }
}

pub(crate) fn patience(options: &ServerOptions) -> Patience {
    Patience { idle: options.timeout, deadline: options.deadline }
}

/// One conversation, from greeting to the last octet; gives the exit code of its process.
pub(crate) fn one_client(
    client: &mut Client,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> i32 {
    let code = match session(client) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            warn!("client {}: {}", client.peer, reason(&error));
            EXIT_FAILED
        }
    };
    client.conn.linger();
    code
}
