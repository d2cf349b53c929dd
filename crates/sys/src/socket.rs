//! accept4(2) and recvfrom(2) with the peer's address.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrLike, SockaddrStorage, UnixAddr};

/// Converts nix's address to std's, a mapped IPv4 address to plain IPv4; `None` if it is neither
/// IPv4 nor IPv6.
#[must_use]
pub fn to_std(name: &SockaddrStorage) -> Option<SocketAddr> {
    let address = match (name.as_sockaddr_in(), name.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (_, Some(v6)) => SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into(),
        _ => return None,
    };
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => Some(SocketAddr::from((v4, address.port()))),
        IpAddr::V6(_) => Some(address),
    }
}

/// accept4(2): returns the connected socket, closed on exec, and the peer's address, which a
/// UNIX-domain peer does not have. The address comes from the call itself, because after a reset
/// getpeername(2) fails with ENOTCONN. nix's wrapper returns no address.
///
/// # Errors
/// As accept(2) says.
pub fn accept(listener: &impl AsFd) -> nix::Result<(OwnedFd, Option<SocketAddr>)> {
    let fd = listener.as_fd().as_raw_fd();
    let mut address = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `address` and `length` are live for the call, and `length` is the space at `address`;
    // the kernel writes no more than that.
    let connected = unsafe {
        libc::accept4(fd, address.as_mut_ptr().cast(), &raw mut length, libc::SOCK_CLOEXEC)
    };
    let connected = Errno::result(connected)?;
    // SAFETY: accept4 returned a new descriptor that nothing else owns.
    let connected = unsafe { OwnedFd::from_raw_fd(connected) };
    let length = length.min(size_of::<libc::sockaddr_storage>() as libc::socklen_t);
    // SAFETY: all of `address` is initialized (zeroed, then written by the kernel up to `length`),
    // and `length` is within it.
    let name = unsafe { SockaddrStorage::from_raw(address.as_ptr().cast(), Some(length)) };
    Ok((connected, name.as_ref().and_then(to_std)))
}

/// recvfrom(2) on a UNIX-domain socket: returns the datagram's length and the sender's name, which
/// an unbound socket does not have. nix's wrappers require a name.
///
/// # Errors
/// As recvfrom(2) says.
pub fn receive_unix(
    fd: &impl AsFd,
    mesg: &mut [u8],
    flags: MsgFlags,
) -> nix::Result<(usize, Option<UnixAddr>)> {
    let mut address = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `mesg`, `address` and `size` are live for the call, with their true lengths; the
    // kernel writes no more than those.
    let length = unsafe {
        libc::recvfrom(
            fd.as_fd().as_raw_fd(),
            mesg.as_mut_ptr().cast(),
            mesg.len(),
            flags.bits(),
            address.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    let length = Errno::result(length)?.cast_unsigned();
    let size = size.min(size_of::<libc::sockaddr_storage>() as libc::socklen_t);
    // SAFETY: all of `address` is initialized (zeroed, then written by the kernel up to `size`),
    // and `size` is within it.
    let name = unsafe { SockaddrStorage::from_raw(address.as_ptr().cast(), Some(size)) };
    Ok((length, name.and_then(|name| name.as_unix_addr().copied())))
}
