//! tftpc's side: a file fetched or sent.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::channel::{Channel, Trace, Way};
use crate::content::{Assembly, Room};
use crate::conversation::Conversation;
use crate::failure::Failure;
use crate::input::{self, Stream};
use crate::negotiation::{Caps, TransferOptions, Wishes, grant};
use crate::output::Output;
use crate::packet::{Direction, Mode, Packet, Request};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::timer::Limits;

/// How long the client stays after its last ACK, in case that was lost (RFC 1350 §6): only where
/// something was lost or delayed before, because somebody waits for the prompt. The file is safe,
/// and a server that misses the last ACK finds the port closed and ends too.
const DALLY: Duration = Duration::from_millis(1500);

/// What is to be done.
#[derive(Debug)]
pub struct Order {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file's name on the server.
    pub remote: Vec<u8>,
    /// The file's name here, or `-`.
    pub local: String,
    /// How it travels.
    pub mode: Mode,
    /// The options to ask for.
    pub wishes: Wishes,
    /// The client's patience.
    pub limits: Limits,
    /// What is sent, where that is no regular file: see [`Order::wait_for_input`].
    pub stream: Option<Stream>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Why the file did not get across, if it did not.
    pub result: Result<(), Failure>,
    /// The server has answered: trying another address of the same name would not help.
    pub answered: bool,
}

impl Order {
    /// Before anybody is asked to take a file: waits until a first window of it is there, where it comes
    /// from a pipe or the like.
    ///
    /// # Errors
    /// The local file can't be opened or read.
    pub fn wait_for_input(&mut self) -> forknet::Result<()> {
        if self.direction == Direction::Write {
            let TransferOptions { blksize, windowsize, .. } = self.largest();
            self.stream = Stream::open(&self.local, blksize * usize::from(windowsize))
                .map_err(forknet::Error::io(format!("put {}", self.local)))?;
        }
        Ok(())
    }

    /// Carries out the order with the server at `service`. `complete` is called once the file has
    /// got across, before the client stays for a last ACK that may have been lost.
    ///
    /// # Errors
    /// The local file can't be opened or made; nothing was sent then.
    pub fn run(
        &self,
        service: SocketAddr,
        trace: Trace<'_>,
        complete: impl FnOnce(),
    ) -> forknet::Result<Outcome> {
        let remote = self.remote.escape_ascii();
        let socket = match socket_for(service) {
            Ok(socket) => socket,
            Err(error) => {
                return Ok(Outcome { result: Err(Failure::Socket(error)), answered: false });
            }
        };
        match self.direction {
            Direction::Read => {
                let output = Output::create(&self.local)
                    .map_err(forknet::Error::io(format!("get \"{remote}\" to {}", self.local)))?;
                let file = Assembly::new(output, self.mode, Room::up_to(None));
                let announced = Rc::default();
                let trace = self.heed_size(trace, &announced);
                let keep = move |output: Output| output.keep(&announced);
                let channel = Channel::asking(&socket, service, self.answers(), trace).takes_data();
                let wishes = self.make_room(&channel);
                let receiver = Receiver::asking(file, keep, self.request(wishes), wishes);
                let mut conversation = Conversation::new(receiver, channel, self.limits);
                forget_strangers(&socket);
                let result = conversation.run();
                if result.is_ok() {
                    complete();
                    if !conversation.transfer.smooth {
                        conversation.dally(DALLY);
                    }
                }
                Ok(Outcome { result, answered: conversation.channel.is_fixed() })
            }
            Direction::Write => {
                let (input, size) = input::begin(&self.local, self.stream.as_ref(), self.mode)
                    .map_err(forknet::Error::io(format!("put {}", self.local)))?;
                let tsize = size.filter(|_| self.wishes.tsize.is_some());
                let wishes = Wishes { tsize, ..self.wishes };
                let sender = Sender::asking(input, self.request(wishes), wishes);
                let channel = Channel::asking(&socket, service, self.answers(), trace);
                let mut conversation = Conversation::new(sender, channel, self.limits);
                forget_strangers(&socket);
                let result = conversation.run();
                if result.is_ok() {
                    complete();
                }
                Ok(Outcome { result, answered: conversation.channel.is_fixed() })
            }
        }
    }

    /// Which packets may answer the request.
    fn answers(&self) -> fn(&[u8]) -> bool {
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

    fn request(&self, wishes: Wishes) -> Vec<u8> {
        let request = Request::packet(self.direction, &self.remote, self.mode);
        [request, wishes.list()].concat()
    }

    /// Notes the file's size when the server tells it. In netascii another number of octets may
    /// come of it.
    fn heed_size<'t>(&self, mut trace: Trace<'t>, size: &Rc<Cell<Option<u64>>>) -> Trace<'t> {
        if self.wishes.tsize.is_none() || self.mode == Mode::Netascii {
            return trace;
        }
        let (wishes, size) = (self.wishes, Rc::clone(size));
        Box::new(move |way, packet| {
            if way == Way::In {
                size.set(granted(packet, &wishes).map_or(size.get(), |options| options.tsize));
            }
            trace(way, packet);
        })
    }

    /// The largest blocks and windows that a server may grant.
    fn largest(&self) -> TransferOptions {
        let asked = self.wishes.list();
        let most = Caps { windowsize: u16::MAX, ..Caps::default() };
        grant(&asked, self.direction, most, None).options
    }

    /// Makes room for the largest window that the server may send; gives the wishes that there is
    /// room for.
    fn make_room(&self, channel: &Channel<'_>) -> Wishes {
        let options = self.largest();
        if options.windowsize == 1 {
            return self.wishes;
        }
        fitting(self.wishes, &options, channel.expect_rows(options.room()))
    }
}

/// The same wishes, with a window that so many octets of a socket buffer have room for, as getsockopt(2)
/// tells them: the rest of a larger one would be lost every time.
fn fitting(wishes: Wishes, largest: &TransferOptions, room: usize) -> Wishes {
    let blocks = largest.window_in(room) / largest.blksize;
    let blocks = u16::try_from(blocks).unwrap_or(u16::MAX).max(1);
    if blocks >= largest.windowsize {
        return wishes;
    }
    Wishes { windowsize: Some(blocks), ..wishes }
}

/// A socket with a port of its own, that hears of closed ports at once.
fn socket_for(service: SocketAddr) -> io::Result<UdpSocket> {
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

/// Throws away what has come before the request: it was meant for the one who had this port before,
/// whose server may be sending still.
fn forget_strangers(socket: &UdpSocket) {
    if socket.set_nonblocking(true).is_ok() {
        while socket.recv(&mut [0; 4]).is_ok() {}
        let _blocking_again = socket.set_nonblocking(false);
    }
}

/// What is agreed upon, where this packet is the server's OACK.
#[must_use]
pub fn granted(packet: &[u8], wishes: &Wishes) -> Option<TransferOptions> {
    match Packet::parse(packet) {
        Ok(Packet::Oack { options }) => wishes.agree(options).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_larger_window_is_asked_for_than_the_socket_has_room_for() {
        let asked = |windowsize, room| {
            let wishes = Wishes { windowsize: Some(windowsize), ..Wishes::default() };
            let largest = TransferOptions { blksize: 8192, windowsize, ..Default::default() };
            fitting(wishes, &largest, room).windowsize
        };
        assert_eq!(asked(64, 2 * 64 * (8192 + 512)), Some(64));
        assert_eq!(asked(64, 2 * 212_992), Some(24), "what Linux allows everybody");
        assert_eq!(asked(2, 1000), Some(1));
        assert_eq!(asked(16, 2 * 212_992), Some(16));
    }
}
