//! The relay between a client and a server that each report what they receive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::relay::{Fate, Passing, Relay, Way, Weather};
use testkit::{WATCHDOG, uninterrupted, wait_until};

/// Long enough for a datagram that should not come to have come.
const MOMENT: Duration = Duration::from_millis(100);

/// An RRQ and a WRQ, as far as the relay looks at them.
const REQUEST: &[u8] = b"\0\x01request";
const ANOTHER: &[u8] = b"\0\x02another";

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket
}

/// The service, and a relay before it.
fn relayed(script: impl FnMut(&Passing<'_>) -> Fate + Send + 'static) -> (UdpSocket, Relay) {
    let service = socket();
    let relay = Relay::start(service.local_addr().unwrap(), script);
    (service, relay)
}

fn calm() -> (UdpSocket, Relay) {
    relayed(|_| Fate::passes())
}

/// A transfer that goes on: the client, the front that it talks to, and the port that this stands
/// for. The script is asked about what comes after the request and its answer.
fn under_way(
    mut script: impl FnMut(&Passing<'_>) -> Fate + Send + 'static,
) -> (UdpSocket, SocketAddr, UdpSocket, Relay) {
    let mut first = 2;
    let (service, relay) = relayed(move |passing| {
        if first > 0 {
            first -= 1;
            return Fate::passes();
        }
        script(passing)
    });
    let (client, port) = (socket(), socket());
    client.send_to(REQUEST, relay.addr()).unwrap();
    port.send_to(b"answer", hears(&service, REQUEST)).unwrap();
    let front = hears(&client, "answer");
    (client, front, port, relay)
}

#[track_caller]
fn hears(socket: &UdpSocket, expected: impl AsRef<[u8]>) -> SocketAddr {
    let mut buffer = [0; 2048];
    let (length, from) = uninterrupted(|| socket.recv_from(&mut buffer)).expect("a datagram");
    let shown = |octets: &[u8]| octets.escape_ascii().to_string();
    assert_eq!(shown(&buffer[..length]), shown(expected.as_ref()));
    from
}

#[track_caller]
fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(MOMENT)).unwrap();
    let error = socket.recv_from(&mut [0; 2048]).expect_err("nothing more");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
}

#[test]
fn the_servers_new_port_has_a_front_of_its_own_and_both_ways_pass() {
    let (service, relay) = calm();
    let (client, port) = (socket(), socket());
    client.send_to(REQUEST, relay.addr()).unwrap();
    let back = hears(&service, REQUEST);
    assert_ne!(back, client.local_addr().unwrap());
    port.send_to(b"answer", back).unwrap();
    let front = hears(&client, "answer");
    assert_ne!(front, relay.addr());
    client.send_to(b"thanks", front).unwrap();
    assert_eq!(hears(&port, "thanks"), back);
    client.send_to(REQUEST, relay.addr()).unwrap();
    assert_eq!(hears(&service, REQUEST), back);
    assert_eq!(relay.counts().came, 4);
}

#[test]
fn an_answer_from_the_services_own_port_comes_from_the_relays() {
    let (service, relay) = calm();
    let client = socket();
    client.send_to(REQUEST, relay.addr()).unwrap();
    let back = hears(&service, REQUEST);
    service.send_to(b"answer", back).unwrap();
    assert_eq!(hears(&client, "answer"), relay.addr());
    client.send_to(b"thanks", relay.addr()).unwrap();
    assert_eq!(hears(&service, "thanks"), back, "still the same transfer");
}

#[test]
fn clients_are_told_apart_and_a_stranger_finds_no_way_in() {
    let (service, relay) = calm();
    let (one, two, port) = (socket(), socket(), socket());
    one.send_to(REQUEST, relay.addr()).unwrap();
    let back_of_one = hears(&service, REQUEST);
    two.send_to(REQUEST, relay.addr()).unwrap();
    let back_of_two = hears(&service, REQUEST);
    assert_ne!(back_of_one, back_of_two);
    port.send_to(b"to two", back_of_two).unwrap();
    let front_of_two = hears(&two, "to two");
    port.send_to(b"to one", back_of_one).unwrap();
    let front_of_one = hears(&one, "to one");
    assert_ne!(front_of_one, front_of_two);
    one.send_to(b"not mine", front_of_two).unwrap();
    hears_nothing(&port);
}

