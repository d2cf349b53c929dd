//! Connections: refused, reset, under way, given up.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, connect, getpeername, getsockname,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::alarm;

use crate::tools::{Attempt, bound, connection, receive, silent, tcp};
use unp::{Restart, SET_A_FLAG, SIG_DFL, netlink, signal};

fn non_blocking() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Inet, SockType::Stream, flags, None)
}

pub fn einprogress() -> Attempt {
    let (silent, sockfd) = (silent()?, non_blocking()?);
    Ok(connect(sockfd.as_raw_fd(), &silent.address))
}

pub fn ealready() -> Attempt {
    let (silent, sockfd) = (silent()?, non_blocking()?);
    match connect(sockfd.as_raw_fd(), &silent.address) {
        Err(Errno::EINPROGRESS) => Ok(connect(sockfd.as_raw_fd(), &silent.address)),
        other => Ok(other),
    }
}

/// The kernel would try for two minutes. TCP_USER_TIMEOUT (RFC 5482) reduces that to a second.
pub fn etimedout() -> Attempt {
    let (silent, sockfd) = (silent()?, tcp()?);
    setsockopt(&sockfd, sockopt::TcpUserTimeout, &500)?;
    Ok(connect(sockfd.as_raw_fd(), &silent.address))
}

pub fn econnrefused() -> Attempt {
    let (_nobody_listens, address) = bound()?;
    let sockfd = tcp()?;
    Ok(connect(sockfd.as_raw_fd(), &address))
}

/// Resets a connection as in "Connection Abort Before accept Returns".
fn reset(connfd: OwnedFd) -> nix::Result<()> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&connfd, sockopt::Linger, &at_once)?;
    drop(connfd);
    Ok(())
}

pub fn econnreset() -> Attempt {
    let (sockfd, connfd) = connection()?;
    reset(connfd)?;
    Ok(receive(&sockfd))
}

/// "SIGPIPE Signal": the first write gets the RST, the second one EPIPE. MSG_NOSIGNAL suppresses
/// the signal.
pub fn epipe() -> Attempt {
    let (sockfd, connfd) = connection()?;
    reset(connfd)?;
    let _reset = send(sockfd.as_raw_fd(), b"first", MsgFlags::MSG_NOSIGNAL);
    Ok(send(sockfd.as_raw_fd(), b"second", MsgFlags::MSG_NOSIGNAL).map(drop))
}

/// SOCK_DESTROY, the request that `ss -K` makes: sock_diag(7). It needs CAP_NET_ADMIN, which the
/// program has in its own namespace.
pub fn econnaborted() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    let here: SockaddrIn = getsockname(sockfd.as_raw_fd())?;
    let there: SockaddrIn = getpeername(sockfd.as_raw_fd())?;
    netlink::destroy_connection(here, there)?;
    Ok(receive(&sockfd))
}

pub fn eisconn() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    let server: SockaddrIn = getpeername(sockfd.as_raw_fd())?;
    Ok(connect(sockfd.as_raw_fd(), &server))
}

pub fn enotconn_recv() -> Attempt {
    let sockfd = tcp()?;
    Ok(receive(&sockfd))
}

pub fn enotconn_getpeername() -> Attempt {
    let sockfd = tcp()?;
    Ok(getpeername::<SockaddrIn>(sockfd.as_raw_fd()).map(drop))
}

/// "Crash, Reboot, Shutdown of Server Host": "timeout on readline".
pub fn eagain() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    setsockopt(&sockfd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100))?;
    Ok(receive(&sockfd))
}

/// The slide's `signal` without SA_RESTART, with which recv(2) would go on waiting.
pub fn eintr() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    signal(Signal::SIGALRM, SET_A_FLAG, Restart::No)?;
    alarm::set(1);
    let result = receive(&sockfd);
    signal(Signal::SIGALRM, SIG_DFL, Restart::No)?;
    Ok(result)
}
