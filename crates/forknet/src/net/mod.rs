//! Sockets: listening, connecting, reading and writing within deadlines.

pub(crate) mod connect;
pub(crate) mod connect_datagram;
pub(crate) mod connection;
pub(crate) mod counters;
pub(crate) mod datagrams;
pub(crate) mod deadlines;
pub(crate) mod endpoint;
pub(crate) mod failures;
pub(crate) mod host_port;
pub(crate) mod interrupt;
pub(crate) mod listen;
pub(crate) mod listener;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod proxies;
pub mod proxy_protocol;
pub(crate) mod resolve;
pub(crate) mod stop;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod unix_name;
