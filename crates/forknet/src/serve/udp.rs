//! One process per request: the parent reads datagrams from the service's port, each child answers
//! from a port of its own (RFC 1350 §4).
//!
//! The protocol defines what a request is, and how a repeated one is handled: [`UdpProtocol`].

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use log::{debug, warn};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, SockaddrStorage};
use sys::fork::{Fork, OneTask, child, fork};
use sys::udp::{Received, is_v6, receive_into, send_from};

use crate::error::{Result, reason, strerror};
use crate::log::contract;
use crate::log::transcript::Transcript;
use crate::net::counters::Counters;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::options::limits::Over;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::limits::Refusal;
use crate::serve::master::{Master, Round};
use crate::serve::scoreboard::Slot;
use crate::serve::title::Title;

/// Longest request, in bytes. It is longer than any valid one, so that a datagram cut here is still
/// seen to be too long.
const MAX_REQUEST: usize = 2048;
/// Interval at which a server without a free slot checks for a child that gives way, because no
/// signal reports one.
const GIVE_WAY_POLL: Duration = Duration::from_millis(20);

/// A datagram that came to the service's port.
#[derive(Debug)]
pub struct Datagram {
    /// Its first 2048 bytes.
    pub data: Vec<u8>,
    /// The sender.
    pub peer: SocketAddr,
    /// The local address that it was sent to, with port 0, ready for bind(2).
    pub local: SocketAddr,
    /// Arrival time in the kernel.
    pub arrived: SystemTime,
    /// Index of the listener that received it.
    pub listener: usize,
}

/// A request that this process answers.
#[derive(Debug)]
pub struct Request {
    /// The first 2048 bytes of the datagram.
    pub data: Vec<u8>,
    /// The sender.
    pub peer: SocketAddr,
    /// The local address that it was sent to, from which the answer must come (RFC 1123 §4.1.3.5).
    pub local: IpAddr,
    /// The socket that [`UdpProtocol::socket`] has made.
    pub socket: UdpSocket,
    /// Counters of bytes, and numbers that parent and child of this protocol share.
    pub counters: Counters,
    /// The transcript of the dialogue.
    pub transcript: Transcript,
    /// The process's title in `ps`.
    pub title: Title,
    /// The idle limit of `--timeout`.
    pub timeout: Duration,
    /// Longest time of the whole exchange (`--deadline`).
    pub deadline: Duration,
    /// There are too many requests for a log line each: it has lines only once its client has proved its address.
    pub is_quiet: bool,
}

/// A process that gives way to another client.
#[derive(Clone, Copy, Debug)]
pub struct GivesWay {
    /// Its slot.
    pub slot: Slot,
    /// How far it had come, for the log: `complete`.
    pub how: &'static str,
}

/// The rules of a protocol of datagrams. [`UdpProtocol::socket`] and [`UdpProtocol::answer`] are called in
/// the process that answers, the others in the parent. Every method but `answer` has a default, under
/// which each datagram is a request of its own.
pub trait UdpProtocol {
    /// Returns true for a datagram that gets an answer. Others are ignored without a process.
    fn is_request(&self, _datagram: &[u8]) -> bool {
        true
    }

    /// Takes a new request; returns it if a new process must answer it now.
    fn arrived(&mut self, request: Datagram) -> Option<Datagram> {
        Some(request)
    }

    /// Returns a request that has waited and must be answered now.
    fn due(&mut self) -> Option<Datagram> {
        None
    }

    /// Notes that all requests were read, so that later ones are newer than all earlier events.
    fn all_read(&mut self) {}

    /// Notes that the process of this slot answers this request from now on.
    fn begins(&mut self, _slot: Slot, _request: &Datagram) {}

    /// Notes that the process of this slot has ended, before the slot is given to another. Returns
    /// true if that end, even by a signal, needs no warning.
    fn has_ended(&mut self, _slot: Slot) -> bool {
        false
    }

    /// Returns whether the client of this slot has proved its address by an answer. Until then it has no log lines where
    /// there are too many.
    fn is_proven(&self, _slot: Slot) -> bool {
        true
    }

    /// Checks whether the protocol can answer one more request, which was sent to this local
    /// address.
    ///
    /// # Errors
    /// The reason why it cannot.
    fn has_room(&mut self, _local: SocketAddr) -> std::result::Result<(), Refusal> {
        Ok(())
    }

    /// Returns and forgets a slot whose process has done its work, or whose client may be none. That process is
    /// ended, so that a request of `peer` can be answered in spite of this refusal.
    fn gives_way(&mut self, _peer: Peer, _refusal: Refusal) -> Option<GivesWay> {
        None
    }

