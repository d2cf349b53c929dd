//! The side that gets the file: the server of a WRQ, the client of an RRQ.
//!
//! No socket and no clock: datagrams come in, and a [`Turn`] says what is to be done.

use std::io::{self, Write};

use crate::content::Assembly;
use crate::failure::Failure;
use crate::negotiation::{TransferOptions, Wishes};
use crate::numbers::Numbers;
use crate::packet::{Packet, ack};
use crate::transfer::{Half, Stage, Turn};
use crate::window::Packets;

/// Block numbers this far back are old; the other half of the circle lies ahead.
const HALF_CIRCLE: u64 = 1 << 15;

/// Gets a file block by block and acknowledges the last one of each window; with `windowsize` 1,
/// as on the slide, each one.
#[derive(Debug)]
pub struct Receiver<W: Write, K> {
    file: Content<W, K>,
    /// The packet that waits for an answer: the request or the OACK, then an ACK.
    packet: Vec<u8>,
    /// A client's: the options that its request asked for.
    wishes: Option<Wishes>,
    /// A client's: the server has granted options.
    granted: bool,
    options: TransferOptions,
    numbers: Numbers,
    /// The last block that came in its order.
    last: u64,
    /// How many blocks came since the last ACK.
    unacked: u16,
    /// The gap after `last` was told already.
    gap_told: bool,
    octets: u64,
    resent: u64,
}

/// The file and what makes it durable and visible.
#[derive(Debug)]
enum Content<W: Write, K> {
    /// Blocks are missing.
    Growing(Assembly<W>, K),
    /// All blocks are written.
    Whole(W, K),
    /// It is where it belongs, or given up.
    Done,
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Receiver<W, K> {
    /// A server's: begins with the OACK, or else with ACK 0, which is the answer to the WRQ.
    ///
    /// `keep` makes the file durable and visible. The last block is acknowledged only after it
    /// succeeded.
    pub fn answering(
        file: Assembly<W>,
        keep: K,
        options: TransferOptions,
        oack: Option<Vec<u8>>,
    ) -> Receiver<W, K> {
        let packet = oack.unwrap_or_else(|| ack(0).to_vec());
        let mut receiver = Receiver::asking(file, keep, packet, Wishes::default());
        receiver.wishes = None;
        receiver.agree(options);
        receiver
    }

    /// A client's: begins with the RRQ in `request`, which DATA 1 answers, or an OACK that grants
    /// some of the `wishes` in it.
    pub fn asking(file: Assembly<W>, keep: K, request: Vec<u8>, wishes: Wishes) -> Receiver<W, K> {
        Receiver {
            file: Content::Growing(file, keep),
            packet: request,
            wishes: Some(wishes),
            granted: false,
            options: TransferOptions::default(),
            numbers: Numbers::default(),
            last: 0,
            unacked: 0,
            gap_told: false,
            octets: 0,
            resent: 0,
        }
    }

    fn agree(&mut self, options: TransferOptions) {
        self.options = options;
        self.numbers = Numbers::rolling_to(options.rollover);
    }

    fn data(&mut self, number: u16, data: &[u8]) -> Result<Turn, Failure> {
        if data.len() > self.options.blksize {
            return Err(Failure::illegal("DATA larger than the block"));
        }
        let Content::Growing(file, _) = &mut self.file else { return Ok(self.old(number)) };
        if self.numbers.on_wire(self.last + 1) != number {
            return Ok(self.not_expected(number));
        }
        file.add(data).map_err(|error| Failure::io(&error))?;
        self.last += 1;
        self.octets += data.len() as u64;
        self.gap_told = false;
        self.packet.clear();
        self.packet.extend_from_slice(&ack(number));
        self.unacked += 1;
        if data.len() < self.options.blksize {
            self.finish().map_err(|error| Failure::io(&error))?;
            return Ok(Turn::Final);
        }
        if self.unacked < self.options.windowsize {
            return Ok(Turn::Taken);
        }
        self.unacked = 0;
        Ok(Turn::Forward)
    }

    /// The short block came.
    fn finish(&mut self) -> io::Result<()> {
        if let Content::Growing(file, keep) = std::mem::replace(&mut self.file, Content::Done) {
            self.file = Content::Whole(file.finish()?, keep);
        }
        Ok(())
    }

    /// A block that can't be next is an old one, or what came before it was lost.
    fn not_expected(&mut self, number: u16) -> Turn {
        let ahead = self.numbers.ahead(self.last, number).unwrap_or_default();
        if !(2..=u64::from(self.options.windowsize)).contains(&ahead) {
            return self.old(number);
        }
        // One ACK tells the sender where to go on (RFC 7440 §4); the rest of the window, which is
        // as early, asks for no other one.
        if std::mem::replace(&mut self.gap_told, true) {
            return Turn::Ignore;
        }
        self.unacked = 0;
        Turn::Repeat(ack(self.numbers.on_wire(self.last)))
    }

    /// A block that was stored before is acknowledged again, under its own number: its ACK was
    /// lost, or it was sent twice. In a window of several blocks only the last one is, and only
    /// while the next window has not begun. A block that can't have been sent yet is ignored.
    fn old(&self, number: u16) -> Turn {
        let age = self.numbers.behind(self.last + 1, number).unwrap_or_default();
        let oldest = if self.options.windowsize > 1 { 1 } else { HALF_CIRCLE };
        let asks = match self.file {
            Content::Growing(..) => self.unacked == 0,
            Content::Whole(..) => false, // the last ACK has to wait
            Content::Done => true,
        };
        if asks && (1..=self.last.min(oldest)).contains(&age) {
            Turn::Repeat(ack(number))
        } else {
            Turn::Ignore
        }
    }

    fn oack(&mut self, list: &[u8]) -> Result<Turn, Failure> {
        let Some(wishes) = self.wishes else {
            return Err(Failure::illegal("DATA expected"));
        };
        if self.last > 0 {
            return Ok(Turn::Ignore); // it came late
        }
        if self.granted {
            return Ok(Turn::Repeat(ack(0)));
        }
        self.agree(wishes.agree(list)?);
        (self.packet, self.granted) = (ack(0).to_vec(), true);
        Ok(Turn::Forward)
    }
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Half for Receiver<W, K> {
    fn packets(&self) -> Packets<'_> {
        Packets::one(&self.packet)
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        match packet {
            Packet::Data { block, data } => self.data(block, data),
            Packet::Oack { options } => self.oack(options),
            _ => Err(Failure::illegal("DATA expected")),
        }
    }

    /// The ACK that is sent again is of the last block in its order, and the window begins anew.
    fn again(&mut self) {
        self.unacked = 0;
        self.resent += 1;
    }

    /// The sender makes its next window ready: now there is time for the disk.
    fn meanwhile(&mut self) -> Result<bool, Failure> {
        match &mut self.file {
            Content::Growing(file, _) => file.write_pieces().map_err(|error| Failure::io(&error)),
            Content::Whole(..) | Content::Done => Ok(false),
        }
    }

    fn keep(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.file, Content::Done) {
            Content::Whole(file, keep) => keep(file),
            Content::Growing(..) | Content::Done => Ok(()),
        }
    }

