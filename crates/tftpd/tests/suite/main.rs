//! tftpd and tftpc, tested from outside: the real programs on port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::duplicate_mod)] // single_port.rs has eleven of these files, and udp, once more

mod attack;
mod big;
mod boards;
mod check;
mod client;
mod client_options;
mod confined;
mod disk_full;
mod endpoints;
mod files;
mod flow;
mod forged;
mod icmp;
mod inetd;
mod life;
mod log_rate;
mod lossy;
mod manual;
mod map;
mod memory;
mod mtu;
mod option_table;
mod options;
mod over_silent;
mod ports;
mod requests;
mod roots;
mod single_port;
mod stays;
mod stored;
mod storm;
mod swaps;
mod tftpc;
mod titles;
mod transfer_log;
mod udp;
mod uploads;
mod windows;
