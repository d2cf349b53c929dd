//! `--port-range`: the ports of transfers.

use std::net::UdpSocket;

use crate::udp::{Served, ack, data, noise, rrq, wrq};
use testkit::wait_until;

/// An address of this test alone, so that no other one takes its ports.
fn address() -> String {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.69.{high}.{low}")
}

/// `A:B`, this number of ports that are free there.
fn free_range(count: u16) -> (u16, String) {
    let ip = address();
    loop {
        let first = UdpSocket::bind((&ip[..], 0)).unwrap().local_addr().unwrap().port();
        let Some(last) = first.checked_add(count - 1) else { continue };
        let held: Vec<_> = (first..=last).map(|p| UdpSocket::bind((&ip[..], p))).collect();
        if held.iter().all(Result::is_ok) {
            return (first, format!("{first}:{last}"));
        }
    }
}

#[test]
fn transfers_have_ports_of_the_range_and_one_too_many_is_told_so() {
    let (first, range) = free_range(3);
    let listen = format!("{}:0", address());
    let served = Served::with(&["-l", &listen, "--over", "busy", "--port-range", &range]);
    let file = noise(1300, 1);
    served.write("x", &file);
    let mut peers: Vec<_> = (0..3).map(|_| served.peer()).collect();
    for peer in &mut peers {
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, &file[..512]));
        peer.send(ack(1)); // one that has not answered would give way
        peer.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    }
    let mut ports: Vec<_> = peers.iter().map(|peer| peer.peer.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [first, first + 1, first + 2]);
    let mut late = served.peer();
    late.send(rrq(b"x", "octet"));
    assert_eq!(late.expect_error(0), "No process or port for the transfer");
    assert_eq!(late.peer, served.daemon.addr());
    served.daemon.wait_log("refused: no port for the transfer");
    let done = peers.pop().unwrap();
    done.send(ack(2));
    let mut done = done;
    done.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    done.send(ack(3));
    wait_until("a port is free", || testkit::children(served.daemon.pid()).len() == 2);
    late.peer = served.daemon.addr();
    assert_eq!(late.get(&rrq(b"x", "octet")), file);
    assert_eq!(late.peer.port(), done.peer.port());
}

#[test]
fn an_upload_that_is_complete_gives_up_its_port() {
    let (_, range) = free_range(1);
    let listen = format!("{}:0", address());
    let served = Served::with(&["-l", &listen, "--port-range", &range, "--create"]);
    for n in 0..3 {
        served.peer().put(&wrq(format!("f{n}").as_bytes(), "octet"), b"small");
        wait_until("it only lingers", || {
            let children = testkit::children(served.daemon.pid());
            children.iter().any(|pid| testkit::title(*pid).contains(&format!("f{n} complete")))
        });
    }
    served.daemon.wait_log("complete, gave way to another");
    let file = served.read("f2");
    assert_eq!(served.peer().get(&rrq(b"f2", "octet")), file);
}
