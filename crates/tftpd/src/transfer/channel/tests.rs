use super::*;
use std::thread;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn quiet<'a>() -> Trace<'a> {
    Box::new(|_, _| ())
}

/// A timeout that no test reaches.
const LONG: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Creates the local end and a connected peer.
fn pair(ours: &UdpSocket) -> (Channel<'_>, UdpSocket) {
    let theirs = socket();
    let peer = theirs.local_addr().unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    (Channel::for_server(ours, peer, quiet()), theirs)
}

#[test]
fn an_unknown_sender_gets_error_5_and_the_peers_datagram_is_received() {
    let ours = socket();
    let (mut channel, peer) = pair(&ours);
    let stranger = socket();
    let ours = ours.local_addr().unwrap();
    stranger.send_to(&packet::ack(1), ours).unwrap();
    stranger.send_to(b"", ours).unwrap();
    stranger.send_to(&packet::error(ErrorCode::NotDefined, "never answered"), ours).unwrap();
    stranger.send_to(b"junk", ours).unwrap();
    peer.send(b"hello").unwrap();
    assert!(channel.receive(soon(), Duration::ZERO).unwrap());
    assert_eq!(channel.datagram(), b"hello");
    let mut answer = [0; 100];
    for _ in 0..3 {
        let length = testkit::uninterrupted(|| stranger.recv(&mut answer)).unwrap();
        let read = Packet::Error { code: 5, message: b"Unknown transfer ID" };
        assert_eq!(Packet::parse(&answer[..length]), Ok(read));
    }
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut answer).is_err(), "the ERROR was answered");
}

#[test]
fn a_client_uses_the_port_of_the_first_answer() {
    let (service, first, second, ours) = (socket(), socket(), socket(), socket());
    let to = ours.local_addr().unwrap();
    let mut channel =
        Channel::for_client(&ours, service.local_addr().unwrap(), |first| first != b"no", quiet());
    second.send_to(b"no", to).unwrap();
    first.send_to(b"first", to).unwrap();
    second.send_to(b"second", to).unwrap();
    first.send_to(b"third", to).unwrap();
    assert!(channel.receive(soon(), Duration::ZERO).unwrap());
    assert_eq!(channel.datagram(), b"first");
    assert!(channel.receive(soon(), Duration::ZERO).unwrap());
    assert_eq!(channel.datagram(), b"third");
    assert_eq!(channel.peer(), first.local_addr().unwrap());
}

#[test]
fn a_closed_port_of_the_peer_ends_the_transfer_at_once() {
    let ours = socket();
    let (mut channel, peer) = pair(&ours);
    drop(peer);
    channel.send(Packets::single(b"into the void")).unwrap();
    assert!(matches!(channel.receive(soon(), Duration::ZERO), Err(Error::PortClosed)));
}

#[test]
fn a_closed_port_of_an_unknown_sender_is_ignored() {
    let ours = socket();
    let (mut channel, peer) = pair(&ours);
    let ours = ours.local_addr().unwrap();
    for _ in 0..5 {
        let stranger = socket();
        stranger.send_to(b"x", ours).unwrap();
        drop(stranger);
        let brief = Instant::now() + Duration::from_millis(20);
        assert!(!channel.receive(brief, Duration::ZERO).unwrap());
    }
    channel.send(Packets::single(b"still here")).unwrap();
    peer.send(b"so am I").unwrap();
    assert!(channel.receive(soon(), Duration::ZERO).unwrap());
    let mut answer = [0; 100];
    assert_eq!(testkit::uninterrupted(|| peer.recv(&mut answer)).unwrap(), 10);
}

#[test]
fn an_answer_already_received_by_the_kernel_needs_no_poll() {
    let ours = socket();
    let (mut channel, peer) = pair(&ours);
    peer.send(b"already").unwrap();
    assert!(channel.receive(soon(), LONG).unwrap());
    assert_eq!(channel.poll_result(), None);
    // On a busy machine it may have come before the poll begins: a longer pause, then.
    let is_polled_for = |channel: &mut Channel<'_>, pause: Duration| {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(pause);
                peer.send(b"later").unwrap();
            });
            assert!(channel.receive(soon(), LONG).unwrap());
            channel.poll_result() == Some(true)
        })
    };
    let pauses = [20, 40, 80, 160, 320, 640, 1280, 2560].map(Duration::from_millis);
    assert!(pauses.into_iter().any(|pause| is_polled_for(&mut channel, pause)));
}

#[test]
fn a_flood_does_not_outlast_the_deadline() {
    let ours = socket();
    let (mut channel, peer) = pair(&ours);
    for _ in 0..3 {
        peer.send(b"more").unwrap();
    }
    assert!(channel.receive(soon(), Duration::ZERO).unwrap());
    assert!(!channel.receive(Instant::now(), Duration::ZERO).unwrap(), "though more is there");
}

#[test]
fn the_deadline_is_kept() {
    let ours = socket();
    let (mut channel, _peer) = pair(&ours);
    let start = Instant::now();
    let deadline = start + Duration::from_millis(50);
    assert!(!channel.receive(deadline, Duration::ZERO).unwrap());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(50), "{took:?}");
}

#[test]
fn icmp_errors_about_a_known_peer_do_not_end_the_transfer() {
    let ours = socket();
    let (channel, _peer) = pair(&ours);
    let service = "127.0.0.1:9".parse().unwrap();
    let client = Channel::for_client(&ours, service, |_| true, quiet());
    for errno in [
        Errno::EMSGSIZE, // a smaller MTU
        Errno::EHOSTUNREACH,
        Errno::EHOSTDOWN,
        Errno::ENOPROTOOPT, // perhaps for an ERROR to an unknown sender
        Errno::EACCES,
        Errno::EPROTO,
    ] {
        channel.ignore_or_fail(errno.into()).unwrap();
        assert!(client.ignore_or_fail(errno.into()).is_err(), "{errno}: another address may do");
    }
    assert!(matches!(channel.ignore_or_fail(Errno::EBADF.into()), Err(Error::Socket(_))));
}
