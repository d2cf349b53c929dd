//! One file fetched or sent.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use sys::fatal_signal;

use super::local_file::{InputStream, Output, open_input};
use super::stay::stay;
use crate::error::Error;
use crate::files::block_writer::BlockWriter;
use crate::files::size_limit::SizeLimit;
use crate::transfer::channel::{Channel, Trace, Traced};
use crate::transfer::receiver::Receiver;
use crate::transfer::sender::Sender;
use crate::transfer::timer::RetryLimits;
use crate::transfer::udp_transfer::UdpTransfer;
use crate::wire::error_code::ErrorCode;
use crate::wire::negotiation::{MaxOptions, grant};
use crate::wire::options::TransferOptions;
use crate::wire::packet::{self, Packet};
use crate::wire::request::{Direction, Mode, Request};
use crate::wire::requested_options::RequestedOptions;

/// Buffer size in bytes for datagrams that are discarded; recv(2) truncates them to it.
const DISCARD_BUFFER: usize = 4;

/// The transfer that the user asked for.
#[derive(Debug)]
pub struct Job {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file's name on the server.
    pub remote: Vec<u8>,
    /// The file's name here, or `-`.
    pub local: String,
    /// The transfer mode.
    pub mode: Mode,
    /// The options to ask for.
    pub options: RequestedOptions,
    /// How often and how long to try.
    pub limits: RetryLimits,
    /// The input to send if it is not a regular file: see [`Job::wait_for_input`].
    pub stream: Option<InputStream>,
}

/// The result of a job.
#[derive(Debug)]
pub struct JobResult {
    /// `Ok` if the file was transferred, otherwise the reason.
    pub result: Result<(), Error>,
    /// The server has answered, so trying another address of the same host would not help.
    pub answered: bool,
}

impl Job {
    /// Waits for the first window of input from a pipe or device, before the request is sent.
    ///
    /// # Errors
    /// The local file can't be opened or read.
    pub fn wait_for_input(&mut self) -> forknet::Result<()> {
        if self.direction == Direction::Write {
            let TransferOptions { blksize, windowsize, .. } = self.largest_options();
            self.stream = InputStream::open(&self.local, blksize * usize::from(windowsize))
                .map_err(forknet::Error::io(format!("put {}", self.local)))?;
        }
        Ok(())
    }

    /// Fetches the file from the server at `service`, or sends it there. Calls `complete` once the
    /// file was transferred, before the client dallies in case its last ACK was lost.
    ///
    /// # Errors
    /// The local file can't be opened or created. Nothing was sent then.
    pub fn run(
        &self,
        service: SocketAddr,
        trace: Trace<'_>,
        complete: impl FnOnce(),
    ) -> forknet::Result<JobResult> {
        let socket = match open_socket(service) {
            Ok(socket) => socket,
            Err(error) => {
                return Ok(JobResult { result: Err(Error::Socket(error)), answered: false });
            }
        };
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            let _ = fatal_signal::catch(signal); // best effort: the server gives up by itself
        }
        let result = match self.direction {
            Direction::Read => self.get(&socket, service, trace, complete),
            Direction::Write => self.put(&socket, service, trace, complete),
        };
        fatal_signal::forget();
        result
    }

    fn get(
        &self,
        socket: &UdpSocket,
        service: SocketAddr,
        trace: Trace<'_>,
        complete: impl FnOnce(),
    ) -> forknet::Result<JobResult> {
        let remote = self.remote.escape_ascii();
        let output = Output::create(&self.local)
            .map_err(forknet::Error::io(format!("get \"{remote}\" to {}", self.local)))?;
        let file = BlockWriter::new(output, self.mode, SizeLimit::new(None));
        let announced = Rc::default();
        let trace = self.trace_size(trace, &announced);
        let commit = move |output: Output| output.commit(&announced);
        let channel = Channel::for_client(socket, service, self.may_be_first(), trace);
        let channel = channel.takes_data().on_peer(Box::new(cancel_on_signal));
        let options = self.options_for_buffer(&channel);
        let receiver = Receiver::for_client(file, commit, self.request(options), options);
        let mut transfer = UdpTransfer::new(receiver, channel, self.limits);
        discard_stale_datagrams(socket);
        let result = transfer.run();
        if result.is_ok() {
            complete();
            fatal_signal::forget();
            stay(&mut transfer);
        }
        Ok(JobResult { result, answered: transfer.channel.is_peer_known() })
    }

    fn put(
        &self,
        socket: &UdpSocket,
        service: SocketAddr,
        trace: Trace<'_>,
        complete: impl FnOnce(),
    ) -> forknet::Result<JobResult> {
        let (input, size) = open_input(&self.local, self.stream.as_ref(), self.mode)
            .map_err(forknet::Error::io(format!("put {}", self.local)))?;
        let tsize = size.filter(|_| self.options.tsize.is_some());
        let options = RequestedOptions { tsize, ..self.options };
        let sender = Sender::for_client(input, self.request(options), options);
        let channel = Channel::for_client(socket, service, self.may_be_first(), trace)
            .on_peer(Box::new(cancel_on_signal));
        let mut transfer = UdpTransfer::new(sender, channel, self.limits);
        discard_stale_datagrams(socket);
        let result = transfer.run();
        if result.is_ok() {
            complete();
        }
        Ok(JobResult { result, answered: transfer.channel.is_peer_known() })
    }

    /// Returns the test for packets that may answer the request.
    fn may_be_first(&self) -> fn(&[u8]) -> bool {
        match self.direction {
            Direction::Read => |packet| {
                let packet = Packet::parse(packet);
                matches!(
                    packet,
                    Ok(Packet::Data { block: 1, .. } | Packet::Oack { .. } | Packet::Error { .. })
                )
            },
            Direction::Write => |packet| {
                let packet = Packet::parse(packet);
                matches!(
                    packet,
                    Ok(Packet::Ack { block: 0 } | Packet::Oack { .. } | Packet::Error { .. })
                )
            },
        }
    }

    fn request(&self, options: RequestedOptions) -> Vec<u8> {
        let request = Request::encode(self.direction, &self.remote, self.mode);
        [request, options.encode()].concat()
    }

    /// Returns a trace that stores the file's size from the server's OACK. Netascii transfers are
    /// ignored because decoding changes the number of bytes.
    fn trace_size<'t>(&self, mut trace: Trace<'t>, size: &Rc<Cell<Option<u64>>>) -> Trace<'t> {
        if self.options.tsize.is_none() || self.mode == Mode::Netascii {
            return trace;
        }
        let (requested, size) = (self.options, Rc::clone(size));
        Box::new(move |traced, packet| {
            if traced == Traced::Received {
                let accepted = accepted_options(packet, &requested);
                size.set(accepted.map_or(size.get(), |options| options.tsize));
            }
            trace(traced, packet);
        })
    }

    /// Returns the largest block and window sizes that a server may grant.
    fn largest_options(&self) -> TransferOptions {
        let requested = self.options.encode();
        let max = MaxOptions { windowsize: u16::MAX, ..MaxOptions::default() };
        grant(&requested, self.direction, max, None).options
    }

    /// Enlarges the receive buffer for the largest window that the server may send. Returns the
    /// options, with the window reduced to the buffer's size.
    fn options_for_buffer(&self, channel: &Channel<'_>) -> RequestedOptions {
        let largest = self.largest_options();
        if largest.windowsize == 1 {
            return self.options;
        }
        let receive_buffer = channel.expect_windows(largest.receive_buffer());
        with_window_in_buffer(self.options, &largest, receive_buffer)
    }
}

