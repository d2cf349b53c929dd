//! A server from its options to its last client.

mod keep;
mod replies;
mod work;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use nix::unistd::geteuid;
use sys::fd::is_regular_file;
use sys::shared_memory::Layout;
use sys::udp::request_local_address_and_time;

use crate::error::{Error, Result};
use crate::log::{close_syslog, connect_syslog, log_file::LogFile};
use crate::net::connection::Connection;
use crate::net::deadlines::Timeouts;
use crate::net::endpoint::Endpoint;
use crate::net::interrupt::POLL_INTERVAL;
use crate::net::listen;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::options::{ServerOptions, Service, model::Model};
use crate::serve::datagram_helper::{DatagramHelper, DatagramService};
use crate::serve::files::Files;
use crate::serve::keeper::Keeper;
use crate::serve::master::{Master, Reread};
use crate::serve::reaper::Reaper;
use crate::serve::refusals::Replies;
use crate::serve::session::Client;
use crate::serve::signals::{self, Signals};
use crate::serve::signer::{Identity, Signer};
use crate::serve::title::Titles;
use crate::serve::udp::{self, UdpProtocol};
use crate::serve::udp_loop::UdpLoop;
use crate::serve::{fork, iterative, prefork, thread};
use crate::setup::cleanup::{Cleanup, Paths};
use crate::setup::daemonize::{self, Starter};
use crate::setup::inetd::{self, StandardInput};
use crate::setup::pidfile::PidFile;
use crate::setup::rlimits::{self, Needs};
use crate::setup::sd_notify::Notifier;
use crate::setup::transcript_file::TranscriptFile;
use crate::setup::ucspi::Ucspi;
use crate::setup::{check, chroot, privdrop, systemd};

/// A server. Call its methods in the slides' order: listen, detach, drop privileges, serve.
pub struct Server {
    service: &'static Service,
    options: ServerOptions,
    replies: Replies,
    end_idle: bool,
    reaper: Reaper,
    longest_file: Option<u64>,
    reread: Option<Reread>,
    datagrams: Option<DatagramService>,
    udp: bool,
    titles: Titles,
    listeners: Vec<Listener>,
    helper_sockets: Vec<Listener>,
    client: Option<(Connection, Peer)>,
    transcript: Option<(TranscriptFile, Arc<File>)>,
    log: Option<(TranscriptFile, LogFile)>,
    starter: Option<Starter>,
    pid_file: Option<PidFile>,
    /// Descriptors that systemd has passed.
    passed: Vec<OwnedFd>,
    notifier: Notifier,
    /// The client of standard input as the variables of UCSPI give it.
    ucspi: Ucspi,
    cleanup: Option<Cleanup>,
    keeper: Option<Keeper>,
    /// What the keeper has found at the start.
    facts: Vec<u8>,
    /// The identity under which the server offers TLS.
    identity: Option<Arc<dyn Identity>>,
    signer: Option<Signer>,
    /// Where clients begin with a TLS handshake.
    listen_tls: Vec<Endpoint>,
}

impl Server {
    /// Makes a server with these options: takes the space for titles, and opens the file of
    /// `--transcript`.
    ///
    /// # Errors
    /// The transcript cannot be opened.
    pub fn new(service: &'static Service, options: ServerOptions) -> Result<Server> {
        connect_syslog(service.name);
        let notifier = Notifier::from_environment();
        let ucspi = if options.inetd { Ucspi::from_environment() } else { Ucspi::default() };
        signals::ignore_file_size_signal()?;
        let transcript = match options.check {
            true => check::files(&options).map(|()| None)?,
            false => TranscriptFile::from_options(&options)?,
        };
        Ok(Server {
            service,
            options,
            replies: Replies::default(),
            end_idle: false,
            reaper: Reaper::default(),
            longest_file: None,
            reread: None,
            datagrams: None,
            udp: false,
            titles: Titles::claim(service.name),
            listeners: Vec::new(),
            helper_sockets: Vec::new(),
            client: None,
            transcript: transcript.map(|(path, file)| (path, Arc::new(file))),
            log: None,
            starter: None,
            pid_file: None,
            passed: systemd::passed_descriptors(),
            notifier,
            ucspi,
            cleanup: None,
            keeper: None,
            facts: Vec::new(),
            identity: None,
            signer: None,
            listen_tls: Vec::new(),
        })
    }

