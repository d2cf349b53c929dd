//! Datagrams beside the streams: dg_echo in a process of its own.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, TempDir, WATCHDOG, children, command, file_of_descriptor, has_ended, judged_within,
    state, uninterrupted, wait_child, wait_until,
};

/// The address of a daemon's first UDP socket.
fn udp_address(daemon: &Daemon) -> SocketAddr {
    daemon.listening_for(" (udp)").replace('*', "127.0.0.1").parse().unwrap()
}

/// A daemon with `--udp` that has logged as many sockets, both kinds together.
fn echod_udp(args: &[&str], sockets: usize) -> Daemon {
    let daemon = echod(&[args, &["--udp", "-v"]].concat());
    assert_eq!(daemon.listening(sockets).len(), sockets);
    daemon
}

/// A client's socket, connected: it receives from the address that it asks alone.
fn client(at: SocketAddr) -> UdpSocket {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket.connect(at).unwrap();
    socket
}

fn expect_echo(socket: &UdpSocket, mesg: &[u8]) {
    socket.send(mesg).unwrap();
    let mut echo = vec![0; 70_000];
    let n = uninterrupted(|| socket.recv(&mut echo)).expect("an echo");
    assert!(&echo[..n] == mesg, "{n} octets of {}", mesg.len());
}

/// The process that answers datagrams: the only child of a daemon without clients.
fn dg_process(daemon: &Daemon) -> i32 {
    wait_until("the process for datagrams is there", || !children(daemon.pid()).is_empty());
    children(daemon.pid())[0]
}

#[test]
fn case_26_a_star_answers_datagrams_of_both_families_beside_tcp_on_one_port() {
    let daemon = echod_udp(&["-l", "*:0"], 2);
    let listening = daemon.listening(2);
    assert_eq!(format!("{} (udp)", listening[0]), listening[1]);
    let port = udp_address(&daemon).port();
    for ip in ["127.0.0.1", "127.0.0.5", "::1"] {
        let at = SocketAddr::new(ip.parse().unwrap(), port);
        drop(talk(at));
        expect_echo(&client(at), b"hello");
    }
    daemon.wait_log("datagram from 127.0.0.1:");
    daemon.wait_log("datagram from [::1]:");
    assert!(!daemon.log().contains("::ffff:"), "{}", daemon.log());
}

#[test]
fn every_listener_has_its_udp_socket_and_each_has_its_turn() {
    let daemon = echod_udp(&["-l", "127.0.0.1:0", "-l", "127.0.0.2:0", "-l", "[::1]:0"], 6);
    let listening = daemon.listening(6);
    for (tcp, udp) in listening[..3].iter().zip(&listening[3..]) {
        assert_eq!(&format!("{tcp} (udp)"), udp);
        let (at, clients): (SocketAddr, usize) = (tcp.parse().unwrap(), 3);
        let clients: Vec<UdpSocket> = (0..clients).map(|_| client(at)).collect();
        clients.iter().for_each(|c| expect_echo(c, b"hello"));
        drop(talk(at));
    }
}

#[test]
fn the_empty_and_the_largest_datagram_come_back() {
    let daemon = echod_udp(&[], 2);
    let socket = client(udp_address(&daemon));
    expect_echo(&socket, b"");
    let largest: Vec<u8> = (0..65_507_u32).map(|i| (i % 251) as u8).collect();
    expect_echo(&socket, &largest);
    expect_echo(&socket, b"still here");
}

/// One process answers in turn: once a later datagram is answered, an earlier one was passed over.
#[test]
fn what_was_sent_to_many_gets_no_answer() {
    let daemon = echod_udp(&["-l", "*:0"], 2);
    let at = udp_address(&daemon);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_broadcast(true).unwrap();
    socket.send_to(b"all of you", ("127.255.255.255", at.port())).unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket.send_to(b"you", at).unwrap();
    let mut echo = [0; 64];
    let (n, from) = uninterrupted(|| socket.recv_from(&mut echo)).unwrap();
    assert_eq!((&echo[..n], from), (&b"you"[..], at));
    daemon.wait_log("no answer to a datagram: broadcast");
}

