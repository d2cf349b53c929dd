//! Many datagrams to one peer with one system call.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg, sendto,
};

use crate::udp::LocalAddr;

/// Datagrams that the kernel makes of one piece at most (UDP_MAX_SEGMENTS of older kernels), and
/// that are handed over with one sendmmsg(2).
const MOST: usize = 64;
/// The longest piece that the kernel makes datagrams of: an IP packet is 65,535 octets at most, with
/// its headers.
const LONGEST: usize = 65_000;

/// Sends datagrams that lie in a row, and learns what the kernel and the way to the peer allow.
///
/// One sendmsg(2) with UDP_SEGMENT hands over a whole row, and it goes through the kernel as one
/// packet almost to the wire. Where that is refused (a segment longer than the interface's MTU, no
/// checksums by the interface, Linux before 4.18), sendmmsg(2) takes as many, one by one.
#[derive(Debug, Default)]
pub struct Bursts {
    refused: bool,
}

impl Bursts {
    /// Sends the first of the datagrams in `row`, of `size` octets each, the last one perhaps
    /// shorter: as many as one system call takes. Gives the octets of those that were sent.
    ///
    /// # Errors
    /// What the system call says about the first one.
    pub fn send(
        &mut self,
        fd: &impl AsFd,
        row: &[u8],
        size: usize,
        to: SocketAddr,
    ) -> nix::Result<usize> {
        self.send_as(fd, row, size, &SockaddrStorage::from(to), None, MsgFlags::empty())
    }

    /// The same from an address of ours to a peer as this socket calls it.
    pub fn send_as(
        &mut self,
        fd: &impl AsFd,
        row: &[u8],
        size: usize,
        to: &SockaddrStorage,
        from: Option<&LocalAddr>,
        flags: MsgFlags,
    ) -> nix::Result<usize> {
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        let raw = fd.as_fd().as_raw_fd();
        let source = from.map(LocalAddr::as_control);
        if row.len() <= size {
            let Some(source) = source else { return sendto(raw, row, to, flags) };
            return sendmsg(raw, &[IoSlice::new(row)], &[source], flags, Some(to));
        }
        let together = (LONGEST / size).min(MOST);
        if let (false, 2.., Ok(segment)) = (self.refused, together, u16::try_from(size)) {
            let piece = row.get(..together * size).unwrap_or(row);
            let segments = ControlMessage::UdpGsoSegments(&segment);
            let messages: Vec<_> = source.into_iter().chain([segments]).collect();
            match sendmsg(raw, &[IoSlice::new(piece)], &messages, flags, Some(to)) {
                Err(errno) if is_refusal(errno) => self.refused = true,
                answer => return answer,
            }
        }
        one_by_one(raw, row.chunks(size), to, from, flags)
    }
}

/// The errors by which a kernel refuses segments: EINVAL too long, EIO no checksums.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP)
}

/// sendmmsg(2).
fn one_by_one<'r>(
    raw: i32,
    row: impl Iterator<Item = &'r [u8]>,
    to: &SockaddrStorage,
    from: Option<&LocalAddr>,
    flags: MsgFlags,
) -> nix::Result<usize> {
    let parts: Vec<_> = row.take(MOST).map(|datagram| [IoSlice::new(datagram)]).collect();
    let addresses = vec![Some(*to); parts.len()];
    let source: Vec<_> = from.map(LocalAddr::as_control).into_iter().collect();
    let room = from.map(|_| Vec::with_capacity(LocalAddr::ROOM));
    let mut headers = MultiHeaders::preallocate(parts.len(), room);
    let sent = sendmmsg(raw, &mut headers, &parts, addresses, &source, flags)?;
    Ok(sent.map(|message| message.bytes).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_row_of_datagrams_arrives_as_datagrams_either_way() {
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        theirs.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        let to = theirs.local_addr().unwrap();
        let row: Vec<u8> = (0..150 * 100 + 7).map(|i| (i / 100) as u8).collect();
        for refused in [false, true] {
            let mut bursts = Bursts { refused };
            let (mut rest, mut calls) = (&row[..], 0);
            while !rest.is_empty() {
                let sent = bursts.send(&ours, rest, 100, to).unwrap();
                rest = &rest[sent..];
                calls += 1;
            }
            assert_eq!(calls, 3, "64 at a time");
            assert_eq!(bursts.refused, refused);
            let mut buffer = [0; 1000];
            for datagram in row.chunks(100) {
                let length = theirs.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], datagram);
            }
        }
    }

    #[test]
    fn what_is_too_long_to_go_together_goes_one_by_one() {
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        theirs.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        let to = theirs.local_addr().unwrap();
        let row = vec![1; 2 * 40_000 + 1];
        let sent = Bursts::default().send(&ours, &row, 40_000, to).unwrap();
        assert_eq!(sent, row.len());
        let mut buffer = vec![0; 65_536];
        let lengths: Vec<_> = (0..3).map(|_| theirs.recv(&mut buffer).unwrap()).collect();
        assert_eq!(lengths, [40_000, 40_000, 1]);
    }
}
