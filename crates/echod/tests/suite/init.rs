//! The server as process 1 of a container: every orphan there becomes its child.

use std::process::Command;

use crate::common::{ECHOD, signal, talk};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use testkit::{
    Daemon, MODELS, TempDir, children, each_model, names, only_child, repetitions, root_can_judge,
    status_field, title, wait_until,
};

/// Orphans at a time: more than the reaper's table has places.
const ORPHANS: usize = 300;

/// unshare(1) for a namespace of processes, whose first one it starts; none where that is not allowed.
fn container() -> Option<Command> {
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let ways = if geteuid().is_root() { &ways[..] } else { &ways[1..] };
    let unshare = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
    };
    let allowed =
        |way: &&&[&str]| unshare(way).arg("true").output().is_ok_and(|o| o.status.success());
    let way = ways.iter().find(allowed);
    if way.is_none() {
        testkit::not_judged("needs namespaces of processes");
    }
    let mut command = unshare(way?);
    command.arg(ECHOD);
    Some(command)
}

/// Runs a script in the namespace of this process, which is its first.
fn run_in(init: i32, script: &str) {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &init.to_string(), "--pid"]);
    if !geteuid().is_root() {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    assert!(nsenter.args(["sh", "-c", script]).status().unwrap().success());
}

/// Makes orphans there, the last one of which lives for a while. The server may make processes of its own meanwhile.
fn orphans(init: i32) {
    let is_orphan = |pid: &i32| !title(*pid).starts_with("echod: ");
    let script = format!("i=0; while [ $i -lt {ORPHANS} ]; do (true &); i=$((i+1)); done");
    run_in(init, &format!("{script}; (sleep 3600 >/dev/null 2>&1 &)"));
    let mut last = Vec::new();
    wait_until("the last orphan is its child", || {
        last = children(init).into_iter().filter(is_orphan).collect();
        last.len() == 1 && title(last[0]).starts_with("sleep")
    });
    signal(last[0], Signal::SIGKILL);
    wait_until("all orphans are reaped", || !children(init).iter().any(is_orphan));
}

/// Memory of its own, in KiB.
fn memory(pid: i32) -> u64 {
    status_field(pid, "RssAnon:").parse().unwrap()
}

#[test]
fn orphans_are_reaped_and_forgotten_under_any_model() {
    each_model(&MODELS, |model| {
        let Some(command) = container() else { return };
        let mut daemon = Daemon::spawn(command, &["-m", model, "-n", "2", "-u", "root"]);
        let init = only_child(daemon.pid());
        drop(talk(daemon.addr()));
        orphans(init);
        let (before, descriptors) = (memory(init), testkit::descriptors_at_rest(init));
        for _ in 0..repetitions(2) {
            orphans(init);
        }
        let after = memory(init);
        assert!(after <= before + 8, "{model}: {before} KiB have become {after}");
        assert_eq!(testkit::descriptors_at_rest(init), descriptors, "{model}");
        drop(talk(daemon.addr()));
        assert!(!daemon.log().contains("orphan"), "{}", daemon.log());
        signal(init, Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
    });
}

/// The cleanup helper is such an orphan itself, and ends with its server as elsewhere.
#[test]
fn as_process_1_an_unprivileged_server_leaves_nothing_behind() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let Some(command) = container() else { return };
    let mut daemon = Daemon::spawn(command, &["-u", "nobody", "-p", pid_file.to_str().unwrap()]);
    let init = only_child(daemon.pid());
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), "1\n");
    let helper = only_child(init);
    assert_eq!(title(helper), format!("echod: caretaker of {}", pid_file.display()));
    drop(talk(daemon.addr()));
    signal(init, Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(names(dir.path()), [""; 0]);
}
