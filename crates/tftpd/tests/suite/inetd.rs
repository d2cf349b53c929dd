//! tftpd under inetd's `wait`: standard input is the service's UDP socket.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::udp::{Udp, ack, data, rrq};
use testkit::{TempDir, command, judged_within, wait_child};

/// Starts tftpd as inetd does: with the socket, because a datagram has come.
fn inetd(service: &UdpSocket, dir: &TempDir) -> Child {
    let args = ["-i", "-t", "3", "-q", "--root", dir.path().to_str().unwrap()];
    let mut command = command(env!("CARGO_BIN_EXE_tftpd"), &args);
    let socket = OwnedFd::from(service.try_clone().unwrap());
    command.stdin(Stdio::from(socket)).spawn().unwrap()
}

#[test]
fn case_27_under_inetd_the_waiting_request_and_later_ones_are_served_and_then_it_ends() {
    // Later ones must come before the idle limit.
    judged_within(Duration::from_secs(2), |watch| {
        let service = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dir = TempDir::new();
        fs::write(dir.path().join("x"), "hello").unwrap();
        let asked = service.local_addr().unwrap();
        let mut first = Udp::new(asked);
        first.send(rrq(b"x", "octet"));
        let mut daemon = inetd(&service, &dir);
        first.expect(data(1, b"hello"));
        assert_eq!(first.peer.ip(), asked.ip());
        first.send(ack(1));
        let mut later = Udp::new(asked);
        later.send(rrq(b"x", "octet"));
        watch.stop();
        later.expect(data(1, b"hello"));
        later.send(ack(1));
        assert_eq!(wait_child(&mut daemon, "tftpd gives the socket back").code(), Some(0));
    });
}

#[test]
fn under_inetd_a_waiting_broadcast_is_ignored() {
    let service = UdpSocket::bind("0.0.0.0:0").unwrap();
    let dir = TempDir::new();
    fs::write(dir.path().join("x"), "hello").unwrap();
    let port = service.local_addr().unwrap().port();
    let mut peer = Udp::new(format!("127.255.255.255:{port}").parse().unwrap());
    peer.socket.set_broadcast(true).unwrap();
    peer.send(rrq(b"x", "octet"));
    let mut daemon = inetd(&service, &dir);
    wait_child(&mut daemon, "tftpd gives the socket back");
    assert_eq!(peer.recv_for(crate::udp::MOMENT), None);
}
