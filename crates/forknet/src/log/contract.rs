//! The log lines that tests, scripts and administrators read, formatted only here.

use std::fmt::{self, Display};
use std::time::Duration;

use log::{debug, info, warn};

/// Logs `listening on 127.0.0.1:7` for a listener, when the server is ready.
pub(crate) fn listening(address: impl Display) {
    info!("listening on {address}");
}

/// Logs `client 127.0.0.1:52100 start: pid 4242`.
#[inline(never)]
pub(crate) fn client_start(peer: impl Display, process: impl Display) {
    info!("client {peer} start: {process}");
}

/// Logs `client 127.0.0.1:52100 end: pid 4242, exit 0, 64 bytes in, 64 bytes out, 0.003 s`, as a
/// warning if the session failed.
#[inline(never)]
pub(crate) fn client_end(
    peer: impl Display,
    process: impl Display,
    how: impl Display,
    is_ok: bool,
    account: Account,
) {
    if is_ok {
        info!("client {peer} end: {process}, {how}, {account}");
    } else {
        warn!("client {peer} end: {process}, {how}, {account}");
    }
}

/// Logs, for debugging, `client 127.0.0.1:52100 start: pid 4242` for a proxy that tells no client.
pub(crate) fn proxy_start(peer: impl Display, process: impl Display) {
    debug!("client {peer} start: {process}");
}

/// Logs the end of its session, for debugging too.
pub(crate) fn proxy_end(
    peer: impl Display,
    process: impl Display,
    how: impl Display,
    account: Account,
) {
    debug!("client {peer} end: {process}, {how}, {account}");
}

/// Logs `client 127.0.0.1:52100 refused: 256 clients are served already`.
pub(crate) fn client_refused(peer: impl Display, why: impl Display) {
    warn!("client {peer} refused: {why}");
}

/// Logs `client 127.0.0.1:52100 end: pid 4242, complete, gave way to another`; `how` tells how far it had come.
pub(crate) fn client_gave_way(peer: impl Display, pid: i32, how: &str) {
    info!("client {peer} end: pid {pid}, {how}, gave way to another");
}

/// Logs `17 more clients gave way`, for those without a line of their own.
pub(crate) fn more_gave_way(clients: u64) {
    info!("{clients} more clients gave way");
}

/// Logs `17 more clients refused`, for those without a line of their own.
pub(crate) fn more_refused(clients: u64) {
    warn!("{clients} more clients refused");
}

/// Logs `17 more requests refused, or not answered by their clients`, for those without a line of their own.
pub(crate) fn more_unproven(requests: u64) {
    info!("{requests} more requests refused, or not answered by their clients");
}

/// Logs, for debugging, `client 127.0.0.1:52100: 12 bytes, not a request`.
pub(crate) fn not_a_request(peer: impl Display, length: usize) {
    debug!("client {peer}: {length} bytes, not a request");
}

/// Logs, for debugging, `17 more datagrams, not requests`, for those without a line of their own.
pub(crate) fn more_not_requests(datagrams: u64) {
    debug!("{datagrams} more datagrams, not requests");
}

/// Logs `worker end: pid 4242, exit 0` for a prefork worker without a client, as a warning if it
/// failed.
pub(crate) fn worker_end(process: impl Display, how: impl Display, is_ok: bool) {
    if is_ok {
        debug!("worker end: {process}, {how}");
    } else {
        warn!("worker end: {process}, {how}");
    }
}

/// Logs why a session failed: `client 127.0.0.1:52100: Connection reset by peer`.
#[inline(never)]
pub(crate) fn client_failed(peer: impl Display, why: impl Display) {
    warn!("client {peer}: {why}");
}

/// Logs `datagrams start: pid 4242`; for a thread `datagrams start`.
pub(crate) fn datagrams_start(pid: Option<i32>) {
    match pid {
        Some(pid) => info!("datagrams start: pid {pid}"),
        None => info!("datagrams start"),
    }
}

/// Logs `datagrams end: pid 4242, exit 0, 64 bytes in, 64 bytes out, 0.003 s`, at the idle timeout.
pub(crate) fn datagrams_end(pid: i32, how: impl Display, account: Account) {
    info!("datagrams end: pid {pid}, {how}, {account}");
}

/// Logs the same as a warning, with `; another process takes over` at the end.
pub(crate) fn datagrams_taken_over(pid: i32, how: impl Display, account: Account) {
    warn!("datagrams end: pid {pid}, {how}, {account}; another process takes over");
}

/// Logs `datagrams end: pid 4242, 64 bytes in, 64 bytes out, 0.003 s` when the server stops; for a
/// thread without `pid`.
pub(crate) fn datagrams_stopped(pid: Option<i32>, account: Account) {
    match pid {
        Some(pid) => info!("datagrams end: pid {pid}, {account}"),
        None => info!("datagrams end: {account}"),
    }
}

/// What a process did: `64 bytes in, 64 bytes out, 0.003 s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    /// Bytes received and sent.
    pub(crate) bytes: (u64, u64),
    /// Duration.
    pub(crate) time: Duration,
}

impl Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, sent) = self.bytes;
        let seconds = self.time.as_secs_f64();
        write!(f, "{received} bytes in, {sent} bytes out, {seconds:.3} s")
    }
}

/// `pid 4242`, or `pid 4242, thread 4243`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// The thread's id, under the thread model.
    pub(crate) thread: Option<i32>,
}

impl Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        self.thread.map_or(Ok(()), |thread| write!(f, ", thread {thread}"))
    }
}
