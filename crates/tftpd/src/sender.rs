//! The side that has the file: the server of an RRQ, the client of a WRQ.
//!
//! Slide "Сценарий работы": send a block, wait for its ACK, send the next one. That is a window of
//! one block, and the sender below with `windowsize` 1. With a larger window (RFC 7440) it sends
//! several blocks, waits for the ACK of the last one, and sends the next several; an ACK of one in
//! the middle says that what followed it was lost, and the next window begins after it.
//!
//! No socket and no clock: datagrams come in, and a [`Turn`] says what is to be done.

use std::io::Read;

use crate::content::Blocks;
use crate::failure::Failure;
use crate::negotiation::{TransferOptions, Wishes};
use crate::numbers::Numbers;
use crate::packet::Packet;
use crate::transfer::{Half, Stage, Turn};
use crate::window::{Packets, Window};

/// Sends a file, a window of blocks at a time.
#[derive(Debug)]
pub struct Sender<R> {
    progress: Progress<R>,
    /// A client's: the options that its request asked for.
    wishes: Option<Wishes>,
    options: TransferOptions,
    numbers: Numbers,
    /// The last block that was acknowledged.
    acked: u64,
    /// The last block that was sent: the end of the present window.
    sent: u64,
    /// How many packets were sent once more.
    resent: u64,
}

/// What is sent now.
#[derive(Debug)]
enum Progress<R> {
    /// The request or the OACK, until it is answered.
    Opening { packet: Vec<u8>, file: Option<Blocks<R>> },
    /// The file.
    Data(Window<R>),
}

impl<R: Read> Sender<R> {
    /// A server's. It begins with the OACK where there is one, which ACK 0 answers (RFC 2347), and
    /// else with DATA 1, which is the answer to the RRQ.
    ///
    /// # Errors
    /// [`Failure::Denied`] when the file can't be read.
    pub fn answering(
        file: Blocks<R>,
        options: TransferOptions,
        oack: Option<Vec<u8>>,
    ) -> Result<Sender<R>, Failure> {
        match oack {
            Some(packet) => Ok(Sender::opening(packet, file, options, None)),
            None => {
                let mut sender = Sender::opening(Vec::new(), file, options, None);
                sender.begin(options)?;
                Ok(sender)
            }
        }
    }

    /// A client's: begins with the WRQ in `request`, which ACK 0 answers, or an OACK that grants
    /// some of the `wishes` in it.
    pub fn asking(file: Blocks<R>, request: Vec<u8>, wishes: Wishes) -> Sender<R> {
        Sender::opening(request, file, TransferOptions::default(), Some(wishes))
    }

    fn opening(
        packet: Vec<u8>,
        file: Blocks<R>,
        options: TransferOptions,
        wishes: Option<Wishes>,
    ) -> Sender<R> {
        let numbers = Numbers::rolling_to(options.rollover);
        let progress = Progress::Opening { packet, file: Some(file) };
        Sender { progress, wishes, options, numbers, acked: 0, sent: 0, resent: 0 }
    }

    /// The opening was answered: the first window.
    fn begin(&mut self, options: TransferOptions) -> Result<(), Failure> {
        let Progress::Opening { file, .. } = &mut self.progress else { return Ok(()) };
        let Some(file) = file.take() else { return Ok(()) };
        self.options = options;
        self.numbers = Numbers::rolling_to(options.rollover);
        self.progress = Progress::Data(Window::new(file, &options));
        self.send_next()
    }

    /// The next window begins after the last acknowledged block.
    fn send_next(&mut self) -> Result<(), Failure> {
        let Progress::Data(window) = &mut self.progress else { return Ok(()) };
        window.release(self.acked);
        let end = self.acked + u64::from(self.options.windowsize);
        let end = window.make(end).map_err(|error| Failure::io(&error))?;
        self.resent += self.sent - self.acked;
        self.sent = end;
        Ok(())
    }

    /// Only an ACK of a block of the present window moves the transfer. An older one is a duplicate
    /// or came late: answering it with DATA would double every packet from here on (the Sorcerer's
    /// Apprentice, RFC 1123 §4.2.3.1).
    fn ack(&mut self, number: u16) -> Result<Turn, Failure> {
        match &self.progress {
            Progress::Opening { .. } if number != 0 => Ok(Turn::Ignore),
            Progress::Opening { .. } => self.begin(self.options).map(|()| Turn::Forward),
            Progress::Data(window) => {
                let forward = self.numbers.ahead(self.acked, number).unwrap_or_default();
                if forward == 0 || forward > self.sent - self.acked {
                    return Ok(Turn::Ignore);
                }
                self.acked += forward;
                if window.is_last(self.acked) {
                    return Ok(Turn::Complete);
                }
                self.send_next().map(|()| Turn::Forward)
            }
        }
    }

