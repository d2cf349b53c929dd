//! The voting application: one vote a voter, whatever happens to the server meanwhile.

mod election;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex};
use std::thread;

use election::{ballot, client, election, ledger, result, result_of, server, server_under};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, Peer, WATCHDOG, children, run, wait_until, zombies};

/// Votes, and gives the answer if there was one.
fn try_to_vote(addr: SocketAddr, i: usize) -> Option<String> {
    let mut sockfd = TcpStream::connect_timeout(&addr, WATCHDOG).ok()?;
    sockfd.set_read_timeout(Some(WATCHDOG)).unwrap();
    sockfd.write_all(format!("{}\r\n", ballot(i)).as_bytes()).ok()?;
    let mut lines = BufReader::new(sockfd).split(b'\n');
    let _greeting = lines.next()?.ok()?;
    Some(String::from_utf8(lines.next()?.ok()?).unwrap())
}

#[test]
fn a_hundred_voters_at_the_same_time_are_all_counted_once() {
    const VOTERS: usize = 100;
    let folder = election(VOTERS);
    let mut server = server(folder.path());
    let start = Barrier::new(VOTERS);
    thread::scope(|scope| {
        for i in 0..VOTERS {
            let (start, server) = (&start, &server);
            scope.spawn(move || {
                let mut peer = client(server);
                start.wait(); // all are connected
                peer.ask(&ballot(i), "+OK counted");
                peer.ask("QUIT", "+OK bye");
            });
        }
    });
    assert_eq!(result(&server), result_of(0..VOTERS));
    assert_eq!(ledger(folder.path()), (0..VOTERS).collect());
    wait_until("no zombie is left", || children(server.pid()).is_empty());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let server = crate::vote::server(folder.path());
    assert_eq!(result(&server), result_of(0..VOTERS), "after a restart");
}

#[test]
fn of_two_votes_at_the_same_instant_exactly_one_wins() {
    const VOTERS: usize = 25;
    let folder = election(VOTERS);
    let server = server(folder.path());
    for i in 0..VOTERS {
        let start = Barrier::new(2);
        let answers = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut peer = client(&server);
                    start.wait();
                    peer.send(format!("{}\r\n", ballot(i)));
                    answers.lock().unwrap().push(peer.line());
                });
            }
        });
        let mut answers = answers.into_inner().unwrap();
        answers.sort();
        assert_eq!(answers, [&b"+OK counted\r\n"[..], b"-ERR voted already\r\n"]);
    }
    assert_eq!(result(&server), result_of(0..VOTERS));
}

#[test]
fn a_second_vote_for_somebody_else_changes_nothing() {
    let folder = election(1);
    let server = server(folder.path());
    let mut peer = client(&server);
    peer.ask("VOTE v0 s0 Blanc", "+OK counted");
    peer.ask("VOTE v0 s0 Noir", "-ERR voted already");
    client(&server).ask("VOTE v0 s0 Noir", "-ERR voted already");
    assert_eq!(result(&server)["Blanc"], 1);
    assert_eq!(result(&server)["Noir"], 0);
}

/// Kills a server and all its children: nobody gets to clean up.
fn kill_all(mut server: Daemon) {
    let children = children(server.pid());
    server.signal(Signal::SIGKILL);
    for pid in children {
        let _ended_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _killed = server.wait();
}

/// Eight at a time vote until `enough` were counted, or the server is gone.
fn load(addr: SocketAddr, enough: usize, counted: &AtomicUsize, told: &Mutex<BTreeSet<usize>>) {
    let next = AtomicUsize::new(0);
    let vote = || {
        while counted.load(SeqCst) < enough {
            let i = next.fetch_add(1, SeqCst);
            if i >= VOTERS_UNDER_FIRE {
                return;
            }
            if told.lock().unwrap().contains(&i) {
                continue;
            }
            if try_to_vote(addr, i).is_some_and(|answer| answer == "+OK counted\r") {
                told.lock().unwrap().insert(i);
                counted.fetch_add(1, SeqCst);
            }
        }
    };
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(vote))));
}

const VOTERS_UNDER_FIRE: usize = 200;

#[test]
fn kill_9_at_any_instant_loses_no_acknowledged_vote_and_counts_none_twice() {
    let folder = election(VOTERS_UNDER_FIRE);
    let told = Mutex::new(BTreeSet::new());
    for round in 0..4 {
        let server = server(folder.path());
        let (addr, counted) = (server.addr(), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| load(addr, 35, &counted, &told));
            wait_until("some are counted", || counted.load(SeqCst) > 5 + 3 * round);
            kill_all(server);
        });
        let restarted = crate::vote::server(folder.path());
        let (on_disk, told) = (ledger(folder.path()), told.lock().unwrap().clone());
        assert!(told.is_subset(&on_disk), "lost: {:?}", &told - &on_disk);
        assert_eq!(result(&restarted), result_of(on_disk.iter().copied()));
    }
    let server = server(folder.path());
    let told = told.into_inner().unwrap();
    for i in 0..VOTERS_UNDER_FIRE {
        let answer = try_to_vote(server.addr(), i).unwrap();
        let possible = if told.contains(&i) { 1 } else { 2 };
        assert!(
            ["-ERR voted already\r", "+OK counted\r"][..possible].contains(&&answer[..]),
            "v{i}"
        );
    }
    assert_eq!(result(&server), result_of(0..VOTERS_UNDER_FIRE));
}

