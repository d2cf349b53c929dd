//! sendmsg(2) and recvmsg(2) with a descriptor for the other process: SCM_RIGHTS of unix(7).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    UnixCredentials, recv, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};

/// Most descriptors of one message (SCM_MAX_FD of the kernel).
const MAX_DESCRIPTORS: usize = 253;

/// socketpair(2): makes two connected sockets that keep message boundaries, closed on exec.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let kind = SockType::SeqPacket;
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
}

/// socketpair(2): makes two connected sockets of a stream, closed on exec.
///
/// # Errors
/// As socketpair(2).
pub fn stream_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
}

/// Sends a message, and a copy of a descriptor if there is one.
///
/// # Errors
/// As sendmsg(2); EPIPE where the other end is closed, without a SIGPIPE.
pub fn send(socket: &impl AsFd, message: &[u8], with: Option<BorrowedFd<'_>>) -> nix::Result<()> {
    send_with(socket, message, with, MsgFlags::empty())
}

/// As [`send`], but never waits: EAGAIN where there is no room.
///
/// # Errors
/// As [`send`].
pub fn send_now(
    socket: &impl AsFd,
    message: &[u8],
    with: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    send_with(socket, message, with, MsgFlags::MSG_DONTWAIT)
}

fn send_with(
    socket: &impl AsFd,
    message: &[u8],
    with: Option<BorrowedFd<'_>>,
    flags: MsgFlags,
) -> nix::Result<()> {
    let with: Vec<RawFd> = with.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&with)];
    let rights = if with.is_empty() { &[][..] } else { &rights };
    let (socket, message) = (socket.as_fd().as_raw_fd(), [IoSlice::new(message)]);
    loop {
        match sendmsg::<UnixAddr>(socket, &message, rights, flags | MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Receives a message, cut to the length of `buffer`; returns its length and the first descriptor
/// that came with it, closed on exec. A length of 0 is the end of file.
///
/// # Errors
/// As recvmsg(2); EAGAIN after the timeout of SO_RCVTIMEO.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let (socket, mut buffer) = (socket.as_fd().as_raw_fd(), [IoSliceMut::new(buffer)]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<UnixAddr>(socket, &mut buffer, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            message => break message?,
        }
    };
    let rights = message.cmsgs()?.filter_map(|control| match control {
        ControlMessageOwned::ScmRights(rights) => Some(rights),
        _ => None,
    });
    // SAFETY: the kernel has opened these descriptors for this process by the call above, so nothing else
    // owns them.
    let with = rights.flatten().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let with: Vec<OwnedFd> = with.collect(); // so that all but the first are closed
    Ok((message.bytes, with.into_iter().next()))
}

/// As [`receive`], into a buffer as long as the message, but at most `longest` bytes. This process is the
/// socket's only reader.
///
/// # Errors
/// As [`receive`].
pub fn receive_whole(
    socket: &impl AsFd,
    longest: usize,
) -> nix::Result<(Vec<u8>, Option<OwnedFd>)> {
    let length = loop {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        match recv(socket.as_fd().as_raw_fd(), &mut [], flags) {
            Err(Errno::EINTR) => {}
            length => break length?,
        }
    };
    let mut buffer = vec![0; length.min(longest)];
    let (length, with) = receive(socket, &mut buffer)?;
    buffer.truncate(length);
    Ok((buffer, with))
}

/// A process that has sent a message, as the kernel says (SCM_CREDENTIALS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// Has the kernel say who sends messages to this socket ([`receive_from`]).
///
/// # Errors
/// As setsockopt(2).
pub fn tell_senders(socket: &impl AsFd) -> nix::Result<()> {
    setsockopt(socket, sockopt::PassCred, &true)
}

/// Receives a message, cut to the length of `buffer`, without waiting; returns its length and who has sent
/// it. A length of 0 is the end of file.
///
/// # Errors
/// As recvmsg(2); EAGAIN where there is none.
pub fn receive_from(socket: &impl AsFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<Sender>)> {
    let mut space = cmsg_space!(UnixCredentials);
    let (socket, mut buffer) = (socket.as_fd().as_raw_fd(), [IoSliceMut::new(buffer)]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<UnixAddr>(socket, &mut buffer, Some(&mut space), flags)?;
    let sender = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(ids) => Some(Sender { uid: ids.uid(), gid: ids.gid() }),
        _ => None,
    });
    Ok((message.bytes, sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_comes_with_its_message() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&ours, b"with", Some(writer.as_fd())).unwrap();
        send(&ours, b"alone, and too long", None).unwrap();
        drop((ours, writer));
        let mut buffer = [0; 5];
        let (length, with) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"with");
        File::from(with.unwrap()).write_all(b"through the pipe").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the pipe");
        let (length, with) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], with.is_none()), (&b"alone"[..], true));
        assert!(matches!(receive(&theirs, &mut buffer), Ok((0, None))));
    }

    #[test]
    fn a_buffer_is_as_long_as_its_message_and_bounded() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"short", None).unwrap();
        send(&ours, &[7; 100], None).unwrap();
        drop(ours);
        let receive = || receive_whole(&theirs, 50).unwrap().0;
        assert_eq!((receive(), receive(), receive()), (b"short".to_vec(), vec![7; 50], vec![]));
    }

    #[test]
    fn the_kernel_says_who_has_sent_a_message() {
        let (ours, theirs) = pair().unwrap();
        tell_senders(&ours).unwrap();
        send(&theirs, b"x", None).unwrap();
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let mut buffer = [0; 5];
        assert_eq!(receive_from(&ours, &mut buffer), Ok((1, Some(Sender { uid, gid }))));
        assert_eq!(receive_from(&ours, &mut buffer), Err(Errno::EAGAIN));
        drop(theirs);
        assert_eq!(receive_from(&ours, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_socket_whose_other_end_is_closed_refuses_messages() {
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        assert_eq!(send(&ours, b"x", None), Err(Errno::EPIPE));
    }
}