#[test]
fn a_datagram_from_a_service_is_not_answered_for_the_two_would_never_end() {
    let daemon = echod_udp(&["-l", "127.0.0.1:0"], 2);
    let at = udp_address(&daemon);
    let same_port = UdpSocket::bind(("127.0.0.2", at.port())).unwrap();
    same_port.send_to(b"hello", at).unwrap();
    daemon.wait_log(&format!(
        "no answer to 127.0.0.2:{}: a service, no client (1 so far)",
        at.port()
    ));
    if testkit::root_can_judge() {
        let reserved = (600..1024).find_map(|port| UdpSocket::bind(("127.0.0.3", port)).ok());
        reserved.unwrap().send_to(b"hello", at).unwrap();
        daemon.wait_log("a service, no client (2 so far)");
    }
    expect_echo(&client(at), b"still here");
    same_port.set_nonblocking(true).unwrap();
    assert!(same_port.recv(&mut [0; 8]).is_err());
}

/// The answer to a name that has become a link to the server itself would go round for ever.
#[test]
fn an_answer_that_is_led_back_to_the_server_ends_there() {
    let dir = TempDir::new();
    let (path, own) = (dir.path().join("server"), dir.path().join("client"));
    let daemon = echod(&["-v", "-l", &format!("unix-dgram:{}", path.display())]);
    let dg = Pid::from_raw(dg_process(&daemon));
    let client = UnixDatagram::bind(&own).unwrap();
    kill(dg, Signal::SIGSTOP).unwrap();
    wait_until("it is stopped", || state(dg.as_raw()) == Some('T'));
    client.send_to(b"hello", &path).unwrap();
    std::fs::remove_file(&own).unwrap();
    std::os::unix::fs::symlink(&path, &own).unwrap();
    kill(dg, Signal::SIGCONT).unwrap();
    let itself = format!("no answer to unix:{}: a service, no client", path.display());
    daemon.wait_log(&itself);
}

#[test]
fn a_client_that_is_gone_does_not_end_the_service() {
    let daemon = echod_udp(&[], 2);
    let at = udp_address(&daemon);
    let dg = dg_process(&daemon);
    for _ in 0..50 {
        client(at).send(b"hello").unwrap(); // closed before the answer: ICMP port unreachable
    }
    expect_echo(&client(at), b"still here");
    assert_eq!(dg_process(&daemon), dg);
}

#[test]
fn a_killed_process_is_replaced() {
    let daemon = echod_udp(&[], 2);
    let at = udp_address(&daemon);
    expect_echo(&client(at), b"hello");
    let dg = dg_process(&daemon);
    kill(Pid::from_raw(dg), Signal::SIGKILL).unwrap();
    daemon.wait_log("signal 9 (SIGKILL)");
    expect_echo(&client(at), b"hello again"); // it waits in the socket, which the parent holds too
    assert_ne!(dg_process(&daemon), dg);
    drop(talk(daemon.addr()));
}

#[test]
fn sigterm_ends_the_datagrams_at_once_and_leaves_a_session_its_grace() {
    let mut daemon = echod_udp(&[], 2);
    let at = udp_address(&daemon);
    let mut peer = talk(daemon.addr());
    daemon.signal(Signal::SIGTERM);
    wait_until("the port is free", || UdpSocket::bind(at).is_ok());
    peer.send("still here\n");
    peer.expect("still here\n");
    drop(peer);
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.wait_log("datagrams end: pid");
}

#[test]
fn case_09_a_killed_parent_takes_its_datagrams_along_and_a_restart_binds() {
    let mut daemon = echod_udp(&[], 2);
    let at = udp_address(&daemon);
    expect_echo(&client(at), b"hello");
    let dg = dg_process(&daemon);
    daemon.signal(Signal::SIGKILL);
    assert!(!daemon.wait().success());
    wait_until("its process for datagrams has ended", || has_ended(dg));
    let again = echod_udp(&["-l", &at.to_string()], 2);
    expect_echo(&client(udp_address(&again)), b"hello");
}

#[test]
fn the_process_for_datagrams_is_no_client_and_has_nothing_of_the_parents() {
    let daemon = echod_udp(&["-c", "1"], 2);
    let at = udp_address(&daemon);
    expect_echo(&client(at), b"hello");
    let dg = dg_process(&daemon);
    let status = std::fs::read_to_string(format!("/proc/{dg}/status")).unwrap();
    for mask in ["SigBlk:\t0000000000000000", "SigCgt:\t0000000000000000", "Threads:\t1\n"] {
        assert!(status.contains(mask), "{mask} in {status}");
    }
    assert_eq!(sockets(dg), 1);
    let title = std::fs::read(format!("/proc/{dg}/cmdline")).unwrap();
    assert_eq!(String::from_utf8(title).unwrap(), format!("echod: datagrams, {at}\0"));
    let _peer = talk(daemon.addr()); // the one client
    for child in children(daemon.pid()) {
        assert_eq!(sockets(child), 1, "a client's, or that for datagrams");
    }
    wait_until("its octets stand in the table", || {
        daemon.signal(Signal::SIGUSR1);
        daemon.log().contains(&format!("datagrams pid {dg}: 5 in, 5 out"))
    });
    assert!(daemon.log().contains("1 of 1 clients"), "{}", daemon.log());
}

