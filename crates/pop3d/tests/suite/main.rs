//! pop3d and pop3c, tested from outside: the real programs on port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod cases;
mod check;
mod client;
mod client_accounts;
mod client_deliver;
mod client_faults;
mod client_tls;
mod common;
mod crash;
mod endpoints;
mod faults;
mod framing;
mod guessing;
#[cfg(target_arch = "x86_64")] // the numbers and registers of its calls
mod injected;
mod life;
mod login;
mod maildir_lock;
mod maildir_missing;
mod maildir_sizes;
mod manual;
mod masking;
mod mbox;
mod mbox_spool;
mod moving;
mod option_table;
mod proxy;
mod refusals;
mod sasl;
mod separation;
mod sources;
mod stopped;
mod titles;
mod tls;
mod tls_processes;
mod transaction;
mod workers;