    fn oack(&mut self, list: &[u8]) -> Result<Turn, Failure> {
        match (&self.progress, &self.wishes) {
            (Progress::Opening { .. }, Some(wishes)) => {
                let agreed = wishes.agree(list)?;
                self.begin(agreed).map(|()| Turn::Forward)
            }
            (Progress::Data(_), Some(_)) => Ok(Turn::Ignore), // it came twice
            (_, None) => Err(Failure::illegal("ACK expected")),
        }
    }
}

impl<R: Read> Half for Sender<R> {
    fn packets(&self) -> Packets<'_> {
        match &self.progress {
            Progress::Opening { packet, .. } => Packets::one(packet),
            Progress::Data(window) => window.up_to(self.sent),
        }
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        match packet {
            Packet::Ack { block } => self.ack(block),
            Packet::Oack { options } => self.oack(options),
            _ => Err(Failure::illegal("ACK expected")),
        }
    }

    fn again(&mut self) {
        self.resent += match self.progress {
            Progress::Opening { .. } => 1,
            Progress::Data(_) => self.sent - self.acked,
        };
    }

    fn meanwhile(&mut self) -> Result<bool, Failure> {
        match &mut self.progress {
            Progress::Opening { .. } => Ok(false),
            Progress::Data(window) => window.read_ahead().map_err(|error| Failure::io(&error)),
        }
    }

    fn stage(&self) -> Stage {
        match &self.progress {
            Progress::Opening { .. } => Stage::Options,
            Progress::Data(window) if window.is_last(self.sent) => Stage::LastAck,
            Progress::Data(_) => Stage::Blocks,
        }
    }

    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn octets(&self) -> u64 {
        match &self.progress {
            Progress::Opening { .. } => 0,
            Progress::Data(window) => window.octets(self.sent),
        }
    }

    fn blocks(&self) -> u64 {
        self.sent
    }

    fn resent(&self) -> u64 {
        self.resent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Mode;

    fn answering(file: &[u8]) -> Sender<&[u8]> {
        windows_of(1, file)
    }

    fn windows_of(windowsize: u16, file: &[u8]) -> Sender<&[u8]> {
        let options = TransferOptions { windowsize, ..TransferOptions::default() };
        Sender::answering(Blocks::new(file, Mode::Octet), options, None).unwrap()
    }

    fn ack(sender: &mut Sender<&[u8]>, block: u16) -> Turn {
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
        assert_eq!(ack(&mut sender, 1), Turn::Complete);
        assert_eq!((sender.octets(), sender.blocks()), (0, 1));
    }

    #[test]
    fn one_block_one_ack_and_a_duplicate_old_or_future_ack_never_moves_the_transfer() {
        let file = [b'x'; 1200];
        let mut sender = answering(&file);
        assert_eq!(ack(&mut sender, 0), Turn::Ignore);
        assert_eq!(ack(&mut sender, 2), Turn::Ignore);
        assert_eq!(ack(&mut sender, 1), Turn::Forward);
        for old in [1, 1, 0, 65535, 3] {
            assert_eq!(ack(&mut sender, old), Turn::Ignore);
            assert_eq!(sends(&sender), [2]);
        }
        assert_eq!(ack(&mut sender, 2), Turn::Forward);
        assert_eq!(sender.packets().iter().next().unwrap().len(), 4 + 1200 - 1024);
        assert_eq!((sender.octets(), sender.blocks(), sender.resent()), (1200, 3, 0));
    }

    #[test]
    fn one_ack_answers_a_window_and_one_more_ends_the_file() {
        let file = [b'x'; 512 * 6 + 1];
        let mut sender = windows_of(4, &file);
        assert_eq!(sends(&sender), [1, 2, 3, 4]);
        assert_eq!(ack(&mut sender, 4), Turn::Forward);
        assert_eq!(sends(&sender), [5, 6, 7]);
        assert_eq!(ack(&mut sender, 4), Turn::Ignore, "a duplicate");
        assert_eq!(ack(&mut sender, 8), Turn::Ignore, "there is no block 8");
        assert_eq!(ack(&mut sender, 7), Turn::Complete);
        assert_eq!((sender.octets(), sender.resent()), (512 * 6 + 1, 0));
    }

    #[test]
    fn an_ack_inside_the_window_begins_the_next_one_after_it() {
        let file = [b'x'; 512 * 9];
        let mut sender = windows_of(4, &file);
        assert_eq!(ack(&mut sender, 1), Turn::Forward);
        assert_eq!((sends(&sender), sender.resent()), (vec![2, 3, 4, 5], 3));
        assert_eq!(ack(&mut sender, 4), Turn::Forward);
        assert_eq!((sends(&sender), sender.resent()), (vec![5, 6, 7, 8], 4));
        assert_eq!(ack(&mut sender, 1), Turn::Ignore, "an old one");
        assert_eq!(ack(&mut sender, 8), Turn::Forward);
        assert_eq!(sends(&sender), [9, 10]);
        assert_eq!(ack(&mut sender, 9), Turn::Forward);
        assert_eq!(sends(&sender), [10]);
        assert_eq!(ack(&mut sender, 10), Turn::Complete);
    }

    #[test]
    fn the_clock_sends_the_window_after_the_last_acknowledged_block() {
        let file = [b'x'; 512 * 9];
        let mut sender = windows_of(4, &file);
        ack(&mut sender, 4);
        sender.again();
        assert_eq!((sends(&sender), sender.resent()), (vec![5, 6, 7, 8], 4));
    }

    #[test]
    fn block_0_follows_block_65535_and_another_one_where_that_is_agreed() {
        for (rollover, zeroth) in [(0, 0), (1, 1)] {
            let file = vec![7; 512 * 65537];
            let options = TransferOptions { rollover, ..TransferOptions::default() };
            let file = Blocks::new(&file[..], Mode::Octet);
            let mut sender = Sender::answering(file, options, None).unwrap();
            for block in 1..=65535 {
                assert_eq!(ack(&mut sender, block), Turn::Forward);
            }
            assert_eq!(sends(&sender), [zeroth]);
            assert_eq!(ack(&mut sender, zeroth), Turn::Forward);
            assert_eq!(ack(&mut sender, zeroth + 1), Turn::Forward);
            assert_eq!(sends(&sender), [zeroth + 2], "an empty last block");
            assert_eq!(ack(&mut sender, zeroth + 2), Turn::Complete);
            assert_eq!((sender.octets(), sender.blocks()), (512 * 65537, 65538));
        }
    }

    #[test]
    fn a_client_begins_with_its_request() {
        let file = Blocks::new(&b"abc"[..], Mode::Octet);
        let mut sender = Sender::asking(file, b"WRQ".to_vec(), Wishes::default());
        assert_eq!(sender.packets(), Packets::one(b"WRQ"));
        assert_eq!(ack(&mut sender, 1), Turn::Ignore);
        assert_eq!(ack(&mut sender, 0), Turn::Forward);
        assert_eq!(sender.packets().iter().next(), Some(&b"\0\x03\0\x01abc"[..]));
        assert_eq!(ack(&mut sender, 1), Turn::Complete);
    }

    #[test]
    fn an_oack_begins_a_clients_transfer_once() {
        let wishes = Wishes { blksize: Some(1000), windowsize: Some(3), ..Wishes::default() };
        let file = Blocks::new(&[1; 4000][..], Mode::Octet);
        let mut sender = Sender::asking(file, b"WRQ".to_vec(), wishes);
        let oack = Packet::Oack { options: b"blksize\x00900\0windowsize\x002\0" };
        assert_eq!(sender.receive(oack).unwrap(), Turn::Forward);
        assert_eq!((sends(&sender), sender.octets()), (vec![1, 2], 1800));
        assert_eq!(sender.receive(oack).unwrap(), Turn::Ignore);
        assert_eq!(ack(&mut sender, 0), Turn::Ignore);
        assert_eq!(ack(&mut sender, 2), Turn::Forward);
    }

    #[test]
    fn an_oack_that_grants_too_much_is_refused() {
        let wishes = Wishes { blksize: Some(1000), ..Wishes::default() };
        let file = Blocks::new(&[1; 4000][..], Mode::Octet);
        let mut sender = Sender::asking(file, b"WRQ".to_vec(), wishes);
        let failure = sender.receive(Packet::Oack { options: b"blksize\x001001\0" }).unwrap_err();
        assert_eq!(failure.to_string(), "Option blksize=1001 is unacceptable (ERROR 8)");
    }

    #[test]
    fn a_servers_oack_waits_for_ack_0() {
        let file = Blocks::new(&b"abc"[..], Mode::Octet);
        let options = TransferOptions::default();
        let mut sender = Sender::answering(file, options, Some(b"OACK".to_vec())).unwrap();
        assert_eq!(sender.stage(), Stage::Options);
        assert_eq!(sender.packets(), Packets::one(b"OACK"));
        assert_eq!(ack(&mut sender, 1), Turn::Ignore);
        assert_eq!(ack(&mut sender, 0), Turn::Forward);
        assert_eq!(sends(&sender), [1]);
    }

    #[test]
    fn data_in_answer_to_data_is_illegal() {
        let packet = Packet::Data { block: 1, data: b"" };
        let failure = answering(b"x").receive(packet).unwrap_err();
        assert_eq!(failure.to_string(), "ACK expected (ERROR 4)");
    }
}
