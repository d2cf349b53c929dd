//! The numbers of "unp.h".

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::socket::Backlog;

/// The TCP and UDP port of the slides' servers.
pub const SERV_PORT: u16 = 9877;

/// 127.0.0.1:9877, where servers listen that were given no address.
pub const SERV_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), SERV_PORT);

/// Longest datagram, in bytes (the length field of UDP has 16 bits, RFC 768).
pub const MAXDGRAM: usize = 65_535;

/// Longest line that is read at once, in bytes.
pub const MAXLINE: usize = 4096;

/// Most connections that wait to be accepted: as many as the system allows.
pub const LISTENQ: Backlog = Backlog::MAXCONN;
