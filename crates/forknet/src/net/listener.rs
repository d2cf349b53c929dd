//! socket, bind, listen, accept.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, getsockopt, listen, setsockopt, shutdown, socket, sockopt,
};

use sys::fd::{is_nonblocking, set_nonblocking};
use sys::socket::{accept, to_std};

use crate::error::{Error, Result, reason, strerror};
use crate::net::connection::set_receive_timeout;
use crate::net::endpoint::Endpoint;
use crate::net::peer::Peer;
use crate::net::unix_name::UnixName;

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) conn: OwnedFd,
    pub(crate) peer: Peer,
    /// SO_RCVTIMEO inherited from the listener; zero without it.
    pub(crate) receive_timeout: Duration,
    /// Time of the accept, the start of its session.
    pub(crate) at: Instant,
    /// The client begins with a TLS handshake.
    pub(crate) is_tls: bool,
}

/// Options of listening sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// The backlog of listen(2).
    pub(crate) backlog: i32,
    /// SO_RCVTIMEO of their connections.
    pub(crate) receive_timeout: Duration,
}

impl Queue {
    /// For datagrams.
    pub(crate) const NONE: Queue = Queue { backlog: 0, receive_timeout: Duration::ZERO };
}

/// A listening or bound socket, with its actual endpoint (port 0 replaced).
#[derive(Debug)]
pub(crate) struct Listener {
    /// Before `fd`, so that the file is removed before another server can find it stale.
    file: Option<SocketFile>,
    fd: OwnedFd,
    endpoint: Endpoint,
    kind: SockType,
    /// SO_RCVTIMEO of the listener, which its connections inherit together with TCP_NODELAY, so
    /// that no client costs a system call. Zero where they are not set.
    receive_timeout: Duration,
    /// Clients begin with a TLS handshake (`--tls-listen`).
    is_tls: bool,
    /// Belongs to the superserver, as with inetd's `wait`; never shut down here.
    is_inherited: bool,
    /// Restores the mode of an inherited socket that was blocking.
    blocks: Option<BlockingMode>,
}

/// Makes a socket blocking again when it is dropped by the process that has set O_NONBLOCK, which
/// all processes that hold the socket share. A drop in a child does nothing.
#[derive(Debug)]
pub(crate) struct BlockingMode {
    fd: OwnedFd,
    owner: u32,
}

impl Drop for BlockingMode {
    fn drop(&mut self) {
        if self.owner == std::process::id()
            && let Err(errno) = set_nonblocking(&self.fd, false)
        {
            log::debug!("inherited socket: fcntl: {}", strerror(errno));
        }
    }
}

/// Removes the file of a UNIX-domain socket when it is dropped by the process that made the file. A
/// drop in a child does nothing.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a file that has replaced it is not removed.
    inode: Option<(u64, u64)>,
    owner: u32,
}

