//! Sockets from systemd and messages to it. The tests play systemd themselves.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};

use crate::common::{ECHOD, early, talk};
use nix::sys::signal::Signal;
use testkit::{Daemon, Peer, TempDir, children, file_of_descriptor, uninterrupted, wait_child};

/// What the shell does between the test and the daemon: the sockets come as its standard input and
/// output and become descriptors 3 and 4; only it can know the process id that exec keeps.
const PASS: &str =
    "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// A command that starts echod as systemd does, with sockets at descriptors 3 and 4.
fn passing(script: &str, sockets: Vec<OwnedFd>, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, ECHOD]).args(args);
    if nix::unistd::geteuid().is_root() && !args.contains(&"-u") {
        command.args(["-u", "root"]);
    }
    command.env("LISTEN_FDS", sockets.len().to_string());
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().map_or_else(Stdio::null, Stdio::from));
    command.stdout(sockets.next().map_or_else(Stdio::null, Stdio::from));
    command.stderr(Stdio::piped());
    command
}

fn started(mut command: Command) -> Daemon {
    Daemon::adopt(command.spawn().unwrap())
}

/// Runs it to its end, which must come by itself.
fn ended(mut command: Command) -> Output {
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut said = child.stderr.take().unwrap();
    let status = wait_child(&mut child, "echod ends");
    let mut stderr = Vec::new();
    said.read_to_end(&mut stderr).unwrap();
    Output { status, stdout: Vec::new(), stderr }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// How many sockets a process has open.
fn sockets(pid: i32) -> usize {
    let files = (0..64).filter_map(|fd| file_of_descriptor(pid, fd));
    files.filter(|file| file.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn case_27_passed_listeners_are_served_in_place_of_those_of_l() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let (tcp, addr) = listener();
    let unix = UnixListener::bind(&path).unwrap();
    let daemon =
        started(passing(PASS, vec![tcp.into(), unix.into()], &["-l", "127.0.0.1:0", "-c", "9"]));
    assert_eq!(daemon.listening(2), [addr.to_string(), format!("unix:{}", path.display())]);
    daemon.wait_log("systemd passed 2 sockets to be used in place of -l");
    for fd in [3, 4] {
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", daemon.pid())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert!(flags & nix::libc::O_CLOEXEC != 0, "descriptor {fd} is closed on exec");
    }
    let clients: Vec<Peer> = (0..3).map(|_| talk(addr)).collect();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
    for child in children(daemon.pid()) {
        assert!(sockets(child) <= 1, "{} sockets", sockets(child));
    }
    drop(clients);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(path.exists(), "the file of a passed socket belongs to systemd");
}

#[test]
fn case_27_every_model_serves_a_passed_listener() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let (tcp, addr) = listener();
        let daemon = started(passing(PASS, vec![tcp.into()], &["-m", model, "-n", "2"]));
        assert_eq!(daemon.listening(1), [addr.to_string()], "{model}");
        for _ in 0..3 {
            talk(addr);
        }
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
    }
}

