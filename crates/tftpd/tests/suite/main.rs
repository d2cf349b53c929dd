//! tftpd and tftpc, tested from outside: the real programs on port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::duplicate_mod)] // single_port.rs has nine of these files, and udp, once more

mod attack;
mod big;
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
mod lossy;
mod manual;
mod map;
mod option_table;
mod options;
mod over_silent;
mod ports;
mod requests;
mod single_port;
mod stored;
mod storm;
mod swaps;
mod tftpc;
mod titles;
mod udp;
mod uploads;
mod windows;
