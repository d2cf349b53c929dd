//! The smallest protocol of datagrams: `answer` and nothing else, so every rule is the default.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use forknet::{Facility, Request, Result, RootPolicy, Server, Service, Transport, UdpProtocol};
use nix::sys::signal::Signal;
use testkit::{Daemon, WATCHDOG, children, title, uninterrupted, wait_title, wait_until};

use crate::own_server;

pub const SERVICE: Service = Service {
    name: "upperd",
    about: "Sends what it gets back in upper case; an empty datagram is the end.",
    port: 7,
    idle: Duration::from_secs(60),
    root: RootPolicy::Nobody,
    facility: Facility::Daemon,
    memory: 128 << 20,
    transport: Transport::Datagram,
};

/// The daemons' page.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &forknet::OwnOptions::NONE, args)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.refuse_with("busy", "no process");
    server.bind_datagram()?; //     socket, bind
    server.detach()?;
    server.drop_privileges()?;
    server.serve_datagrams(Upper) // recvfrom, fork, reap
}

struct Upper;

impl UdpProtocol for Upper {
    fn answer(&self, request: &mut Request) -> io::Result<()> {
        let Request { data, peer, socket, counters, title, timeout, .. } = request;
        socket.connect(*peer)?;
        socket.set_read_timeout(Some(*timeout))?;
        let (mut buffer, mut length) = ([0; 512], data.len().min(512));
        buffer[..length].copy_from_slice(&data[..length]);
        while length > 0 {
            buffer.make_ascii_uppercase();
            counters.sent(socket.send(&buffer[..length])?);
            title.set("served");
            length = socket.recv(&mut buffer)?;
            counters.received(length);
        }
        Ok(())
    }
}

/// A client, and where it sends to.
struct Client {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Client {
    fn new(service: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        Client { socket, to: service }
    }

    /// Sends a datagram, and later ones to the port that the answer came from.
    fn ask(&mut self, words: &str, answer: &str) {
        self.socket.send_to(words.as_bytes(), self.to).unwrap();
        let mut buffer = [0; 512];
        let (length, from) = uninterrupted(|| self.socket.recv_from(&mut buffer)).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(answer));
        self.to = from;
    }

    fn end(&self) {
        self.socket.send_to(b"", self.to).unwrap();
    }
}

fn server() -> Daemon {
    let mut command = own_server(&SERVICE);
    command.args(["-l", "127.0.0.1:0", "-c", "2", "--over", "busy", "--grace", "20"]);
    command.args(["-u", &nix::unistd::geteuid().to_string()]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

pub fn a_protocol_of_one_function_is_served_with_limits_and_an_end() {
    let mut daemon = server();
    let service = daemon.addr();
    let (mut first, mut second) = (Client::new(service), Client::new(service));
    first.ask("one", "ONE");
    second.ask("two", "TWO");
    assert!(first.to != service && second.to != service && first.to != second.to);
    first.ask("once more", "ONCE MORE");
    let address = first.socket.local_addr().unwrap();
    let titles = || children(daemon.pid()).into_iter().map(title).collect::<Vec<_>>();
    let shown = format!("upperd: {address} served");
    wait_until("the title says whom it serves", || titles().contains(&shown));

    let mut third = Client::new(service);
    third.ask("three", "busy");
    assert_eq!(third.to, service);
    daemon.wait_log("refused: 2 clients are served already");

    first.end();
    daemon.wait_log(&format!("client {address} end: pid "));
    daemon.wait_log("exit 0, 12 bytes in, 12 bytes out");
    third.ask("three", "THREE");
    wait_title(daemon.pid(), &format!("upperd: parent, 2 of 2 clients, {service}"));

    daemon.signal(Signal::SIGTERM);
    daemon.wait_log("stopping: 2 clients");
    second.ask("still", "STILL");
    let late = Client::new(service);
    late.socket.connect(service).unwrap();
    late.socket.send(b"late").unwrap();
    assert_eq!(late.socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    second.end();
    third.end();
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.wait_log("stopped");
}
