//! Signals that the starter has blocked or ignores: no session inherits that, and the server handles its own.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::common::{ECHOD, cleanup_helper, server_of, signal, talk, wait_ends, wait_idle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, MODELS, Peer, TempDir, children, each_model, has_ended, names, run, signal_mask,
    wait_child, wait_until, zombies,
};

/// What a careless starter leaves, as options of env(1).
const STARTERS: [&str; 3] = [
    "--block-signal=TERM,INT,HUP,USR1,CHLD,ALRM",
    "--ignore-signal=TERM,INT,HUP,USR1,CHLD",
    "--block-signal", // every one
];

/// The bit of a signal in /proc/PID/status.
fn bit(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// echod behind env(1) with this option; none where that cannot do it.
fn started_with(option: &str) -> Option<Command> {
    let tried = Command::new("env").args([option, "true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        testkit::not_judged(format_args!("needs env {option}"));
        return None;
    }
    let mut command = Command::new("env");
    command.args([option, ECHOD]);
    Some(command)
}

/// A process that serves clients has no signal blocked once it has begun, and ignores none but those that it should.
fn is_clean(pid: i32, what: &str) {
    wait_until(&format!("{what}: no signal is blocked"), || signal_mask(pid, "SigBlk:") == 0);
    let ours = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGCHLD];
    let ignored = signal_mask(pid, "SigIgn:");
    assert!(ours.iter().all(|signal| ignored & bit(*signal) == 0), "{what}: {ignored:x}");
}

#[test]
fn no_child_inherits_a_blocked_or_ignored_signal() {
    for option in STARTERS {
        each_model(&["fork", "prefork"], |model| {
            let Some(command) = started_with(option) else { return };
            let daemon = Daemon::spawn(command, &["-m", model, "-n", "2", "--udp"]);
            let peer = talk(daemon.addr());
            let child = server_of(&daemon, &peer);
            if model == "prefork" {
                wait_idle(&daemon, 1);
            }
            wait_until("the process for datagrams is there", || {
                children(daemon.pid())
                    .into_iter()
                    .any(|pid| testkit::title(pid).contains("datagrams"))
            });
            for pid in children(daemon.pid()) {
                is_clean(pid, &format!("{option} {model}"));
            }
            signal(child, Signal::SIGTERM);
            wait_until("SIGTERM has ended it", || has_ended(child));
            daemon.wait_log("signal 15 (SIGTERM)");
        });
    }
}

#[test]
fn the_server_hears_its_signals_whatever_its_starter_did() {
    for option in STARTERS {
        each_model(&MODELS, |model| {
            let Some(command) = started_with(option) else { return };
            let daemon = Daemon::spawn(command, &["-m", model, "-n", "2"]);
            drop(talk(daemon.addr()));
            wait_ends(&daemon, 1);
            wait_until("no zombie is left", || zombies(daemon.pid()).is_empty());
            daemon.signal(Signal::SIGHUP);
            daemon.wait_log("SIGHUP");
            daemon.signal(Signal::SIGUSR1);
            daemon.wait_log("0 of 256 clients");
            assert_eq!(daemon.stop().code(), Some(0), "{option} {model}");
        });
    }
}

/// inetd's `nowait`, and systemd's `Accept=yes`.
#[test]
fn a_passed_clients_process_ends_by_sigterm() {
    for option in STARTERS {
        for by_inetd in [true, false] {
            let Some(mut command) = started_with(option) else { return };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = OwnedFd::from(listener.accept().unwrap().0);
            if by_inetd {
                command.arg("-i").stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
            } else {
                let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
                let env = command;
                command = Command::new("sh");
                command.args(["-c", script, "sh"]).arg(env.get_program()).args(env.get_args());
                command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
            }
            let user: &[&str] = if geteuid().is_root() { &["-u", "root"] } else { &[] };
            let mut server = command.args(user).spawn().unwrap();
            drop(command);
            Peer::new(client.try_clone().unwrap()).ask("hello", "hello");
            is_clean(server.id() as i32, option);
            kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
            let status = wait_child(&mut server, "SIGTERM ends it");
            assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{option} {by_inetd}");
        }
    }
}

#[test]
fn a_daemon_starts_and_fails_to_with_the_right_exit_code_whatever_its_starter_did() {
    for option in STARTERS {
        let dir = TempDir::new();
        let pid_file = dir.path().join("pid");
        let pid_file = pid_file.to_str().unwrap();
        let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
        let daemon = ["-d", "-l", "127.0.0.1:0", "-p", pid_file];
        let start = |args: &[&str]| {
            let mut command = started_with(option)?;
            command.args(user).args(args);
            Some(run(command, b""))
        };
        let Some(started) = start(&daemon) else { return };
        assert_eq!(started.status.code(), Some(0), "{option}: {started:?}");
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        // The second one cannot have the pid file.
        let failed = start(&daemon).unwrap();
        let said = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(1), "{option}: {said}");
        assert!(said.contains(&format!("locked by the server with process id {pid}")), "{said}");
        let helper = cleanup_helper(pid_file.as_ref());
        assert_eq!(helper.is_some(), geteuid().is_root());
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_until("the daemon has ended", || has_ended(pid));
        wait_until("the pid file is gone", || names(dir.path()).is_empty());
    }
}