impl SocketFile {
    fn new(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), inode: inode(path), owner: std::process::id() }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owner == std::process::id()
            && inode(&self.path) == self.inode
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("{} not removed: {}", self.path.display(), reason(&error));
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Listener {
    fn own(fd: OwnedFd, endpoint: Endpoint, kind: SockType) -> Listener {
        let receive_timeout = Duration::ZERO;
        let (file, blocks, is_inherited, is_tls) = (None, None, false, false);
        Listener { file, fd, endpoint, kind, receive_timeout, is_tls, is_inherited, blocks }
    }

    /// Returns what a refused client is sent: nothing where it awaits a handshake.
    pub(crate) fn refusal<'w>(&self, words: &'w [u8]) -> &'w [u8] {
        if self.is_tls { b"" } else { words }
    }

    /// Makes it one whose clients begin with a TLS handshake.
    pub(crate) fn with_tls(self) -> Listener {
        Listener { is_tls: true, ..self }
    }

    /// Wraps a socket that a superserver has bound: inetd's `wait`, systemd's `Accept=no`.
    pub(crate) fn inherited(fd: OwnedFd, kind: SockType) -> Result<Listener> {
        let endpoint = local_endpoint(&fd, kind)?;
        let blocks = make_nonblocking(&fd).map_err(Error::io("inherited socket: fcntl"))?;
        Ok(Listener { is_inherited: true, blocks, ..Listener::own(fd, endpoint, kind) })
    }

    /// Returns true for a listening socket, false for a datagram socket.
    pub(crate) fn is_stream(&self) -> bool {
        self.kind == SockType::Stream
    }

    /// Accepts the next connection.
    pub(crate) fn accept(&self) -> nix::Result<Accepted> {
        let (conn, address) = accept(self)?;
        let receive_timeout = self.receive_timeout;
        let (peer, at, is_tls) = (Peer::from(address), Instant::now(), self.is_tls);
        Ok(Accepted { conn, peer, receive_timeout, at, is_tls })
    }

    /// Duplicates the descriptor, for a thread; this one still owns the file.
    pub(crate) fn duplicate(&self) -> std::io::Result<Listener> {
        let (fd, endpoint) = (self.fd.try_clone()?, self.endpoint.clone());
        let (is_inherited, is_tls) = (self.is_inherited, self.is_tls);
        Ok(Listener { is_inherited, is_tls, ..Listener::own(fd, endpoint, self.kind) })
    }

    /// Duplicates the descriptor for shutdown(2); `None` for an inherited socket.
    pub(crate) fn own_copy(&self) -> Option<OwnedFd> {
        if self.is_inherited { None } else { self.fd.try_clone().ok() }
    }

    /// Returns the port, if it has one.
    pub(crate) fn port(&self) -> Option<u16> {
        self.endpoint.port()
    }

    /// Returns the name of a UNIX-domain socket.
    pub(crate) fn unix(&self) -> Option<&UnixName> {
        match &self.endpoint {
            Endpoint::Unix(name) | Endpoint::UnixDatagram(name) => Some(name),
            Endpoint::Any(_) | Endpoint::Inet(_) | Endpoint::Name(..) => None,
        }
    }

    /// Shuts the socket down, so that it leaves the state LISTEN even if a child has a copy, and
    /// removes a UNIX-domain socket's file. A child only drops its copy.
    ///
    /// Returns the mode of an inherited socket, to be kept until no child accepts from it, because
    /// accept(2) would hang once it blocks again.
    pub(crate) fn close(mut self) -> Option<BlockingMode> {
        self.file = None;
        stop_listening(self.own_copy().as_slice());
        self.blocks
    }

    /// Makes this process, the daemon, the owner of the socket's file, which the starting command
    /// has bound.
    pub(crate) fn adopt(&mut self) {
        if let Some(file) = &mut self.file {
            file.owner = std::process::id();
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.owner = std::process::id();
        }
    }

    /// Returns the socket's file, if this process removes it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Leaves the removal of a socket's file to another process.
    pub(crate) fn leave_to_helper(&mut self) {
        self.file.iter_mut().for_each(|file| file.owner = 0);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        if self.is_tls { f.write_str(" (tls)") } else { Ok(()) }
    }
}

/// socket, bind and, for streams, listen.
pub(crate) fn bound(endpoint: &Endpoint, kind: SockType, queue: Queue) -> Result<Listener> {
    let mut listener = match endpoint {
        Endpoint::Unix(name) | Endpoint::UnixDatagram(name) => bound_unix(endpoint, name, kind)?,
        _ => bound_inet(endpoint, kind)?,
    };
    if kind != SockType::Stream {
        return Ok(listener);
    }
    if !matches!(endpoint, Endpoint::Unix(_)) {
        let prepared = setsockopt(&listener.fd, sockopt::TcpNoDelay, &true)
            .and_then(|()| set_receive_timeout(&listener.fd, queue.receive_timeout));
        listener.receive_timeout = prepared.map_or(Duration::ZERO, |()| queue.receive_timeout);
    }
    let backlog = Backlog::new(queue.backlog).unwrap_or(Backlog::MAXCONN);
    if let Err(errno) = listen(&listener.fd, backlog) {
        drop(listener);
        return Err(Error::os(format!("listen {endpoint}"))(errno));
    }
    Ok(listener)
}

fn bound_inet(endpoint: &Endpoint, kind: SockType) -> Result<Listener> {
    let fail = |call: &str| Error::os(format!("{call} {endpoint}"));
    let (fd, address) = match endpoint {
        Endpoint::Inet(address) => (inet_socket(*address, kind).map_err(fail("socket"))?, *address),
        other => any_address(other.port().unwrap_or(0), kind).map_err(fail("socket"))?,
    };
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(fail("bind"))?;
    let port = port_of(&fd).map_err(fail("getsockname"))?;
    Ok(Listener::own(fd, endpoint.clone().with_port(port), kind))
}

