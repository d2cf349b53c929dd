//! sendmsg(2) and recvmsg(2) with a descriptor for the other process: SCM_RIGHTS of unix(7).
//!
//! Without nix's calls, which take memory of the heap for the descriptor: a page to copy, in a process that has
//! forked.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    recv, recvmsg, setsockopt, socketpair, sockopt,
};

/// A control message with one descriptor (cmsg(3)). Into the room of one the kernel puts no more: others that a
/// process sends with it are closed.
#[repr(C)]
struct OneRight {
    header: libc::cmsghdr,
    fd: libc::c_int,
}

impl OneRight {
    /// Bytes of header and descriptor, CMSG_LEN(sizeof(int)).
    // SAFETY: plain numbers.
    const LENGTH: usize = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as u32) } as usize;

    fn new(fd: libc::c_int) -> OneRight {
        // SAFETY: a struct of integers, of which zero is a value; its padding has no name to be set by.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = OneRight::LENGTH as _; // size_t or socklen_t, as the C library has it
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        OneRight { header, fd }
    }

    /// Whether a descriptor came.
    fn is_complete(&self) -> bool {
        let (is, whole) = (&self.header, &OneRight::new(self.fd).header);
        (is.cmsg_len, is.cmsg_level, is.cmsg_type)
            == (whole.cmsg_len, whole.cmsg_level, whole.cmsg_type)
    }
}

/// Returns `struct msghdr` of one piece of a message, and of room for a descriptor.
fn message_header(piece: &mut libc::iovec, right: Option<&mut OneRight>) -> libc::msghdr {
    // SAFETY: a struct of integers and pointers, of which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (piece, 1);
    if let Some(right) = right {
        header.msg_control = ptr::from_mut(right).cast();
        header.msg_controllen = OneRight::LENGTH as _; // as above
    }
    header
}

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
    let mut right = with.map(|fd| OneRight::new(fd.as_raw_fd()));
    let place = message.as_ptr().cast_mut().cast();
    let mut piece = libc::iovec { iov_base: place, iov_len: message.len() };
    let header = message_header(&mut piece, right.as_mut());
    let flags = (flags | MsgFlags::MSG_NOSIGNAL).bits();
    loop {
        // SAFETY: `header` names `piece` and `right`, and `piece` the bytes of `message`; all live until the
        // call returns, and the kernel writes to none of them.
        let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const header, flags) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Receives a message, cut to the length of `buffer`; returns its length and the first descriptor
/// that came with it, closed on exec; others are not taken. A length of 0 is the end of file.
///
/// # Errors
/// As recvmsg(2); EAGAIN after the timeout of SO_RCVTIMEO.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut right = OneRight::new(-1);
    let mut header = message_header(&mut piece, Some(&mut right));
    let room = header.msg_controllen;
    let length = loop {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: `header` names `piece` and `right`, and `piece` the bytes of `buffer`; all live until the
        // call returns, and the kernel writes no more to them than there is room for.
        let received = unsafe { libc::recvmsg(socket, &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(received) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let has_one = header.msg_controllen >= room && right.is_complete(); // 0 where none came
    // SAFETY: the kernel has opened this descriptor for this process by the call above, so nothing else
    // owns it.
    let with = has_one.then(|| unsafe { OwnedFd::from_raw_fd(right.fd) });
    Ok((usize::try_from(length).unwrap_or_default(), with))
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
    fn of_several_descriptors_the_first_is_taken_and_the_others_are_closed() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (mut other_reader, other_writer) = std::io::pipe().unwrap();
        let fds = [writer.as_raw_fd(), other_writer.as_raw_fd(), other_writer.as_raw_fd()];
        let rights = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
        let message = [std::io::IoSlice::new(b"x")];
        let none = MsgFlags::empty();
        nix::sys::socket::sendmsg::<UnixAddr>(ours.as_raw_fd(), &message, &rights, none, None)
            .unwrap();
        drop((writer, other_writer));
        let (length, with) = receive(&theirs, &mut [0; 5]).unwrap();
        assert_eq!(length, 1);
        // Neither pipe has a writer any more but the one that came.
        assert_eq!(other_reader.read(&mut [0]).unwrap(), 0);
        File::from(with.unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
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
