//! A start that fails, at whatever system call: it says what has failed, and leaves nothing behind.

use std::process::{Command, Stdio};

use crate::common::ECHOD;
use nix::unistd::geteuid;
use testkit::{TempDir, in_namespaces, injected, names, root_can_judge, run};

/// In the foreground and as a daemon.
const BOTH: [&[&str]; 2] = [&[], &["-d"]];

/// A pid file and a socket of a server that is to fail.
struct Start {
    dir: TempDir,
}

impl Start {
    fn new() -> Start {
        Start { dir: TempDir::new() }
    }

    fn args(&self, command: &mut Command, args: &[&str]) {
        command.args(args);
        if geteuid().is_root() && !args.contains(&"-u") {
            command.args(["-u", "root"]);
        }
        command.arg("-p").arg(self.dir.path().join("pid"));
        command.arg("-l").arg(format!("unix:{}", self.dir.path().join("sock").display()));
        command.args(["-l", "127.0.0.1:0"]);
    }

    /// It fails with these words, with exit code 1, and leaves nothing.
    fn fails(&self, what: &str, command: Command, words: &str) {
        let output = run(command, b"");
        let said = String::from_utf8_lossy(&output.stderr);
        let words = words.replace("DIR", self.dir.path().to_str().unwrap());
        assert!(said.ends_with(&format!("echod: {words}\n")), "{what}: {said}");
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert_eq!(names(self.dir.path()), [""; 0], "{what}: {said}");
        assert!(!said.contains("listening on"), "{what}: {said}");
    }
}

/// A start with these options, of which a system call fails as strace(1) makes it; with ` /PATH` behind it
/// only where it is about that path.
fn fails(inject: &str, args: &[&str], words: &str) {
    let (inject, path) = inject.split_once(' ').unwrap_or((inject, ""));
    let Some(mut command) = injected("all", &[inject]) else { return };
    if !path.is_empty() {
        command.args(["-P", path]);
    }
    let start = Start::new();
    start.args(command.arg(ECHOD), args);
    start.fails(&format!("{inject} {args:?}"), command, words);
}

#[test]
fn a_listener_that_fails_takes_those_before_it_along() {
    for how in BOTH {
        fails("listen:error=EADDRINUSE", how, "listen unix:DIR/sock: Address already in use");
        fails("listen:error=EACCES:when=2", how, "listen 127.0.0.1:0: Permission denied");
        fails(
            "getsockname:error=ENOBUFS",
            how,
            "getsockname 127.0.0.1:0: No buffer space available",
        );
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_or_locked_leaves_no_empty_one() {
    for how in BOTH {
        fails("ftruncate:error=EIO", how, "pid file DIR/pid: Input/output error");
        fails("fcntl:error=ENOLCK", how, "pid file DIR/pid: No locks available");
        let start = Start::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -f 0; exec \"$@\"", "sh", ECHOD]);
        start.args(&mut shell, how);
        start.fails("ulimit -f 0", shell, "pid file DIR/pid: File too large");
    }
}

#[test]
fn a_daemon_that_cannot_detach_says_so_and_leaves_nothing() {
    for (inject, words) in [
        ("pipe2:error=EMFILE", "daemon: pipe: Too many open files"),
        ("clone:error=EAGAIN", "daemon: fork: Resource temporarily unavailable"),
        ("setsid:error=EPERM", "daemon: setsid: Operation not permitted"),
        ("chdir:error=EACCES", "daemon: chdir /: Permission denied"),
        ("openat:error=ENOENT /dev/null", "/dev/null: No such file or directory"),
    ] {
        fails(inject, &["-d"], words);
    }
}

/// A child that was killed can say nothing: its starter does.
#[test]
fn a_daemon_that_is_killed_at_its_start_is_told_of_by_its_starter() {
    fails("setsid:signal=SIGKILL", &["-d"], "daemon: ended by SIGKILL before it served");
}

