//! Clients behind a proxy (`--proxy-from`): the test is the proxy.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;
use testkit::{
    CONCURRENT, Daemon, MODELS, Peer, can_take_over, command, each_model, open_files, title,
    wait_child, wait_until,
};

use crate::common::{ECHOD, connect_from, echod, echod_as, hello, signal, wait_ends};

/// An address of this machine that is no proxy's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for a client.
fn binary(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, mut body) = match client {
        SocketAddr::V4(v4) => (0x11, [v4.ip().octets(), [192, 0, 2, 1]].concat()),
        SocketAddr::V6(v6) => (0x21, [v6.ip().octets(), [1; 16]].concat()),
    };
    body.extend([client.port().to_be_bytes(), [0, 7]].concat());
    [SIGNATURE, &[0x21, family, 0, body.len() as u8], &body].concat()
}

/// A header of version 1 for a client.
fn text(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, to) =
        if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {to} {} 7\r\n", client.ip(), client.port()).into_bytes()
}

/// A connection of the proxy's, for this client, which has received its echo.
fn talk_for(daemon: &Daemon, client: &str) -> Peer {
    let mut peer = Peer::connect(daemon.addr());
    peer.send(text(client));
    hello(&mut peer);
    peer
}

/// Waits until a client is served that had no place a moment ago.
fn wait_served_for(daemon: &Daemon, client: &str) -> Peer {
    let mut found = None;
    wait_until("the client is served", || {
        let mut peer = Peer::connect(daemon.addr());
        peer.send(text(client));
        let is_served = peer.try_send("hello\n").is_ok() && peer.hears("hello\n");
        found = is_served.then_some(peer);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn the_address_of_either_header_names_the_client_in_log_and_title() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["--proxy-from", "127.0.0.0/29"]);
        let clients =
            ["203.0.113.7:5210", "[2001:db8::7]:5211", "203.0.113.8:5212", "[2001:db8::8]:5213"];
        for (client, header) in clients.into_iter().zip([text, text, binary, binary]) {
            let mut peer = Peer::connect(daemon.addr());
            peer.send([&header(client)[..], b"one\ntwo\n"].concat());
            peer.expect("one\n");
            peer.expect("two\n");
            daemon.wait_log(&format!("client {client} start: pid "));
            if model != "thread" {
                let own = testkit::children(daemon.pid()).into_iter().chain([daemon.pid()]);
                let titles: Vec<String> = own.map(title).collect();
                assert!(titles.contains(&format!("echod: {client}")), "{titles:?}");
            }
            drop(peer);
            daemon.wait_log(&format!("client {client} end: pid "));
        }
        let log = daemon.log();
        assert_eq!(log.matches(", exit 0, 8 bytes in, 8 bytes out").count(), 4, "{log}");
        assert!(!log.contains("client 127.0.0.1"), "{log}");
    });
}

#[test]
fn a_header_may_come_in_two_pieces_cut_anywhere_and_nothing_behind_it_is_lost() {
    let daemon = echod(&["--proxy-from", "127.0.0.1"]);
    for header in [text("203.0.113.7:5210"), binary("[2001:db8::7]:5211")] {
        for cut in 0..=header.len() {
            let mut peer = Peer::connect(daemon.addr());
            let (one, other) = header.split_at(cut);
            peer.send(one);
            // /proc/net/tcp takes long where there are many connections.
            if [1, 8, 16, header.len() - 1].contains(&cut) {
                wait_until("the first piece was read", || unread(&peer) == 0);
            }
            peer.send([other, b"hello\n"].concat());
            peer.expect("hello\n");
            peer.shutdown_write();
            assert_eq!(peer.rest(), b"");
        }
    }
}

/// Bytes that the server's side of a connection has received and not read, as /proc/net/tcp says it.
fn unread(peer: &Peer) -> u64 {
    let port = peer.stream().local_addr().unwrap().port();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let is_servers =
        |line: &&str| line.split_whitespace().nth(2).is_some_and(|to| to.ends_with(&remote));
    let line = table.lines().find(is_servers);
    let queues = line.and_then(|line| line.split_whitespace().nth(4)).unwrap_or("0:0");
    u64::from_str_radix(queues.split(':').nth(1).unwrap(), 16).unwrap()
}

