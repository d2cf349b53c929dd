//! tftpd: the answer to a request, and the two ways to serve many clients.

mod event_wait;
pub mod landlock;
pub mod limits;
pub mod per_process;
pub mod request;
pub mod retransmit;
mod route_mtu;
pub mod shared_status;
pub mod single_port;
mod transfer_entry;
mod transfer_log;
