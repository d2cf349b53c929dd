//! Where a server may listen, and what it says where it may not.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use testkit::{Daemon, Peer, TempDir, WATCHDOG, command, run, uninterrupted, wait_until};

/// Runs echod where it must not start: its exit code and its words.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = run(command(ECHOD, args), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn abstract_name(name: &str) -> UnixAddress {
    UnixAddress::from_abstract_name(name).unwrap()
}

/// A UNIX-domain stream that has received its echo.
fn talk_unix(mut stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    stream
}

/// A client for UNIX datagrams, whose own name lets the answer find it.
fn talk_datagram(socket: &UnixDatagram, mesg: &[u8]) {
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket.send(mesg).unwrap();
    let mut echo = vec![0; 300_000];
    let n = uninterrupted(|| socket.recv(&mut echo)).expect("an echo");
    assert!(&echo[..n] == mesg, "{n} octets of {}", mesg.len());
}

#[test]
fn case_26_a_star_answers_both_families_and_logs_ipv4_plainly() {
    let daemon = echod(&["-l", "*:0"]);
    let listening = daemon.listening(1);
    let port: u16 = listening[0].strip_prefix("*:").unwrap().parse().unwrap();
    for host in ["127.0.0.1", "::1"] {
        talk((host.parse::<IpAddr>().unwrap(), port).into());
    }
    daemon.wait_log("client 127.0.0.1:");
    daemon.wait_log("client [::1]:");
}

#[test]
fn case_26_each_family_by_itself_leaves_the_other_alone() {
    for (listen, other) in [("127.0.0.1:0", "::1"), ("[::1]:0", "127.0.0.1")] {
        let daemon = echod(&["-l", listen]);
        drop(talk(daemon.addr()));
        let other = SocketAddr::new(other.parse().unwrap(), daemon.addr().port());
        assert!(std::net::TcpStream::connect(other).is_err(), "{other}");
    }
}

#[test]
fn case_26_several_endpoints_are_served_at_once() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let unix = format!("unix:{}", path.display());
    let all = ["-l", "127.0.0.1:0", "-l", &unix, "-l", "[::1]:0", "-l", "127.0.0.2:0"];
    let daemon = echod(&all);
    for at in daemon.listening(4) {
        match at.parse() {
            Ok(addr) => drop(talk(addr)),
            Err(_) => drop(talk_unix(UnixStream::connect(&path).unwrap())),
        }
    }
    daemon.wait_log("client unix start");
}

#[test]
fn case_26_a_stale_unix_socket_is_replaced_a_live_one_and_a_plain_file_are_refused() {
    for (form, live) in [("unix:", "unix-dgram:"), ("unix-dgram:", "unix:")] {
        let dir = TempDir::new();
        let path = dir.path().join("sock");
        let listen = format!("{form}{}", path.display());
        let mut first = echod(&["-l", &listen]);
        for form in [form, live] {
            let (code, said) = refused(&["-l", &format!("{form}{}", path.display())]);
            assert_eq!(code, Some(1));
            assert!(said.ends_with(": Address already in use\n"), "{said}");
        }
        first.signal(Signal::SIGKILL);
        assert!(!first.wait().success());
        assert!(path.exists());
        wait_until("nobody holds it", || UnixDatagram::unbound().unwrap().connect(&path).is_err());
        let second = echod(&["-l", &listen]);
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        assert_eq!(second.stop().code(), Some(0));
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(refused(&["-l", &listen]).0, Some(1));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}

#[test]
fn case_26_a_live_unix_socket_whose_queue_is_full_is_refused_and_not_waited_for() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let (family, kind) = (AddressFamily::Unix, SockType::Stream);
    let live = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(live.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&live, Backlog::new(0).unwrap()).unwrap();
    let _first_in_queue = UnixStream::connect(&path).unwrap();
    let (code, said) = refused(&["-l", &format!("unix:{}", path.display())]);
    assert_eq!(code, Some(1));
    assert!(said.contains("Address already in use"), "{said}");
}

