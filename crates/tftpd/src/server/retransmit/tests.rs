use super::*;

use std::time::Duration;

/// Values that a compromised process may write in place of each number.
const GARBAGE: [u64; 4] = [1, 0x4141_4141_4141_4141, i64::MAX as u64, u64::MAX];
/// Protocol-specific numbers in a slot.
const NUMBERS: usize = 6;

fn tftp() -> Tftp<'static> {
    let args = ["--root", "/"].map(Into::into).to_vec();
    let values = forknet::parse("tftpd", "", crate::options::OPTIONS.rows, args).unwrap();
    let config = Box::leak(Box::new(Config::new(&values, None).unwrap()));
    Tftp::new(config, Confinement::disabled(&config.roots), 4, Duration::ZERO).unwrap()
}

/// Returns a fixed time some seconds ago, plus `millis`.
fn at(millis: u64) -> SystemTime {
    static BEGIN: std::sync::OnceLock<SystemTime> = std::sync::OnceLock::new();
    let begin = *BEGIN.get_or_init(|| SystemTime::now() - Duration::from_secs(60));
    begin + Duration::from_millis(millis)
}

fn peer() -> SocketAddr {
    "192.0.2.1:2000".parse().unwrap()
}

fn request(name: &str, arrived: SystemTime) -> Datagram {
    let data = format!("\0\x02{name}\0octet\0").into_bytes();
    let local = "192.0.2.69:0".parse().unwrap();
    Datagram { data, peer: peer(), local, arrived, listener: 0 }
}

/// Begins a process that answers a request for `x`, which arrived at time 0.
fn begin(tftp: &mut Tftp<'_>) -> (Slot, SharedStatus) {
    let slot = Slot::unshared(Peer::Ip(peer()));
    let new = tftp.arrived(request("x", at(0))).unwrap();
    tftp.begins(slot, &new);
    let status = SharedStatus::new(slot.counters());
    status.set_answered();
    (slot, status)
}

#[test]
fn a_repeated_request_is_passed_to_its_process_and_begins_no_transfer() {
    let mut tftp = tftp();
    let (slot, status) = begin(&mut tftp);
    assert_eq!(status.take_repeated(), None);
    assert!(tftp.arrived(request("x", at(10))).is_none());
    assert_eq!((status.take_repeated(), status.take_repeated()), (Some(at(10)), None));
    assert!(tftp.arrived(request("y", at(11))).is_some(), "a different request");
    status.set_done(at(20));
    assert!(tftp.arrived(request("x", at(19))).is_none());
    assert!(!tftp.has_ended(slot));
    assert!(tftp.due().is_none());
    assert!(tftp.arrived(request("x", at(19))).is_none(), "it was queued in the server's socket");
    tftp.all_read();
    assert!(tftp.arrived(request("x", at(19))).is_some(), "nothing is remembered for ever");
}

#[test]
fn an_identical_request_after_the_end_is_a_new_one() {
    let mut tftp = tftp();
    let (slot, status) = begin(&mut tftp);
    assert!(
        tftp.arrived(request("x", at(20))).is_none(),
        "the process has yet to read the last ACK"
    );
    status.set_done(at(15));
    assert!(tftp.arrived(request("x", at(21))).is_some());
    assert!(!tftp.has_ended(slot));
    assert_eq!(tftp.due().unwrap().arrived, at(20));
    assert!(tftp.due().is_none());
}

#[test]
fn a_held_request_begins_no_second_transfer_beside_a_later_one() {
    let mut tftp = tftp();
    let (slot, status) = begin(&mut tftp);
    assert!(tftp.arrived(request("x", at(20))).is_none());
    status.set_done(at(15));
    tftp.has_ended(slot);
    let (_, status) = begin_again(&mut tftp, slot, at(21));
    assert!(tftp.due().is_none());
    assert_eq!(status.take_repeated(), Some(at(20)));
}

