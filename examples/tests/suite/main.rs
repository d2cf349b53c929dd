//! The slides' programs, tested from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aborts;
mod broadcast;
mod clients;
mod datagrams;
mod errno_zoo;
mod files;
mod host_crash;
mod interrupted;
mod models;
mod names;
mod numbers;
mod out_of_band;
mod signal;
mod terminal;
mod unix_domain;
mod vote;
mod zombies;