#[test]
fn max_per_ip_counts_the_clients_of_the_proxy_and_not_the_proxy() {
    each_model(&CONCURRENT, |model| {
        let daemon =
            echod_as(model, &["--proxy-from", "127.0.0.1", "--max-per-ip", "1", "-n", "6"]);
        let one = talk_for(&daemon, "203.0.113.7:1");
        let _other = talk_for(&daemon, "203.0.113.8:2");
        let _v6 = talk_for(&daemon, "[2001:db8::1]:3");
        for client in ["203.0.113.7:4", "[::ffff:203.0.113.7]:5", "[2001:db8::2]:6"] {
            let mut peer = Peer::connect(daemon.addr());
            peer.send(text(client));
            assert_eq!(peer.rest(), b"", "{model}: {client}");
        }
        daemon
            .wait_log("client 203.0.113.7:4 refused: 1 clients of this address are served already");
        daemon.wait_log("client 203.0.113.7:5 refused: ");
        daemon.wait_log("client [2001:db8::2]:6 refused: ");
        drop(one);
        drop(wait_served_for(&daemon, "203.0.113.7:7"));
        let log = daemon.log();
        assert!(!log.contains("203.0.113.7:4 start"), "{log}");
    });
}

#[test]
fn rate_counts_the_clients_of_the_proxy() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["--proxy-from", "127.0.0.1", "--rate", "2/3600"]);
        for _ in 0..2 {
            drop(talk_for(&daemon, "203.0.113.7:1"));
        }
        let mut peer = Peer::connect(daemon.addr());
        peer.send(text("203.0.113.7:2"));
        assert_eq!(peer.rest(), b"", "{model}");
        daemon.wait_log("client 203.0.113.7:2 refused: more than 2 connections of this address");
        drop(talk_for(&daemon, "203.0.113.8:3"));
    });
}

#[test]
fn a_proxy_that_says_no_header_or_a_wrong_one_is_refused_and_nothing_is_echoed() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["--proxy-from", "127.0.0.1"]);
        let cut = &binary("203.0.113.7:1")[..20];
        for (said, why) in [
            (&b"hello\n"[..], "no PROXY header"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\nhello\n", "a port that is no number"),
            (b"PROXY TCP4 01.2.3.4 1.2.3.4 1 65536\r\n", "an address that is none of its family"),
            (cut, "the PROXY header is cut off"),
        ] {
            let mut peer = Peer::connect(daemon.addr());
            let name = peer.stream().local_addr().unwrap();
            peer.send(said);
            peer.shutdown_write();
            assert_eq!(peer.rest(), b"", "{model}");
            daemon.wait_log(&format!("client {name} refused: {why}"));
        }
        let log = daemon.log();
        assert!(!log.contains(" start: ") && !log.contains(" end: "), "{log}");
    });
}

#[test]
fn a_header_that_does_not_come_is_waited_for_no_longer_than_the_limit() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["--proxy-from", "127.0.0.1", "-t", "0.3"]);
        for begin in ["", "P", "PROXY TCP4 203.0.113.7 192.0.2.1 "] {
            let mut peer = Peer::connect(daemon.addr());
            let name = peer.stream().local_addr().unwrap();
            peer.send(begin);
            assert_eq!(peer.rest(), b"", "{model}");
            daemon.wait_log(&format!("client {name} refused: PROXY header: "));
        }
        drop(talk_for(&daemon, "203.0.113.7:1"));
    });
}

