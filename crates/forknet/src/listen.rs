//! socket, bind, listen.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};

use crate::accept::{Accepted, accept};
use crate::attention::stop_listening;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, reason};
use crate::rw::set_receive_limit;

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
    /// A listening TCP or UNIX-domain socket, non-blocking, closed on exec.
    pub(crate) fn stream(endpoint: &Endpoint, backlog: i32, idle: Duration) -> Result<Listener> {
        let mut listener = bound(endpoint, SockType::Stream)?;
        if !matches!(endpoint, Endpoint::Unix(_)) {
            let prepared = setsockopt(&listener.fd, sockopt::TcpNoDelay, &true)
                .and_then(|()| set_receive_limit(&listener.fd, idle));
            listener.receive_limit = prepared.map_or(Duration::ZERO, |()| idle);
        }
        let queue = Backlog::new(backlog).unwrap_or(Backlog::MAXCONN);
        listen(&listener.fd, queue).map_err(Error::os(format!("listen {endpoint}")))?;
        Ok(listener)
    }

    /// A bound UDP socket, non-blocking, closed on exec.
    pub(crate) fn datagram(endpoint: &Endpoint) -> Result<Listener> {
        if let Endpoint::Unix(_) = endpoint {
            let text = format!("--listen '{endpoint}': this protocol needs UDP");
            return Err(Error::Usage(text));
        }
        bound(endpoint, SockType::Datagram)
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
        Ok(Accepted { conn, peer, receive_limit: self.receive_limit })
    }

    /// A copy of the descriptor, for a process or session that may have to shut it down; none where
    /// the socket is not ours.
    pub(crate) fn own_copy(&self) -> Option<OwnedFd> {
        if self.is_inherited { None } else { self.fd.try_clone().ok() }
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

fn bound(endpoint: &Endpoint, kind: SockType) -> Result<Listener> {
    let fail = |call: &str| Error::os(format!("{call} {endpoint}"));
    let (fd, address) = match endpoint {
        Endpoint::Any(port) => any_address(*port, kind).map_err(fail("socket"))?,
        Endpoint::Inet(address) => (inet_socket(*address, kind).map_err(fail("socket"))?, *address),
        Endpoint::Unix(path) => return bound_unix(path, kind),
    };
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(fail("bind"))?;
    let port = port_of(&fd).map_err(fail("getsockname"))?;
    let endpoint = match endpoint {
        Endpoint::Any(_) => Endpoint::Any(port),
        _ => Endpoint::Inet(SocketAddr::new(address.ip(), port)),
    };
    Ok(Listener::own(fd, endpoint, None))
}

/// A socket that may bind while connections of an earlier server are still in TIME_WAIT.
fn inet_socket(address: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
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

/// A stale socket file, which nobody answers at, is replaced; a live one is refused.
fn bound_unix(path: &Path, kind: SockType) -> Result<Listener> {
    let what = |call: &str| format!("{call} unix:{}", path.display());
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, kind, flags, None).map_err(Error::os(what("socket")))?;
    let address = UnixAddr::new(path).map_err(Error::os(what("bind")))?;
    let mut answer = bind(fd.as_raw_fd(), &address);
    if answer == Err(Errno::EADDRINUSE) && is_stale(&address, path) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(what("unlink"))(error));
            }
            _ => {} // the caretaker of a server that was killed may have been quicker
        }
        answer = bind(fd.as_raw_fd(), &address);
    }
    answer.map_err(Error::os(what("bind")))?;
    let (endpoint, file) = (Endpoint::Unix(path.to_owned()), Some(SocketFile::new(path)));
    Ok(Listener::own(fd, endpoint, file))
}

/// Only a socket whose server is gone refuses a connection; a plain file is never removed.
fn is_stale(address: &UnixAddr, path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    // Non-blocking: a live server whose queue is full would let us wait for it.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None);
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
    let path = name.as_unix_addr().and_then(UnixAddr::path).map(Path::to_owned);
    Ok(Endpoint::Unix(path.unwrap_or_default()))
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
