//! One process per transfer: the parent reads requests from the service's port, each child answers
//! from a port of its own (RFC 1350 §4).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use log::{debug, warn};

use crate::accept::Peer;
use crate::children::Held;
use crate::drain::drain;
use crate::error::{Result, reason, strerror};
use crate::fork::{EXIT_FAILED, EXIT_OK, Fork, child, fork};
use crate::limits::Refusal;
use crate::models::fork::round;
use crate::parent::Parent;
use crate::ports::fresh_socket;
use crate::recvfrom::{self, Datagram};
use crate::scoreboard::Progress;
use crate::title::Title;
use crate::transcript::Transcript;

/// How often a server without a place looks whether a child only lingers.
const LOOK: Duration = Duration::from_millis(20);

/// A datagram that asks for a transfer, and what its child needs to answer it.
#[derive(Debug)]
pub struct Request {
    /// The datagram; one longer than 2048 octets was cut there.
    pub data: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Our address that it was sent to: the answer must come from there (RFC 1123 §4.1.3.5).
    pub local: IpAddr,
    /// A fresh socket, bound to `local` and a port of its own, not connected. IP_RECVERR is on, so
    /// that a peer which is gone is an error at once, and SO_TIMESTAMPNS, for [`Progress::done`].
    pub socket: UdpSocket,
    /// Counts octets, and says when the transfer is complete.
    pub progress: Progress,
    /// The dialogue's transcript.
    pub transcript: Transcript,
    /// What `ps` shows.
    pub title: Title,
    /// The idle limit of `--timeout`.
    pub timeout: Duration,
    /// How long the whole transfer may last (`--deadline`), and four seconds more for each block.
    pub deadline: Duration,
}

/// recvfrom, fork, and round again.
pub(crate) fn serve(
    mut parent: Parent,
    transfer: impl Fn(&mut Request) -> io::Result<()>,
) -> Result<()> {
    loop {
        let round = round(&mut parent);
        // No signal tells that a child has begun to linger and gives its place to who waits.
        parent.look = (!round.accepting).then_some(LOOK);
        let ready = parent.wait(round)?; // ppoll: the only place where signals come in
        if parent.must_stop(parent.children.len()) {
            return drain(parent);
        }
        serve_renewed(&mut parent, &transfer);
        if ready.is_empty() && round.accepting {
            parent.children.all_read();
        }
        for listener in ready {
            if parent.lets_wait() {
                break; // the one before has taken the last place, and the others wait
            }
            match parent.listeners.get(listener).map(recvfrom::receive) {
                Some(Ok(Some(datagram))) => {
                    serve_request(&mut parent, listener, datagram, &transfer);
                }
                Some(Err(errno)) => {
                    warn!("recvmsg: {}", strerror(errno));
                    parent.reserve.rest_a_while();
                }
                Some(Ok(None)) | None => {}
            }
        }
        // Children may have ended while a request waited for a place.
        serve_renewed(&mut parent, &transfer);
    }
}

/// Requests that came again, and have turned out to be new ones.
fn serve_renewed(parent: &mut Parent, transfer: impl Fn(&mut Request) -> io::Result<()>) {
    let mut renewed = parent.children.renewed();
    while let Some(Held { listener, datagram }) = renewed.pop() {
        serve_request(parent, listener, datagram, &transfer);
        renewed.append(&mut parent.children.renewed());
    }
}

fn serve_request(
    parent: &mut Parent,
    listener: usize,
    datagram: Datagram,
    transfer: impl Fn(&mut Request) -> io::Result<()>,
) {
    let peer = Peer::Ip(datagram.peer);
    if !(parent.is_request)(&datagram.data) {
        debug!("client {peer}: {} octets that are no request", datagram.data.len());
        return;
    }
    let request = fingerprint(&datagram);
    let held = Held { listener, datagram };
    let Some(Held { datagram, listener }) = parent.children.sort_out(held, request) else { return };
    let progress = match admit(parent, peer, datagram.local) {
        Ok(progress) => progress,
        Err(refusal) => {
            warn!("client {peer} refused: {refusal}");
            let no_port = refusal == Refusal::NoPort;
            let words = if no_port { &parent.unavailable } else { &parent.busy };
            return refuse(parent, listener, &datagram, words);
        }
    };
    match fork() {
        Ok(Fork::Child) => {
            child(|| answer(parent, listener, datagram, progress, transfer)) // never returns
        }
        Ok(Fork::Parent(pid)) => parent.children.add(pid, peer, progress, request),
        Err(errno) => {
            warn!("client {peer} refused: fork: {}", strerror(errno));
            refuse(parent, listener, &datagram, &parent.unavailable);
            parent.children.dismiss(peer, progress);
        }
    }
}

fn refuse(parent: &Parent, listener: usize, datagram: &Datagram, words: &[u8]) {
    if let Some(listener) = parent.listeners.get(listener) {
        recvfrom::answer(listener, datagram, words);
    }
}

/// A place for a client, and a port, where `--port-range` has only so many. A client that comes again
/// may be quicker than the end of the process that served it, and one that lingers gives way.
fn admit(
    parent: &mut Parent,
    peer: Peer,
    local: SocketAddr,
) -> std::result::Result<Progress, Refusal> {
    parent.after_a_moment(|parent| {
        while parent.ports.is_some_and(|ports| ports.are_taken(local)) {
            if !parent.children.end_lingering(|_| true) {
                return Err(Refusal::NoPort);
            }
        }
        parent.children.admit(peer)
    })
}

/// The child's half.
fn answer(
    parent: &mut Parent,
    listener: usize,
    datagram: Datagram,
    progress: Progress,
    transfer: impl Fn(&mut Request) -> io::Result<()>,
) -> i32 {
    let socket = fresh_socket(datagram.local, parent.ports).inspect_err(|_| {
        refuse(parent, listener, &datagram, &parent.unavailable);
    });
    parent.become_child();
    let Datagram { data, peer, local, .. } = datagram;
    let title = parent.titles.client(Peer::Ip(peer));
    let transcript = Transcript::of(parent.transcript.take(), Peer::Ip(peer));
    progress.received(data.len());
    let outcome = match socket {
        Err(errno) => {
            warn!("client {peer}: no port for the transfer: {}", strerror(errno));
            return EXIT_FAILED;
        }
        Ok(socket) => transfer(&mut Request {
            data,
            peer,
            local: local.ip(),
            socket,
            progress,
            transcript,
            title,
            timeout: parent.options.timeout,
            deadline: parent.options.deadline,
        }),
    };
    match outcome {
        Ok(()) => EXIT_OK,
        Err(error) => {
            warn!("client {peer}: {}", reason(&error));
            EXIT_FAILED
        }
    }
}

/// The same from the same peer is the same request, if it was sent to the same address of ours: to
/// another one it wants an answer from there.
fn fingerprint(Datagram { data, local, .. }: &Datagram) -> u64 {
    let mut hasher = DefaultHasher::new();
    (data, local).hash(&mut hasher);
    hasher.finish()
}
