//! `--check`: reads everything, says what is wrong, and changes nothing.

use std::net::TcpListener;
use std::process::Output;

use testkit::{Daemon, TempDir, command, names, run};

const DAEMON: &str = env!("CARGO_BIN_EXE_echod");

fn checked(args: &[&str]) -> Output {
    run(command(DAEMON, &[&["--check"], args].concat()), b"")
}

#[test]
fn a_command_line_without_fault_ends_in_success_and_silence() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let socket = format!("unix:{}", path("socket"));
    let (pid, transcript) = (path("pid"), path("transcript"));
    let file = dir.file("c", format!("listen {socket}\npid-file {pid}\ntranscript {transcript}\n"));
    let output = checked(&["--config", file.to_str().unwrap(), "-d", "--syslog"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(names(dir.path()), ["c"], "nothing was made");
}

#[test]
fn no_socket_is_bound_and_a_server_that_runs_is_not_disturbed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(checked(&["-l", &address]).status.success());
    let dir = TempDir::new();
    let pid = dir.path().join("pid").display().to_string();
    let daemon = Daemon::start(DAEMON, &["-p", &pid]);
    assert!(checked(&["-p", &pid]).status.success());
    assert_eq!(std::fs::read_to_string(&pid).unwrap(), format!("{}\n", daemon.pid()));
    assert!(daemon.stop().success());
}

#[test]
fn what_is_wrong_is_said_and_the_status_is_1_for_a_wrong_command_line_too() {
    let dir = TempDir::new();
    let file = dir.file("c", "udp\nfrob\n").display().to_string();
    let in_file = format!("{file}:2: frob: no such option");
    let log = dir.file("log", "").display().to_string();
    let inside = format!("{log}/x");
    let folder = dir.path().display().to_string();
    for (args, complaint) in [
        (&["--frob"][..], "--frob: no such option"),
        (&["-c", "none"], "--max-clients 'none': "),
        (&["extra"], "unexpected argument 'extra'"),
        (&["--reap", "wait", "-m", "prefork"], "--reap 'wait': not with --model prefork"),
        (&["-i", "-d"], "--inetd and --daemon: only one of them"),
        (&["--config", &file], &in_file),
        (&["-u", "no-such-user"], "user no-such-user: "),
        (&["-p", "/no/folder/pid"], "pid file /no/folder/pid: No such file or directory"),
        (&["-p", &inside], "Not a directory"),
        (&["-p", &folder], "Is a directory"),
        (&["--transcript", "/no/folder/t"], "transcript /no/folder/t: No such file or directory"),
        (&["-l", "unix:/no/folder/s"], "unix:/no/folder/s: No such file or directory"),
        (&["--chroot", "/no/folder"], "chroot /no/folder: "),
    ] {
        let output = checked(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.starts_with("echod: ") && said.contains(complaint), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Each of these system calls fails: a start needs them, and a check does not.
#[test]
fn no_socket_is_bound_and_no_process_is_forked() {
    let dir = TempDir::new();
    let pid = dir.path().join("pid").display().to_string();
    let mut args = vec!["-l", "127.0.0.1:0", "--udp", "-d", "-p", &pid, "--grace", "0"];
    if nix::unistd::geteuid().is_root() {
        args.extend(["-u", "nobody"]); // a start would fork the caretaker
    }
    for call in ["bind", "listen", "clone,clone3"] {
        let injection = format!("{call}:error=EPERM");
        let ended = |args: &[&str]| {
            let mut command = testkit::injected(call, &[&injection])?;
            command.arg(DAEMON).args(args);
            Some(run(command, b"").status.success())
        };
        assert_ne!(ended(&args), Some(true), "{call}: a start needs it");
        assert_ne!(ended(&[&["--check"], &args[..]].concat()), Some(false), "{call}");
        assert!(names(dir.path()).is_empty(), "{call}");
    }
}

#[test]
fn every_model_ends_at_once_and_listens_nowhere() {
    for model in testkit::MODELS {
        let output = checked(&["-m", model, "--udp", "-v", "-l", "127.0.0.1:0"]);
        assert!(output.status.success(), "{model}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("listening on"));
    }
}
