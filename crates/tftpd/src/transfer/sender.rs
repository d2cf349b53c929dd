//! The side that has the file: the server of an RRQ, the client of a WRQ.
//!
//! Slide "Сценарий работы": send a block, wait for its ACK, send the next one. That is a window of
//! one block, `windowsize` 1. With a larger window (RFC 7440) the sender sends several blocks and
//! waits for the ACK of the last one. An ACK of an earlier block means that the blocks after it
//! were lost, so the next window begins after it.
//!
//! It has no socket and no clock. It handles packets and returns an [`Effect`].

use std::io::Read;

use super::packets::Packets;
use super::side::{Effect, Side, Stage};
use super::window::Window;
use crate::error::Error;
use crate::files::block_reader::BlockReader;
use crate::wire::block_number::BlockNumbers;
use crate::wire::options::TransferOptions;
use crate::wire::packet::Packet;
use crate::wire::requested_options::RequestedOptions;

/// Sends a file, a window of blocks at a time.
#[derive(Debug)]
pub struct Sender<R> {
    phase: Phase<R>,
    /// Client only: the options of the request.
    requested: Option<RequestedOptions>,
    options: TransferOptions,
    numbers: BlockNumbers,
    /// The last acknowledged block.
    acked: u64,
    /// The last block sent, which is the end of the current window.
    sent: u64,
    /// Packets that were sent again.
    retransmissions: u64,
}

/// The packets being sent.
#[derive(Debug)]
enum Phase<R> {
    /// The request or the OACK, until it is answered.
    Opening { packet: Vec<u8>, file: Option<BlockReader<R>> },
    /// The DATA packets.
    Data(Window<R>),
}

impl<R: Read> Sender<R> {
    /// Creates a server's sender. It answers the RRQ with the OACK, if there is one, which the
    /// client answers with ACK 0 (RFC 2347), or with DATA 1.
    ///
    /// # Errors
    /// [`Error::Denied`] if the file can't be read.
    pub fn for_server(
        file: BlockReader<R>,
        options: TransferOptions,
        oack: Option<Vec<u8>>,
    ) -> Result<Sender<R>, Error> {
        match oack {
            Some(packet) => Ok(Sender::opening(packet, file, options, None)),
            None => {
                let mut sender = Sender::opening(Vec::new(), file, options, None);
                sender.begin(options)?;
                Ok(sender)
            }
        }
    }

    /// Creates a client's sender. It begins with the WRQ in `request`. The answer is ACK 0, or an
    /// OACK that grants some of the `requested` options.
    pub fn for_client(
        file: BlockReader<R>,
        request: Vec<u8>,
        requested: RequestedOptions,
    ) -> Sender<R> {
        Sender::opening(request, file, TransferOptions::default(), Some(requested))
    }

    fn opening(
        packet: Vec<u8>,
        file: BlockReader<R>,
        options: TransferOptions,
        requested: Option<RequestedOptions>,
    ) -> Sender<R> {
        let numbers = BlockNumbers::with_rollover(options.rollover);
        let phase = Phase::Opening { packet, file: Some(file) };
        Sender { phase, requested, options, numbers, acked: 0, sent: 0, retransmissions: 0 }
    }

    /// Fills the first window after the request or OACK was answered.
    fn begin(&mut self, options: TransferOptions) -> Result<(), Error> {
        let Phase::Opening { file, .. } = &mut self.phase else { return Ok(()) };
        let Some(file) = file.take() else { return Ok(()) };
        self.options = options;
        self.numbers = BlockNumbers::with_rollover(options.rollover);
        self.phase = Phase::Data(Window::new(file, &options));
        self.send_next()
    }