#[test]
fn case_27_a_passed_udp_socket_is_served_beside_a_listener() {
    let (tcp, addr) = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = udp.local_addr().unwrap();
    let daemon = started(passing(PASS, vec![tcp.into(), udp.into()], &["--udp"]));
    talk(addr);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
    client.send_to(b"hello", at).unwrap();
    let mut echo = [0; 9];
    assert_eq!(uninterrupted(|| client.recv_from(&mut echo)).unwrap(), (5, at));
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn case_27_a_wrong_or_malformed_listen_pid_is_ignored() {
    for (pid, complaint) in [
        ("1", "LISTEN_PID 1 is not this process"),
        ("me", "WARN"),
        ("", "LISTEN_PID '': not a process id: ignored"),
        ("-1", "LISTEN_PID '-1': not a process id: ignored"),
    ] {
        let script = PASS.replace("$$", &format!("'{pid}'"));
        let (passed, addr) = listener();
        let daemon = started(passing(&script, vec![passed.into()], &["-l", "127.0.0.1:0"]));
        daemon.wait_log(complaint);
        assert_eq!(daemon.listening(1).len(), 1);
        assert_ne!(daemon.addr(), addr);
        talk(daemon.addr());
    }
}

#[test]
fn malformed_listen_fds_are_ignored() {
    let (passed, addr) = listener();
    let mut command = passing(PASS, vec![passed.into()], &["-l", "127.0.0.1:0"]);
    command.env("LISTEN_FDS", "one");
    let daemon = started(command);
    daemon.wait_log("LISTEN_FDS 'one': not a number of descriptors: ignored");
    assert_ne!(daemon.addr(), addr);
    talk(daemon.addr());
}

#[test]
fn a_dual_stack_listener_is_shown_as_a_star_and_logs_ipv4_plainly() {
    let tcp = TcpListener::bind("[::]:0").unwrap(); // as ListenStream=PORT
    let port = tcp.local_addr().unwrap().port();
    let daemon = started(passing(PASS, vec![tcp.into()], &[]));
    assert_eq!(daemon.listening(1), [format!("*:{port}")]);
    talk(SocketAddr::from(([127, 0, 0, 1], port)));
    daemon.wait_log("client 127.0.0.1:");
}

#[test]
fn case_27_with_accept_yes_the_one_client_is_served_and_nothing_listens() {
    let (tcp, addr) = listener();
    let mut client = Peer::connect(addr);
    let accepted = tcp.accept().unwrap().0;
    drop(tcp);
    let mut command = passing(PASS, vec![accepted.into()], &["-l", "127.0.0.1:0"]);
    let mut child = command.spawn().unwrap();
    drop(command);
    client.ask("hello", "hello");
    assert_eq!(sockets(child.id() as i32), 1);
    assert!(children(child.id() as i32).is_empty());
    client.shutdown_write();
    assert_eq!(client.rest(), b"");
    assert_eq!(wait_child(&mut child, "echod ends").code(), Some(0));
    let mut log = String::new();
    child.stderr.unwrap().read_to_string(&mut log).unwrap();
    let name = client.stream().local_addr().unwrap();
    assert!(log.contains(&format!("client {name} start")), "{log}");
    assert!(!log.contains("listening on"), "{log}");
}

#[test]
fn with_inetd_a_passed_listener_is_given_back_when_nobody_comes() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let (tcp, addr) = listener();
        let keeper = tcp.try_clone().unwrap();
        let args = ["-i", "-t", "0.5", "-m", model];
        let mut client = early(addr);
        let mut daemon = started(passing(PASS, vec![tcp.into()], &args));
        client.expect("hello");
        drop(client);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        let _next = TcpStream::connect(addr).unwrap();
        assert!(keeper.accept().is_ok(), "{model}: the next client is systemd's again");
    }
}

#[test]
fn a_socket_that_cannot_be_served_is_named_with_the_reason() {
    let refused = |sockets, args: &[&str]| {
        let output = ended(passing(PASS, sockets, args));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let said = refused(vec![listener().0.into(), file()], &[]);
    assert!(said.ends_with("echod: descriptor 4 (LISTEN_FDS): not a socket\n"), "{said}");
    let (tcp, addr) = listener();
    let client = TcpStream::connect(addr).unwrap();
    let said = refused(vec![client.into(), tcp.into()], &[]);
    let want = "descriptor 3 (LISTEN_FDS): a connected socket, which must be the only one\n";
    assert!(said.ends_with(want), "{said}");
    let mut missing = passing(PASS, vec![listener().0.into()], &[]);
    missing.env("LISTEN_FDS", "9"); // 3 and 4 are open
    let said = String::from_utf8(ended(missing).stderr).unwrap();
    assert!(said.ends_with("descriptor 5 (LISTEN_FDS): Bad file descriptor\n"), "{said}");
}

#[test]
fn case_27_systemd_may_pass_datagram_sockets_beside_a_listener_or_alone() {
    let udp = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        (OwnedFd::from(socket), at)
    };
    let (tcp, addr) = listener();
    let ((beside, at), (alone, at_alone)) = (udp(), udp());
    let both = started(passing(PASS, vec![tcp.into(), beside], &[]));
    drop(talk(addr));
    let only = started(passing(PASS, vec![alone], &[]));
    for at in [at, at_alone] {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        client.send_to(b"hello", at).unwrap();
        let mut echo = [0; 8];
        assert_eq!(uninterrupted(|| client.recv_from(&mut echo)).unwrap(), (5, at));
    }
    both.wait_log(&format!("listening on {at} (udp)"));
    assert_eq!(only.stop().code(), Some(0));
}

#[test]
fn sigterm_leaves_the_passed_listener_to_systemd() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let (tcp, addr) = listener();
        let keeper = tcp.try_clone().unwrap();
        let mut daemon = started(passing(PASS, vec![tcp.into()], &["-m", model]));
        let mut served = talk(addr);
        daemon.signal(Signal::SIGTERM);
        daemon.wait_log("stopping: 1 client");
        let _waits = TcpStream::connect(addr).unwrap(); // in the backlog, for the next instance
        served.ask("still here?", "still here?");
        drop(served);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        assert!(keeper.accept().is_ok(), "{model}");
    }
}
