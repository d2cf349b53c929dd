//! echoc: the slides' echo client.

use std::process::ExitCode;

fn main() -> ExitCode {
    forknet::main("echoc", echod::client::run)
}
