//! Sockets and processes: listen, accept, fork, reap.
//!
//! This crate owns every system call that needs `unsafe` and knows no protocol. A daemon reads
//! like the slide "TCP Echo Server: main function":
//!
//! ```no_run
//! # const SERVICE: forknet::Service = forknet::Service { name: "x", about: "", port: 7,
//! #     idle: std::time::Duration::from_secs(1), root: forknet::RootPolicy::Nobody,
//! #     facility: forknet::Facility::Daemon, memory: 64 << 20,
//! #     transport: forknet::Transport::Stream };
//! # fn run(args: Vec<std::ffi::OsString>) -> forknet::Result<()> {
//! let line = forknet::command_line(&SERVICE, |_own_options| (), args)?;
//! let mut server = forknet::Server::new(&SERVICE, line.server)?;
//! server.listen()?; //            socket, bind, listen
//! server.detach()?; //            -d, -p
//! server.drop_privileges()?; //   -u
//! server.serve(|_client| Ok(())) // accept, fork, reap
//! # }
//! ```
#![allow(unsafe_code)] // the one crate that may; every block states the invariant that makes it sound

mod accept;
mod accounts;
mod attention;
mod awake;
mod bell;
mod beside;
mod burst;
mod caretaker;
mod children;
mod chroot;
mod connect;
mod connect_datagram;
mod daemonize;
mod datagrams;
mod drain;
mod endpoint;
mod error;
mod errqueue;
mod fork;
mod hugepage;
mod inherit;
mod landlock;
mod ledger;
mod limits;
mod lines;
mod listen;
mod logging;
mod models;
mod notify;
mod nss;
mod open;
mod options;
mod parent;
mod patience;
mod pidfile;
mod ports;
mod privdrop;
mod pthread;
mod ready;
mod reaper;
mod recvfrom;
mod remote;
mod reserve;
mod rlimits;
mod rw;
mod scoreboard;
mod server;
mod shared;
mod signals;
mod sigstack;
mod stack;
mod syslog;
mod systemd;
mod tally;
pub mod textbook;
mod threads;
mod title;
mod transcript;
mod transport;
mod ucspi;
mod unix;
mod usage;
mod values;
mod worker;
mod writeback;

pub use accept::Peer;
pub use accounts::own_name;
pub use awake::Awake;
pub use beside::DatagramService;
pub use burst::Bursts;
pub use connect::{connect, connect_unix};
pub use connect_datagram::{connect_udp, connect_unix_datagram};
pub use datagrams::{Datagrams, Sender};
pub use endpoint::Endpoint;
pub use error::{Error, Result, main, reason};
pub use errqueue::{comes_from_the_way, next_error};
pub use landlock::{Access, Landlock};
pub use limits::{Over, Rate, Refusal};
pub use models::Model;
pub use models::datagram::Request;
pub use models::postbox::{Caller, Event, Postbox};
pub use nss::built_in_services_only;
pub use options::{
    CommandLine, RootPolicy, ServerOptions, Service, command_line, free_arguments, parse,
};
pub use ports::Ports;
pub use reaper::Reaper;
pub use remote::Remote;
pub use rw::Connection;
pub use scoreboard::Progress;
pub use server::{Client, Reread, Server};
pub use syslog::Facility;
pub use title::{Title, in_title};
pub use transcript::{Transcript, printable};
pub use transport::Transport;
pub use unix::UnixName;
pub use values::{number, seconds, seconds_within};
pub use writeback::start_writing;