#[test]
fn health_checks_are_served_and_leave_no_line_but_for_debugging() {
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    each_model(&MODELS, |model| {
        for (level, expected) in [(&[][..], 0), (&["-v"], 1)] {
            let from = ["--proxy-from", "127.0.0.1"];
            let daemon = echod_as(model, &[&from, level].concat());
            for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
                let mut peer = Peer::connect(daemon.addr());
                peer.send([header, b"hello\n"].concat());
                peer.expect("hello\n");
            }
            // A check of version 1 has the proxy's own address.
            let mut peer = Peer::connect(daemon.addr());
            let own = peer.stream().local_addr().unwrap().to_string();
            peer.send([&text(&own)[..], b"hello\n"].concat());
            peer.expect("hello\n");
            drop(peer);
            drop(Peer::connect(daemon.addr()));
            Peer::connect(daemon.addr()).reset();
            let mut peer = Peer::connect(daemon.addr());
            peer.send(&local);
            peer.reset();
            drop(talk_for(&daemon, "203.0.113.7:1")); // comes after them
            daemon.wait_log("client 203.0.113.7:1 end: ");
            if expected > 0 {
                daemon.wait_log("client 127.0.0.1:");
            }
            let log = daemon.log();
            assert_eq!(log.contains("client 127.0.0.1:"), expected > 0, "{model}: {log}");
            assert!(!log.contains("WARN"), "{model}: {log}");
        }
    });
}

#[test]
fn one_who_says_proxy_and_is_none_is_refused() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["--proxy-from", "127.0.0.1"]);
        for header in [text("127.0.0.1:9"), binary("127.0.0.1:9")] {
            for cut in [0, 3, header.len()] {
                let mut peer = connect_from(STRANGER, daemon.addr());
                let name = peer.stream().local_addr().unwrap();
                let (one, other) = header.split_at(cut);
                peer.send(one);
                let _ = peer.try_send([other, b"hello\n"].concat());
                assert!(!peer.hears("hello\n"), "{model}");
                assert!(peer.is_closed());
                daemon.wait_log(&format!("client {name} refused: it says PROXY"));
            }
        }
        let mut peer = connect_from(STRANGER, daemon.addr());
        hello(&mut peer);
        peer.send(text("127.0.0.1:9")); // not at the beginning: an echo
        peer.expect("PROXY TCP4");
    });
}

#[test]
fn without_proxies_a_header_is_echoed() {
    let daemon = echod(&[]);
    for header in [text("203.0.113.7:1"), binary("203.0.113.7:1")] {
        let mut peer = Peer::connect(daemon.addr());
        peer.send(&header);
        assert_eq!(peer.take(header.len()), header);
    }
}

#[test]
fn a_proxy_may_come_by_a_unix_socket() {
    let dir = testkit::TempDir::new();
    let path = dir.path().join("s");
    let at = format!("unix:{}", path.display());
    let daemon = echod(&["-l", &at, "-l", "127.0.0.1:0", "--proxy-from", "unix"]);
    let mut proxy = UnixStream::connect(&path).unwrap();
    std::io::Write::write_all(&mut proxy, &[&text("203.0.113.7:1")[..], b"hello\n"].concat())
        .unwrap();
    let mut echo = [0; 6];
    std::io::Read::read_exact(&mut proxy, &mut echo).unwrap();
    assert_eq!(&echo, b"hello\n");
    daemon.wait_log("client 203.0.113.7:1 start: ");
}

#[test]
fn under_inetd_a_header_is_read_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Peer::connect(listener.local_addr().unwrap());
    let server = OwnedFd::from(listener.accept().unwrap().0);
    let mut command = command(ECHOD, &["-i", "--proxy-from", "127.0.0.1"]);
    command.stdin(Stdio::from(server)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut echod = command.spawn().unwrap();
    drop(command);
    client.send(binary("203.0.113.7:1"));
    hello(&mut client);
    client.shutdown_write();
    assert_eq!(client.rest(), b"");
    assert!(wait_child(&mut echod, "echod ends").success());
    let mut log = String::new();
    std::io::Read::read_to_string(&mut echod.stderr.take().unwrap(), &mut log).unwrap();
    assert!(log.contains("client 203.0.113.7:1 start: "), "{log}");
}

