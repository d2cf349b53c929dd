//! What the starter had open is closed: in the server, in its children, and beside it.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{ECHOD, cleanup_helper, processes, talk, wait_idle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, MODELS, TempDir, children, each_model, file_of_descriptor, has_ended, injected,
    wait_child, wait_until,
};

/// Leaves the file `$0` open at descriptors 4, 5 and 9, closes none, and becomes the program.
const LEAVE_OPEN: &str = "exec 4>>\"$0\" 5>&4 9>&4; exec \"$@\"";

/// A shell that leaves this file open for the program behind it.
fn leaving_open(file: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", LEAVE_OPEN]).arg(file).arg(ECHOD);
    shell
}

/// Where the file is still open, as process and descriptor.
fn holders(pids: &[i32], file: &Path) -> Vec<(i32, i32)> {
    let all = pids.iter().flat_map(|pid| (0..64).map(|fd| (*pid, fd)));
    all.filter(|(pid, fd)| file_of_descriptor(*pid, *fd).as_deref() == Some(file)).collect()
}

fn left_open() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let file = dir.file("left-open", "");
    (dir, file)
}

#[test]
fn a_daemons_starter_is_not_held_by_a_pipe_that_it_has_left_open() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let script = "\"$0\" \"$@\" 3>&1 >/dev/null 2>&1 | cat";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, ECHOD, "-d", "-l", "127.0.0.1:0"]).arg("-p").arg(&pid_file);
    let user = if geteuid().is_root() { &["-u", "nobody"][..] } else { &[] };
    let mut shell = shell.args(user).stdout(Stdio::null()).spawn().unwrap();
    assert!(wait_child(&mut shell, "cat has seen the end of the pipe").success());
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
    wait_until("the pid file is gone", || !pid_file.exists());
}

#[test]
fn what_the_starter_left_open_is_closed_in_every_process_of_every_model() {
    each_model(&MODELS, |model| {
        let (dir, file) = left_open();
        let socket = dir.path().join("d");
        let datagrams = format!("unix-dgram:{}", socket.display());
        let user = if geteuid().is_root() { "nobody" } else { "" };
        let args = ["-m", model, "-n", "2", "-l", "127.0.0.1:0", "-l", &datagrams, "-u", user];
        let args = if user.is_empty() { &args[..8] } else { &args };
        let daemon = Daemon::spawn(leaving_open(&file), args);
        let _client = talk(daemon.addr());
        if model == "prefork" {
            wait_idle(&daemon, 1);
        }
        let expected = match model {
            "fork" => 3,    // parent, child, datagrams
            "prefork" => 4, // parent, two workers, datagrams
            "thread" => 1,
            _ => 2, // the server itself, datagrams
        };
        wait_until("all processes are there", || processes(&daemon).len() == expected);
        let mut pids = processes(&daemon);
        pids.extend(geteuid().is_root().then(|| cleanup_helper(&socket).unwrap()));
        assert_eq!(holders(&pids, &file), [], "{model}");
    });
}

#[test]
fn beside_what_systemd_passes_everything_is_closed() {
    let (_dir, file) = left_open();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let script = format!("exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; {LEAVE_OPEN}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(&file).arg(ECHOD);
    if geteuid().is_root() {
        shell.args(["-u", "root"]);
    }
    shell.stdin(OwnedFd::from(tcp)).stdout(Stdio::null()).stderr(Stdio::piped());
    let daemon = Daemon::adopt(shell.spawn().unwrap());
    let _client = talk(addr);
    assert_eq!(holders(&processes(&daemon), &file), []);
}

#[test]
fn under_inetd_everything_but_the_client_is_closed() {
    let (_dir, file) = left_open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let waiting = TcpListener::bind("127.0.0.1:0").unwrap();
    let waiting_at = waiting.local_addr().unwrap();
    let start = |socket: OwnedFd| {
        let mut shell = leaving_open(&file);
        shell.arg("-i").stdin(socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let client = TcpStream::connect(addr).unwrap();
    let mut nowait = start(listener.accept().unwrap().0.into());
    let mut client = testkit::Peer::new(client);
    crate::common::hello(&mut client);
    assert_eq!(holders(&[nowait.id() as i32], &file), []);
    drop(client);
    assert!(wait_child(&mut nowait, "its one client has gone").success());
    let mut wait = start(waiting.into());
    let client = talk(waiting_at);
    let pid = wait.id() as i32;
    assert_eq!(holders(&[&[pid], &children(pid)[..]].concat(), &file), []);
    drop(client);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert!(wait_child(&mut wait, "the server ends").success());
}

/// The rules of old containers know no close_range(2), and refuse what they do not know.
#[test]
fn without_close_range_they_are_closed_one_by_one() {
    for errno in ["EPERM", "ENOSYS"] {
        let (_dir, file) = left_open();
        let inject = format!("close_range:error={errno}");
        let Some(strace) = injected("close_range", &[&inject]) else { return };
        let mut shell = Command::new("sh");
        shell.args(["-c", LEAVE_OPEN]).arg(&file);
        shell.arg(strace.get_program()).args(strace.get_args()).arg(ECHOD);
        let daemon = Daemon::spawn(shell, &["-n", "1", "-m", "prefork"]);
        let _client = talk(daemon.addr());
        assert_eq!(holders(&processes(&daemon), &file), [], "{errno}");
    }
}

/// Closes them all, as a careless starter does.
#[test]
fn a_server_that_gets_no_descriptors_at_all_serves() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh", ECHOD]);
    let socket = dir.path().join("sock");
    shell.arg("-l").arg(format!("unix:{}", socket.display())).arg("-p").arg(&pid_file);
    if geteuid().is_root() {
        shell.args(["-u", "root"]);
    }
    let mut server = shell.spawn().unwrap();
    wait_until("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let null = (0..3).map(|fd| file_of_descriptor(server.id() as i32, fd));
    assert!(null.flatten().all(|file| file == Path::new("/dev/null")));
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
    assert!(wait_child(&mut server, "the server ends").success());
}