#[test]
fn a_design_that_lacks_something_has_not_said_that_it_listens() {
    for how in BOTH {
        for (model, inject, words) in [
            ("fork", "madvise:error=ENOMEM", "mmap of private memory: Cannot allocate memory"),
            ("iterative", "madvise:error=EINVAL", "mmap of private memory: Invalid argument"),
            // strace counts for each process, and a starter needs one pipe.
            ("prefork", "pipe2:error=ENFILE:when=2", "pipe: Too many open files in system"),
            ("thread", "pipe2:error=ENFILE:when=2", "pipe: Too many open files in system"),
        ] {
            fails(inject, &[how, &["-m", model]].concat(), words);
        }
    }
    fails("sigaltstack:error=ENOMEM", &[], "sigaltstack: Cannot allocate memory");
}

#[test]
fn privileges_that_cannot_be_given_up_leave_nothing() {
    if !root_can_judge() {
        return;
    }
    let as_nobody = ["-u", "nobody"];
    let jailed = ["-u", "nobody", "--chroot", "/"];
    for how in BOTH {
        let (as_nobody, jailed) = ([how, &as_nobody].concat(), [how, &jailed].concat());
        for (inject, args, words) in [
            (
                "setgroups:error=EPERM",
                &as_nobody,
                "user nobody: setgroups: Operation not permitted",
            ),
            (
                "setresuid:error=EAGAIN",
                &as_nobody,
                "user nobody: setresuid: Resource temporarily unavailable",
            ),
            ("getresuid:error=EIO", &as_nobody, "user nobody: getresuid: Input/output error"),
            ("chroot:error=EPERM", &jailed, "chroot /: only root may do that"),
            ("chroot:error=EIO", &jailed, "chroot /: Input/output error"),
            ("madvise:error=ENOMEM", &as_nobody, "mmap of private memory: Cannot allocate memory"),
        ] {
            fails(inject, args, words);
        }
        let unknown = [how, &["-u", "no-such-user-here"]].concat();
        let start = Start::new();
        let mut command = Command::new(ECHOD);
        start.args(&mut command, &unknown);
        start.fails("-u", command, "user no-such-user-here: no such user");
    }
}

/// Then the files are the server's to remove, for it still can.
#[test]
fn a_cleanup_helper_that_cannot_be_started_is_told_of_in_words_and_leaves_nothing() {
    if !root_can_judge() {
        return;
    }
    let failed = |inject: &str, words: &str| {
        fails(inject, &["-u", "nobody"], &format!("cleanup helper: {words}"));
    };
    failed("socketpair:error=EMFILE", "socketpair: Too many open files");
    failed("clone:error=EAGAIN", "fork: Resource temporarily unavailable");
    failed("setpgid:error=EPERM", "setpgid: Operation not permitted");
    failed("setpgid:signal=SIGKILL", "it has ended");
    failed("chdir:error=EACCES", "chdir /: Permission denied");
    failed("openat:error=ENOENT /dev/null", "/dev/null: No such file or directory");
    failed("prctl:error=EPERM", "prctl: Operation not permitted");
    let daemon = ["-d", "-u", "nobody"];
    fails("setpgid:error=EPERM", &daemon, "cleanup helper: setpgid: Operation not permitted");
    fails(
        "socketpair:error=ENFILE",
        &daemon,
        "cleanup helper: socketpair: Too many open files in system",
    );
}

/// As in a container that was put together by hand.
#[test]
fn a_missing_dev_null_is_named() {
    in_namespaces(&["--mount"], concat!(module_path!(), "::without_dev_null"));
}

#[test]
#[ignore = "run by a_missing_dev_null_is_named"]
fn without_dev_null() {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "none", "/dev"]);
    assert!(mount.stdin(Stdio::piped()).status().unwrap().success());
    let as_nobody: &[&str] = &["-u", "nobody"];
    for (args, words) in [
        (&["-d"][..], "/dev/null: No such file or directory"),
        (as_nobody, "cleanup helper: /dev/null: No such file or directory"),
    ] {
        let start = Start::new();
        let mut command = Command::new(ECHOD);
        start.args(&mut command, args);
        start.fails(&format!("{args:?}"), command, words);
    }
}
