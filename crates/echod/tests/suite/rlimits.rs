//! What the kernel lets a child have.

use std::process::Command;

use crate::common::{ECHOD, echod, talk};
use testkit::{Daemon, children, limit_of};

const SOFT: usize = 0;
const HARD: usize = 1;

/// A daemon started by a shell that sets a limit first.
fn under(ulimit: &str, args: &[&str]) -> Daemon {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{ulimit} && exec \"$@\""), "sh", ECHOD]);
    Daemon::spawn(shell, args)
}

#[test]
fn a_child_leaves_no_core_and_its_memory_is_bounded() {
    let daemon = under("ulimit -S -c 0", &[]);
    let _client = talk(daemon.addr());
    for pid in children(daemon.pid()).into_iter().chain([daemon.pid()]) {
        assert_eq!(limit_of(pid, "Max core file size"), [Some(0); 2]);
        let memory = limit_of(pid, "Max address space");
        assert!(memory[HARD].unwrap() < 1 << 30 && memory[SOFT] == memory[HARD], "{memory:?}");
    }
}

#[test]
fn a_limit_that_the_administrator_set_lower_stays() {
    let daemon = under("ulimit -v 100000 && ulimit -S -n 200", &[]);
    let _client = talk(daemon.addr());
    let child = children(daemon.pid())[0];
    assert_eq!(limit_of(child, "Max address space"), [Some(102_400_000); 2]);
    assert_eq!(limit_of(child, "Max open files")[SOFT], Some(200));
}

#[test]
fn a_limit_that_is_too_low_for_the_clients_wanted_is_told_at_the_start() {
    let daemon = under("ulimit -n 40", &["-c", "10"]);
    daemon.wait_log("--max-clients 10 cannot be reached: the limit of open files is 40");
    drop(talk(daemon.addr()));
    assert!(!echod(&["-c", "10"]).log().contains("cannot be reached"));
}

#[test]
fn ten_thousand_places_fit_into_the_bounded_memory() {
    drop(talk(echod(&["-c", "10000"]).addr()));
    drop(talk(echod(&["-c", "1000000"]).addr()));
}