    /// Makes reads of idle clients fail with `ConnectionAborted` after SIGTERM, so that the session
    /// can send a last reply. By default sessions end by themselves.
    pub fn end_idle_on_shutdown(&mut self) {
        self.end_idle = true;
    }

    /// Sets one of the slides' three reapers.
    pub fn reap_with(&mut self, reaper: Reaper) {
        self.reaper = reaper;
    }

    /// Limits the files that clients make to this many bytes, with RLIMIT_FSIZE too.
    pub fn limit_files(&mut self, longest: Option<u64>) {
        self.longest_file = longest;
    }

    /// Sets a callback of SIGHUP, to reread files that are not read for each client.
    pub fn on_hangup(&mut self, reread: impl Fn() + 'static) {
        self.reread = Some(Box::new(reread));
    }

    /// Answers datagrams besides streams, in a separate process. `udp` adds a UDP socket to each
    /// TCP socket, on the same port.
    pub fn serve_datagrams_too(&mut self, service: DatagramService, udp: bool) {
        (self.datagrams, self.udp) = (Some(service), udp);
    }

    /// Logs a warning, which under `--check` is a fault.
    ///
    /// # Errors
    /// The warning, under `--check`.
    pub fn warn(&self, text: String) -> Result<()> {
        if self.options.check {
            return Err(Error::Refused(text));
        }
        warn!("{text}");
        Ok(())
    }

