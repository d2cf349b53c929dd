//! The slides' "unp.h": what their programs share, so that each program shows only what its slide is
//! about. `use unp::…` stands for their `#include "unp.h"`.
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

mod accept;
mod arguments;
mod constants;
mod dg_cli;
pub mod dns;
mod error;
mod fork;
mod getaddrinfo;
mod getnameinfo;
mod getservbyname;
mod listening;
pub mod machine;
pub mod netlink;
mod note;
mod readline;
mod resolv_conf;
mod say;
mod signal;
pub mod sscanf;
mod stop_here;
mod str_cli;
mod str_echo;
mod unix;
mod values;
mod writen;
pub mod xdr;

pub use accept::accept;
pub use arguments::{inet_pton, peeraddr, peeraddr_and, servaddr, servaddr_and};
pub use constants::{LISTENQ, MAXDGRAM, MAXLINE, SERV_ADDR, SERV_PORT};
pub use dg_cli::dg_cli;
pub use error::{Failure, Result, complain, err_quit, err_sys, err_usage, main};
pub use fork::{Fork, fork};
pub use getaddrinfo::{Found, NoAnswer, getaddrinfo};
pub use getnameinfo::getnameinfo;
pub use getservbyname::{Service, getservbyname, getservbyport};
pub use listening::{family, listening};
pub use note::note;
pub use readline::{buffered, readline};
pub use resolv_conf::{Sources, ask_dns_server, look_up_hosts_in};
pub use say::{hex, say};
pub use signal::{
    Restart, SAY_ITS_NAME, SEND_IT_AGAIN, SET_A_FLAG, SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SIG_DFL,
    SIG_IGN, Sigfunc, came, signal, take, times,
};
pub use stop_here::stop_here;
pub use str_cli::str_cli;
pub use str_echo::str_echo;
pub use unix::{bind_unix, listening_unix};
pub use values::{Words, words};
pub use writen::writen;

pub use forknet::{Peer, printable, reason};
pub use sys::sockatmark::{set_owner, sockatmark};
