//! echod and echoc, tested from outside: the real programs on port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod blocking;
mod common;
mod datagrams;
mod deploy;
mod descriptors;
mod echo;
mod echoc;
mod endpoints;
mod environment;
mod failed_start;
mod fairness;
mod faults;
mod herd;
mod inetd;
mod init;
mod jail;
mod kernel_errors;
mod life;
mod life_of_models;
mod manual;
mod notify;
mod overload;
mod owned_files;
mod privileges;
mod processes;
mod reaping;
mod remains;
mod rlimits;
mod signals;
mod stop;
mod systemd;
mod titles;
mod transcript;
mod ucspi;
