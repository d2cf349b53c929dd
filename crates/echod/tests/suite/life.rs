//! Start, signals, end.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{TempDir, command, names, run, signal_mask, wait_child, wait_until};

/// Runs echod where it must end by itself.
fn ends(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = run(command(ECHOD, args), b"");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn bad_usage_ends_with_2_and_names_the_option() {
    let (code, said) = ends(&["--frob"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("echod: --frob: no such option\n"), "{said}");
    let (code, said) = ends(&["--reap", "maybe"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("echod: --reap 'maybe': "), "{said}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (option, text) in [("--help", "--max-clients"), ("-V", "echod (forklore) ")] {
        let mut command = Command::new(ECHOD);
        command.arg(option);
        let output = run(command, b"");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(text));
    }
}

/// A pid file that another process has locked holds the start up for a second, or until it is unlocked.
#[test]
fn case_16_sigterm_during_the_start_waits_and_then_ends_the_server_in_order() {
    let dir = TempDir::new();
    let pid_file = dir.file("pid", "not the id of the one that has it locked\n");
    let lock = OpenOptions::new().write(true).open(&pid_file).unwrap();
    lock_whole(&lock, nix::libc::F_WRLCK);
    let args = ["-l", "127.0.0.1:0", "-p", pid_file.to_str().unwrap()];
    let mut child = command(ECHOD, &args).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id() as i32;
    wait_until("SIGTERM is blocked", || signal_mask(pid, "SigBlk:") & 1 << 14 != 0);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    lock_whole(&lock, nix::libc::F_UNLCK);
    let status = wait_child(&mut child, "the server ends");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("listening on ") && said.ends_with("stopped\n"), "{said}");
}

/// fcntl(2): takes or frees a lock of this process on all of a file.
fn lock_whole(file: &std::fs::File, kind: i32) {
    let (l_type, l_whence) = (kind as i16, nix::libc::SEEK_SET as i16);
    let lock = nix::libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLK(&lock)).unwrap();
}

/// Before the program has come to blocking SIGTERM, it kills: then nothing may have begun yet. Later
/// it waits, and ends the server in order.
#[test]
fn case_16_sigterm_at_any_instant_of_the_start_leaves_nothing_behind() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (pid_file, socket) = (path("pid"), format!("unix:{}", path("sock")));
    let args = ["-p", &pid_file, "-l", &socket, "-l", "127.0.0.1:0"];
    let as_nobody = [&args[..], &["-u", "nobody"]].concat();
    for round in 0..200_u64 {
        let with_caretaker = geteuid().is_root() && round % 2 == 0;
        let args = if with_caretaker { &as_nobody[..] } else { &args };
        let mut child = command(ECHOD, args).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_micros(round * 20)); // the instant
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        let status = wait_child(&mut child, "the server ends");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let in_order = status.code() == Some(0) && said.ends_with("stopped\n");
        let before_all = status.signal() == Some(Signal::SIGTERM as i32) && said.is_empty();
        assert!(in_order || before_all, "round {round}: {status} {said}");
        assert_eq!(names(dir.path()), [""; 0], "round {round}: {status} {said}");
    }
}

#[test]
fn sigusr1_logs_the_table_of_clients() {
    let daemon = echod(&[]);
    let _peer = talk(daemon.addr());
    wait_until("the client stands in the table with its octets", || {
        daemon.signal(Signal::SIGUSR1);
        daemon.log().contains("6 in, 6 out")
    });
    assert!(daemon.log().contains("1 of 256 clients"));
}
