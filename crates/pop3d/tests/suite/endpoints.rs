//! The same session by IPv6 and through a UNIX-domain socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::common::{LETTER, POP3D, TestServer};
use testkit::{TempDir, WATCHDOG, command, run};

#[test]
fn case_26_mail_is_read_by_ipv6_and_through_a_unix_domain_socket() {
    let dir = TempDir::new();
    let path = dir.path().join("pop3");
    let unix = format!("unix:{}", path.display());
    let server = TestServer::with(&[LETTER], &["-l", "[::1]:0", "-l", &unix], "");
    assert_eq!(server.daemon.listening(2).len(), 2);
    let mut by_ipv6 = server.mrose();
    by_ipv6.ask("STAT", "+OK 1 ");
    by_ipv6.ask("QUIT", "+OK");
    server.daemon.wait_log("client [::1]:");
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut replies = BufReader::new(&stream).lines();
    let mut next = || replies.next().unwrap().unwrap();
    assert!(next().starts_with("+OK"));
    for (command, reply) in [("USER mrose", "+OK"), ("PASS tanstaaf", "+OK"), ("STAT", "+OK 1 ")] {
        (&stream).write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let said = next();
        assert!(said.starts_with(reply), "{command}: {said}");
    }
    server.daemon.wait_log("client unix start");
}

#[test]
fn a_datagram_socket_is_no_place_to_read_mail() {
    let dir = TempDir::new();
    let users = dir.file("users", "mrose:{PLAIN}x::::/:\n");
    let args = ["--users", users.to_str().unwrap(), "-l", "unix-dgram:/x"];
    let output = run(command(POP3D, &args), b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--listen 'unix-dgram:/x': this protocol needs a stream"), "{said}");
}