#[test]
fn case_26_unix_datagrams_are_answered_to_their_senders_names() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let daemon = echod(&["-v", "-l", &format!("unix-dgram:{}", path.display())]);
    assert_eq!(daemon.listening(1), [format!("unix-dgram:{}", path.display())]);
    let own = dir.path().join("client");
    let name = format!("forklore-test-{}", std::process::id());
    let named = UnixDatagram::bind(&own).unwrap();
    let abstract_one = UnixDatagram::bind_addr(&abstract_name(&name)).unwrap();
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.connect(&path).unwrap();
    nameless.send(b"where am I?").unwrap();
    daemon.wait_log("no answer to unix: a socket without a name");
    for client in [&named, &abstract_one] {
        client.connect(&path).unwrap();
        talk_datagram(client, b"hello");
        talk_datagram(client, b"");
        talk_datagram(client, &vec![b'x'; 150_000]);
    }
    daemon.wait_log(&format!("datagram from unix:{}: answered", own.display()));
    daemon.wait_log(&format!("datagram from unix:@{name}: answered"));
    drop(abstract_one); // gone: no answer can be sent, and nothing else happens
    talk_datagram(&named, b"still here");
}

#[test]
fn an_abstract_name_is_served_and_leaves_no_file() {
    let name = format!("forklore-abstract-{}", std::process::id());
    let both = [format!("unix:@{name}"), format!("unix-dgram:@{name}")];
    let daemon = echod(&["-l", &both[0], "-l", &both[1]]);
    assert_eq!(daemon.listening(2), both);
    drop(talk_unix(UnixStream::connect_addr(&abstract_name(&name)).unwrap()));
    let client = UnixDatagram::bind_addr(&abstract_name(&format!("{name}-client"))).unwrap();
    client.connect_addr(&abstract_name(&name)).unwrap();
    talk_datagram(&client, b"hello");
    let (code, said) = refused(&["-l", &both[0]]);
    assert_eq!(
        (code, said),
        (Some(1), format!("echod: bind {}: Address already in use\n", both[0]))
    );
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn the_umask_says_who_may_connect() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 0117; exec \"$@\"", "sh", ECHOD]);
    let _daemon = Daemon::spawn(shell, &["-l", &format!("unix:{}", path.display())]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn case_15_an_occupied_port_says_when_it_is_our_own() {
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = somebody.local_addr().unwrap().to_string();
    let (code, said) = refused(&["-l", &at]);
    assert_eq!((code, said), (Some(1), format!("echod: bind {at}: Address already in use\n")));
    let port = somebody.local_addr().unwrap().port();
    drop(somebody);
    let (code, said) = refused(&["-l", &format!("*:{port}"), "-l", &at]);
    let why = format!("echod: bind {at}: Address already in use, by our own *:{port}\n");
    assert_eq!((code, said), (Some(1), why));
}

#[test]
fn what_cannot_be_bound_is_named_with_the_reason() {
    for (listen, code, why) in [
        ("192.0.2.1:7", 1, "bind 192.0.2.1:7: Cannot assign requested address"),
        ("[fe80::1%nowhere]:7", 2, "interface nowhere: no such interface"),
        ("127.0.0.1:echo", 2, "the port is no number from 0 to 65535"),
        ("unix:/no/such/folder/sock", 1, "bind unix:/no/such/folder/sock: No such file"),
        ("unix-dgram:", 2, "no path"),
    ] {
        let (status, said) = refused(&["-l", listen]);
        assert_eq!(status, Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let (code, said) = refused(&["-l", &format!("unix:/{}", "x".repeat(200))]);
    assert_eq!(code, Some(2));
    assert!(said.contains("201 octets are too long for a socket, 107 fit"), "{said}");
}

/// A start that fails at its second endpoint takes the first one's file along.
#[test]
fn no_file_stays_behind_when_the_start_fails() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let unix = format!("unix:{}", path.display());
    assert_eq!(refused(&["-l", &unix, "-l", "192.0.2.1:7"]).0, Some(1));
    assert!(!path.exists());
}

#[test]
fn an_ipv6_client_is_served_like_any_other() {
    let daemon = echod(&["-l", "[::1]:0"]);
    let mut peer = Peer::connect(daemon.addr());
    peer.send("hello\r\n");
    peer.expect("hello\r\n");
}
