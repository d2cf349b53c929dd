//! For tests only: start a daemon, wait for its port, count zombies and descriptors; a scripted
//! peer; a network that loses datagrams.
//!
//! Every wait here is for a condition and has a watchdog; nothing sleeps for a fixed time and
//! hopes. A helper that fails panics: that is how a test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod authority;
mod bystander;
mod daemon;
mod holders;
#[cfg(target_arch = "x86_64")]
mod injected;
mod judging;
mod log_times;
mod logins;
pub mod mail_server;
mod manual;
mod memory;
pub mod name_server;
mod namespaces;
mod open_files;
mod option_table;
mod peer;
mod process;
mod program;
pub mod relay;
mod strace;
mod takeover;
mod tempdir;
mod wait;

pub use authority::{Authority, Pair, TLS_VERSIONS, TlsClient};
pub use bystander::{Bystander, NOBODY};
pub use daemon::{Daemon, command, run, wait_child};
pub use holders::{holders, processes, rights_left};
#[cfg(target_arch = "x86_64")]
pub use injected::Injected;
pub use judging::{not_judged, root_can_judge};
pub use log_times::hasty_refusals;
pub use logins::{AuthServer, checkpassword};
pub use manual::{check_help, check_page, check_usage, check_usage_code};
pub use memory::{Garbage, Image, Mapping, STACK, can_take_over, fill_shared_pages, mappings};
pub use namespaces::in_namespaces;
pub use open_files::{open_files, sockets_between};
pub use option_table::{
    check_closed_output, check_documents, check_marks_of_guide, completed, filled,
};
pub use peer::Peer;
pub use process::{
    children, cpu_ticks, cpu_ticks_of_children, descriptors, descriptors_at_rest,
    file_of_descriptor, has_ended, limit_of, only_child, peak_memory, signal_mask, sockets_in,
    sockets_of, state, status_field, tasks, title, wait_title, zombies,
};
pub use program::Program;
pub use strace::injected;
pub use takeover::{check_held, check_unknown, held_by, log_of_lines, start_as_nobody};
pub use tempdir::{TempDir, copy_program, names};
pub use wait::{
    Stopwatch, WATCHDOG, judged_within, repetitions, uninterrupted, wait_until, within_once,
};

/// The server designs of the stream daemons (`--model`).
pub const MODELS: [&str; 4] = ["fork", "prefork", "thread", "iterative"];
/// Those that serve several clients at once.
pub const CONCURRENT: [&str; 3] = ["fork", "prefork", "thread"];

/// Runs a test's body for each of some models; what a failed test has printed ends with the one
/// that failed.
pub fn each_model(models: &[&'static str], mut body: impl FnMut(&'static str)) {
    for model in models {
        eprintln!("--- under --model {model}");
        body(model);
    }
}
