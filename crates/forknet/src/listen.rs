//! socket, bind, listen.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};

use crate::accept::{Accepted, Name, accept};
use crate::attention::stop_listening;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, reason};
use crate::open::open_all;
use crate::rw::set_receive_limit;
use crate::unix::UnixName;

/// How clients of streams wait to be accepted, and for how long they may be silent then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// As listen(2) takes it.
    pub(crate) backlog: i32,
    /// How long the first wait for a client may be, which the kernel bounds.
    pub(crate) first_wait: Duration,
}

impl Queue {
    /// For datagrams.
    pub(crate) const NONE: Queue = Queue { backlog: 0, first_wait: Duration::ZERO };
}

/// A socket that clients come to, with the endpoint it really got (port 0 replaced).
#[derive(Debug)]
pub(crate) struct Listener {
    /// Before `fd`, so that it is removed while nobody can take it for a stale one.
    file: Option<SocketFile>,
    fd: OwnedFd,
    endpoint: Endpoint,
    /// SO_RCVTIMEO and TCP_NODELAY are set on the listener, and its connections inherit them: that
    /// costs no client a system call. Zero where it is not so.
    receive_limit: Duration,
    /// Somebody else's, as inetd's `wait`: not ours to shut down.
    is_inherited: bool,
}

/// The file of a UNIX-domain socket. The process that made it removes it by dropping this; a child
/// that drops its copy leaves it alone.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that took its place is not removed.
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
            log::warn!("{} stays behind: {}", self.path.display(), reason(&error));
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Listener {
    /// Bound UDP sockets, closed on exec; in the order of the endpoints, each address of a name a
    /// socket.
    pub(crate) fn datagrams(endpoints: &[Endpoint]) -> Result<Vec<Listener>> {
        open_all(endpoints, &[SockType::Datagram], Queue::NONE)
    }

    /// Listening sockets, non-blocking, and bound ones for datagrams: those of `unix-dgram:`, and
    /// with `udp` one beside each TCP socket, on the same address and port.
    pub(crate) fn streams_and_datagrams(
        endpoints: &[Endpoint],
        queue: Queue,
        udp: bool,
    ) -> Result<(Vec<Listener>, Vec<Listener>)> {
        let both = [SockType::Stream, SockType::Datagram];
        let kinds = if udp { &both[..] } else { &both[..1] };
        let all = open_all(endpoints, kinds, queue)?;
        Ok(all.into_iter().partition(|l| getsockopt(&l.fd, sockopt::SockType) == Ok(both[0])))
    }

    fn own(fd: OwnedFd, endpoint: Endpoint, file: Option<SocketFile>) -> Listener {
        Listener { fd, endpoint, receive_limit: Duration::ZERO, is_inherited: false, file }
    }

    /// A socket that somebody else has bound: inetd's `wait`, systemd's `Accept=no`.
    pub(crate) fn inherited(fd: OwnedFd) -> Result<Listener> {
        let endpoint = local_endpoint(&fd)?;
        set_nonblocking(&fd)?;
        let receive_limit = Duration::ZERO;
        Ok(Listener { fd, endpoint, receive_limit, is_inherited: true, file: None })
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> nix::Result<Accepted> {
        let (conn, peer) = accept(self)?;
        let (name, receive_limit) = (Name::of(peer), self.receive_limit);
        Ok(Accepted { conn, peer, receive_limit, name, at: Instant::now() })
    }

    /// Another descriptor of the same socket, for a thread; the file stays with this one.
    pub(crate) fn duplicate(&self) -> std::io::Result<Listener> {
        let (fd, endpoint) = (self.fd.try_clone()?, self.endpoint.clone());
        Ok(Listener { is_inherited: self.is_inherited, ..Listener::own(fd, endpoint, None) })
    }

    /// A copy of the descriptor, for a process or session that may have to shut it down; none where
    /// the socket is not ours.
    pub(crate) fn own_copy(&self) -> Option<OwnedFd> {
        if self.is_inherited { None } else { self.fd.try_clone().ok() }
    }

    /// The port, of a socket that has one.
    pub(crate) fn port(&self) -> Option<u16> {
        self.endpoint.port()
    }

    /// The name, of a UNIX-domain socket of either kind.
    pub(crate) fn unix(&self) -> Option<&UnixName> {
        match &self.endpoint {
            Endpoint::Unix(name) | Endpoint::UnixDatagram(name) => Some(name),
            Endpoint::Any(_) | Endpoint::Inet(_) | Endpoint::Name(..) => None,
        }
    }

    /// Closes for good: it leaves the state LISTEN even where a child still has a copy, and a
    /// UNIX-domain socket's file goes with it. The child of a fork only drops.
    pub(crate) fn close(mut self) {
        self.file = None;
        stop_listening(self.own_copy().as_slice());
    }

    /// This process removes the socket's file from now on: it is the daemon's, of which the one
    /// that has bound it was the starting command.
    pub(crate) fn adopt(&mut self) {
        if let Some(file) = &mut self.file {
            file.owner = std::process::id();
        }
    }

    /// Leaves the removal of a socket's file to another process, which gets the path.
    pub(crate) fn entrust(&mut self) -> Option<PathBuf> {
        let file = self.file.as_mut()?;
        file.owner = 0;
        Some(file.path.clone())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
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
            .and_then(|()| set_receive_limit(&listener.fd, queue.first_wait));
        listener.receive_limit = prepared.map_or(Duration::ZERO, |()| queue.first_wait);
    }
    let backlog = Backlog::new(queue.backlog).unwrap_or(Backlog::MAXCONN);
    if let Err(errno) = listen(&listener.fd, backlog) {
        listener.close();
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
    Ok(Listener::own(fd, endpoint.clone().with_port(port), None))
}

/// accept(2) must not block, where a client may have gone meanwhile. A datagram stays, and each call
/// for one says whether it waits.
fn flags(kind: SockType) -> SockFlag {
    match kind {
        SockType::Stream => SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        _ => SockFlag::SOCK_CLOEXEC,
    }
}

/// A socket that may bind while connections of an earlier server are still in TIME_WAIT.
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

/// One IPv6 socket that takes IPv4 too, or an IPv4 one where the kernel has no IPv6.
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

/// A stale socket file, which nobody answers at, is replaced; a live one is refused. The umask says
/// who may connect, as with every file; an abstract name is open to all.
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
            _ => {} // the caretaker of a server that was killed may have been quicker
        }
        answer = bind(fd.as_raw_fd(), &address);
    }
    answer.map_err(fail("bind"))?;
    let file = name.path().map(SocketFile::new);
    Ok(Listener::own(fd, endpoint.clone(), file))
}

