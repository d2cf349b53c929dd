//! recvmsg(2): receives a datagram, or several from one sender (UDP_GRO), with the time of arrival.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{self, ControlMessageOwned, MsgFlags, SockaddrStorage};
use nix::sys::time::TimeSpec;
use sys::socket::to_std;

/// The datagrams received by one system call.
pub(super) struct Received {
    pub(super) from: SocketAddr,
    /// Bytes of all datagrams.
    pub(super) length: usize,
    /// Bytes of each datagram. The last one may be shorter.
    pub(super) size: usize,
    pub(super) at: Arrival,
}

/// When a datagram arrived.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// At this time.
    At(SystemTime),
    /// Not before this time.
    After(Instant),
}

/// Receives with the kernel's time of arrival if SO_TIMESTAMPNS is set.
pub(super) fn recvmsg(
    socket: &UdpSocket,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> io::Result<Received> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = cmsg_space!(TimeSpec, i32);
    let fd = socket.as_raw_fd();
    let message = socket::recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
    let from = message.address.as_ref().and_then(to_std).ok_or(Errno::EAFNOSUPPORT)?;
    let (mut at, mut size) = (None, message.bytes);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmTimestampns(time) => {
                at = Some(UNIX_EPOCH + Duration::from(time));
            }
            ControlMessageOwned::UdpGroSegments(segment) => {
                size = usize::try_from(segment).unwrap_or(size);
            }
            _ => (),
        }
    }
    let at = Arrival::At(at.unwrap_or_else(SystemTime::now));
    Ok(Received { from, length: message.bytes, size, at })
}

/// Receives one datagram without the kernel's time of arrival. The wait for it begins `now`.
pub(super) fn recvfrom(
    socket: &UdpSocket,
    buffer: &mut [u8],
    now: Instant,
) -> io::Result<Received> {
    let (length, from) = socket.recv_from(buffer)?;
    Ok(Received { from, length, size: length, at: Arrival::After(now) })
}
