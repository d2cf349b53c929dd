//! Servers that none of the daemons is. This program is each of them itself, and is its own harness,
//! because a server that forks must not have the threads of the usual one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)] // it is a harness, and a server's output is what is looked at

mod panics;
mod programs;
mod udp;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode};

use forknet::Service;

/// With a service's name in it, the program is that server.
const SERVE: &str = "FORKNET_TEST_SERVER";

/// Those that fork in this process come first: those with servers leave threads.
const TESTS: [(&str, fn()); 4] = [
    (
        "programs::a_program_that_does_not_end_within_its_limit_is_killed_with_its_children",
        programs::a_program_that_does_not_end_within_its_limit_is_killed_with_its_children,
    ),
    (
        "programs::a_program_that_ends_within_its_limit_has_its_exit_code",
        programs::a_program_that_ends_within_its_limit_has_its_exit_code,
    ),
    (
        "panics::case_06_a_session_that_panics_ends_alone_and_nothing_is_written_twice",
        panics::case_06_a_session_that_panics_ends_alone_and_nothing_is_written_twice,
    ),
    (
        "udp::a_protocol_of_one_function_is_served_with_limits_and_an_end",
        udp::a_protocol_of_one_function_is_served_with_limits_and_an_end,
    ),
];

fn main() -> ExitCode {
    match std::env::var(SERVE).as_deref() {
        Ok("panicd") => forknet::main(panics::SERVICE.name, panics::run),
        Ok("upperd") => forknet::main(udp::SERVICE.name, udp::run),
        _ => harness(&std::env::args().skip(1).collect::<Vec<_>>()),
    }
}

/// Does what `cargo test` asks the usual harness for: `--list`, a part of a name, `--exact`; one test
/// after the other.
fn harness(args: &[String]) -> ExitCode {
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_meant = |name: &str| {
        let fits = |filter: &&String| {
            if has("--exact") { name == filter.as_str() } else { name.contains(filter.as_str()) }
        };
        !has("--ignored") && (filters.is_empty() || filters.iter().any(fits))
    };
    let meant: Vec<_> = TESTS.iter().filter(|(name, _)| is_meant(name)).collect();
    if has("--list") {
        meant.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", meant.len());
    let mut failed = 0;
    for (name, test) in &meant {
        let outcome = if catch_unwind(test).is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {outcome}");
        failed += usize::from(outcome != "ok");
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {} passed; {failed} failed", meant.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// This program, to be started as that server.
fn own_server(service: &Service) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(SERVE, service.name);
    command
}