    /// Fills the next window, which begins after the last acknowledged block.
    fn send_next(&mut self) -> Result<(), Error> {
        let Phase::Data(window) = &mut self.phase else { return Ok(()) };
        window.release(self.acked);
        let end = self.acked + u64::from(self.options.windowsize);
        let end = window.fill(end).map_err(|error| Error::from_io(&error))?;
        self.retransmissions += self.sent - self.acked;
        self.sent = end;
        Ok(())
    }

    /// Handles an ACK. Only an ACK of a block in the current window advances the transfer. An older
    /// one is late or a duplicate. Answering it with DATA would double every packet from then on
    /// (Sorcerer's Apprentice Syndrome, RFC 1123 §4.2.3.1).
    fn ack(&mut self, number: u16) -> Result<Effect, Error> {
        match &self.phase {
            Phase::Opening { .. } if number != 0 => Ok(Effect::Ignored),
            Phase::Opening { .. } => self.begin(self.options).map(|()| Effect::SendNext),
            Phase::Data(window) => {
                let forward = self.numbers.ahead(self.acked, number).unwrap_or_default();
                if forward == 0 || forward > self.sent - self.acked {
                    return Ok(Effect::Ignored);
                }
                self.acked += forward;
                if window.is_last(self.acked) {
                    return Ok(Effect::Complete);
                }
                self.send_next().map(|()| Effect::SendNext)
            }
        }
    }

    fn oack(&mut self, list: &[u8]) -> Result<Effect, Error> {
        match (&self.phase, &self.requested) {
            (Phase::Opening { .. }, Some(requested)) => {
                let agreed = requested.accept(list)?;
                self.begin(agreed).map(|()| Effect::SendNext)
            }
            (Phase::Data(_), Some(_)) => Ok(Effect::Ignored), // duplicate
            (_, None) => Ok(Effect::Unexpected),
        }
    }
}

impl<R: Read> Side for Sender<R> {
    fn packets(&self) -> Packets<'_> {
        match &self.phase {
            Phase::Opening { packet, .. } => Packets::single(packet),
            Phase::Data(window) => window.up_to(self.sent),
        }
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Effect, Error> {
        match packet {
            Packet::Ack { block } => self.ack(block),
            Packet::Oack { options } => self.oack(options),
            _ => Ok(Effect::Unexpected),
        }
    }

    fn on_retransmit(&mut self) {
        self.retransmissions += match self.phase {
            Phase::Opening { .. } => 1,
            Phase::Data(_) => self.sent - self.acked,
        };
    }

    fn work_ahead(&mut self, is_fast: bool) -> Result<bool, Error> {
        match &mut self.phase {
            Phase::Opening { .. } => Ok(false),
            Phase::Data(window) => {
                window.read_ahead(is_fast).map_err(|error| Error::from_io(&error))
            }
        }
    }

    fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Opening { .. } => Stage::Options,
            Phase::Data(window) if window.is_last(self.sent) => Stage::LastAck,
            Phase::Data(_) => Stage::Blocks,
        }
    }

    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn bytes(&self) -> u64 {
        match &self.phase {
            Phase::Opening { .. } => 0,
            Phase::Data(window) => window.bytes(self.sent),
        }
    }

    fn blocks(&self) -> u64 {
        self.sent
    }

    fn retransmissions(&self) -> u64 {
        self.retransmissions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::Mode;

    fn answering(file: &[u8]) -> Sender<&[u8]> {
        windows_of(1, file)
    }

    fn windows_of(windowsize: u16, file: &[u8]) -> Sender<&[u8]> {
        let options = TransferOptions { windowsize, ..TransferOptions::default() };
        Sender::for_server(BlockReader::new(file, Mode::Octet), options, None).unwrap()
    }

    fn ack(sender: &mut Sender<&[u8]>, block: u16) -> Effect {
        sender.receive(Packet::Ack { block }).unwrap()
    }

    /// Returns the numbers of the blocks being sent.
    fn sends(sender: &Sender<&[u8]>) -> Vec<u16> {
        let number = |packet| match Packet::parse(packet) {
            Ok(Packet::Data { block, .. }) => block,
            other => panic!("{other:?}"),
        };
        sender.packets().iter().map(number).collect()
    }

    #[test]
    fn an_empty_file_is_one_empty_block() {
        let mut sender = answering(b"");
        assert_eq!(sender.packets().iter().collect::<Vec<_>>(), [b"\0\x03\0\x01"]);
        assert_eq!(sender.stage(), Stage::LastAck);
        assert_eq!(ack(&mut sender, 1), Effect::Complete);
        assert_eq!((sender.bytes(), sender.blocks()), (0, 1));
    }

    #[test]
    fn only_the_ack_of_the_current_block_advances_the_transfer() {
        let file = [b'x'; 1200];
        let mut sender = answering(&file);
        assert_eq!(ack(&mut sender, 0), Effect::Ignored);
        assert_eq!(ack(&mut sender, 2), Effect::Ignored);
        assert_eq!(ack(&mut sender, 1), Effect::SendNext);
        for old in [1, 1, 0, 65535, 3] {
            assert_eq!(ack(&mut sender, old), Effect::Ignored);
            assert_eq!(sends(&sender), [2]);
        }
        assert_eq!(ack(&mut sender, 2), Effect::SendNext);
        assert_eq!(sender.packets().iter().next().unwrap().len(), 4 + 1200 - 1024);
        assert_eq!((sender.bytes(), sender.blocks(), sender.retransmissions()), (1200, 3, 0));
    }

    #[test]
    fn one_ack_per_window_advances_the_transfer_and_the_last_ends_it() {
        let file = [b'x'; 512 * 6 + 1];
        let mut sender = windows_of(4, &file);
        assert_eq!(sends(&sender), [1, 2, 3, 4]);
        assert_eq!(ack(&mut sender, 4), Effect::SendNext);
        assert_eq!(sends(&sender), [5, 6, 7]);
        assert_eq!(ack(&mut sender, 4), Effect::Ignored, "a duplicate");
        assert_eq!(ack(&mut sender, 8), Effect::Ignored, "there is no block 8");
        assert_eq!(ack(&mut sender, 7), Effect::Complete);
        assert_eq!((sender.bytes(), sender.retransmissions()), (512 * 6 + 1, 0));
    }

    #[test]
    fn after_an_ack_inside_the_window_the_next_window_begins_after_that_block() {
        let file = [b'x'; 512 * 9];
        let mut sender = windows_of(4, &file);
        assert_eq!(ack(&mut sender, 1), Effect::SendNext);
        assert_eq!((sends(&sender), sender.retransmissions()), (vec![2, 3, 4, 5], 3));
        assert_eq!(ack(&mut sender, 4), Effect::SendNext);
        assert_eq!((sends(&sender), sender.retransmissions()), (vec![5, 6, 7, 8], 4));
        assert_eq!(ack(&mut sender, 1), Effect::Ignored, "an old one");
        assert_eq!(ack(&mut sender, 8), Effect::SendNext);
        assert_eq!(sends(&sender), [9, 10]);
        assert_eq!(ack(&mut sender, 9), Effect::SendNext);
        assert_eq!(sends(&sender), [10]);
        assert_eq!(ack(&mut sender, 10), Effect::Complete);
    }

    #[test]
    fn a_timeout_sends_the_blocks_after_the_last_acknowledged_one() {
        let file = [b'x'; 512 * 9];
        let mut sender = windows_of(4, &file);
        ack(&mut sender, 4);
        sender.on_retransmit();
        assert_eq!((sends(&sender), sender.retransmissions()), (vec![5, 6, 7, 8], 4));
    }

    #[test]
    fn block_0_or_the_negotiated_rollover_follows_block_65535() {
        for (rollover, zeroth) in [(0, 0), (1, 1)] {
            let file = vec![7; 512 * 65537];
            let options = TransferOptions { rollover, ..TransferOptions::default() };
            let file = BlockReader::new(&file[..], Mode::Octet);
            let mut sender = Sender::for_server(file, options, None).unwrap();
            for block in 1..=65535 {
                assert_eq!(ack(&mut sender, block), Effect::SendNext);
            }
            assert_eq!(sends(&sender), [zeroth]);
            assert_eq!(ack(&mut sender, zeroth), Effect::SendNext);
            assert_eq!(ack(&mut sender, zeroth + 1), Effect::SendNext);
            assert_eq!(sends(&sender), [zeroth + 2], "an empty last block");
            assert_eq!(ack(&mut sender, zeroth + 2), Effect::Complete);
            assert_eq!((sender.bytes(), sender.blocks()), (512 * 65537, 65538));
        }
    }

    #[test]
    fn a_client_begins_with_its_request() {
        let file = BlockReader::new(&b"abc"[..], Mode::Octet);
        let mut sender = Sender::for_client(file, b"WRQ".to_vec(), RequestedOptions::default());
        assert_eq!(sender.packets(), Packets::single(b"WRQ"));
        assert_eq!(ack(&mut sender, 1), Effect::Ignored);
        assert_eq!(ack(&mut sender, 0), Effect::SendNext);
        assert_eq!(sender.packets().iter().next(), Some(&b"\0\x03\0\x01abc"[..]));
        assert_eq!(ack(&mut sender, 1), Effect::Complete);
    }

    #[test]
    fn an_oack_begins_a_clients_transfer_once() {
        let requested = RequestedOptions {
            blksize: Some(1000),
            windowsize: Some(3),
            ..RequestedOptions::default()
        };
        let file = BlockReader::new(&[1; 4000][..], Mode::Octet);
        let mut sender = Sender::for_client(file, b"WRQ".to_vec(), requested);
        let oack = Packet::Oack { options: b"blksize\x00900\0windowsize\x002\0" };
        assert_eq!(sender.receive(oack).unwrap(), Effect::SendNext);
        assert_eq!((sends(&sender), sender.bytes()), (vec![1, 2], 1800));
        assert_eq!(sender.receive(oack).unwrap(), Effect::Ignored);
        assert_eq!(ack(&mut sender, 0), Effect::Ignored);
        assert_eq!(ack(&mut sender, 2), Effect::SendNext);
    }

    #[test]
    fn an_oack_that_grants_too_much_is_refused() {
        let requested = RequestedOptions { blksize: Some(1000), ..RequestedOptions::default() };
        let file = BlockReader::new(&[1; 4000][..], Mode::Octet);
        let mut sender = Sender::for_client(file, b"WRQ".to_vec(), requested);
        let error = sender.receive(Packet::Oack { options: b"blksize\x001001\0" }).unwrap_err();
        assert_eq!(error.to_string(), "Option blksize=1001 is unacceptable (ERROR 8)");
    }

    #[test]
    fn a_servers_oack_waits_for_ack_0() {
        let file = BlockReader::new(&b"abc"[..], Mode::Octet);
        let options = TransferOptions::default();
        let mut sender = Sender::for_server(file, options, Some(b"OACK".to_vec())).unwrap();
        assert_eq!(sender.stage(), Stage::Options);
        assert_eq!(sender.packets(), Packets::single(b"OACK"));
        assert_eq!(ack(&mut sender, 1), Effect::Ignored);
        assert_eq!(ack(&mut sender, 0), Effect::SendNext);
        assert_eq!(sends(&sender), [1]);
    }

    #[test]
    fn data_in_answer_to_data_ends_nothing() {
        let mut sender = answering(b"x");
        for packet in [Packet::Data { block: 1, data: b"" }, Packet::Oack { options: b"" }] {
            assert_eq!(sender.receive(packet).unwrap(), Effect::Unexpected);
        }
        assert_eq!(ack(&mut sender, 1), Effect::Complete);
    }
}
