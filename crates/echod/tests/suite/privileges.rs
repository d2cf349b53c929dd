//! Rights of root's: given up with the user id, or by themselves where the user id says nothing.

use std::process::Command;

use crate::common::{ECHOD, cleanup_helper, processes, talk};
use testkit::{
    CONCURRENT, Daemon, TempDir, each_model, injected, names, root_can_judge, run, wait_until,
};

/// The sets of capabilities(7) of a process and what it may still get, and its ids.
const FIELDS: [&str; 4] = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];

/// A field of /proc/PID/status for every task of a process, without the field's name.
fn of_each_task(pid: i32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok());
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    status.map(of).collect()
}

/// echod, started with these rights by setpriv(1).
fn with(rights: &[&str]) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(rights).arg(ECHOD);
    setpriv
}

/// No task has a capability, and all have one user id, whichever is looked at.
fn is_ordinary(daemon: &Daemon, what: &str) {
    for pid in processes(daemon) {
        for field in FIELDS {
            let sets = of_each_task(pid, field);
            assert!(sets.iter().all(|set| *set == "0".repeat(16)), "{what}: {field} {sets:?}");
        }
        assert_eq!(of_each_task(pid, "Uid:")[0], "65534 65534 65534 65534", "{what}");
        let gids = &of_each_task(pid, "Gid:")[0];
        assert!(gids.split(' ').all(|gid| gid == &gids[..gid.len()]), "{what}: {gids}");
    }
}

/// As much of root as even a container has.
const RIGHTS: &str = "+net_bind_service,+dac_override,+chown,+kill,+setuid,+setgid,+sys_chroot";

/// Rights that do not go with root's user id.
const KEPT: [&[&str]; 4] = [
    &["--securebits", "+no_setuid_fixup", "--inh-caps", "+net_bind_service"],
    &["--securebits", "+no_setuid_fixup", "--inh-caps", RIGHTS],
    &["--inh-caps", RIGHTS, "--ambient-caps", RIGHTS],
    &["--securebits", "+no_setuid_fixup,+noroot", "--inh-caps", RIGHTS, "--ambient-caps", RIGHTS],
];

#[test]
fn capabilities_go_with_the_user_id_whatever_securebits_say() {
    if !root_can_judge() {
        return;
    }
    for rights in KEPT {
        let daemon = Daemon::spawn(with(rights), &["-u", "nobody"]);
        let _client = talk(daemon.addr());
        is_ordinary(&daemon, &format!("{rights:?}"));
        daemon.wait_log("serving as user nobody");
    }
    each_model(&CONCURRENT, |model| {
        let daemon = Daemon::spawn(with(KEPT[0]), &["-m", model, "-u", "nobody"]);
        let _client = talk(daemon.addr());
        is_ordinary(&daemon, model);
    });
}

/// As `AmbientCapabilities=` of systemd.exec(5), for a port below 1024.
#[test]
fn a_user_that_was_given_capabilities_gives_them_up_once_it_has_bound() {
    if !root_can_judge() {
        return;
    }
    let rights = ["--inh-caps", RIGHTS, "--ambient-caps", RIGHTS, "--clear-groups"];
    let user = ["--reuid", "nobody", "--regid", "nogroup"];
    for args in [&["-u", "nobody"][..], &["-u", "65534"], &["-u", "nobody:nogroup"]] {
        let setpriv = with(&[&user[..], &rights].concat());
        let daemon = Daemon::spawn(setpriv, &[args, &["-l", "127.0.0.1:0"]].concat());
        let _client = talk(daemon.addr());
        is_ordinary(&daemon, &format!("{args:?}"));
    }
    // Without -u too: `add_args` of the harness would name root.
    let mut setpriv = with(&[&user[..], &rights].concat());
    setpriv.args(["-l", "127.0.0.1:0"]).stderr(std::process::Stdio::piped());
    let daemon = Daemon::adopt(setpriv.spawn().unwrap());
    let _client = talk(daemon.addr());
    is_ordinary(&daemon, "without -u");
}

/// What it has made with rights that it gives up is removed by the helper.
#[test]
fn a_user_that_gives_up_capabilities_leaves_nothing_behind() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new(); // root's, mode 0755
    let pid_file = dir.path().join("pid");
    let rights = ["--reuid", "nobody", "--inh-caps", RIGHTS, "--ambient-caps", RIGHTS];
    let args = ["-u", "nobody", "-p", pid_file.to_str().unwrap()];
    let daemon = Daemon::spawn(with(&rights), &args);
    is_ordinary(&daemon, "with a pid file");
    assert!(cleanup_helper(&pid_file).is_some());
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_group_of_roots_is_given_up_where_that_is_allowed() {
    if !root_can_judge() {
        return;
    }
    let rights = ["--reuid", "nobody", "--keep-groups", "--inh-caps", RIGHTS];
    let rights = [&rights[..], &["--ambient-caps", RIGHTS]].concat();
    let daemon = Daemon::spawn(with(&rights), &["-u", "nobody"]);
    let _client = talk(daemon.addr());
    is_ordinary(&daemon, "root's group");
    assert_eq!(of_each_task(daemon.pid(), "Gid:"), ["65534 65534 65534 65534"]);
    assert_eq!(of_each_task(daemon.pid(), "Groups:"), ["65534"]);
}

/// With root as real user id the way back would be open.
#[test]
fn a_real_user_id_of_roots_is_given_up_too() {
    if !root_can_judge() {
        return;
    }
    let daemon = Daemon::spawn(with(&["--euid", "nobody"]), &["-u", "nobody"]);
    let _client = talk(daemon.addr());
    is_ordinary(&daemon, "real user id 0");
}

#[test]
fn root_on_demand_keeps_what_it_has() {
    if !root_can_judge() {
        return;
    }
    let before = of_each_task(std::process::id() as i32, "CapEff:");
    let daemon = Daemon::spawn(Command::new(ECHOD), &["-u", "root"]);
    let _client = talk(daemon.addr());
    for pid in processes(&daemon) {
        assert_eq!(of_each_task(pid, "CapEff:")[0], before[0]);
    }
}

#[test]
fn rights_that_cannot_be_given_up_end_the_start() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let pid_file = pid_file.to_str().unwrap();
    // The call that fails, and the one that says that all is well and has done nothing.
    for (inject, expected) in [
        ("capset:error=EPERM", "user nobody: capset: Operation not permitted\n"),
        ("capset:retval=0", "user nobody: some privileges of root are left\n"),
        ("setresuid:retval=0", "user nobody: some privileges of root are left\n"),
        ("setgroups:error=EPERM", "user nobody: setgroups: Operation not permitted\n"),
    ] {
        let Some(strace) = injected("capset,setresuid,setgroups", &[inject]) else { return };
        let mut command = Command::new("setpriv");
        command.args(KEPT[0]).arg(strace.get_program()).args(strace.get_args()).arg(ECHOD);
        command.args(["-u", "nobody", "-l", "127.0.0.1:0", "-p", pid_file]);
        let failed = run(command, b"");
        assert_eq!(failed.status.code(), Some(1), "{inject}: {failed:?}");
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.ends_with(&format!("echod: {expected}")), "{inject}: {said}");
        wait_until("the pid file is gone", || names(dir.path()).is_empty());
    }
}
