//! Sockets and processes: listen, accept, fork, reap.
//!
//! This crate knows no protocol. A daemon reads like the slide "TCP Echo Server: main function":
//!
//! ```no_run
//! # const SERVICE: forknet::Service = forknet::Service { name: "x", about: "", port: 7,
//! #     idle: std::time::Duration::from_secs(1), root: forknet::RootPolicy::Nobody,
//! #     facility: forknet::Facility::Daemon, memory: 64 << 20,
//! #     transport: forknet::Transport::Stream };
//! # fn run(args: Vec<std::ffi::OsString>) -> forknet::Result<()> {
//! let line = forknet::command_line(&SERVICE, &forknet::OwnOptions::NONE, args)?;
//! let mut server = forknet::Server::new(&SERVICE, line.server)?;
//! server.listen()?; //            socket, bind, listen
//! server.detach()?; //            -d, -p
//! server.drop_privileges()?; //   -u
//! server.serve(|_client| Ok(())) // accept, fork, reap
//! # }
//! ```
//!
//! Its files are in layers, and each imports only from layers to its left:
//! `error text | log | net | options | setup | serve | program`. The kernel's calls are in [`sys`].

mod error;
mod log;
mod net;
mod options;
mod program;
mod serve;
mod setup;
mod text;

pub use error::{Error, Result, reason};
pub use log::log_file::LogFile;
pub use log::syslog::Facility;
pub use log::transcript::Transcript;
pub use net::connect::{connect, connect_unix};
pub use net::connect_datagram::{connect_udp, connect_unix_datagram};
pub use net::connection::Connection;
pub use net::counters::Counters;
pub use net::datagrams::Datagrams;
pub use net::endpoint::Endpoint;
pub use net::host_port::HostPort;
pub use net::interrupt::is_shutdown;
pub use net::network::Network;
pub use net::peer::Peer;
pub use net::proxies::Proxies;
pub use net::proxy_protocol;
pub use net::resolve::resolve;
pub use net::stop::Stop;
pub use net::tls::Tls;
pub use net::transport::Transport;
pub use net::unix_name::UnixName;
pub use options::config_file::Line as FileLine;
pub use options::limits::{Over, Rate};
pub use options::model::Model;
pub use options::row::{OwnOptions, Preset, Row};
pub use options::values::Values;
pub use options::{CommandLine, RootPolicy, ServerOptions, Service, free_arguments, parse};
pub use options::{parse_with_file, parse_with_lines};
pub use program::{command_line, main, main_with_codes};
pub use serve::boxes::Boxes;
pub use serve::datagram_helper::DatagramService;
pub use serve::handed_client::HandedClient;
pub use serve::handover::Leftover;
pub use serve::helper_program::{Ended, run_program};
pub use serve::jobs::{Jobs, Work};
pub use serve::limits::Refusal;
pub use serve::line::{Answer, LONGEST_MESSAGE, Line};
pub use serve::notes::MAX_NOTE;
pub use serve::question::Question;
pub use serve::reaper::Reaper;
pub use serve::scoreboard::Slot;
pub use serve::server::Server;
pub use serve::session::Client;
pub use serve::signer::{Identity, Signatures};
pub use serve::title::Title;
pub use serve::udp::{Datagram, GivesWay, Request, UdpProtocol};
pub use serve::udp_loop::{Event, Sender, UdpLoop};
pub use setup::confinement::{confine_to, confine_to_ports, confine_to_spool};
pub use setup::owned_file::check_owned;
pub use setup::privdrop::{become_member, become_user, user_ids};
pub use sys::passwd::{own_full_name, own_name};
pub use text::{in_title, printable};
