//! Descriptors, protocols and options that do not fit the call.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, listen, recv, setsockopt,
    socket, sockopt,
};

use crate::tools::{Attempt, tcp, udp};

/// The number of a closed descriptor. This program has one thread, so the number was not reused.
pub fn ebadf() -> Attempt {
    let sockfd = tcp()?;
    let number = sockfd.as_raw_fd();
    drop(sockfd);
    Ok(recv(number, &mut [0], MsgFlags::empty()).map(drop))
}

pub fn enotsock() -> Attempt {
    let file = File::open("/dev/null").map_err(|_| Errno::ENOENT)?;
    Ok(listen(&file, Backlog::MAXCONN))
}

pub fn enoprotoopt() -> Attempt {
    let sockfd = udp()?;
    Ok(setsockopt(&sockfd, sockopt::TcpNoDelay, &true))
}

pub fn eprotonosupport() -> Attempt {
    let (family, kind) = (AddressFamily::Inet, SockType::Stream);
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Udp).map(drop))
}
