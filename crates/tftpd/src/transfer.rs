//! One transfer: a half of the protocol, a channel to the other half, and a clock.
//!
//! Slide "Сценарий работы": whoever has sent a block waits for its ACK, and only then sends the
//! next one.

use std::time::{Duration, Instant};

use crate::channel::Channel;
use crate::failure::Failure;
use crate::packet::{HEADER, Malformed, Packet};
use crate::timer::{Due, Limits, Timer};

/// A dallying end stays at most this many times the wait it was told, however often the other
/// end repeats its last block.
const MAX_DALLY: u32 = 5;

/// What a datagram asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Ignore,
    /// The transfer went forward: send the next packet.
    Forward,
    /// The same answer once more; no step forward.
    Repeat([u8; HEADER]),
    /// The last block was acknowledged.
    Complete,
    /// The last block is stored: send the last ACK.
    Final,
}

/// The sender or the receiver of the file.
pub trait Half {
    /// The packet that waits for an answer.
    fn packet(&self) -> &[u8];

    /// Takes a packet of the peer's that is no ERROR.
    ///
    /// # Errors
    /// [`Failure::Denied`] ends the transfer with an ERROR to the peer.
    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure>;

    /// Octets of the file that have travelled.
    fn octets(&self) -> u64;

    /// DATA packets that have travelled, each counted once.
    fn blocks(&self) -> u64;
}

/// One transfer.
pub struct Transfer<'a, H> {
    /// Our half of it.
    pub half: H,
    /// The way to the other half.
    pub channel: Channel<'a>,
    /// How often a packet was sent again because no answer came.
    pub resent: u64,
    /// Every packet came once and was sent once so far.
    pub smooth: bool,
}

impl<'a, H: Half> Transfer<'a, H> {
    /// A transfer that has yet to [`run`](Transfer::run).
    pub fn new(half: H, channel: Channel<'a>) -> Transfer<'a, H> {
        Transfer { half, channel, resent: 0, smooth: true }
    }

    /// Runs it to its end; the peer is told of a failure that is ours. After success the
    /// receiving end should [`dally`](Transfer::dally).
    ///
    /// # Errors
    /// [`Failure`] says why the file did not get across.
    pub fn run(&mut self, limits: Limits) -> Result<(), Failure> {
        let result = self.converse(limits);
        if let Err(Failure::Denied { code, reason }) = &result {
            self.channel.send_error(*code, reason);
        }
        result
    }

    fn converse(&mut self, limits: Limits) -> Result<(), Failure> {
        self.channel.send(self.half.packet())?;
        let mut timer = Timer::new(limits, Instant::now());
        loop {
            match self.channel.receive(timer.deadline())? {
                Some(length) => match self.take(length)? {
                    Turn::Ignore => (),
                    Turn::Forward => {
                        self.channel.send(self.half.packet())?;
                        timer.forward(Instant::now());
                    }
                    Turn::Repeat(packet) => {
                        self.smooth = false;
                        self.channel.send(&packet)?;
                        timer.repeated(Instant::now());
                    }
                    Turn::Complete => return Ok(()),
                    Turn::Final => return self.channel.send(self.half.packet()).or(Ok(())),
                },
                None => match timer.due(Instant::now()) {
                    Due::Nothing => (),
                    Due::Again => {
                        self.smooth = false;
                        self.channel.send(self.half.packet())?;
                        self.resent += 1;
                        timer.again(Instant::now());
                    }
                    Due::GiveUp => return Err(Failure::Silent),
                },
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Turn, Failure> {
        match Packet::parse(self.channel.datagram(length)) {
            Ok(Packet::Error { code, message }) => {
                Err(Failure::Peer { code, message: message.to_vec() })
            }
            Ok(packet) => self.half.receive(packet),
            Err(Malformed::Request(_) | Malformed::Unknown) => {
                Err(Failure::illegal("Not a TFTP packet"))
            }
        }
    }

    /// Stays after the last ACK, to send it again if it was lost: "dallying is encouraged"
    /// (RFC 1350 §6). Ends when the peer was quiet for `wait`, or is gone.
    pub fn dally(&mut self, wait: Duration) {
        let end = Instant::now() + wait * MAX_DALLY;
        let mut until = Instant::now() + wait;
        while let Ok(Some(length)) = self.channel.receive(until.min(end)) {
            match self.take(length) {
                Ok(Turn::Repeat(packet)) if self.channel.send(&packet).is_ok() => {
                    self.resent += 1;
                    until = Instant::now() + wait;
                }
                Ok(Turn::Ignore) => (),
                _ => return,
            }
        }
    }
}
