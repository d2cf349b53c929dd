//! O_NONBLOCK of a socket that a superserver has passed: the flag is shared with that, and is as it was
//! when the server ends.

use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use crate::common::{ECHOD, early, talk};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, MODELS, Peer, TempDir, each_model, has_ended, run, uninterrupted, wait_child,
    wait_until,
};

/// Whether read, write and accept wait, for all who hold this socket.
fn blocks(socket: &OwnedFd) -> bool {
    let flags = fcntl(socket, FcntlArg::F_GETFL).unwrap();
    !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
}

fn set_nonblocking(socket: &OwnedFd) {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL).unwrap());
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
}

fn listener() -> (OwnedFd, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener.into(), addr)
}

/// As inetd starts it: descriptors 0, 1 and 2 are one socket.
fn inetd(socket: &OwnedFd, args: &[&str]) -> Child {
    let twin = || Stdio::from(socket.try_clone().unwrap());
    let mut command = testkit::command(ECHOD, &[&["-i"], args].concat());
    command.stdin(twin()).stdout(twin()).stderr(twin()).spawn().unwrap()
}

/// As systemd starts it: the sockets at descriptors 3 and, where there are two, 4.
fn systemd(sockets: &[&OwnedFd], args: &[&str]) -> Command {
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
                  export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, ECHOD]).args(args);
    if geteuid().is_root() && !args.contains(&"-u") {
        command.args(["-u", "root"]);
    }
    let twin = |number: usize| {
        let socket = sockets.get(number).map(|socket| socket.try_clone().unwrap());
        socket.map_or_else(Stdio::null, Stdio::from)
    };
    command.env("LISTEN_FDS", sockets.len().to_string());
    command.stdin(twin(0)).stdout(twin(1)).stderr(Stdio::piped());
    command
}

fn stop(mut child: Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(wait_child(&mut child, "the server ends").code(), Some(0));
}

#[test]
fn inetds_listener_blocks_again_when_the_server_of_any_model_has_ended() {
    each_model(&MODELS, |model| {
        let (socket, addr) = listener();
        assert!(blocks(&socket));
        let server = inetd(&socket, &["-m", model, "-n", "3"]);
        drop(talk(addr));
        assert!(!blocks(&socket), "{model}: a client that has gone is not waited for");
        stop(server);
        assert!(blocks(&socket), "{model}: after SIGTERM");
        let mut client = early(addr);
        let mut server = inetd(&socket, &["-m", model, "-n", "3", "-t", "0.2"]);
        client.expect("hello");
        drop(client);
        assert!(wait_child(&mut server, "it was idle for too long").success());
        assert!(blocks(&socket), "{model}: after the idle limit");
        set_nonblocking(&socket);
        let server = inetd(&socket, &["-m", model, "-n", "3"]);
        drop(talk(addr));
        stop(server);
        assert!(!blocks(&socket), "{model}: one that did not block before");
    });
}

#[test]
fn systemds_listeners_block_again_when_the_server_of_any_model_has_ended() {
    each_model(&MODELS, |model| {
        let ((one, addr), (other, _)) = (listener(), listener());
        set_nonblocking(&other);
        let args = ["-m", model, "-n", "3"];
        let daemon = Daemon::adopt(systemd(&[&one, &other], &args).spawn().unwrap());
        drop(talk(addr));
        assert!(!blocks(&one) && !blocks(&other), "{model}");
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(blocks(&one), "{model}: one that blocked before");
        assert!(!blocks(&other), "{model}: one that did not");
    });
}

/// A worker that still accepts must not find that it waits.
#[test]
fn a_listener_does_not_block_again_while_sessions_go_on() {
    each_model(&MODELS, |model| {
        let (socket, addr) = listener();
        let args = ["-m", model, "-n", "3"];
        let mut daemon = Daemon::adopt(systemd(&[&socket], &args).spawn().unwrap());
        let mut served = talk(addr);
        daemon.signal(Signal::SIGTERM);
        daemon.wait_log("stopping: 1 client");
        assert!(!blocks(&socket), "{model}");
        served.ask("still here?", "still here?");
        drop(served);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        assert!(blocks(&socket), "{model}");
    });
}

