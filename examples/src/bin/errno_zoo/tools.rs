//! Sockets in the states that the rows need. All are on loopback, and none waits for longer than
//! five seconds.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, getsockname,
    listen, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::accept;

/// The result of a way. The outer error means that a step before the row's call failed. The inner
/// result is that of the row's call.
pub type Attempt = nix::Result<nix::Result<()>>;

/// `inet_pton`, `htons`: an IPv4 address.
pub fn at([a, b, c, d]: [u8; 4], port: u16) -> SockaddrIn {
    SockaddrIn::new(a, b, c, d, port)
}

/// 127.0.0.1 and any port.
pub fn any_port() -> SockaddrIn {
    at([127, 0, 0, 1], 0)
}

/// A new IPv4 socket whose reads and writes last five seconds at most.
pub fn inet(kind: SockType) -> nix::Result<OwnedFd> {
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(5))?;
    Ok(fd)
}

/// A new TCP socket.
pub fn tcp() -> nix::Result<OwnedFd> {
    inet(SockType::Stream)
}

/// A new UDP socket.
pub fn udp() -> nix::Result<OwnedFd> {
    inet(SockType::Datagram)
}

/// A TCP socket with an address, which does not listen.
pub fn bound() -> nix::Result<(OwnedFd, SockaddrIn)> {
    let fd = tcp()?;
    bind(fd.as_raw_fd(), &any_port())?;
    let address = getsockname(fd.as_raw_fd())?;
    Ok((fd, address))
}

/// A listener and its address.
pub fn listener() -> nix::Result<(OwnedFd, SockaddrIn)> {
    let (fd, address) = bound()?;
    listen(&fd, Backlog::new(1)?)?;
    Ok((fd, address))
}

/// Both ends of a connection: the client's, the server's.
pub fn connection() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (listenfd, address) = listener()?;
    let sockfd = tcp()?;
    connect(sockfd.as_raw_fd(), &address)?;
    let (connfd, _client) = accept(&listenfd)?;
    Ok((sockfd, connfd))
}

/// An address that does not answer: a listener with a queue of one, which is full. Linux drops the
/// SYNs of further clients, like a firewall, while this value exists.
pub struct Silent {
    /// The address that does not answer.
    pub address: SockaddrIn,
    _sockets: [OwnedFd; 2],
}

/// Creates a silent address.
pub fn silent() -> nix::Result<Silent> {
    let (listenfd, address) = bound()?;
    listen(&listenfd, Backlog::new(0)?)?;
    let first = tcp()?;
    connect(first.as_raw_fd(), &address)?;
    Ok(Silent { address, _sockets: [listenfd, first] })
}

/// Receives one byte by recv(2).
pub fn receive(fd: &OwnedFd) -> nix::Result<()> {
    recv(fd.as_raw_fd(), &mut [0], MsgFlags::empty()).map(drop)
}

/// Returns the C library's text for an errno, as perror() prints it.
pub fn text(errno: Errno) -> String {
    unp::reason(&errno.into())
}
