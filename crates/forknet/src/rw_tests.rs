//! Unit tests of [`super`].

use super::*;
use crate::attention::Watch;
use crate::scoreboard::Board;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::sync::Arc;

fn pair(idle: Duration) -> (Connection, Connection) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
    let end = |fd| Connection::socket(fd, Patience::idle(idle), Progress::unshared());
    (end(a), end(b))
}

#[test]
fn a_silent_client_times_out() {
    let (mut a, _b) = pair(Duration::from_millis(20));
    let error = a.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_trickle_ends_with_its_turn() {
    let (mut a, mut b) = pair(Duration::from_millis(100));
    let trickle = std::thread::spawn(move || {
        while b.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut octets = 0;
    let error = loop {
        match a.read(&mut [0; 8]) {
            Ok(n) => octets += n,
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(octets > 0);
    drop(a);
    trickle.join().unwrap();
}

/// A worker's connection, whose first waits the kernel bounds, and the parent's life.
fn of_a_worker(idle: Duration) -> (Connection, Connection, std::io::PipeWriter) {
    let (mut a, b) = pair(idle);
    let (pipe, life) = std::io::pipe().unwrap();
    a.receive_limit = LOOK.min(idle);
    set_receive_limit(&a.input, a.receive_limit).unwrap();
    a.attend(Some(Attention::Parent(Watch {
        pipe: Arc::new(pipe.into()),
        listeners: [].into(),
        board: Board::new().unwrap(),
        tell_idle: false,
        parent_is_gone: false,
        last_look: Instant::now(),
    })));
    (a, b, life)
}

#[test]
fn in_a_worker_a_silent_client_has_its_time_and_no_more() {
    for idle in [20, 250].map(Duration::from_millis) {
        let (mut a, _b, _life) = of_a_worker(idle);
        let since = Instant::now();
        assert_eq!(a.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= idle, "{:?} of {idle:?}", since.elapsed());
    }
}

#[test]
fn in_a_worker_a_trickle_ends_with_its_turn() {
    let (mut a, mut b, _life) = of_a_worker(Duration::from_millis(150));
    let trickle = std::thread::spawn(move || {
        while b.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10)); // never so long as the kernel would wait
        }
    });
    let error = loop {
        if let Err(error) = a.read(&mut [0; 8]) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(a);
    trickle.join().unwrap();
}

#[test]
fn a_worker_that_waits_for_its_client_sees_the_end_of_its_parent_all_the_same() {
    let (mut a, mut b, life) = of_a_worker(Duration::from_secs(60));
    drop(life);
    let late = std::thread::spawn(move || {
        std::thread::sleep(LOOK * 3);
        b.write_all(b"x").unwrap();
        b
    });
    assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
    let Some(Attention::Parent(watch)) = a.attention() else { unreachable!() };
    assert!(watch.parent_is_gone, "it has waited for three times as long as it may not look");
    drop(late.join().unwrap());
}

#[test]
fn a_session_that_is_answered_octet_by_octet_ends_too() {
    let (mut a, mut b) = pair(Duration::from_secs(10));
    a.session.deadline = Duration::from_millis(200);
    let trickle = std::thread::spawn(move || {
        while b.write_all(b"x").is_ok() && matches!(b.read(&mut [0; 8]), Ok(1..)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let error = loop {
        if let Err(error) = a.read(&mut [0; 8]).and_then(|_| a.write_all(b"y")) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(a.session.octets > 2);
    drop(a);
    trickle.join().unwrap();
}

#[test]
fn a_farewell_is_no_longer_than_it_should_be_for_a_client_that_goes_on_talking() {
    let (mut a, mut b) = pair(Duration::from_secs(60));
    let talk = std::thread::spawn(move || {
        while b.write_all(&[b'x'; 64]).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let since = Instant::now();
    a.linger();
    assert!(since.elapsed() < LINGER * 2);
    drop(a);
    talk.join().unwrap();
}

#[test]
fn a_write_to_a_closed_peer_is_an_error_and_no_signal() {
    let (mut a, b) = pair(Duration::from_secs(1));
    drop(b);
    assert_eq!(a.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_peer_that_never_reads_times_out_a_write() {
    let (mut a, _b) = pair(Duration::from_millis(20));
    let error = a.write_all(&vec![0; 8 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