/// Returns the flags of a socket. accept(2) must not block, because a client may have closed
/// meanwhile. A datagram stays, and each call for one chooses whether it blocks.
fn flags(kind: SockType) -> SockFlag {
    match kind {
        SockType::Stream => SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        _ => SockFlag::SOCK_CLOEXEC,
    }
}

/// Makes a socket that can bind while connections of an earlier server are in TIME_WAIT.
fn inet_socket(address: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, flags(kind), None)?;
    if kind == SockType::Stream {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(fd)
}

/// Makes an IPv6 socket that accepts IPv4 too, or an IPv4 socket where the kernel has no IPv6.
fn any_address(port: u16, kind: SockType) -> nix::Result<(OwnedFd, SocketAddr)> {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match inet_socket(v6, kind) {
        Ok(fd) => {
            setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
            Ok((fd, v6))
        }
        Err(Errno::EAFNOSUPPORT) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            Ok((inet_socket(v4, kind)?, v4))
        }
        Err(errno) => Err(errno),
    }
}

/// Binds a UNIX-domain socket. Replaces a stale socket file, at which no server answers, and
/// refuses a live one. The umask limits who may connect, as with every file; an abstract name is
/// open to all.
fn bound_unix(endpoint: &Endpoint, name: &UnixName, kind: SockType) -> Result<Listener> {
    let fail = |call: &str| Error::os(format!("{call} {endpoint}"));
    let fd = socket(AddressFamily::Unix, kind, flags(kind), None).map_err(fail("socket"))?;
    let address = name.address().map_err(fail("bind"))?;
    let mut answer = bind(fd.as_raw_fd(), &address);
    if let Some(path) = name.path()
        && answer == Err(Errno::EADDRINUSE)
        && is_stale(&address, path, kind)
    {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format!("unlink {endpoint}"))(error));
            }
            _ => {} // the cleanup helper of a killed server may have removed it
        }
        answer = bind(fd.as_raw_fd(), &address);
    }
    answer.map_err(fail("bind"))?;
    let file = name.path().map(SocketFile::new);
    Ok(Listener { file, ..Listener::own(fd, endpoint.clone(), kind) })
}

/// Returns true for the socket file of a server that has ended: it refuses a connection, also a
/// datagram socket. A regular file is never stale.
fn is_stale(address: &UnixAddr, path: &Path, kind: SockType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    // Non-blocking, because a live server with a full queue would make connect(2) wait.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, kind, flags, None);
    is_socket && probe.is_ok_and(|fd| connect(fd.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}

fn port_of(fd: &OwnedFd) -> nix::Result<u16> {
    let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(to_std(&name).map_or(0, |address| address.port()))
}

/// Returns the endpoint of an inherited socket.
fn local_endpoint(fd: &OwnedFd, kind: SockType) -> Result<Endpoint> {
    let failed = |call: &str| Error::os(format!("inherited socket: {call}"));
    let name: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(failed("getsockname"))?;
    if let Some(address) = to_std(&name) {
        if !(address.is_ipv6() && address.ip().is_unspecified()) {
            return Ok(Endpoint::Inet(address));
        }
        let takes_v6_only = getsockopt(fd, sockopt::Ipv6V6Only).map_err(failed("getsockopt"))?;
        let port = address.port();
        return Ok(if takes_v6_only { Endpoint::Inet(address) } else { Endpoint::Any(port) });
    }
    let unix = name.as_unix_addr().and_then(UnixName::from_address);
    let unix = unix.unwrap_or_else(|| UnixName::Path(PathBuf::new()));
    let is_stream = kind == SockType::Stream;
    Ok(if is_stream { Endpoint::Unix(unix) } else { Endpoint::UnixDatagram(unix) })
}

/// Sets O_NONBLOCK, if it is not set, because accept(2) must not block when the client has closed
/// meanwhile or another worker has accepted it.
fn make_nonblocking(fd: &OwnedFd) -> std::io::Result<Option<BlockingMode>> {
    if is_nonblocking(fd) {
        return Ok(None);
    }
    let copy = fd.try_clone()?;
    set_nonblocking(fd, true)?;
    Ok(Some(BlockingMode { fd: copy, owner: std::process::id() }))
}

/// shutdown(2) of listening sockets, which leave the state LISTEN for all processes that hold them.
pub(crate) fn stop_listening(listeners: &[OwnedFd]) {
    for listener in listeners {
        if let Err(errno) = shutdown(listener.as_raw_fd(), Shutdown::Both) {
            log::debug!("shutdown of a listener: {}", strerror(errno));
        }
    }
}
