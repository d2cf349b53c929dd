//! The rows, in the slides' order, with the slides' causes.

use nix::errno::Errno;

use crate::tools::Attempt;
use crate::{connections, descriptors, messages, names, network};

/// A row of the table.
pub struct Row {
    /// The row's errno.
    pub errno: Errno,
    /// The slide's "posible causa".
    pub cause: &'static str,
    /// Ways to provoke it. All are tried.
    pub ways: &'static [Way],
    /// Why this kernel is not expected to give the errno.
    pub gone: Option<&'static str>,
}

/// A way to provoke an errno.
pub struct Way {
    /// The description in the table.
    pub done: &'static str,
    /// The function that tries it.
    pub provoke: fn() -> Attempt,
    /// Whether it needs the program's own network namespace.
    pub private: bool,
}

impl Row {
    /// Returns whether `name` is the errno's symbol.
    pub fn is_called(&self, name: &str) -> bool {
        format!("{:?}", self.errno) == name
    }
}

/// Returns a row with ways that need no privilege.
const fn row(errno: Errno, cause: &'static str, ways: &'static [Way]) -> Row {
    Row { errno, cause, ways, gone: None }
}

const fn way(done: &'static str, provoke: fn() -> Attempt) -> Way {
    Way { done, provoke, private: false }
}

/// Returns a way that needs the program's own network namespace.
const fn privately(done: &'static str, provoke: fn() -> Attempt) -> Way {
    Way { done, provoke, private: true }
}

/// The two tables of the slide.
pub const ON_THE_SLIDE: &[Row] = &[
    row(
        Errno::EACCES,
        "The program may not use this socket.",
        &[way("sendto() a broadcast address without SO_BROADCAST", names::eacces)],
    ),
    row(
        Errno::EADDRINUSE,
        "The address is in use already.",
        &[way("bind() two sockets to one port", names::eaddrinuse)],
    ),
    row(
        Errno::EADDRNOTAVAIL,
        "This machine does not have the address.",
        &[way("bind() to 192.0.2.1, which is for books", names::eaddrnotavail)],
    ),
    row(
        Errno::EAFNOSUPPORT,
        "The family of addresses is not supported, or not by this kind of socket.",
        &[way("connect() an IPv4 socket to ::1", names::eafnosupport)],
    ),
    row(
        Errno::EALREADY,
        "The socket does not block, and the last connect() is still under way.",
        &[way("a second connect() before the first is answered", connections::ealready)],
    ),
    row(
        Errno::EBADF,
        "The descriptor is none of an open socket or file.",
        &[way("recv() from a descriptor after close()", descriptors::ebadf)],
    ),
    row(
        Errno::ECONNABORTED,
        "The local network software gave the connection up.",
        &[privately(
            "recv() after the administrator destroyed the connection, as `ss -K` does",
            connections::econnaborted,
        )],
    ),
    row(
        Errno::ECONNREFUSED,
        "The other machine refused the connection.",
        &[way("connect() to a port without a listener", connections::econnrefused)],
    ),
    row(
        Errno::ECONNRESET,
        "The remote process has reset the connection.",
        &[way("recv() after the other side closed with SO_LINGER 0: RST", connections::econnreset)],
    ),
    row(
        Errno::EDESTADDRREQ,
        "The socket needs a destination address.",
        &[way("send() on an unconnected datagram socket", messages::edestaddrreq)],
    ),
    row(
        Errno::EHOSTDOWN,
        "The other host is switched off.",
        &[privately(
            "recv() after a router's ICMP \"destination host unknown\" (type 3, code 7)",
            network::ehostdown,
        )],
    ),
    row(
        Errno::EHOSTUNREACH,
        "The other host cannot be reached.",
        &[privately(
            "connect() to a neighbour on our own cable that answers no ARP",
            network::ehostunreach,
        )],
    ),
    row(
        Errno::EINPROGRESS,
        "connect() has begun and does not wait; select() will say when it is done. No error.",
        &[way("connect() on a non-blocking socket, not answered yet", connections::einprogress)],
    ),
    row(
        Errno::EISCONN,
        "connect() on a socket that is connected.",
        &[way("connect() twice", connections::eisconn)],
    ),
    row(
        Errno::EMSGSIZE,
        "The message is too long for a datagram.",
        &[way("send() 65508 bytes by UDP, one over the limit", messages::emsgsize)],
    ),
    row(
        Errno::ENETDOWN,
        "The local network software, or the local network, is down.",
        &[privately("sendto() by an interface that is down", network::enetdown)],
    ),
    Row {
        errno: Errno::ENETRESET,
        cause: "The remote host is not on the network at the moment.",
        ways: &[
            privately(
                "recv() with SO_KEEPALIVE after the network went away",
                network::enetreset_by_keepalive,
            ),
            privately(
                "recv() after the other host crashed, came back and was sent data",
                network::enetreset_by_reboot,
            ),
            privately(
                "recv() after ICMP \"unreachable\", its 16 codes in turn; the last",
                network::enetreset_by_icmp,
            ),
        ],
        gone: Some(
            "in BSD's manual \"the host you were connected to crashed and rebooted\". Linux has the \
             number and its text, but nothing in its TCP/IP sets it.",
        ),
    },
    row(
        Errno::ENETUNREACH,
        "This machine finds no route to that network.",
        &[privately("connect() to 198.51.100.1 without a route", network::enetunreach)],
    ),
    row(
        Errno::ENOBUFS,
        "The system has no memory left for the operation.",
        &[privately(
            "recv() after more news than a routing socket's 2 KiB buffer holds",
            messages::enobufs,
        )],
    ),
    row(
        Errno::ENOPROTOOPT,
        "The option, or its level, is not one of this socket's.",
        &[way("setsockopt() TCP_NODELAY on a UDP socket", descriptors::enoprotoopt)],
    ),
    row(
        Errno::ENOTCONN,
        "The socket is not connected.",
        &[
            way("recv() before connect()", connections::enotconn_recv),
            way("getpeername() before connect()", connections::enotconn_getpeername),
        ],
    ),
    row(
        Errno::ENOTSOCK,
        "The descriptor is no socket's.",
        &[way("listen() on a file", descriptors::enotsock)],
    ),
];

/// From the notes beside the table, and from "SIGPIPE Signal", "Handling SIGCHLD, Interrupted System
/// Calls" and "Crash, Reboot, Shutdown of Server Host".
pub const BESIDE_IT: &[Row] = &[
    row(
        Errno::ETIMEDOUT,
        "No answer: a firewall that drops packets, a cable that was cut.",
        &[way("connect() to a listener that drops SYNs, its queue full", connections::etimedout)],
    ),
    row(
        Errno::EPROTONOSUPPORT,
        "socket(): the domain has no such protocol.",
        &[way("socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)", descriptors::eprotonosupport)],
    ),
    row(
        Errno::EPIPE,
        "A write to a connection that was reset.",
        &[way("a second send() after the other side's RST", connections::epipe)],
    ),
    row(
        Errno::EINTR,
        "A signal came while the call waited.",
        &[way("SIGALRM, caught without SA_RESTART, during recv()", connections::eintr)],
    ),
    row(
        Errno::EAGAIN,
        "The cure for waiting for ever: a timeout on read.",
        &[way("recv() with SO_RCVTIMEO of 0.1 s, no data is sent", connections::eagain)],
    ),
];
