//! What a server leaves behind in the file system: nothing, however it ends and as whichever user it ran.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::common::{ECHOD, echod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, TempDir, children, command, file_of_descriptor, has_ended, names, root_can_judge, run,
    wait_until,
};

/// A pid file and a socket in a folder that only root may write to.
struct Remains {
    dir: TempDir,
}

impl Remains {
    fn new() -> Remains {
        Remains { dir: TempDir::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The options that make them, with others before.
    fn args(&self, before: &[&str]) -> Vec<String> {
        let listen = format!("unix:{}", self.path("sock").display());
        let pid_file = self.path("pid").display().to_string();
        let own = ["-l".into(), listen, "-p".into(), pid_file];
        before.iter().map(ToString::to_string).chain(own).collect()
    }

    fn start(&self) -> Daemon {
        Daemon::start(ECHOD, &self.args(&["-u", "nobody"]))
    }

    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.path("pid")).ok()?.trim().parse().ok()
    }

    fn are_gone(&self) -> bool {
        names(self.dir.path()).is_empty()
    }

    /// The process that holds this folder to remove what is in it.
    fn caretaker(&self) -> Option<i32> {
        let all = std::fs::read_dir("/proc").unwrap();
        let mut pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.find(|pid| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm == "echod-caretaker\n")
                && (3..9).any(|fd| is_at(*pid, fd, self.dir.path()))
        })
    }
}

fn is_at(pid: i32, fd: i32, path: &Path) -> bool {
    file_of_descriptor(pid, fd).is_some_and(|file| file == path)
}

#[test]
fn case_19_an_unprivileged_server_leaves_neither_pid_file_nor_socket() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let daemon = remains.start();
    assert_eq!(names(remains.dir.path()), ["pid", "sock"]);
    assert!(remains.caretaker().is_some() && children(daemon.pid()).is_empty());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(remains.are_gone()); // at once, not some time later
    wait_until("the caretaker has ended", || remains.caretaker().is_none());
}

#[test]
fn case_19_a_killed_server_leaves_neither_pid_file_nor_socket() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let mut daemon = remains.start();
    let mut client = UnixStream::connect(remains.path("sock")).unwrap();
    daemon.wait_log("start: pid"); // a child that lives on does not keep the files
    daemon.signal(Signal::SIGKILL);
    assert!(!daemon.wait().success());
    wait_until("the files are gone", || remains.are_gone());
    let mut echo = [0; 5];
    std::io::Write::write_all(&mut client, b"hello").unwrap();
    std::io::Read::read_exact(&mut client, &mut echo).unwrap();
    assert_eq!(&echo, b"hello");
}

#[test]
fn the_next_server_keeps_its_own_files_however_soon_it_starts() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let mut last = remains.start();
    for _ in 0..20 {
        last.signal(Signal::SIGKILL);
        assert!(!last.wait().success());
        last = remains.start();
    }
    let caretaker = remains.caretaker().unwrap();
    let others_have_ended = || remains.caretaker() == Some(caretaker);
    wait_until("one caretaker is left", others_have_ended);
    assert_eq!(remains.pid(), Some(last.pid()));
    assert!(UnixStream::connect(remains.path("sock")).is_ok());
    assert_eq!(last.stop().code(), Some(0));
    assert!(remains.are_gone());
}

#[test]
fn a_file_that_took_the_place_of_ours_is_left_alone() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let daemon = remains.start();
    for name in ["pid", "sock"] {
        std::fs::remove_file(remains.path(name)).unwrap();
        remains.dir.file(name, "somebody else's");
    }
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(names(remains.dir.path()), ["pid", "sock"]);
}

/// [`run`] reads standard error up to its end, so it would hang on a process that kept it open.
#[test]
fn a_daemons_caretaker_holds_nothing_of_the_starting_command() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let started = run(command(ECHOD, &remains.args(&["-d", "-u", "nobody"])), b"");
    assert!(started.status.success(), "{started:?}");
    let (pid, caretaker) = (remains.pid().unwrap(), remains.caretaker().unwrap());
    let held = (0..64).filter_map(|fd| file_of_descriptor(caretaker, fd));
    let sockets = held.filter(|file| file.to_string_lossy().starts_with("socket:")).count();
    assert_eq!(sockets, 1, "its line to the server, and no listener");
    kill(Pid::from_raw(caretaker), Signal::SIGTERM).unwrap(); // it does not care
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
    assert!(remains.are_gone());
}

#[test]
fn a_failed_start_leaves_no_socket_behind() {
    let remains = Remains::new();
    let first = echod(&["-p", remains.path("pid").to_str().unwrap()]);
    for before in [&["-d"][..], &[]] {
        let failed = run(command(ECHOD, &remains.args(before)), b"");
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert_eq!(names(remains.dir.path()), ["pid"]);
    }
    drop(first);
}

#[test]
fn a_failed_start_after_the_privileges_are_gone_leaves_nothing_behind() {
    if !root_can_judge() {
        return;
    }
    let remains = Remains::new();
    let jail = remains.path("nowhere").display().to_string();
    let failed = run(command(ECHOD, &remains.args(&["--chroot", &jail, "-u", "nobody"])), b"");
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(said, format!("echod: chroot {jail}: No such file or directory\n"));
    assert!(remains.are_gone());
}
