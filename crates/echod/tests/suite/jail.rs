//! `--chroot`.

use std::path::PathBuf;

use crate::common::{ECHOD, echod, talk};
use nix::unistd::geteuid;
use testkit::{TempDir, children, command, file_of_descriptor, names, root_can_judge, run};

fn link(pid: i32, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap()
}

#[test]
fn a_server_in_a_jail_sees_nothing_else_and_still_leaves_nothing_behind() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let jail = dir.path().join("jail");
    std::fs::create_dir(&jail).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (pid_file, socket) = (path("pid"), format!("unix:{}", path("sock")));
    let (jailed, transcript) = (jail.display().to_string(), path("transcript"));
    let args = ["-u", "nobody", "--chroot", &jailed, "-p", &pid_file, "--transcript", &transcript];
    let daemon = echod(&[&args[..], &["-l", "127.0.0.1:0", "-l", &socket]].concat());
    let client = talk(daemon.addr());
    for pid in children(daemon.pid()).into_iter().chain([daemon.pid()]) {
        assert_eq!((link(pid, "root"), link(pid, "cwd")), (jail.clone(), jail.clone()));
        let folders = (0..64).filter_map(|fd| file_of_descriptor(pid, fd)).filter(|f| f.is_dir());
        assert_eq!(folders.count(), 0, "a folder that is held leads out of the jail");
    }
    drop(client);
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(names(dir.path()), ["jail", "transcript"]);
    assert!(std::fs::read_to_string(transcript).unwrap().contains(" C: hello"));
    assert!(names(&jail).is_empty());
}

#[test]
fn a_jail_of_roots_is_none_and_that_is_told() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let daemon = echod(&["-u", "root", "--chroot", dir.path().to_str().unwrap()]);
    daemon.wait_log("--chroot is no jail for root");
}

#[test]
fn a_detached_server_in_an_empty_jail_lets_its_starter_go() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let (jail, pid_file) = (dir.path().to_str().unwrap(), dir.path().join("pid"));
    let args = ["-d", "-u", "nobody", "--chroot", jail, "-p", pid_file.to_str().unwrap()];
    let started = run(command(ECHOD, &[&args[..], &["-l", "127.0.0.1:0"]].concat()), b"");
    assert!(started.status.success(), "{started:?}");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert_eq!(file_of_descriptor(pid, 2), Some("/dev/null".into()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).unwrap();
    testkit::wait_until("the pid file is gone", || !pid_file.exists());
}

#[test]
fn only_root_may_change_the_root() {
    let dir = TempDir::new();
    let jail = dir.path().display().to_string();
    if geteuid().is_root() {
        let nowhere = format!("{jail}/nowhere");
        let args = ["-l", "127.0.0.1:0", "--chroot", &nowhere];
        let said = run(command(ECHOD, &args), b"").stderr;
        let expected = format!("echod: chroot {nowhere}: No such file or directory\n");
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    } else {
        let failed = run(command(ECHOD, &["-l", "127.0.0.1:0", "--chroot", &jail]), b"");
        assert_eq!(failed.status.code(), Some(1));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(said, format!("echod: chroot {jail}: only root may do that\n"));
    }
}