#[test]
fn sockets_for_datagrams_block_again_too() {
    each_model(&MODELS, |model| {
        let (tcp, addr) = listener();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = udp.local_addr().unwrap();
        let udp = OwnedFd::from(udp);
        let daemon =
            Daemon::adopt(systemd(&[&tcp, &udp], &["-m", model, "-n", "2"]).spawn().unwrap());
        drop(talk(addr));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        client.send_to(b"hello", at).unwrap();
        assert_eq!(uninterrupted(|| client.recv_from(&mut [0; 9])).unwrap(), (5, at), "{model}");
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
        assert!(blocks(&tcp) && blocks(&udp), "{model}");
    });
    // And of a service that has nothing else, under inetd.
    let dir = TempDir::new();
    let path = dir.path().join("d");
    let socket = OwnedFd::from(UnixDatagram::bind(&path).unwrap());
    let client = UnixDatagram::bind(dir.path().join("client")).unwrap();
    client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
    client.send_to(b"hello", &path).unwrap(); // before an idle limit can be over
    let mut server = inetd(&socket, &["-t", "0.5"]);
    assert_eq!(uninterrupted(|| client.recv(&mut [0; 9])).unwrap(), 5);
    assert!(wait_child(&mut server, "it was idle for too long").success());
    assert!(blocks(&socket));
}

#[test]
fn a_start_that_fails_leaves_the_flag_as_it_was() {
    let (socket, _) = listener();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let nowhere = ["-p", "/no/such/folder/pid"];
    let daemon = ["-d", "-p", "/no/such/folder/pid"];
    let first: &[&str] = &[];
    for (sockets, args) in
        [(&[&socket, &file][..], first), (&[&socket], &nowhere), (&[&socket], &daemon)]
    {
        let failed = run_as_is(systemd(sockets, args));
        assert_eq!(failed, Some(1), "{args:?}");
        assert!(blocks(&socket), "{args:?}");
    }
}

/// [`run`] would put a pipe where the socket is.
fn run_as_is(mut command: Command) -> Option<i32> {
    let mut child = command.spawn().unwrap();
    drop(command);
    wait_child(&mut child, "the start fails").code()
}

#[test]
fn a_daemon_that_was_passed_a_listener_gives_it_back_as_it_was() {
    let (socket, addr) = listener();
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let args = ["-d", "-p", pid_file.to_str().unwrap()];
    assert_eq!(run_as_is(systemd(&[&socket], &args)), Some(0));
    drop(talk(addr));
    assert!(!blocks(&socket));
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
    assert!(blocks(&socket));
}

/// inetd's `nowait` and systemd's `Accept=yes`.
#[test]
fn a_passed_client_keeps_its_flag() {
    for nonblocking in [false, true] {
        for by_inetd in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = OwnedFd::from(listener.accept().unwrap().0);
            if nonblocking {
                set_nonblocking(&socket);
            }
            let mut server = if by_inetd {
                inetd(&socket, &[])
            } else {
                systemd(&[&socket], &[]).spawn().unwrap()
            };
            let mut client = Peer::new(client);
            client.ask("hello", "hello");
            assert_eq!(blocks(&socket), !nonblocking, "while it is served");
            client.stream().shutdown(Shutdown::Write).unwrap();
            assert!(wait_child(&mut server, "the session ends").success());
            assert_eq!(blocks(&socket), !nonblocking, "afterwards");
        }
    }
}

/// A pipe between two programs is shared with both.
#[test]
fn a_pipe_keeps_its_flag() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    let mut command = testkit::command(ECHOD, &["-i", "-q"]);
    command.stdin(reader.try_clone().unwrap()).stdout(Stdio::null());
    let mut server = command.spawn().unwrap();
    drop(command);
    nix::unistd::write(&writer, b"hello").unwrap();
    drop(writer);
    assert!(wait_child(&mut server, "the session ends").success());
    assert!(blocks(&reader));
    let output = run(testkit::command(ECHOD, &["-i", "-q"]), b"hello");
    assert_eq!(output.stdout, b"hello");
}
