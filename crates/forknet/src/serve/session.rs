//! One client's session from greeting to end, the same under every design.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use nix::unistd::{getpid, gettid};
use std::os::fd::{AsFd, AsRawFd};
use sys::fork::contain;

use crate::error::strerror;
use crate::log::contract::{self, Account, Process};
use crate::log::transcript::Transcript;
use crate::net::connection::Connection;
use crate::net::deadlines::Timeouts;
use crate::net::interrupt::Interrupts;
use crate::net::listener::Accepted;
use crate::net::peer::Peer;
use crate::net::proxies::Proxies;
use crate::serve::client_log;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::line::Line;
use crate::serve::permit::WorkerEnd;
use crate::serve::refusals::Replies;
use crate::serve::scoreboard::Slot;
use crate::serve::title::{Title, Titles};

/// A client with its connection, transcript and title.
#[derive(Debug)]
pub struct Client {
    /// The connection.
    pub conn: Connection,
    /// The client's address.
    pub peer: Peer,
    /// The transcript of the dialogue; it writes nothing without `--transcript`.
    pub transcript: Transcript,
    /// The process's title in `ps`, where it serves this client alone.
    pub title: Title,
    /// The line to the keeper, of a server that has one ([`Server::keep`](crate::Server::keep)).
    pub keeper: Option<Line>,
    /// What the keeper has found for sessions, at the start or after SIGHUP.
    pub facts: Arc<[u8]>,
    /// The line to the signer, of a server that offers TLS ([`Server::offer_tls`](crate::Server::offer_tls)).
    pub signer: Option<Line>,
    /// The client begins with a TLS handshake; after [`Client::hand_over`] it is under TLS.
    pub is_tls: bool,
    /// The exit code of the process that the client was handed over to.
    pub(crate) outcome: Option<i32>,
}

/// What a session runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionHost {
    /// A child, for this client alone. Its parent logs start and end, because it has the exit
    /// status.
    Child,
    /// A process that serves clients one after the other, or was started for one.
    Sequential,
    /// A thread of a process that has other clients too.
    Thread,
}

/// The settings that all sessions of a server share.
#[derive(Debug)]
pub(crate) struct Settings {
    host: SessionHost,
    timeouts: Timeouts,
    titles: Titles,
    /// The file of `--transcript`, which SIGHUP may replace; not set without one, so that a child
    /// takes no lock, which would copy a page.
    transcript: OnceLock<Mutex<Arc<File>>>,
    /// What the keeper has found, as `transcript`.
    facts: OnceLock<Mutex<Arc<[u8]>>>,
    proxies: Proxies,
    replies: Replies,
}

