//! The same session by IPv6 and through a UNIX-domain socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::common::{Fixture, LETTER};
use testkit::{Peer, WATCHDOG};

#[test]
fn case_26_letters_come_by_ipv6_and_through_a_unix_domain_socket() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("smtp");
    let unix = format!("unix:{}", path.display());
    let daemon = fixture.serve(&["-l", "[::1]:0", "-l", &unix]);
    assert_eq!(daemon.listening(2).len(), 2);
    let data = format!("{LETTER}.");
    let dialogue = [
        ("HELO red.test", "250"),
        ("MAIL FROM:<mrose@red.test>", "250"),
        ("RCPT TO:<levy@red.test>", "250"),
        ("DATA", "354"),
        (&data, "250"),
        ("QUIT", "221"),
    ];
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    for (line, reply) in dialogue {
        peer.ask(line, reply);
    }
    daemon.wait_log("client [::1]:");
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut replies = BufReader::new(&stream).lines();
    let mut next = || replies.next().unwrap().unwrap();
    assert!(next().starts_with("220 "));
    for (line, reply) in dialogue {
        (&stream).write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let said = next();
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    daemon.wait_log("client unix start");
    assert_eq!(fixture.letters("levy").len(), 2);
}
