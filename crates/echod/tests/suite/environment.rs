//! root's environment may hold a secret: it is in no process of a server, neither for /proc/PID/environ
//! nor anywhere in memory.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use crate::common::{ECHOD, cleanup_helper, processes, talk, wait_idle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, MODELS, Peer, TempDir, children, command, each_model, has_ended, injected, run,
    uninterrupted, wait_child, wait_until,
};

/// The value of a variable that is kept: what finds it would find the secret too.
const KEPT: &str = "forklore-control.UTF-8";
/// Memory that is read at once, in bytes.
const PIECE: usize = 1 << 20;

/// No part of it stands in an argument of this process or of the server.
fn secret() -> String {
    format!("{}-{}-{}", "not", "for", std::process::id() * 7 + 1)
}

/// A command with a secret in its environment, under names of several lengths.
fn with_secret(mut command: Command) -> Command {
    for name in ["A", "API_TOKEN", "PGPASSWORD", "PATHS", "LANGUAGE"] {
        command.env(name, secret());
    }
    command.env("LONG", secret().repeat(2000)).env("LANG", KEPT).env("TZ", "UTC");
    command
}

/// True where this text stands in memory of the process.
fn is_in_memory(pid: i32, text: &str) -> io::Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut buffer = vec![0; PIECE + text.len()];
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with('r') || line.contains("[v") {
            continue;
        }
        let (first, end) = range.split_once('-').unwrap();
        let [mut at, end] = [first, end].map(|end| u64::from_str_radix(end, 16).unwrap());
        while at < end {
            let length = buffer.len().min((end - at) as usize);
            let Ok(n) = memory.read_at(&mut buffer[..length], at) else { break };
            // The search in text is std's own, and so optimised here too.
            if String::from_utf8_lossy(&buffer[..n]).contains(text) {
                return Ok(true);
            }
            at += PIECE.min(n.max(1)) as u64; // and so each piece overlaps the next
        }
    }
    Ok(false)
}

/// Neither the kernel shows the secret nor is it in memory, which was read.
fn knows_nothing(pid: i32, what: &str) {
    let secret = secret();
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let shown = environ.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(!shown, "{what}: {}", String::from_utf8_lossy(&environ));
    match is_in_memory(pid, KEPT) {
        Ok(is_found) => assert!(is_found, "{what}: what was to be found was not"),
        Err(error) => {
            testkit::not_judged(format_args!("/proc/{pid}/mem of {what}: {error}"));
            return;
        }
    }
    assert!(!is_in_memory(pid, &secret).unwrap(), "{what}");
}

#[test]
fn no_process_of_any_model_knows_a_secret_of_roots_environment() {
    each_model(&MODELS, |model| {
        for user in [&["-u", "nobody"][..], &[]] {
            if !geteuid().is_root() && !user.is_empty() {
                continue;
            }
            let dir = TempDir::new();
            let socket = dir.path().join("d");
            let datagrams = format!("unix-dgram:{}", socket.display());
            let args = ["-m", model, "-n", "2", "-l", "127.0.0.1:0", "-l", &datagrams];
            let command = with_secret(Command::new(ECHOD));
            let daemon = Daemon::spawn(command, &[&args[..], user].concat());
            let _client = talk(daemon.addr());
            if model == "prefork" {
                wait_idle(&daemon, 1);
            }
            let all = processes(&daemon);
            assert!(matches!(model, "thread") || all.len() > 1);
            all.into_iter().for_each(|pid| knows_nothing(pid, model));
            if !user.is_empty() {
                knows_nothing(cleanup_helper(&socket).unwrap(), "cleanup helper");
            }
        }
    });
}

/// As in a chroot without /proc; its processes can be seen from outside nevertheless.
#[test]
fn without_proc_there_are_no_titles_and_no_secret_either() {
    let Some(mut strace) = injected("all", &["openat:error=ENOENT"]) else { return };
    strace.args(["-P", "/proc/self/stat"]).arg(ECHOD);
    let daemon = Daemon::spawn(with_secret(strace), &["-m", "fork"]);
    let _client = talk(daemon.addr());
    for pid in processes(&daemon) {
        assert!(testkit::title(pid).contains("127.0.0.1:0"), "the arguments are shown");
        knows_nothing(pid, "without /proc");
    }
}

#[test]
fn a_daemon_knows_nothing_either() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let args = ["-d", "-l", "127.0.0.1:0", "-p", pid_file.to_str().unwrap()];
    assert!(run(with_secret(command(ECHOD, &args)), b"").status.success());
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    knows_nothing(pid, "-d");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
}

#[test]
fn under_inetd_neither_the_session_nor_a_waiting_servers_child_knows_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let start = |socket: OwnedFd| {
        let mut command = with_secret(command(ECHOD, &["-i"]));
        // The client's name, as UCSPI tells it, is read before all is forgotten.
        command.env("PROTO", "TCP").env("TCPREMOTEIP", "192.0.2.7").env("TCPREMOTEPORT", "4711");
        command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut client = Peer::new(TcpStream::connect(addr).unwrap());
    let twin = |socket: &TcpStream| OwnedFd::from(socket.try_clone().unwrap());
    let accepted = listener.accept().unwrap().0;
    // Under UCSPI descriptor 1 is answered to.
    let mut command = with_secret(command(ECHOD, &["-i"]));
    command.env("PROTO", "TCP").env("TCPREMOTEIP", "192.0.2.7").env("TCPREMOTEPORT", "4711");
    command.stdin(twin(&accepted)).stdout(twin(&accepted)).stderr(Stdio::null());
    let mut nowait = command.spawn().unwrap();
    drop((command, accepted));
    client.ask("hello", "hello");
    assert_eq!(testkit::title(nowait.id() as i32), "echod: 192.0.2.7:4711");
    knows_nothing(nowait.id() as i32, "nowait");
    drop(client);
    assert!(wait_child(&mut nowait, "the session ends").success());
    let mut wait = start(listener.into());
    let _client = talk(addr);
    let pid = wait.id() as i32;
    for pid in [&[pid], &children(pid)[..]].concat() {
        knows_nothing(pid, "wait");
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    drop(_client);
    assert!(wait_child(&mut wait, "the server ends").success());
}

/// NOTIFY_SOCKET and LISTEN_FDS are used, and then forgotten as well.
#[test]
fn what_systemd_passes_is_taken_out_of_the_environment() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let dir = TempDir::new();
    let manager = dir.path().join("manager");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    socket.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";
    let mut shell = with_secret(Command::new("sh"));
    shell.args(["-c", script, ECHOD]).env("NOTIFY_SOCKET", &manager);
    if geteuid().is_root() {
        shell.args(["-u", "root"]);
    }
    shell.stdin(OwnedFd::from(tcp)).stdout(Stdio::null()).stderr(Stdio::piped());
    let daemon = Daemon::adopt(shell.spawn().unwrap());
    let mut message = [0; 64];
    let length = uninterrupted(|| socket.recv(&mut message)).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    let _client = talk(addr);
    for pid in processes(&daemon) {
        knows_nothing(pid, "systemd");
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environ = String::from_utf8_lossy(&environ).into_owned();
        assert!(!environ.contains("NOTIFY_SOCKET") && !environ.contains("LISTEN_"), "{environ}");
    }
}