impl Settings {
    /// Makes settings that last as long as the process.
    pub(crate) fn new(
        host: SessionHost,
        timeouts: Timeouts,
        titles: Titles,
        (proxies, replies): (Proxies, Replies),
    ) -> &'static Settings {
        let (transcript, facts) = (OnceLock::new(), OnceLock::new());
        let settings = Settings { host, timeouts, titles, transcript, facts, proxies, replies };
        Box::leak(Box::new(settings))
    }

    /// Returns the file of `--transcript`.
    pub(crate) fn transcript(&self) -> Option<Arc<File>> {
        let file = self.transcript.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&file))
    }

    /// Sets the file of the transcript, for dialogues from now on.
    pub(crate) fn set_transcript(&self, file: Arc<File>) {
        let transcript = self.transcript.get_or_init(|| Mutex::new(Arc::clone(&file)));
        *transcript.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// Returns what the keeper has found.
    pub(crate) fn facts(&self) -> Arc<[u8]> {
        let Some(facts) = self.facts.get() else { return Arc::default() };
        Arc::clone(&facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets what the keeper has found, for sessions from now on.
    pub(crate) fn set_facts(&self, found: &[u8]) {
        let facts = self.facts.get_or_init(|| Mutex::new(Arc::default()));
        *facts.lock().unwrap_or_else(PoisonError::into_inner) = found.into();
    }

    fn title(&self, peer: Peer) -> Title {
        match self.host {
            SessionHost::Thread => Title::none(), // the process serves others too
            SessionHost::Child | SessionHost::Sequential => self.titles.client(peer),
        }
    }

    /// Returns this process, if it logs start and end itself.
    fn process(&self) -> Option<Process> {
        let thread = (self.host == SessionHost::Thread).then(|| gettid().as_raw());
        (self.host != SessionHost::Child).then(|| Process { pid: getpid().as_raw(), thread })
    }
}

/// A client's connection, before its session.
#[derive(Debug)]
pub(crate) struct Conn {
    connection: Connection,
    peer: Peer,
    settings: &'static Settings,
    line: Option<Line>,
    signer: Option<Line>,
    is_tls: bool,
    /// It comes from a proxy, whose header was not read yet.
    awaits_header: bool,
    /// Where to ask the parent about the client that a proxy tells.
    permit: Option<WorkerEnd>,
}

impl Conn {
    /// Wraps an accepted connection.
    pub(crate) fn accepted(accepted: Accepted, settings: &'static Settings) -> Conn {
        let Accepted { conn, peer, receive_timeout, at, is_tls } = accepted;
        let connection = Connection::accepted(conn, settings.timeouts, receive_timeout, at);
        Conn { is_tls, ..Conn::new(connection, peer, settings) }
    }

    /// Wraps a connection that a superserver has passed.
    pub(crate) fn new(mut connection: Connection, peer: Peer, settings: &'static Settings) -> Conn {
        let peer = settings.proxies.classify(peer);
        // A protocol without a reply for it knows no such word, unless there are proxies.
        let is_guarded = !settings.proxies.is_empty() || !settings.replies.denied.is_empty();
        if is_guarded && !peer.is_proxy() {
            connection.guard_against_proxy();
        }
        Conn {
            connection,
            peer,
            settings,
            line: None,
            signer: None,
            is_tls: false,
            awaits_header: peer.is_proxy(),
            permit: None,
        }
    }

    /// Returns true when a proxy's header is still to be read.
    pub(crate) fn awaits_header(&self) -> bool {
        self.awaits_header
    }

    /// Sets where to ask the parent about the client that a proxy tells.
    pub(crate) fn set_permit(&mut self, permit: WorkerEnd) {
        self.permit = Some(permit);
    }

    /// Returns that, once.
    pub(super) fn take_permit(&mut self) -> Option<WorkerEnd> {
        self.permit.take()
    }

    /// Returns true when the header is still to be read, once.
    pub(super) fn take_awaits_header(&mut self) -> bool {
        std::mem::take(&mut self.awaits_header)
    }

    /// Shows the peer in the process's title, where it serves this client alone.
    pub(super) fn show_peer(&self) {
        let _ = self.settings.title(self.peer);
    }

    pub(super) fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(super) fn replies(&self) -> &'static Replies {
        &self.settings.replies
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Sets the line to the keeper.
    pub(crate) fn set_line(&mut self, line: Option<Line>) {
        self.line = line;
    }

    /// Sets the line to the signer.
    pub(crate) fn set_signer(&mut self, line: Option<Line>) {
        self.signer = line;
    }

    /// Sets what interrupts the session's waits: the end of the server.
    pub(crate) fn set_interrupts(&mut self, interrupts: Option<Box<dyn Interrupts>>) {
        self.connection.set_interrupts(interrupts);
    }

    /// Refuses the client with these words, without blocking; one who awaits a handshake without words.
    pub(crate) fn refuse(&self, words: &[u8]) {
        refuse(&self.connection.fd(), if self.is_tls { b"" } else { words });
    }
}

/// Runs the session of a client in this process; returns its exit code. A panic ends here.
pub(crate) fn run(
    mut conn: Conn,
    slot: Slot,
    serve: &impl Fn(&mut Client) -> io::Result<()>,
) -> i32 {
    if let Err(code) = conn.read_proxy() {
        return code;
    }
    let Conn { connection: mut conn, peer, settings, line, signer, is_tls, .. } = conn;
    let (process, since) = (settings.process(), Instant::now());
    if let Some(process) = process {
        client_log::start(peer, process);
    }
    conn.set_counters(slot.counters());
    let transcript = Transcript::new(settings.transcript(), peer);
    let title = settings.title(peer);
    let (keeper, facts, outcome) = (line, settings.facts(), None);
    let mut client =
        Client { conn, peer, transcript, title, keeper, facts, signer, is_tls, outcome };
    let code = contain(|| run_service(&mut client, &settings.replies.denied, serve));
    if let Some(process) = process {
        let account = Account { bytes: slot.counters().bytes(), time: since.elapsed() };
        let how = format_args!("exit {code}");
        client_log::end(peer, process, how, (Some(code), false), account);
    }
    code
}

/// Serves the client; returns the exit code. One that says PROXY, and may not, is `denied`.
pub(crate) fn run_service(
    client: &mut Client,
    denied: &[u8],
    serve: impl FnOnce(&mut Client) -> io::Result<()>,
) -> i32 {
    let answer = serve(client);
    if client.conn.says_proxy() {
        contract::client_refused(client.peer, "it says PROXY, and --proxy-from does not name it");
        refuse(&client.conn.fd(), denied);
        return EXIT_FAILED;
    }
    if let Err(error) = &answer {
        client_log::failed(client.peer, error);
    }
    client.conn.linger();
    if answer.is_ok() { client.outcome.unwrap_or(EXIT_OK) } else { EXIT_FAILED }
}

/// Refuses a client with these words, without blocking. Drops what the client has sent already, so
/// that it reads the words and an end of file, not a reset.
#[cold]
#[inline(never)] // keeps its buffer out of the caller's frame
pub(crate) fn refuse(conn: &impl AsFd, words: &[u8]) {
    let fd = conn.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if let Err(errno) = send(fd, words, flags) {
        log::debug!("refusal not sent: {}", strerror(errno));
    }
    let mut scrap = [0; 4096];
    let _ = shutdown(fd, Shutdown::Write); // ENOTCONN: the client has gone
    for _ in 0..16 {
        if !matches!(recv(fd, &mut scrap, MsgFlags::MSG_DONTWAIT), Ok(1..)) {
            break;
        }
    }
}
