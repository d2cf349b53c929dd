//! udpserv, udpcli01, udpcli and boundaries: what datagrams promise, and what not.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use testkit::{Daemon, Program, WATCHDOG, run, wait_until};

const UDPCLI: &str = env!("CARGO_BIN_EXE_udpcli");
const UDPCLI01: &str = env!("CARGO_BIN_EXE_udpcli01");

fn udpserv(args: &[&str]) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_udpserv"));
    command.args(args).arg("127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

/// A server that the test plays itself.
fn server() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    (socket, addr)
}

/// The next datagram, and who sent it.
fn receive(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut mesg = [0; 100];
    let (n, client) = server.recv_from(&mut mesg).unwrap();
    (mesg[..n].to_vec(), client)
}

#[test]
fn every_client_gets_its_own_datagrams_back_from_one_process() {
    let server = udpserv(&[]);
    let addr = server.addr().to_string();
    let patient = ["--wait", "20", &addr];
    let clients = [(UDPCLI, &patient[..]), (UDPCLI01, &patient[2..]), (UDPCLI, &patient)];
    let mut clients = clients.map(|(path, args)| Program::start(path, args));
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let line = format!("{round} {number}");
            assert_eq!(client.ask(&line), line);
        }
    }
    for client in &mut clients {
        assert!(client.wait().success());
    }
    assert_eq!(testkit::children(server.pid()), []);
}

#[test]
fn what_is_lost_stays_lost_and_the_client_says_so_and_goes_on() {
    let server = udpserv(&["--lose", "2"]);
    let mut client = Program::start(UDPCLI, &["--wait", "2", &server.addr().to_string()]);
    client.send("one\ntwo\nthree\n");
    let status = client.wait();
    assert_eq!(
        [client.line(), client.line(), client.line()],
        [Some("one".into()), Some("three".into()), None]
    );
    assert!(client.errors().starts_with("no answer within 2 s: it is lost\n"));
    assert_eq!(status.code(), Some(1));
    server.wait_log("lost: 4 octets from 127.0.0.1:");
}

#[test]
fn the_blind_client_waits_for_ever_for_what_was_lost_and_then_takes_a_stranger_s_word() {
    let (server, addr) = server();
    let mut client = Program::start(UDPCLI01, &[&addr]);
    client.send("one\n");
    let (_lost, at) = receive(&server);
    drop(server); // and nobody tells the client
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    wait_until("the client waits in recvfrom", || testkit::state(client.pid()) == Some('S'));
    assert!(client.is_running() && client.has_said_nothing());
    stranger.send_to(b"stranger\n", at).unwrap();
    assert_eq!(client.line().unwrap(), "stranger");
}

#[test]
fn nobody_tells_the_blind_client_that_there_is_no_server() {
    let (server, addr) = server();
    let mut client = Program::start(UDPCLI01, &[&addr]);
    client.send("one\n");
    let (_one, at) = receive(&server);
    server.send_to(b"one\n", at).unwrap();
    assert_eq!(client.line().unwrap(), "one");
    drop(server);
    client.send("two\n"); // the kernel gets ICMP "port unreachable" for it
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"still there?\n", at).unwrap();
    assert_eq!(client.line().unwrap(), "still there?");
}

#[test]
fn a_connected_client_hears_its_server_only() {
    let (server, addr) = server();
    let mut client = Program::start(UDPCLI, &["--wait", "20", &addr]);
    client.send("one\n");
    let (one, at) = receive(&server);
    assert_eq!(one, b"one\n");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"one\n", at).unwrap(); // dropped, or refused: the kernel's affair
    server.send_to(b"an old one\n", at).unwrap();
    server.send_to(b"one\n", at).unwrap();
    assert_eq!(client.line().unwrap(), "one");
    assert!(client.wait().success());
    assert_eq!(client.errors(), "too late: an answer of 11 octets\n");
}

#[test]
fn a_connected_client_learns_that_nobody_listens() {
    let mut client = Program::start(UDPCLI, &["--wait", "20", "127.66.55.44:1"]);
    client.send("one\n");
    assert_eq!(client.wait().code(), Some(1));
    assert_eq!(client.errors(), "udpcli: recv error: Connection refused\n");
}

#[test]
fn two_writes_are_one_read_of_a_stream_and_two_of_datagrams() {
    let output = run(Command::new(env!("CARGO_BIN_EXE_boundaries")), b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let read = |part: &str| {
        let part = text.split(part).nth(1).unwrap_or_default();
        let lines = part.lines().skip(1).take_while(|line| line.starts_with("    read: "));
        lines.map(|line| line.replace("    read: ", "")).collect::<Vec<_>>()
    };
    assert_eq!(read("stream: write"), ["6 octets, \"ONETWO\"", "nothing there (EAGAIN)"]);
    assert_eq!(read("datagram: write"), ["3 octets, \"ONE\"", "3 octets, \"TWO\""]);
    let (on, et, tw, wo) =
        ("2 octets, \"ON\"", "2 octets, \"ET\"", "2 octets, \"TW\"", "2 octets, \"WO\"");
    let nothing = "nothing there (EAGAIN)";
    assert_eq!(read("stream: the same"), [on, et, wo, nothing]);
    assert_eq!(read("datagram: the same"), [on, tw, nothing, nothing]);
    assert!(output.status.success());
}

#[test]
fn a_wrong_command_line_is_refused_with_the_usage() {
    for args in [&["localhost"][..], &["--lose"], &["--lose", "x"], &["::1", "::1"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_udpserv"));
        command.args(args);
        let output = run(command, b"");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {output:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_boundaries"));
    command.arg("stream");
    assert_eq!(run(command, b"").status.code(), Some(2));
}
