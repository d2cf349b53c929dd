//! Unit tests of [`super`].

use super::*;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

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