    /// Returns whether [`UdpProtocol::gives_way`] would find a slot for a client, where requests wait for one.
    fn can_make_room(&mut self) -> bool {
        false
    }

    /// Returns the slots whose processes have done their work: a stopping server does not wait for them.
    fn idle(&mut self) -> Vec<Slot> {
        Vec::new()
    }

    /// Makes the socket of an answer, bound to `local` and a port of its own.
    ///
    /// # Errors
    /// As socket(2) and bind(2) say.
    fn socket(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::bind(local)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The reason is logged, and the process ends with exit code 1.
    fn answer(&self, request: &mut Request) -> io::Result<()>;
}

/// recvfrom, fork, and again.
pub(crate) fn serve(mut master: Master, mut protocol: impl UdpProtocol) -> Result<()> {
    let alone = master.alone()?;
    master.set_logs_no_ends();
    master.ready()?;
    loop {
        let clients = master.children().len();
        // The sockets pause after a recvmsg(2) that failed.
        let is_paused = master.is_paused();
        let accepting = !is_paused && !must_queue(&mut master, &mut protocol);
        let look = master.refusals().start_lines().look(|slot| protocol.is_proven(slot));
        let timeout = (!accepting).then_some(GIVE_WAY_POLL).into_iter().chain(look).min();
        let round = Round { accepting, clients, timeout };
        let ready = master.wait_for(&round)?.listeners; // ppoll, where signals are delivered
        if master.must_stop() {
            return master.shut_down_with(|master| {
                reap(master, &mut protocol);
                let children = master.children();
                protocol.idle().iter().for_each(|slot| children.signal_one(*slot, Signal::SIGTERM));
                master.clients()
            });
        }
        serve_due(&mut master, &mut protocol, alone);
        if ready.is_empty() && accepting {
            protocol.all_read();
        }
        for listener in ready {
            if must_queue(&mut master, &mut protocol) {
                break; // the last request has taken the last slot; others wait
            }
            match receive(&master, listener) {
                Ok(Some(datagram)) => {
                    master.spare_fd().recovered();
                    serve_request(&mut master, &mut protocol, datagram, alone);
                }
                Ok(None) => {}
                Err(errno) => master.spare_fd().receive_failed(errno),
            }
        }
        // Children may have ended while a request waited for a slot.
        serve_due(&mut master, &mut protocol, alone);
    }
}

/// Returns true when requests wait in the sockets (`--over queue`), because no slot is free or can be
/// made so.
fn must_queue(master: &mut Master, protocol: &mut impl UdpProtocol) -> bool {
    let is_full = master.options().over == Over::Queue && master.children().is_full();
    is_full && !protocol.can_make_room()
}

/// Receives the next datagram. Never blocks. Not inlined, because its buffer would lie in the frame of the loop,
/// above the stack of every child.
#[inline(never)]
fn receive(master: &Master, listener: usize) -> nix::Result<Option<Datagram>> {
    let Some(fd) = master.listeners().get(listener) else { return Ok(None) };
    let mut buffer = [0; MAX_REQUEST];
    let message = match receive_into(fd, &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(None),
        message => message?,
    };
    Ok(message.map(|Received { length, peer, local, arrived, .. }| {
        let data = buffer.get(..length).unwrap_or_default().to_vec();
        let arrived = arrived.unwrap_or_else(SystemTime::now);
        Datagram { data, peer, local, arrived, listener }
    }))
}

/// Logs the ends of processes, with what the protocol knows about them. A fault is logged whatever the rate, because it is a
/// mistake of the program's.
fn reap(master: &mut Master, protocol: &mut impl UdpProtocol) {
    for child in master.ended_children() {
        let is_proven = protocol.is_proven(child.slot);
        let is_expected = protocol.has_ended(child.slot);
        let has_lines = is_proven || child.ended.is_fault();
        if master.refusals().start_lines().end(child.slot, has_lines) {
            child.log(is_expected);
        }
    }
}

/// Serves the requests that have waited.
fn serve_due(master: &mut Master, protocol: &mut impl UdpProtocol, alone: OneTask) {
    reap(master, protocol);
    while let Some(request) = protocol.due() {
        serve_new(master, protocol, request, alone);
        reap(master, protocol);
    }
}

fn serve_request(
    master: &mut Master,
    protocol: &mut impl UdpProtocol,
    datagram: Datagram,
    alone: OneTask,
) {
    if !protocol.is_request(&datagram.data) {
        master.refusals().log_not_a_request(Peer::Ip(datagram.peer), datagram.data.len());
    } else if let Some(request) = protocol.arrived(datagram) {
        serve_new(master, protocol, request, alone);
    }
}

fn serve_new(
    master: &mut Master,
    protocol: &mut impl UdpProtocol,
    request: Datagram,
    alone: OneTask,
) {
    let peer = Peer::Ip(request.peer);
    let slot = match admit(master, protocol, &request) {
        Ok(slot) => slot,
        Err(refusal) => {
            master.log_refusal(peer, refusal);
            if master.options().over == Over::Silent {
                return; // the client asks again by itself
            }
            let replies = master.replies();
            let no_port = refusal == Refusal::NoPort;
            let words = if no_port { &replies.unavailable } else { &replies.busy };
            return refuse(master.listeners(), &request, words);
        }
    };
    let has_line = master.refusals().start_lines().allows();
    match fork(alone) {
        Ok(Fork::Child) => child(|| answer(master, protocol, request, (slot, !has_line), alone)),
        Ok(Fork::Parent(pid)) => {
            protocol.begins(slot, &request);
            master.refusals().start_lines().begin(pid.as_raw(), slot, has_line);
            master.children().add_silently(pid, slot);
        }
        Err(errno) => {
            master.log_refusal(peer, format_args!("fork: {}", strerror(errno)));
            master.children().release(slot);
            refuse(master.listeners(), &request, &master.replies().unavailable);
        }
    }
}

/// Acquires a slot for a client. A client that comes again may be quicker than the end of its
/// process, and a process that has done its work gives way.
fn admit(
    master: &mut Master,
    protocol: &mut impl UdpProtocol,
    request: &Datagram,
) -> std::result::Result<Slot, Refusal> {
    let peer = Peer::Ip(request.peer);
    master.after_grace(|master| {
        reap(master, protocol); // before their slots are reused
        loop {
            let room = protocol.has_room(request.local);
            let refusal = match room.and_then(|()| master.children().admit(peer)) {
                Ok(slot) => return Ok(slot),
                Err(refusal) => refusal,
            };
            let Some(GivesWay { slot, how }) = protocol.gives_way(peer, refusal) else {
                return Err(refusal);
            };
            let is_proven = protocol.is_proven(slot);
            if let Some((pid, peer)) = master.children().end(slot).zip(slot.peer())
                && master.refusals().start_lines().end(slot, is_proven)
            {
                master.log_gave_way(peer, pid, how);
            }
        }
    })
}

/// Answers with `words` from the service's port, at the address of the request. Never blocks.
fn refuse(listeners: &[Listener], to: &Datagram, words: &[u8]) {
    let Some(fd) = listeners.get(to.listener) else { return };
    let peer = match to.peer.ip() {
        IpAddr::V4(v4) if is_v6(fd) => SocketAddr::from((v4.to_ipv6_mapped(), to.peer.port())),
        _ => to.peer,
    };
    if let Err(errno) = send_from(fd, to.local, &SockaddrStorage::from(peer), words) {
        debug!("client {peer}: refusal not sent: {}", strerror(errno));
    }
}

/// Answers in the child; returns its exit code.
fn answer(
    master: &mut Master,
    protocol: &impl UdpProtocol,
    request: Datagram,
    (slot, is_quiet): (Slot, bool),
    alone: OneTask,
) -> i32 {
    let peer = request.peer;
    let socket = protocol.socket(request.local).inspect_err(|_| {
        refuse(master.listeners(), &request, &master.replies().unavailable);
    });
    master.close_listeners();
    let counters = slot.counters();
    if let Err(errno) = counters.keep_only(alone) {
        warn!("client {peer}: munmap: {}", strerror(errno));
        return EXIT_FAILED;
    }
    let Datagram { data, local, .. } = request;
    counters.received(data.len());
    let outcome = match socket {
        Err(error) => {
            if !is_quiet {
                warn!("client {peer}: no port for the transfer: {}", reason(&error));
            }
            return EXIT_FAILED;
        }
        Ok(socket) => protocol.answer(&mut Request {
            data,
            peer,
            local: local.ip(),
            socket,
            counters,
            transcript: master.transcript_of(peer),
            title: master.titles().client(Peer::Ip(peer)),
            timeout: master.options().timeout,
            deadline: master.options().deadline,
            is_quiet,
        }),
    };
    match outcome {
        Ok(()) => EXIT_OK,
        Err(error) => {
            contract::client_failed(peer, reason(&error));
            EXIT_FAILED
        }
    }
}