#[test]
fn a_killed_child_costs_only_its_own_client() {
    let folder = election(2);
    let server = server(folder.path());
    let mut killed = client(&server);
    for pid in children(server.pid()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    assert!(killed.is_closed());
    client(&server).ask(&ballot(1), "+OK counted");
    wait_until("no zombie is left", || zombies(server.pid()).is_empty());
}

#[test]
fn a_torn_last_line_is_cut_off_and_its_voter_may_vote() {
    for torn in ["v1", "v1\tNo", "v1\tNoir", "\0\0\0\0", "\0\0\0\0Noir\n"] {
        let folder = election(2);
        folder.file("ledger", format!("v0\tBlanc\n{torn}"));
        let server = server(folder.path());
        assert_eq!(ledger(folder.path()), [0].into(), "{torn:?}");
        client(&server).ask(&ballot(1), "+OK counted");
        client(&server).ask(&ballot(0), "-ERR voted already");
        assert_eq!(ledger(folder.path()), [0, 1].into(), "{torn:?}");
    }
}

#[test]
fn half_a_line_that_a_killed_child_leaves_is_cut_off_by_the_next_one() {
    let folder = election(2);
    let server = server(folder.path());
    let mut peer = client(&server);
    peer.ask(&ballot(0), "+OK counted");
    let mut file = fs::File::options().append(true).open(folder.path().join("ledger")).unwrap();
    file.write_all(b"v1\tBl").unwrap();
    peer.ask(&ballot(1), "+OK counted");
    assert_eq!(ledger(folder.path()), [0, 1].into());
}

#[test]
fn a_damaged_ledger_is_not_served() {
    for (damage, why) in [
        ("v0\tBlanc\nv9\tNoir\nv1\tNoir\n", "'v9\\tNoir' at octet 9: no such voter"),
        ("v0\tBlank\n", "no such candidate"),
        ("v0\n", "no such candidate"),
        ("\0\0\0\nv0\tBlanc\n", "no such voter"),
        ("v0\tBlanc\nv0\tBlanc\n", "a second vote"),
    ] {
        let folder = election(2);
        let path = folder.file("ledger", damage);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vote_server"));
        command.arg("127.0.0.1:0").arg(folder.path());
        let output = run(command, b"");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("ledger: damaged: ") && text.contains(why), "{damage:?}: {text}");
        assert_eq!(fs::read_to_string(path).unwrap(), damage, "it was changed");
    }
}

#[test]
fn a_full_disk_refuses_votes_and_loses_none() {
    let folder = election(300);
    let server = server_under("ulimit -f 1", folder.path()); // 512 octets, in some shells 1024
    let mut peer = client(&server);
    let mut counted = BTreeSet::new();
    for i in 0..300 {
        peer.send(format!("{}\r\n", ballot(i)));
        match peer.line().as_slice() {
            b"+OK counted\r\n" => counted.insert(i),
            b"-ERR not counted: File too large\r\n" => break,
            other => panic!("{}", other.escape_ascii()),
        };
    }
    assert!(counted.len() > 10 && counted.len() < 300);
    assert_eq!(ledger(folder.path()), counted, "a refused vote left something behind");
    peer.ask(&ballot(0), "-ERR voted already");
    assert_eq!(result(&server), result_of(counted.iter().copied()));
    drop(server);
    let server = crate::vote::server(folder.path());
    client(&server).ask(&ballot(counted.len()), "+OK counted");
}

#[test]
fn bad_input_is_refused_and_harms_nobody() {
    let folder = election(3);
    let server = server(folder.path());
    let mut peer = client(&server);
    peer.ask("", "-ERR unknown command");
    peer.ask("vote v0 s0 Nobody", "-ERR no such candidate");
    peer.ask("VOTE v0 s0 ", "-ERR VOTE wants");
    peer.ask("VOTE v0", "-ERR VOTE wants");
    peer.ask("VOTE", "-ERR VOTE wants");
    peer.ask("VOTE v0 s0 Bl\0nc", "-ERR no such candidate");
    peer.ask("VOTE v0 s0 Blanc\tNoir", "-ERR no such candidate");
    peer.ask("\u{1}\u{2}\u{fe}", "-ERR unknown command");
    peer.ask("VOTES v0 s0 Blanc", "-ERR unknown command");
    peer.ask("VOTE v0 s1 Blanc", "-ERR no such voter, or another secret");
    peer.ask("VOTE v7 s7 Blanc", "-ERR no such voter, or another secret");
    peer.ask("VOTE v0  Blanc", "-ERR no such voter, or another secret");
    assert!(peer.is_closed(), "the third wrong secret ends the connection");
    assert_eq!(fs::read(folder.path().join("ledger")).unwrap(), b"");
    let mut peer = client(&server);
    peer.ask("VOTE v0 s0 Vote blanc", "+OK counted"); // a name may have a space
    assert_eq!(result(&server)["Vote blanc"], 1);
}