/// Only a socket whose server is gone refuses a connection, also one for datagrams; a plain file is
/// never removed.
fn is_stale(address: &UnixAddr, path: &Path, kind: SockType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    // Non-blocking: a live server whose queue is full would let us wait for it.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, kind, flags, None);
    is_socket && probe.is_ok_and(|fd| connect(fd.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}

fn port_of(fd: &OwnedFd) -> nix::Result<u16> {
    let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(crate::accept::to_std(&name).map_or(0, |address| address.port()))
}

fn local_endpoint(fd: &OwnedFd) -> Result<Endpoint> {
    let name: SockaddrStorage =
        getsockname(fd.as_raw_fd()).map_err(Error::os("inherited socket: getsockname"))?;
    if let Some(address) = crate::accept::to_std(&name) {
        let takes_both = || getsockopt(fd, sockopt::Ipv6V6Only) == Ok(false);
        let is_any = address.is_ipv6() && address.ip().is_unspecified() && takes_both();
        return Ok(if is_any { Endpoint::Any(address.port()) } else { Endpoint::Inet(address) });
    }
    let unix = name.as_unix_addr().and_then(UnixName::of);
    let unix = unix.unwrap_or_else(|| UnixName::Path(PathBuf::new()));
    Ok(match getsockopt(fd, sockopt::SockType) {
        Ok(SockType::Datagram) => Endpoint::UnixDatagram(unix),
        _ => Endpoint::Unix(unix),
    })
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let call = || -> nix::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
        fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(())
    };
    call().map_err(Error::os("inherited socket: fcntl"))
}
