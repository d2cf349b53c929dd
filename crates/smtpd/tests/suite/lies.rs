//! A process that talks to a client is taken over, and asks the keeper for what its client may not have.

use nix::libc;
use smtpd::protocol::address::Name;
use smtpd::protocol::envelope::{Login, Way};
use smtpd::protocol::question::{Question, Verdict};
use testkit::{Daemon, Injected, Peer, open_files, root_can_judge};

use forknet::Peer as Address;

use crate::common::{Fixture, introduced};

/// Bytes that are read of an answer.
const ANSWER: usize = 64;

/// Asks the keeper, from the process of a client, whether a letter may go to another domain; returns the answer
/// without its first byte, which says whether more is awaited, or nothing where the line was closed.
fn ask(daemon: &Daemon, client: &Peer, says: Address, login: Login) -> Vec<u8> {
    let front = daemon.server_of(client);
    let own = client.stream().local_addr().unwrap();
    let connected = testkit::sockets_between("tcp", daemon.addr(), Some(own));
    let sockets = open_files(front).into_iter().filter(|(_, file)| file.starts_with("socket:"));
    let line: Vec<i32> =
        sockets.filter(|(_, file)| !connected.contains(file)).map(|(fd, _)| fd).collect();
    let [line] = line[..] else { panic!("the line to the keeper is one of {line:?}") };
    let line = u64::try_from(line).unwrap();
    let name = Name { local: b"ann".to_vec(), domain: b"blue.test".to_vec() };
    let record =
        Question::Recipient { name, bytes: 0, way: Way::Mail, login }.encode(says).unwrap();
    let mut injected = Injected::attach(front);
    let at = injected.put(&record);
    let sent = injected.call(libc::SYS_sendto, &[line, at, record.len() as u64, 0, 0, 0]);
    assert_eq!(sent, Ok(i64::try_from(record.len()).unwrap()));
    let room = injected.put(&[0; ANSWER]);
    let length = injected.call(libc::SYS_recvfrom, &[line, room, ANSWER as u64, 0, 0, 0]);
    let answer = injected.get(room, usize::try_from(length.unwrap_or(0)).unwrap());
    answer.get(1..).unwrap_or_default().to_vec()
}

#[test]
fn a_front_that_is_taken_over_can_send_elsewhere_neither_for_another_address_nor_without_a_login() {
    if !root_can_judge() {
        return;
    }
    let fixture = Fixture::new();
    let folder = fixture.dir.path().join("queue").display().to_string();
    let serve = |from: &str| fixture.serve(&["--queue", &folder, "--relay-from", from]);
    let own = |client: &Peer| Address::Ip(client.stream().local_addr().unwrap());
    let forged = || Login { name: b"levy".to_vec(), token: vec![7; 32] };

    // That the question is a good one: a client that may.
    let daemon = serve("127.0.0.0/8");
    let client = introduced(&daemon);
    let answer = ask(&daemon, &client, own(&client), Login::default());
    assert_eq!(Verdict::decode(&answer), Some(Verdict::Accepted));

    let daemon = serve("192.0.2.0/24");
    for login in [Login::default(), forged()] {
        let client = introduced(&daemon);
        let answer = ask(&daemon, &client, own(&client), login);
        assert_eq!(Verdict::decode(&answer), Some(Verdict::Elsewhere));
    }
    let there = "192.0.2.7:5".parse().unwrap();
    for says in [Address::Ip(there), Address::Told(there)] {
        let client = introduced(&daemon);
        let answer = ask(&daemon, &client, says, Login::default());
        assert_eq!(answer, b"", "{says}");
        daemon.wait_log("asked by a process that has another client");
    }
}