/// Returns the options with the window reduced to what the receive buffer holds, because the rest
/// of a larger window would be lost every time. The buffer's size is as getsockopt(2) returns it.
fn with_window_in_buffer(
    options: RequestedOptions,
    largest: &TransferOptions,
    receive_buffer: usize,
) -> RequestedOptions {
    let blocks = largest.window_in_buffer(receive_buffer) / largest.blksize;
    let blocks = u16::try_from(blocks).unwrap_or(u16::MAX).max(1);
    if blocks >= largest.windowsize {
        return options;
    }
    RequestedOptions { windowsize: Some(blocks), ..options }
}

/// Has a signal that ends this process send an ERROR first, so that the server does not wait for a client that has gone.
fn cancel_on_signal(socket: &UdpSocket, peer: SocketAddr) {
    let packet = packet::error(ErrorCode::NotDefined, "Transfer cancelled by a signal");
    let _ = fatal_signal::send(socket, peer, packet); // best effort
}

/// Opens a socket on an ephemeral port. IP_RECVERR is set, so a closed port is reported at once.
fn open_socket(service: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match service {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    match service {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(socket)
}

/// Discards datagrams that arrived before the request was sent. They were meant for an earlier
/// client on this port, whose server may still be sending.
fn discard_stale_datagrams(socket: &UdpSocket) {
    if socket.set_nonblocking(true).is_ok() {
        while socket.recv(&mut [0; DISCARD_BUFFER]).is_ok() {}
        let _ = socket.set_nonblocking(false); // best effort
    }
}

/// Returns the negotiated options if the packet is an acceptable OACK.
#[must_use]
pub fn accepted_options(packet: &[u8], requested: &RequestedOptions) -> Option<TransferOptions> {
    match Packet::parse(packet) {
        Ok(Packet::Oack { options }) => requested.accept(options).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_larger_window_is_asked_for_than_the_socket_has_room_for() {
        let asked = |windowsize, room| {
            let options =
                RequestedOptions { windowsize: Some(windowsize), ..RequestedOptions::default() };
            let largest = TransferOptions { blksize: 8192, windowsize, ..Default::default() };
            with_window_in_buffer(options, &largest, room).windowsize
        };
        assert_eq!(asked(64, 2 * 64 * (8192 + 512)), Some(64));
        assert_eq!(asked(64, 2 * 212_992), Some(24), "Linux's default limit (rmem_max)");
        assert_eq!(asked(2, 1000), Some(1));
        assert_eq!(asked(16, 2 * 212_992), Some(16));
    }
}