#[test]
fn what_is_no_network_is_refused_at_the_start() {
    let output = testkit::run(command(ECHOD, &["--proxy-from", "haproxy.test"]), b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--proxy-from 'haproxy.test': not a network"), "{said}");
}

/// A child's end of its line to the parent, which alone has no socket of the same number once it has closed its
/// copy.
fn line(daemon: &Daemon, child: i32, client: &Peer) -> Option<OwnedFd> {
    let client = client.stream().local_addr().unwrap();
    let connection = testkit::sockets_between("tcp", daemon.addr(), Some(client));
    let mut found = Vec::new();
    wait_until("the parent has closed what is the child's", || {
        let parents = open_files(daemon.pid());
        let is_own = |file: &String| {
            let is_parents = parents.values().any(|its| its == file);
            file.starts_with("socket:") && !is_parents && !connection.contains(file)
        };
        let own = open_files(child).into_iter().filter(|(_, file)| is_own(file));
        found = own.map(|(fd, _)| fd).collect();
        found.len() == 1
    });
    sys::pidfd::descriptor_of(Pid::from_raw(child), found[0]).ok()
}

/// A child that is taken over before its proxy has said anything counts one client of another address, which
/// its proxy might have named, and no more; and takes none away.
#[test]
fn a_child_that_is_taken_over_counts_one_client_of_anothers_address_until_it_ends() {
    let from = ["--proxy-from", "127.0.0.1", "--max-per-ip", "2", "--grace", "1"];
    let daemon = testkit::start_as_nobody(ECHOD, &from);
    if !can_take_over(daemon.pid()) {
        return;
    }
    let victim = Ipv4Addr::new(127, 77, 66, 55);
    let proxied = Peer::connect(daemon.addr());
    let mut child = 0;
    wait_until("the child waits for the header", || {
        child = daemon.server_of(&proxied);
        child != daemon.pid()
    });
    let Some(line) = line(&daemon, child, &proxied) else {
        return testkit::not_judged("needs pidfd_getfd");
    };
    signal(child, nix::sys::signal::Signal::SIGSTOP);
    let question = [&victim.to_ipv6_mapped().octets()[..], &[0, 9]].concat();
    let ask = || send(line.as_raw_fd(), &question, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    ask().unwrap();
    daemon.wait_log("client 127.77.66.55:9 start: ");
    wait_until("no more is heard", || ask().is_err());
    let gone = [0; 18];
    assert!(send(line.as_raw_fd(), &gone, MsgFlags::MSG_NOSIGNAL).is_err());
    let mut one = connect_from(victim, daemon.addr());
    hello(&mut one);
    assert_eq!(connect_from(victim, daemon.addr()).rest(), b"", "the intruder has taken one place");
    signal(child, nix::sys::signal::Signal::SIGKILL);
    wait_ends(&daemon, 1);
    let mut other = connect_from(victim, daemon.addr());
    hello(&mut other);
    assert_eq!(connect_from(victim, daemon.addr()).rest(), b"", "and took none away");
}

/// Garbage on that line ends it, and holds up no other client.
#[test]
fn a_child_that_writes_garbage_to_its_parent_is_not_heard_any_more() {
    let daemon = testkit::start_as_nobody(ECHOD, &["--proxy-from", "127.0.0.1", "--grace", "1"]);
    if !can_take_over(daemon.pid()) {
        return;
    }
    for garbage in [&b""[..], b"x", &[7; 17], &[7; 4096], &[0; 18]] {
        let proxied = Peer::connect(daemon.addr());
        let mut child = 0;
        wait_until("the child waits for the header", || {
            child = daemon.server_of(&proxied);
            child != daemon.pid()
        });
        let Some(line) = line(&daemon, child, &proxied) else {
            return testkit::not_judged("needs pidfd_getfd");
        };
        signal(child, nix::sys::signal::Signal::SIGSTOP);
        let say =
            || send(line.as_raw_fd(), garbage, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        say().unwrap();
        wait_until("no more is heard", || say().is_err());
        signal(child, nix::sys::signal::Signal::SIGKILL);
        drop(talk_for(&daemon, "203.0.113.7:1"));
    }
    assert!(!daemon.log().contains("panicked"));
}
