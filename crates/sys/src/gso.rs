//! Generic segmentation offload (UDP_SEGMENT): many datagrams to one peer with one system call.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg, sendto,
};

use crate::udp::LocalAddr;

/// Most datagrams of one sendmsg(2) (UDP_MAX_SEGMENTS of older kernels) or sendmmsg(2).
const MAX_SEGMENTS: usize = 64;
/// Most bytes of one sendmsg(2): an IP packet has at most 65,535 with its headers.
const MAX_PIECE: usize = 65_000;

/// Sends datagrams that lie one after another in memory, and remembers whether the kernel and the
/// path support segmentation.
///
/// One sendmsg(2) with UDP_SEGMENT passes all of them through the kernel as one packet almost to
/// the wire. Where the kernel refuses that (a segment longer than the interface's MTU, no checksums
/// by the interface, Linux before 4.18), sendmmsg(2) sends as many single ones.
#[derive(Debug, Default)]
pub struct Bursts {
    refused: bool,
}

impl Bursts {
    /// Sends the first of the datagrams in `row`, as many as one system call takes. Each has `size`
    /// bytes; the last may be shorter. Returns the bytes that were sent.
    ///
    /// # Errors
    /// Those of the system call, for the first datagram.
    pub fn send(
        &mut self,
        fd: &impl AsFd,
        row: &[u8],
        size: usize,
        to: SocketAddr,
    ) -> nix::Result<usize> {
        self.send_as(fd, row, size, &SockaddrStorage::from(to), None, MsgFlags::empty())
    }

    /// As [`Bursts::send`], from this local address to `name`, the peer's address in the form of
    /// this socket.
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
        let together = (MAX_PIECE / size).min(MAX_SEGMENTS);
        if let (false, 2.., Ok(segment)) = (self.refused, together, u16::try_from(size)) {
            let piece = row.get(..together * size).unwrap_or(row);
            let segments = ControlMessage::UdpGsoSegments(&segment);
            let messages: Vec<_> = source.into_iter().chain([segments]).collect();
            match sendmsg(raw, &[IoSlice::new(piece)], &messages, flags, Some(to)) {
                Err(errno) if is_refusal(errno) => self.refused = true,
                answer => return answer,
            }
        }
        send_each(raw, row.chunks(size), to, from, flags)
    }
}

/// Returns true for an error that refuses segmentation: EINVAL for a segment too long, EIO for no
/// checksums.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP)
}

/// sendmmsg(2).
fn send_each<'r>(
    raw: i32,
    row: impl Iterator<Item = &'r [u8]>,
    to: &SockaddrStorage,
    from: Option<&LocalAddr>,
    flags: MsgFlags,
) -> nix::Result<usize> {
    let parts: Vec<_> = row.take(MAX_SEGMENTS).map(|datagram| [IoSlice::new(datagram)]).collect();
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
    fn datagrams_in_a_row_arrive_as_datagrams_with_and_without_segmentation() {
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
    fn datagrams_too_long_for_one_packet_are_sent_singly() {
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