#[test]
fn a_line_without_end_is_refused_and_half_a_line_is_no_vote() {
    let folder = election(1);
    let server = server(folder.path());
    let mut peer = client(&server);
    peer.send(vec![b'x'; 200_000]);
    peer.expect("-ERR line too long\r\n");
    assert!(peer.is_closed());
    let mut peer = client(&server);
    peer.send(ballot(0)); // no newline
    peer.shutdown_write();
    assert_eq!(peer.rest(), b"");
    assert_eq!(ledger(folder.path()), BTreeSet::new());
    let mut peer = client(&server);
    for octet in format!("{}\n", ballot(0)).bytes() {
        peer.send([octet]);
    }
    peer.expect("+OK counted\r\n");
}

#[test]
fn commands_may_come_all_at_once() {
    let folder = election(1);
    let server = server(folder.path());
    let mut peer = client(&server);
    peer.send("CANDIDATES\r\nVOTE v0 s0 Noir\nRESULT\r\nquit\r\nVOTE v0 s0 Noir\r\n");
    let expected = "+OK 3 candidates\r\nBlanc\r\nNoir\r\nVote blanc\r\n.\r\n+OK counted\r\n\
        +OK 1 of 1 voted\r\n0 Blanc\r\n1 Noir\r\n0 Vote blanc\r\n.\r\n+OK bye\r\n";
    assert_eq!(String::from_utf8(peer.rest()).unwrap(), expected);
}

#[test]
fn sigterm_stops_listening_and_lets_clients_finish() {
    let folder = election(1);
    let mut server = server(folder.path());
    let mut peer = client(&server);
    server.signal(Signal::SIGTERM);
    wait_until("it listens no more", || TcpStream::connect(server.addr()).is_err());
    peer.ask(&ballot(0), "+OK counted");
    peer.ask("QUIT", "+OK bye");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(ledger(folder.path()), [0].into());
}

#[test]
fn sigterm_does_not_wait_for_ever_for_a_silent_client() {
    let folder = election(1);
    let mut server = server(folder.path());
    let mut silent = client(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(silent.is_closed());
}

fn vote_client(server: &Daemon, arguments: &[&str], secret: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vote_client"));
    command.arg(server.addr().to_string()).args(arguments);
    let output = run(command, format!("{secret}\n").as_bytes());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn the_client_lists_votes_and_counts_and_says_what_was_refused() {
    let folder = election(2);
    let server = server(folder.path());
    let ask = |arguments: &[&str], secret| vote_client(&server, arguments, secret);
    let said = |code, text: &str| (Some(code), text.to_owned());
    assert_eq!(ask(&["candidates"], ""), said(0, "3 candidates\nBlanc\nNoir\nVote blanc\n"));
    assert_eq!(ask(&["vote", "v0", "Vote blanc"], "s0"), said(0, "counted\n"));
    let refused = said(1, "vote_client: voted already\n");
    assert_eq!(ask(&["vote", "v0", "Noir"], "s0"), refused);
    let refused = said(1, "vote_client: no such voter, or another secret\n");
    assert_eq!(ask(&["vote", "v1", "Noir"], "s0"), refused);
    let refused = said(1, "vote_client: name and secret are words\n");
    assert_eq!(ask(&["vote", "v1", "Noir"], "s1 Blanc"), refused);
    let result = "1 of 2 voted\n0 Blanc\n0 Noir\n1 Vote blanc\n";
    assert_eq!(ask(&["result"], ""), said(0, result));
    assert_eq!(ask(&["vote"], "").0, Some(2));
}

#[test]
fn the_client_says_when_it_cannot_know_whether_the_vote_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send("+OK vote, 1 voters\r\n");
        peer.expect("VOTE v0 s0 Blanc\r\n");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_vote_client"));
    command.args([&addr.to_string(), "vote", "v0", "Blanc"]);
    let output = run(command, b"s0\n");
    server.join().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.ends_with("; the vote may count or not, vote again\n"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn files_that_are_not_as_they_should_be_are_named_with_their_line() {
    for (file, content, why) in [
        ("voters", "v0:s0\nv0:s1\n", "voters:2: this voter is there already"),
        ("voters", "v0\n", "voters:1: not name:secret"),
        ("voters", "v 0:s\n", "voters:1: name and secret are words"),
        ("candidates", "A\nB\nA\n", "candidates:3: this candidate is there already"),
        ("candidates", "A\tB\n", "candidates:1: no name for a candidate"),
    ] {
        let folder = election(1);
        folder.file(file, content);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vote_server"));
        command.arg("127.0.0.1:0").arg(folder.path());
        let output = run(command, b"");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(why), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
}