#[test]
fn another_request_from_the_same_port_closes_the_ways_of_the_one_before() {
    let (service, relay) = calm();
    let (client, port) = (socket(), socket());
    client.send_to(REQUEST, relay.addr()).unwrap();
    let first = hears(&service, REQUEST);
    client.send_to(ANOTHER, relay.addr()).unwrap();
    let second = hears(&service, ANOTHER);
    assert_ne!(first, second);
    port.send_to(b"answer to the first", first).unwrap();
    port.send_to(b"answer to the second", second).unwrap();
    hears(&client, "answer to the second");
    hears_nothing(&client);
}

#[test]
fn the_script_says_what_becomes_of_each_datagram() {
    let fates = [
        ("lost", Fate::lost()),
        ("twice", Fate::twice()),
        ("late", Fate::late(MOMENT)),
        ("prompt", Fate::passes()),
    ];
    let table = fates.clone();
    let (client, front, port, relay) = under_way(move |passing| {
        let of = |(name, _): &&(&str, Fate)| name.as_bytes() == passing.bytes;
        table.iter().find(of).map(|(_, fate)| fate.clone()).unwrap()
    });
    let sent = Instant::now();
    for (name, _) in fates {
        client.send_to(name.as_bytes(), front).unwrap();
    }
    for expected in ["twice", "twice", "prompt", "late"] {
        hears(&port, expected);
    }
    assert!(sent.elapsed() >= MOMENT);
    hears_nothing(&port);
    let counts = relay.counts();
    assert_eq!((counts.came, counts.lost, counts.doubled, counts.late), (6, 1, 1, 1));
}

#[test]
fn what_is_late_by_the_same_time_keeps_its_order() {
    let (client, front, port, _relay) = under_way(|_| Fate::late(Duration::from_millis(3)));
    for n in 0..100 {
        client.send_to(format!("{n}").as_bytes(), front).unwrap();
    }
    for n in 0..100 {
        hears(&port, format!("{n}"));
    }
}

#[test]
fn a_transfer_is_known_by_its_request_and_its_datagrams_are_counted_each_way() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let (service, relay) = relayed(move |passing| {
        log.lock().unwrap().push((passing.transfer, passing.way, passing.number));
        Fate::passes()
    });
    for _ in 0..2 {
        let (client, port) = (socket(), socket());
        client.send_to(REQUEST, relay.addr()).unwrap();
        client.send_to(REQUEST, relay.addr()).unwrap();
        let back = hears(&service, REQUEST);
        hears(&service, REQUEST);
        port.send_to(b"answer", back).unwrap();
        hears(&client, "answer");
        client.send_to(ANOTHER, relay.addr()).unwrap();
        hears(&service, ANOTHER);
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[..4], seen[4..], "the same whoever the client is");
    let same = seen[0].0;
    let [(_, _, a), (_, _, b), (transfer, way, c), (other, _, d)] = seen[..4] else {
        panic!("{seen:?}");
    };
    assert_eq!((a, b, way, c), (0, 1, Way::ToClient, 0));
    assert_eq!((transfer, d), (same, 0));
    assert_ne!(other, same);
}

#[test]
fn weather_loses_and_doubles_about_what_it_says_both_ways() {
    let storm = Weather { lost: 20, doubled: 20, ..Weather::CALM };
    let (service, relay) = relayed(storm.script(1));
    let (client, port) = (socket(), socket());
    let mut back = None;
    while back.is_none() {
        client.send_to(REQUEST, relay.addr()).unwrap();
        service.set_read_timeout(Some(MOMENT)).unwrap();
        back = service.recv_from(&mut [0; 64]).ok().map(|(_, from)| from);
    }
    let mut heard = 0;
    for burst in 1..=50 {
        let came = relay.counts().came + 20;
        (0..20).for_each(|_| assert_eq!(port.send_to(b"x", back.unwrap()).unwrap(), 1));
        wait_until("the relay has seen the burst", || relay.counts().came >= came);
        client.set_nonblocking(burst < 50).unwrap();
        client.set_read_timeout(Some(MOMENT)).unwrap();
        while client.recv_from(&mut [0; 64]).is_ok() {
            heard += 1;
        }
    }
    assert!((850..1070).contains(&heard), "{heard} of 1000, and 960 are to be expected");
}

#[test]
fn a_client_that_is_gone_is_gone_for_the_server_too() {
    let (service, relay) = calm();
    let (client, port) = (socket(), socket());
    client.send_to(REQUEST, relay.addr()).unwrap();
    port.connect(hears(&service, REQUEST)).unwrap();
    port.send(b"answer").unwrap();
    hears(&client, "answer");
    drop(client);
    let refused =
        |sent: io::Result<usize>| sent.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    wait_until("the port that stands for the client is closed", || refused(port.send(b"there?")));
}
