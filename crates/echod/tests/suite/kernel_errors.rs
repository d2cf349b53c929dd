//! System calls that fail for want of memory, or for no reason: the server lives on, or says why not.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::common::{ECHOD, prlimit, talk, wait_ends};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use testkit::{Daemon, MODELS, TempDir, WATCHDOG, each_model, injected, uninterrupted, wait_child};

/// The wait fails as strace(1) makes it, and everything goes on.
fn lives_through(inject: &str, model: &str) {
    let Some(mut strace) = injected("ppoll", &[inject]) else { return };
    strace.arg(ECHOD);
    let daemon = Daemon::spawn(strace, &["-m", model, "-n", "2"]);
    for _ in 0..5 {
        drop(talk(daemon.addr()));
    }
    // Under the prefork model the parent need not have waited often; and the short wait that only lets
    // signals in is logged nowhere.
    if model == "fork" && !inject.contains("EAGAIN") {
        daemon.wait_log(": tried again until it works");
        assert_eq!(daemon.log().matches("ppoll: ").count(), 1, "once is enough");
    }
    assert_eq!(daemon.stop().code(), Some(0), "{inject} {model}");
}

#[test]
fn a_wait_without_memory_does_not_end_the_server_of_any_model() {
    each_model(&MODELS, |model| lives_through("ppoll:error=ENOMEM:when=3", model));
    lives_through("ppoll:error=ENOMEM:when=3..22", "fork"); // twenty times in a row
    lives_through("ppoll:error=EAGAIN:when=2+5", "fork");
}

/// ppoll(2) says EINVAL then.
#[test]
fn a_limit_of_open_files_that_is_lowered_too_far_and_raised_again_is_lived_through() {
    each_model(&MODELS, |model| {
        let daemon = Daemon::spawn(Command::new(ECHOD), &["-m", model, "-n", "2"]);
        drop(talk(daemon.addr()));
        wait_ends(&daemon, 1);
        prlimit(daemon.pid(), "--nofile=0:");
        daemon.signal(Signal::SIGUSR1); // it waits again
        daemon.wait_log(" of 256 clients");
        prlimit(daemon.pid(), "--nofile=1024:");
        drop(talk(daemon.addr()));
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
    });
}

/// Even then SIGTERM is handled.
#[test]
fn a_server_that_can_wait_for_nothing_any_more_still_ends_in_order() {
    each_model(&MODELS, |model| {
        let Some(mut strace) = injected("ppoll", &["ppoll:error=ENOMEM:when=2+"]) else { return };
        strace.arg(ECHOD);
        let daemon = Daemon::spawn(strace, &["-m", model, "-n", "2"]);
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
    });
}

/// What kind a socket of its own has the server knows.
#[test]
fn a_listener_that_cannot_be_asked_what_it_is_still_listens() {
    each_model(&MODELS, |model| {
        let Some(mut strace) = injected("getsockopt", &["getsockopt:error=ENOBUFS"]) else {
            return;
        };
        strace.arg(ECHOD);
        let dir = TempDir::new();
        let datagrams = dir.path().join("d");
        let listen = format!("unix-dgram:{}", datagrams.display());
        let args = ["-m", model, "--udp", "-l", "127.0.0.1:0", "-l", &listen];
        let daemon = Daemon::spawn(strace, &args);
        drop(talk(daemon.addr()));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        client.send_to(b"hello", daemon.addr()).unwrap();
        assert_eq!(uninterrupted(|| client.recv(&mut [0; 9])).unwrap(), 5, "{model}");
        daemon.wait_log(&format!("listening on {} (udp)", daemon.addr()));
        daemon.wait_log(&format!("listening on {listen}"));
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
    });
}

/// What is wrong with a socket that a superserver has passed, where this call fails.
fn refused(inject: &str, shell: &str, args: &[&str]) -> Option<String> {
    let strace = injected("getsockopt,getsockname", &[inject])?;
    let socket = OwnedFd::from(TcpListener::bind("[::]:0").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(strace.get_program()).args(strace.get_args());
    command.arg(ECHOD).args(args);
    if geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    drop(command);
    assert_eq!(wait_child(&mut server, "the start fails").code(), Some(1), "{inject}");
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    Some(said)
}

#[test]
fn a_superservers_socket_that_cannot_be_asked_what_it_is_ends_the_start() {
    let systemd = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    for (call, systemds, inetds) in [
        // SO_TYPE, SO_ACCEPTCONN, IPV6_V6ONLY, and where it is bound.
        ("getsockopt:error=ENOBUFS:when=1", "descriptor 3 (LISTEN_FDS)", "standard input"),
        ("getsockopt:error=ENOBUFS:when=2", "descriptor 3 (LISTEN_FDS)", "standard input"),
        ("getsockopt:error=ENOBUFS:when=3", "inherited socket: getsockopt", ""),
        ("getsockname:error=ENOBUFS:when=2", "inherited socket: getsockname", ""),
    ] {
        let Some(said) = refused(call, systemd, &[]) else { return };
        let why = "No buffer space available";
        assert!(said.ends_with(&format!("echod: {systemds}: {why}\n")), "{call}: {said}");
        let inetds = if inetds.is_empty() { systemds } else { inetds };
        let call = call.replace("getsockname:error=ENOBUFS:when=2", "getsockname:error=ENOBUFS");
        let said = refused(&call, "exec \"$@\"", &["-i"]).unwrap();
        assert!(said.ends_with(&format!("echod: {inetds}: {why}\n")), "{call}: {said}");
    }
}

/// What cannot be received keeps its socket readable: such a wait would return at once for ever.
#[test]
fn a_recvmsg_that_goes_on_failing_is_told_of_once_and_tried_again_now_and_then() {
    for error in ["EACCES", "ENOMEM", "EHOSTUNREACH"] {
        let inject = format!("recvmsg:error={error}:when=1..102");
        let Some(mut strace) = injected("recvmsg", &[&inject]) else { return };
        strace.arg(ECHOD);
        let daemon = Daemon::spawn(strace, &["--udp"]);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(WATCHDOG)).unwrap();
        client.connect(daemon.addr()).unwrap();
        client.send(b"hello").unwrap();
        assert_eq!(uninterrupted(|| client.recv(&mut [0; 8])).unwrap(), 5);
        daemon.wait_log("recvmsg: works again");
        assert_eq!(daemon.log().matches("goes on failing").count(), 1, "{error}");
        assert_eq!(daemon.log().matches("datagrams start").count(), 1, "{error}");
        assert_eq!(daemon.stop().code(), Some(0), "{error}");
    }
}