    fn kept(&mut self) {
        self.file = Content::Done;
    }

    fn stage(&self) -> Stage {
        match Packet::parse(&self.packet) {
            Ok(Packet::Oack { .. }) => Stage::Options,
            _ => Stage::Blocks,
        }
    }

    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn octets(&self) -> u64 {
        self.octets
    }

    fn blocks(&self) -> u64 {
        self.last
    }

    fn resent(&self) -> u64 {
        self.resent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Room;
    use crate::packet::Mode;
    use std::cell::RefCell;
    use std::rc::Rc;

    type Kept = Rc<RefCell<Option<Vec<u8>>>>;

    fn windows_of(
        windowsize: u16,
        kept: &Kept,
    ) -> Receiver<Vec<u8>, impl FnOnce(Vec<u8>) -> io::Result<()> + use<>> {
        let kept = kept.clone();
        let keep = move |file| {
            *kept.borrow_mut() = Some(file);
            Ok(())
        };
        let options = TransferOptions { windowsize, ..TransferOptions::default() };
        Receiver::answering(
            Assembly::new(Vec::new(), Mode::Octet, Room::up_to(None)),
            keep,
            options,
            None,
        )
    }

    fn answering(kept: &Kept) -> Receiver<Vec<u8>, impl FnOnce(Vec<u8>) -> io::Result<()> + use<>> {
        windows_of(1, kept)
    }

    fn data(receiver: &mut impl Half, block: u16, data: &[u8]) -> Turn {
        receiver.receive(Packet::Data { block, data }).unwrap()
    }

    fn sends(receiver: &impl Half) -> Vec<u8> {
        receiver.packets().iter().flatten().copied().collect()
    }

    #[test]
    fn a_short_block_ends_the_file_and_it_is_kept_before_its_ack() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        assert_eq!(sends(&receiver), ack(0));
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Forward);
        assert_eq!(sends(&receiver), ack(1));
        assert_eq!(data(&mut receiver, 2, b"end"), Turn::Final);
        assert!(kept.borrow().is_none());
        assert_eq!(data(&mut receiver, 2, b"end"), Turn::Ignore, "no ACK before it is kept");
        receiver.keep().unwrap();
        assert_eq!(sends(&receiver), ack(2));
        assert_eq!(kept.take().unwrap(), [&[b'a'; 512][..], b"end"].concat());
        assert_eq!((receiver.octets(), receiver.blocks()), (515, 2));
    }

    #[test]
    fn an_empty_block_after_whole_ones_ends_the_file() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        data(&mut receiver, 1, &[b'a'; 512]);
        assert_eq!(data(&mut receiver, 2, b""), Turn::Final);
        receiver.keep().unwrap();
        assert_eq!(kept.take().unwrap(), [b'a'; 512]);
    }

    #[test]
    fn a_duplicate_block_is_acknowledged_again_and_written_once() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        assert_eq!(data(&mut receiver, 0, &[b'x'; 512]), Turn::Ignore);
        data(&mut receiver, 1, &[b'a'; 512]);
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Repeat(ack(1)));
        data(&mut receiver, 2, &[b'b'; 512]);
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Repeat(ack(1)));
        assert_eq!(data(&mut receiver, 4, &[b'x'; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 3, b"c"), Turn::Final);
        receiver.keep().unwrap();
        assert_eq!(data(&mut receiver, 3, b"c"), Turn::Repeat(ack(3)));
        assert_eq!(data(&mut receiver, 4, b"c"), Turn::Ignore);
        assert_eq!(kept.take().unwrap(), [&[b'a'; 512][..], &[b'b'; 512], b"c"].concat());
    }

    #[test]
    fn the_last_block_of_a_window_is_acknowledged_and_a_short_one_at_once() {
        let kept = Kept::default();
        let mut receiver = windows_of(4, &kept);
        for block in [1, 2, 3] {
            assert_eq!(data(&mut receiver, block, &[1; 512]), Turn::Taken);
        }
        assert_eq!(data(&mut receiver, 4, &[1; 512]), Turn::Forward);
        assert_eq!(sends(&receiver), ack(4));
        assert_eq!(data(&mut receiver, 5, &[1; 512]), Turn::Taken);
        assert_eq!(data(&mut receiver, 6, b"short"), Turn::Final);
        receiver.keep().unwrap();
        assert_eq!(sends(&receiver), ack(6));
        assert_eq!(data(&mut receiver, 5, &[1; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 6, b"short"), Turn::Repeat(ack(6)));
    }

    #[test]
    fn a_gap_is_told_once_and_the_window_begins_after_it() {
        let kept = Kept::default();
        let mut receiver = windows_of(4, &kept);
        assert_eq!(data(&mut receiver, 1, &[1; 512]), Turn::Taken);
        assert_eq!(data(&mut receiver, 3, &[3; 512]), Turn::Repeat(ack(1)));
        assert_eq!(data(&mut receiver, 4, &[4; 512]), Turn::Ignore);
        for block in [2, 3, 4] {
            assert_eq!(data(&mut receiver, block, &[1; 512]), Turn::Taken);
        }
        assert_eq!(data(&mut receiver, 5, &[1; 512]), Turn::Forward);
        assert_eq!(sends(&receiver), ack(5));
        assert_eq!(data(&mut receiver, 10, &[1; 512]), Turn::Ignore, "beyond the window");
        assert_eq!(data(&mut receiver, 7, &[1; 512]), Turn::Repeat(ack(5)), "a new gap");
    }

    #[test]
    fn an_old_window_asks_for_one_ack_and_none_once_the_next_has_begun() {
        let kept = Kept::default();
        let mut receiver = windows_of(2, &kept);
        data(&mut receiver, 1, &[1; 512]);
        data(&mut receiver, 2, &[1; 512]);
        assert_eq!(data(&mut receiver, 1, &[1; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 2, &[1; 512]), Turn::Repeat(ack(2)));
        assert_eq!(data(&mut receiver, 3, &[1; 512]), Turn::Taken);
        assert_eq!(data(&mut receiver, 3, &[1; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 2, &[1; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 4, &[1; 512]), Turn::Forward);
    }

    #[test]
    fn the_clock_acknowledges_the_last_block_in_its_order() {
        let kept = Kept::default();
        let mut receiver = windows_of(4, &kept);
        data(&mut receiver, 1, &[1; 512]);
        data(&mut receiver, 2, &[1; 512]);
        receiver.again();
        assert_eq!(sends(&receiver), ack(2));
        for block in [3, 4, 5] {
            assert_eq!(data(&mut receiver, block, &[1; 512]), Turn::Taken);
        }
        assert_eq!(data(&mut receiver, 6, &[1; 512]), Turn::Forward);
    }

    #[test]
    fn a_full_disk_shows_while_the_sender_is_busy() {
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        let file = Assembly::new(full(), Mode::Octet, Room::up_to(None));
        let options = TransferOptions { blksize: 65464, windowsize: 2, ..Default::default() };
        let mut receiver = Receiver::answering(file, |_| Ok(()), options, None);
        assert_eq!(data(&mut receiver, 1, &[1; 65464]), Turn::Taken);
        assert_eq!(data(&mut receiver, 2, &[1; 65464]), Turn::Forward);
        let failure = receiver.meanwhile().unwrap_err();
        assert_eq!(failure.to_string(), "No space left on device (ERROR 3)");
    }

    #[test]
    fn block_0_follows_block_65535() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        let full = [7; 512];
        for block in 1..=65535 {
            assert_eq!(data(&mut receiver, block, &full), Turn::Forward);
        }
        assert_eq!(data(&mut receiver, 0, &full), Turn::Forward);
        assert_eq!(data(&mut receiver, 65535, &full), Turn::Repeat(ack(65535)));
        assert_eq!(data(&mut receiver, 1, b"e"), Turn::Final);
        receiver.keep().unwrap();
        assert_eq!(kept.take().unwrap().len(), 65536 * 512 + 1);
    }

    #[test]
    fn data_larger_than_the_block_is_illegal() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        let packet = Packet::Data { block: 1, data: &[0; 513] };
        let failure = receiver.receive(packet).unwrap_err();
        assert_eq!(failure.to_string(), "DATA larger than the block (ERROR 4)");
        assert!(kept.borrow().is_none());
    }

    #[test]
    fn a_client_acknowledges_an_oack_with_0_and_a_doubled_one_again() {
        let wishes = Wishes { blksize: Some(8), tsize: Some(0), ..Wishes::default() };
        let file = Assembly::new(Vec::new(), Mode::Octet, Room::up_to(None));
        let mut receiver = Receiver::asking(file, |_| Ok(()), b"RRQ".to_vec(), wishes);
        assert_eq!(sends(&receiver), b"RRQ");
        let oack = Packet::Oack { options: b"tsize\x0010\0blksize\x008\0" };
        assert_eq!(receiver.receive(oack).unwrap(), Turn::Forward);
        assert_eq!((sends(&receiver), receiver.options().tsize), (ack(0).to_vec(), Some(10)));
        assert_eq!(receiver.receive(oack).unwrap(), Turn::Repeat(ack(0)));
        assert_eq!(data(&mut receiver, 1, b"12345678"), Turn::Forward);
        assert_eq!(receiver.receive(oack).unwrap(), Turn::Ignore, "late");
        assert_eq!(data(&mut receiver, 2, b"90"), Turn::Final);
    }

    #[test]
    fn a_client_refuses_options_that_it_did_not_ask_for() {
        let file = Assembly::new(Vec::new(), Mode::Octet, Room::up_to(None));
        let mut receiver = Receiver::asking(file, |_| Ok(()), b"RRQ".to_vec(), Wishes::default());
        let failure = receiver.receive(Packet::Oack { options: b"tsize\x001\0" }).unwrap_err();
        assert_eq!(failure.to_string(), "Option tsize was not asked for (ERROR 8)");
    }

    #[test]
    fn a_file_that_can_not_be_kept_gets_no_ack() {
        let full = |_| Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        let file = Assembly::new(Vec::new(), Mode::Octet, Room::up_to(None));
        let mut receiver = Receiver::answering(file, full, TransferOptions::default(), None);
        assert_eq!(data(&mut receiver, 1, b"x"), Turn::Final);
        let error = receiver.keep().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
    }
}
