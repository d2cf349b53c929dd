//! The slides' "unp.h": what their programs share, so that each program shows only what its slide is
//! about. `use unp::…` is what `#include "unp.h"` is there; [`forknet::textbook`] has `fork`, `accept`
//! and `signal`.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     unp::main(tcpserv) // prints the one error, `NAME: what: reason`, exit code 1, or 2 for bad usage
//! }
//!
//! fn tcpserv() -> unp::Result {
//!     let servaddr = unp::servaddr("usage: tcpserv [ADDR:PORT]")?;
//!     let _listener = std::net::TcpListener::bind(servaddr).map_err(unp::err_sys("bind error"))?;
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod arguments;
mod dg_cli;
pub mod dns;
mod error;
mod listening;
pub mod machine;
pub mod netlink;
mod readline;
mod say;
pub mod sscanf;
mod stop_here;
mod str_cli;
mod str_echo;
mod unix;
mod values;
mod writen;
pub mod xdr;

pub use arguments::{inet_pton, peeraddr, peeraddr_and, servaddr, servaddr_and};
pub use dg_cli::dg_cli;
pub use error::{Failure, Result, complain, err_quit, err_sys, err_usage, main};
pub use listening::{family, listening};
pub use readline::{buffered, readline};
pub use say::{hex, note, say};
pub use stop_here::stop_here;
pub use str_cli::str_cli;
pub use str_echo::str_echo;
pub use unix::{bind_unix, listening_unix};
pub use values::{Words, words};
pub use writen::writen;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::socket::Backlog;

/// The slides' port for their servers.
pub const SERV_PORT: u16 = 9877;

/// 127.0.0.1:9877, where servers listen that are not told otherwise.
pub const SERV_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), SERV_PORT);

/// No datagram is longer, in octets (the length field of UDP has 16 bits, RFC 768).
pub const MAXDGRAM: usize = 65_535;

/// The longest line that is read at once, in octets.
pub const MAXLINE: usize = 4096;

/// How many clients may wait until they are accepted: what the system allows.
pub const LISTENQ: Backlog = Backlog::MAXCONN;
