//! The error queue of a UDP socket (ip(7), IP_RECVERR): which packets met a closed port.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

use crate::socket::to_std;

/// Makes the kernel queue an error with the packet that caused it. A dual-stack socket queues those
/// of both families.
pub fn keep_errors(fd: &impl AsFd, is_v6: bool) -> nix::Result<()> {
    if is_v6 {
        setsockopt(fd, sockopt::Ipv6RecvErr, &true)?;
    }
    setsockopt(fd, sockopt::Ipv4RecvErr, &true)
}

/// Returns true for an error that an ICMP message may have caused. It belongs to an earlier packet,
/// perhaps to another peer, and not to the call that returns it. EMSGSIZE reports a smaller path
/// MTU.
#[must_use]
pub fn is_icmp_error(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EMSGSIZE
            | Errno::EACCES
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EPROTO
    )
}

/// Takes one error off a socket's queue; returns it with the destination of the packet that caused
/// it, or `None` if the queue is empty. Never blocks.
#[must_use]
pub fn next_error(fd: &impl AsFd) -> Option<(Errno, Option<SocketAddr>)> {
    let mut payload = [0; 64];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut control = cmsg_space!(sock_extended_err, sockaddr_in6, [u8; 128]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = fd.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags).ok()?;
    let errno = message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            Some(error.ee_errno)
        }
        _ => None,
    })?;
    let errno = Errno::from_raw(i32::try_from(errno).unwrap_or_default());
    Some((errno, message.address.as_ref().and_then(to_std)))
}
