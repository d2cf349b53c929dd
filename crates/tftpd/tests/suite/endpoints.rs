//! Where tftpd may be asked, and where not.

use std::net::UdpSocket;

use testkit::{Daemon, TempDir, WATCHDOG, command, run, uninterrupted};

const TFTPD: &str = env!("CARGO_BIN_EXE_tftpd");

#[test]
fn case_26_a_star_answers_requests_of_both_families() {
    let dir = TempDir::new();
    dir.file("hello", "hello");
    let daemon = Daemon::start(TFTPD, &["--root", dir.path().to_str().unwrap(), "-l", "*:0"]);
    let listening = daemon.listening(1);
    let port: u16 = listening[0].strip_prefix("*:").unwrap().parse().unwrap();
    for (any, server) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let client = UdpSocket::bind(any).unwrap();
        client.set_read_timeout(Some(WATCHDOG)).unwrap();
        client.send_to(b"\0\x01hello\0octet\0", (server, port)).unwrap();
        let mut packet = [0; 64];
        let (n, from) = uninterrupted(|| client.recv_from(&mut packet)).unwrap();
        assert_eq!(&packet[..n], b"\0\x03\0\x01hello");
        client.send_to(&[0, 4, 0, 1], from).unwrap();
    }
    daemon.wait_log("client 127.0.0.1:");
    daemon.wait_log("client [::1]:");
}

#[test]
fn unix_domain_sockets_are_refused_of_both_kinds() {
    for listen in ["unix:/x", "unix-dgram:/x"] {
        let output = run(command(TFTPD, &["--root", "/", "-l", listen]), b"");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("'{listen}': this protocol needs UDP")), "{said}");
    }
}
