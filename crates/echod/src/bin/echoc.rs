//! echoc: the slides' echo client.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    forknet::main("echoc", echod::client::run)
}