#[test]
fn every_model_has_its_datagrams_while_a_client_is_served() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let mut daemon = echod_udp(&["-m", model, "-n", "2"], 2);
        let at = udp_address(&daemon);
        let socket = client(at);
        expect_echo(&socket, b"before");
        let mut peer = talk(daemon.addr());
        expect_echo(&socket, b"and while a client is served");
        daemon.signal(Signal::SIGTERM);
        wait_until("the port is free", || UdpSocket::bind(at).is_ok());
        peer.send("still here\n");
        peer.expect("still here\n");
        drop(peer);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        assert!(children(daemon.pid()).is_empty());
    }
}

/// A process with threads must not fork: there a thread answers.
#[test]
fn under_the_thread_model_there_is_no_child_even_for_datagrams() {
    let dir = TempDir::new();
    let path = dir.path().join("sock");
    let unix = format!("unix-dgram:{}", path.display());
    let all = ["-m", "thread", "-l", "127.0.0.1:0", "-l", &unix, "--udp"];
    let transcript = dir.path().join("transcript");
    let mut daemon = echod(&[&all[..], &["--transcript", transcript.to_str().unwrap()]].concat());
    assert_eq!(daemon.listening(3).len(), 3);
    let socket = client(udp_address(&daemon));
    (0..3).for_each(|_| expect_echo(&socket, b"hello"));
    wait_until("its octets stand in the table", || {
        daemon.signal(Signal::SIGUSR1);
        daemon.log().contains("datagrams: 15 in, 15 out")
    });
    assert!(children(daemon.pid()).is_empty());
    assert!(std::fs::read_to_string(&transcript).unwrap().contains("S: hello"));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!path.exists());
}

fn sockets(pid: i32) -> usize {
    let files = (0..64).filter_map(|fd| file_of_descriptor(pid, fd));
    files.filter(|file| file.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn the_transcript_tells_the_peers_of_datagrams_apart() {
    let dir = TempDir::new();
    let file = dir.path().join("transcript");
    let daemon = echod_udp(&["--transcript", file.to_str().unwrap()], 2);
    let (one, two) = (client(udp_address(&daemon)), client(udp_address(&daemon)));
    expect_echo(&one, b"one\n");
    expect_echo(&two, b"two\x1b\n");
    let dg = dg_process(&daemon);
    let line = |socket: &UdpSocket, text: &str| {
        format!("127.0.0.1:{}[{dg}] {text}\n", socket.local_addr().unwrap().port())
    };
    let all = [line(&one, "C: one"), line(&one, "S: one")].concat()
        + &[line(&two, "C: two\\u{1b}"), line(&two, "S: two\\u{1b}")].concat();
    wait_until("the transcript is complete", || std::fs::read_to_string(&file).unwrap() == all);
}

#[test]
fn case_27_under_inetd_wait_a_udp_socket_is_served_until_nobody_comes() {
    // The second one must come before the idle limit.
    judged_within(Duration::from_secs(2), |watch| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let asks = client(at);
        asks.send(b"before it was started").unwrap();
        let mut command = command(ECHOD, &["-i", "-t", "3"]);
        let mut echod = command.stdin(OwnedFd::from(socket)).stderr(Stdio::null()).spawn().unwrap();
        let mut echo = [0; 64];
        assert_eq!(uninterrupted(|| asks.recv(&mut echo)).unwrap(), 21);
        asks.send(b"and after").unwrap();
        watch.stop();
        assert_eq!(uninterrupted(|| asks.recv(&mut echo)).unwrap(), 9);
        assert_eq!(wait_child(&mut echod, "echod ends").code(), Some(0));
    });
}

#[test]
fn case_27_under_inetd_wait_sigterm_ends_the_datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asks = client(socket.local_addr().unwrap());
    let mut command = command(ECHOD, &["-i"]);
    let mut echod = command.stdin(OwnedFd::from(socket)).stderr(Stdio::null()).spawn().unwrap();
    expect_echo(&asks, b"hello");
    kill(Pid::from_raw(echod.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(wait_child(&mut echod, "echod ends").code(), Some(0));
    drop(command); // its copy of the socket
    asks.send(b"anybody?").unwrap();
    let error = asks.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
