//! socket and connect for datagrams, for the clients.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};

use crate::error::{Error, Result};
use crate::net::resolve::resolve;
use crate::net::unix_name::UnixName;

/// Returns a UDP socket for each address of `host`, in the resolver's order. Each is connected, so
/// that it receives only from its server, and ECONNREFUSED if no server listens there (slide "UDP
/// Echo Client: connected").
///
/// # Errors
/// `resolve NAME: …` when the name has no address; the last address's error when every socket(2) or
/// connect(2) failed.
pub fn connect_udp(host: &str, port: u16) -> Result<Vec<OwnedFd>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let addresses = resolve(bare, port).map_err(Error::io(format!("resolve {host}")))?;
    let mut last = Error::Refused(format!("resolve {host}: no address for this name"));
    let mut sockets = Vec::new();
    for address in addresses {
        match udp_to(address).map_err(Error::io(format!("connect to {address}"))) {
            Ok(socket) => sockets.push(socket.into()),
            Err(error) => last = error,
        }
    }
    if sockets.is_empty() { Err(last) } else { Ok(sockets) }
}

fn udp_to(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

/// Returns a UNIX datagram socket, connected to `name`. For the answer it has a name of its own,
/// which the kernel chooses in the abstract namespace (unix(7), "Autobind"): no file, and it ends
/// with the socket.
///
/// # Errors
/// As `connect to unix-dgram:PATH: Connection refused`.
pub fn connect_unix_datagram(name: &UnixName) -> Result<OwnedFd> {
    let call = || -> nix::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        connect(fd.as_raw_fd(), &name.address()?)?;
        Ok(fd)
    };
    call().map_err(Error::os(format!("connect to unix-dgram:{name}")))
}