/// As [`begin`], for a later identical request in the same slot.
fn begin_again(tftp: &mut Tftp<'_>, slot: Slot, at: SystemTime) -> (Slot, SharedStatus) {
    (0..NUMBERS).for_each(|index| slot.counters().set_number(index, 0));
    let new = tftp.arrived(request("x", at)).unwrap();
    tftp.begins(slot, &new);
    (slot, SharedStatus::new(slot.counters()))
}

#[test]
fn a_process_that_ends_without_being_done_leaves_nothing() {
    let mut tftp = tftp();
    let (slot, _) = begin(&mut tftp);
    assert!(tftp.arrived(request("x", at(10))).is_none());
    assert!(!tftp.has_ended(slot) && tftp.due().is_none());
    assert!(tftp.arrived(request("x", at(5))).is_some());
    assert!(!tftp.has_ended(slot), "an unknown slot");
}

#[test]
fn a_dallying_process_gives_way_if_that_frees_a_slot_or_port() {
    let mut tftp = tftp();
    let (slot, status) = begin(&mut tftp);
    let of = |address: &str| Peer::Ip(address.parse().unwrap());
    let (same, other) = (of("192.0.2.1:7"), of("192.0.2.2:7"));
    assert!(tftp.gives_way(same, Refusal::Full(1)).is_none() && tftp.idle().is_empty());
    status.set_dallies();
    assert_eq!(tftp.idle().len(), 1);
    assert!(tftp.gives_way(other, Refusal::PerAddress(1)).is_none());
    let rate = "1/1".parse().unwrap();
    assert!(tftp.gives_way(same, Refusal::TooOften(rate)).is_none());
    assert_eq!(
        tftp.gives_way(same, Refusal::PerAddress(1)).map(|it| it.slot.number()),
        Some(slot.number())
    );
    assert!(tftp.gives_way(same, Refusal::Full(1)).is_none() && tftp.idle().is_empty());
    for refusal in [Refusal::Full(1), Refusal::NoPort] {
        let (slot, status) = begin(&mut tftp);
        status.set_dallies();
        assert_eq!(tftp.gives_way(other, refusal).map(|it| it.slot.number()), Some(slot.number()));
    }
}

#[test]
fn a_reported_time_in_the_future_counts_as_now_and_garbage_does_no_harm() {
    for (number, index) in GARBAGE.into_iter().flat_map(|n| (0..NUMBERS).map(move |i| (n, i))) {
        let mut tftp = tftp();
        let (slot, status) = begin(&mut tftp);
        assert!(tftp.arrived(request("x", at(10))).is_none());
        slot.counters().set_number(index, number);
        assert!(status.done_at().is_none_or(|done| done <= SystemTime::now()));
        let _ = status.take_repeated();
        let _ = (tftp.arrived(request("x", at(11))), tftp.idle());
        tftp.has_ended(slot);
        let _ = tftp.due();
        tftp.all_read();
        assert!(tftp.arrived(request("x", SystemTime::now())).is_some());
        assert!(tftp.idle().is_empty() && tftp.held.is_empty());
    }
}

#[test]
fn a_process_cannot_take_back_that_it_dallies() {
    let mut tftp = tftp();
    let (slot, status) = begin(&mut tftp);
    status.set_dallies();
    assert_eq!(tftp.idle().len(), 1);
    (0..NUMBERS).for_each(|index| slot.counters().set_number(index, 0));
    assert_eq!(tftp.idle().len(), 1);
    assert!(tftp.has_ended(slot), "expected, even by a signal");
}

#[test]
fn remembered_requests_are_bounded() {
    let mut tftp = tftp();
    for _ in 0..3 * MAX_ANSWERED {
        let (slot, status) = begin(&mut tftp);
        for n in 1..10 {
            assert!(tftp.arrived(request("x", at(n))).is_none());
        }
        assert_eq!(tftp.held.len(), 1, "the last one of each process");
        status.set_done(at(0));
        tftp.has_ended(slot);
        assert!(tftp.held.is_empty() && tftp.due().is_some() && tftp.due().is_none());
    }
    assert_eq!(tftp.answered.len(), MAX_ANSWERED);
    assert_eq!(tftp.running.len(), 1);
}
