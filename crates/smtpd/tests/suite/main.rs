//! smtpd and smtpc, tested from outside: the real programs on port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod aliases;
mod attack;
mod auth;
mod check;
mod chunking;
mod common;
mod data;
mod delivery;
mod endpoints;
mod extensions;
mod guards;
mod guessing;
mod jail;
#[cfg(target_arch = "x86_64")]
mod lies;
mod life;
mod limits;
mod lmtp;
mod lmtp_target;
mod mailboxes;
mod manual;
mod milter;
mod milter_fake;
mod option_table;
mod places;
mod proxy;
mod refusals;
mod relay;
mod sendmail;
mod separation;
mod session;
mod smtpc;
mod smtpc_dane;
mod smtpc_fake;
mod smtpc_mx;
mod smtpc_tls;
mod sources;
mod submission;
mod terminal;
mod titles;
mod tls;
mod trace;
mod verify;
