//! Unit tests of [`super`].

use super::*;
use crate::net::interrupt::{POLL_INTERVAL, Waited};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn pair(idle: Duration) -> (Connection, Connection) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
    let end = |fd| Connection::socket(fd, Timeouts::idle(idle), Counters::unshared());
    (end(a), end(b))
}

#[test]
fn a_silent_client_times_out() {
    let (mut a, _b) = pair(Duration::from_millis(20));
    let error = a.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_trickle_times_out_with_its_turn() {
    // On a busy machine a turn may be over before the first byte: a longer one, then.
    let mut idle = Duration::from_millis(100);
    while trickled(idle) == 0 {
        idle *= 2;
        assert!(idle < testkit::WATCHDOG, "no byte comes");
    }
}

/// Returns how many bytes came before the turn timed out.
fn trickled(idle: Duration) -> usize {
    let (mut a, mut b) = pair(idle);
    let trickle = std::thread::spawn(move || {
        while b.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut bytes = 0;
    let error = loop {
        match a.read(&mut [0; 8]) {
            Ok(n) => bytes += n,
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(a);
    trickle.join().unwrap();
    bytes
}

/// Counts the waits of a session, as a worker interrupts them.
#[derive(Debug)]
struct CountWaits {
    waits: Arc<AtomicUsize>,
}

impl Interrupts for CountWaits {
    fn wait(&mut self, client: &[Waited<'_>], _is_idle: bool, limit: Duration) -> io::Result<bool> {
        self.waits.fetch_add(1, Relaxed);
        Ok(wait(client, [None, None], limit.min(POLL_INTERVAL))? == Woken::Client)
    }

    fn poll_now(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns both ends of a worker's connection, whose first wait SO_RCVTIMEO limits, and the count
/// of the other waits.
fn of_a_worker(idle: Duration) -> (Connection, Connection, Arc<AtomicUsize>) {
    let (mut a, b) = pair(idle);
    a.receive_timeout = POLL_INTERVAL.min(idle.mul_f64(0.9));
    set_receive_timeout(&a.input, a.receive_timeout).unwrap();
    let waits = Arc::new(AtomicUsize::new(0));
    a.set_interrupts(Some(Box::new(CountWaits { waits: Arc::clone(&waits) })));
    (a, b, waits)
}

#[test]
fn in_a_worker_a_silent_client_times_out() {
    for idle in [20, 250].map(Duration::from_millis) {
        let (mut a, _b, _waits) = of_a_worker(idle);
        let since = Instant::now();
        assert_eq!(a.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= idle, "{:?} of {idle:?}", since.elapsed());
    }
}

#[test]
fn in_a_worker_a_trickle_times_out_with_its_turn() {
    let (mut a, mut b, _waits) = of_a_worker(Duration::from_millis(150));
    let trickle = std::thread::spawn(move || {
        while b.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10)); // shorter than SO_RCVTIMEO
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
fn a_worker_that_waits_for_its_client_checks_for_the_servers_end() {
    let (mut a, mut b, waits) = of_a_worker(Duration::from_secs(60));
    let late = std::thread::spawn(move || {
        testkit::wait_until("the worker has waited and checked", || waits.load(Relaxed) >= 3);
        b.write_all(b"x").unwrap();
        b
    });
    assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
    drop(late.join().unwrap());
}

#[test]
fn a_session_answered_byte_by_byte_times_out() {
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

    drop(a);
    trickle.join().unwrap();
}

#[test]
fn lingering_ends_in_time_for_a_client_that_keeps_sending() {
    let (mut a, mut b) = pair(Duration::from_secs(60));
    let talk = std::thread::spawn(move || {
        let until = Instant::now() + testkit::WATCHDOG;
        while Instant::now() < until && b.write_all(&[b'x'; 64]).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    a.linger();
    assert!(!talk.is_finished(), "the client has stopped sending first");
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
