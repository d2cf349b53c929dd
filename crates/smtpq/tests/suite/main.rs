//! smtpq, tested from outside: the real program, between a queue and servers of the tests' own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod common;
mod crash;
mod destinations;
mod life;
mod limits;
mod manual;
mod option_table;
mod outcomes;
mod own_host;
mod relay;
mod retry;
mod separation;