    /// socket, bind, listen. Uses the sockets that systemd passed, or standard input under
    /// `--inetd`.
    ///
    /// # Errors
    /// `bind 0.0.0.0:110: Permission denied` and similar.
    pub fn listen(&mut self) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        if let Some(sockets) = self.passed()? {
            let takes_any = self.datagrams.is_some();
            let sockets = if takes_any { sockets } else { sockets.no_datagrams()? };
            (self.listeners, self.client) = (sockets.listeners, sockets.client);
            if self.client.is_none() {
                self.listen_tls()?;
            }
            return self.bind_helper(sockets.datagrams);
        }
        if self.options.inetd {
            match inetd::standard_input(self.timeouts(), &self.ucspi)? {
                StandardInput::Client(conn, peer) => self.client = Some((conn, peer)),
                StandardInput::Listener(listener) => self.listeners.push(listener),
                StandardInput::Datagrams(socket) if self.datagrams.is_some() => {
                    self.bind_helper(vec![socket])?;
                }
                StandardInput::Datagrams(_) => {
                    let why = "standard input is a UDP socket: this protocol needs TCP";
                    return Err(Error::Refused(why.into()));
                }
            }
            return Ok(());
        }
        let (listeners, datagrams) =
            listen::streams_and_datagrams(&self.options.listen, self.queue(), self.udp)?;
        self.listeners = listeners;
        self.listen_tls()?;
        self.bind_helper(datagrams)
    }

    /// Returns SO_RCVTIMEO for connections: a bit less than the idle limit, so that most reads need
    /// no poll(2).
    fn receive_timeout(&self) -> Duration {
        let most = self.options.timeout.mul_f64(0.9);
        match self.options.model {
            Model::Prefork | Model::Thread => most.min(POLL_INTERVAL), // they check for the server's end
            Model::Fork | Model::Iterative => most,
        }
    }

    /// Prepares the sockets of the datagram service.
    fn bind_helper(&mut self, sockets: Vec<Listener>) -> Result<()> {
        sockets.iter().try_for_each(crate::net::datagrams::prepare)?;
        self.helper_sockets.extend(sockets);
        Ok(())
    }

    /// As [`Server::listen`], for UDP: socket, bind.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn bind_datagram(&mut self) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        if let Some(sockets) = self.passed()? {
            self.listeners = sockets.no_streams()?.datagrams;
        } else if self.options.inetd {
            let StandardInput::Datagrams(socket) =
                inetd::standard_input(self.timeouts(), &self.ucspi)?
            else {
                return Err(Error::Refused("standard input is no UDP socket".into()));
            };
            self.listeners.push(socket);
        } else {
            self.listeners = listen::datagrams(&self.options.listen)?;
        }
        for listener in &self.listeners {
            request_local_address_and_time(listener).map_err(Error::os("setsockopt IP_PKTINFO"))?;
        }
        Ok(())
    }

    fn passed(&mut self) -> Result<Option<systemd::Sockets>> {
        systemd::classify(std::mem::take(&mut self.passed), self.timeouts())
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts { idle: self.options.timeout, deadline: self.options.deadline }
    }

    /// Handles `--daemon` and `--pid-file`. With `--daemon` it returns only in the child; the
    /// starting command ends when the child serves, or fails with it.
    ///
    /// # Errors
    /// fork failed, or the pid file belongs to another running server.
    pub fn detach(&mut self) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        if self.options.daemon {
            let starter = daemonize::detach(self.farewell())?;
            self.listeners.iter_mut().chain(&mut self.helper_sockets).for_each(Listener::adopt);
            starter.leave_session()?;
            self.starter = Some(starter);
        }
        self.pid_file = self.options.pid_file.as_deref().map(PidFile::write).transpose()?;
        Ok(())
    }

    /// Handles `--user` and `--chroot`: becomes that user for good, and enters that folder. Files
    /// that the server can then no longer remove are left to the cleanup helper.
    ///
    /// # Errors
    /// No such user, no permission, or root without `--user` where the service refuses that.
    pub fn drop_privileges(&mut self) -> Result<()> {
        let who = privdrop::target_user(self.options.user.as_deref(), self.service.root)?;
        if !self.options.check && (who.loses_rights() || self.options.chroot.is_some()) {
            self.start_cleanup_helper()?;
        }
        match &self.options.chroot {
            // The keeper alone has something to do in the folder of --chroot.
            _ if self.keeper.is_some() && geteuid().is_root() => chroot::enter_nothing()?,
            Some(folder) => chroot::enter(folder)?,
            None => {}
        }
        who.assume()?;
        if self.options.chroot.is_some() && geteuid().is_root() {
            warn!("--chroot is no jail for root, who can leave it: name a user with -u USER");
        }
        Ok(())
    }

    /// Starts the cleanup helper. If that fails, this process still removes its files itself.
    fn start_cleanup_helper(&mut self) -> Result<()> {
        let listeners = self.listeners.iter().chain(&self.helper_sockets);
        // A single session, inetd's `nowait`, never reopens its transcript.
        let reopens = self.transcript.as_ref().filter(|_| self.client.is_none());
        let transcript = reopens.map(|(transcript, _)| transcript.clone());
        let paths = Paths {
            pid_file: self.pid_file.as_ref().map(|file| file.path().to_owned()),
            sockets: listeners.filter_map(Listener::file).map(Path::to_owned).collect(),
            transcript: transcript.filter(TranscriptFile::can_change),
            log: self.log.iter().map(|(log, _)| log.clone()).find(TranscriptFile::can_change),
        };
        if paths.is_empty() {
            return Ok(());
        }
        self.cleanup = Some(Cleanup::spawn(self.service.name, &paths, || {
            self.let_go();
            close_syslog();
        })?);
        self.listeners
            .iter_mut()
            .chain(&mut self.helper_sockets)
            .for_each(Listener::leave_to_helper);
        self.pid_file.iter_mut().for_each(PidFile::leave_to_helper);
        Ok(())
    }

    /// accept, fork, reap, or another `--model`, until SIGTERM.
    ///
    /// # Errors
    /// Those that make serving impossible: a broken listener, no memory for the slots.
    pub fn serve(
        mut self,
        session: impl Fn(&mut Client) -> io::Result<()> + Send + Sync,
    ) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        self.limit();
        if let Some((conn, peer)) = self.client.take() {
            return self.serve_one(conn, peer, session);
        }
        // The fork design supervises a service that has datagrams only.
        let model = if self.listeners.is_empty() { Model::Fork } else { self.options.model };
        let layout = if model == Model::Prefork { Layout::Paged } else { Layout::Packed };
        let master = self.master(layout)?;
        match model {
            Model::Fork => fork::serve(master, session),
            Model::Prefork => prefork::serve(master, session),
            Model::Thread => thread::serve(master, session),
            Model::Iterative => iterative::serve(master, session),
        }
    }

    /// recvfrom, fork, reap: one child for each request, until SIGTERM.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_datagrams(self, protocol: impl UdpProtocol) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        self.limit();
        udp::serve(self.master(Layout::Paged)?, protocol)
    }

    /// Serves all clients in one process on one port: `work` gets the sockets, and serves until
    /// [`Event::Stop`](crate::Event::Stop).
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_alone(self, work: impl FnOnce(&mut UdpLoop) -> Result<()>) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        self.limit_to(0, true);
        let mut master = self.master(Layout::Packed)?;
        master.ready()?;
        work(&mut UdpLoop::new(master))
    }

    /// Makes the parent, which reports that it listens when the design is ready
    /// ([`Master::ready`]).
    #[inline(never)]
    fn master(self, layout: Layout) -> Result<Master> {
        let idle = self.options.inetd.then_some(self.options.timeout);
        let signals = Signals::new(self.reaper)?;
        let listeners = self.listeners;
        let mut master =
            Master::new(self.options, listeners, signals, (self.titles, self.replies), layout)?;
        if let Some(keeper) = self.keeper {
            master.set_keeper(keeper, self.signer)?;
            master.settings().set_facts(&self.facts);
        }
        let (transcript, file) = self.transcript.unzip();
        file.into_iter().for_each(|file| master.settings().set_transcript(file));
        master.set_reread(self.reread);
        master.set_files(Files::new(self.pid_file, self.cleanup, transcript, self.log));
        let sockets = self.helper_sockets;
        let helper = self.datagrams.and_then(|service| DatagramHelper::new(service, sockets, idle));
        master.set_helper(helper);
        if self.end_idle {
            master.set_ends_idle()?;
        }
        master.announcer().set_targets(self.notifier, self.starter);
        Ok(master)
    }

    /// Calls setrlimit(2), for this process and its children.
    fn limit(&self) {
        let processes = match self.options.model {
            Model::Fork => self.clients(),
            Model::Prefork => self.options.workers as u64,
            Model::Thread | Model::Iterative => 0,
        };
        self.limit_to(processes, matches!(self.options.model, Model::Thread));
    }

    /// Returns the most clients at a time.
    fn clients(&self) -> u64 {
        if self.client.is_some() { 1 } else { self.options.max_clients as u64 }
    }

    fn limit_to(&self, processes: u64, is_shared: bool) {
        let options = &self.options;
        // RLIMIT_FSIZE, which counts the whole file, would end a log or a transcript longer than
        // any client's file.
        let log = !options.daemon && !options.syslog && is_regular_file(io::stderr());
        let may_be_cut = !log
            && self.log.is_none()
            && !self.transcript.as_ref().is_some_and(|(_, file)| is_regular_file(file));
        rlimits::set(Needs {
            clients: self.clients(),
            processes,
            is_shared,
            memory: self.service.memory,
            file: self.longest_file.filter(|_| may_be_cut),
        });
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server {}", self.service.name)
    }
}
