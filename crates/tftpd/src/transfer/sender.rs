//! The side that has the file: the server of an RRQ, the client of a WRQ.
//!
//! Slide "Сценарий работы": send a block, wait for its ACK, send the next one. That is a window of
//! one block, and the sender below with `windowsize` 1. With a larger window (RFC 7440) it sends
//! several blocks, waits for the ACK of the last one, and sends the next several; an ACK of one in
//! the middle says that what followed it was lost, and the next window begins after it.
//!
//! No socket and no clock: packets come in, and an [`Effect`] says what is to be done.

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
    /// A client's: the options of its request.
    requested: Option<RequestedOptions>,
    options: TransferOptions,
    numbers: BlockNumbers,
    /// The last block that was acknowledged.
    acked: u64,
    /// The last block that was sent: the end of the present window.
    sent: u64,
    /// Packets that were sent again.
    retransmissions: u64,
}

/// What is sent now.
#[derive(Debug)]
enum Phase<R> {
    /// The request or the OACK, until it is answered.
    Opening { packet: Vec<u8>, file: Option<BlockReader<R>> },
    /// The file.
    Data(Window<R>),
}

impl<R: Read> Sender<R> {
    /// Makes a server's sender. It begins with the OACK where there is one, which ACK 0 answers
    /// (RFC 2347), and otherwise with DATA 1, which is the answer to the RRQ.
    ///
    /// # Errors
    /// [`Error::Denied`] when the file can't be read.
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

    /// Makes a client's sender. It begins with the WRQ in `request`, which ACK 0 answers, or an
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

    /// Makes the first window, after the opening was answered.
    fn begin(&mut self, options: TransferOptions) -> Result<(), Error> {
        let Phase::Opening { file, .. } = &mut self.phase else { return Ok(()) };
        let Some(file) = file.take() else { return Ok(()) };
        self.options = options;
        self.numbers = BlockNumbers::with_rollover(options.rollover);
        self.phase = Phase::Data(Window::new(file, &options));
        self.send_next()
    }

    /// Makes the next window, which begins after the last acknowledged block.
    fn send_next(&mut self) -> Result<(), Error> {
        let Phase::Data(window) = &mut self.phase else { return Ok(()) };
        window.release(self.acked);
        let end = self.acked + u64::from(self.options.windowsize);
        let end = window.fill(end).map_err(|error| Error::from_io(&error))?;
        self.retransmissions += self.sent - self.acked;
        self.sent = end;
        Ok(())
    }

    /// Takes an ACK. Only that of a block of the present window moves the transfer. An older one is
    /// a duplicate or came late: answering it with DATA would double every packet from here on (the
    /// Sorcerer's Apprentice, RFC 1123 §4.2.3.1).
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
            (Phase::Data(_), Some(_)) => Ok(Effect::Ignored), // it came twice
            (_, None) => Err(Error::illegal("ACK expected")),
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
            _ => Err(Error::illegal("ACK expected")),
        }
    }

    fn on_retransmit(&mut self) {
        self.retransmissions += match self.phase {
            Phase::Opening { .. } => 1,
            Phase::Data(_) => self.sent - self.acked,
        };
    }

    fn work_ahead(&mut self) -> Result<bool, Error> {
        match &mut self.phase {
            Phase::Opening { .. } => Ok(false),
            Phase::Data(window) => window.read_ahead().map_err(|error| Error::from_io(&error)),
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

    /// The numbers of the blocks that are sent now.
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
    fn one_block_one_ack_and_a_duplicate_old_or_future_ack_never_moves_the_transfer() {
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
    fn one_ack_answers_a_window_and_one_more_ends_the_file() {
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
    fn an_ack_inside_the_window_begins_the_next_one_after_it() {
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
    fn the_clock_sends_the_window_after_the_last_acknowledged_block() {
        let file = [b'x'; 512 * 9];
        let mut sender = windows_of(4, &file);
        ack(&mut sender, 4);
        sender.on_retransmit();
        assert_eq!((sends(&sender), sender.retransmissions()), (vec![5, 6, 7, 8], 4));
    }

    #[test]
    fn block_0_follows_block_65535_and_another_one_where_that_is_agreed() {
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
    fn data_in_answer_to_data_is_illegal() {
        let packet = Packet::Data { block: 1, data: b"" };
        let error = answering(b"x").receive(packet).unwrap_err();
        assert_eq!(error.to_string(), "ACK expected (ERROR 4)");
    }
}
