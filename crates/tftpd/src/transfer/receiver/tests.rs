use super::*;
use crate::files::size_limit::SizeLimit;
use crate::wire::request::Mode;
use std::cell::RefCell;
use std::rc::Rc;

type Committed = Rc<RefCell<Option<Vec<u8>>>>;

fn windows_of(
    windowsize: u16,
    committed: &Committed,
) -> Receiver<Vec<u8>, impl FnOnce(Vec<u8>) -> io::Result<()> + use<>> {
    let committed = committed.clone();
    let commit = move |file| {
        *committed.borrow_mut() = Some(file);
        Ok(())
    };
    let options = TransferOptions { windowsize, ..TransferOptions::default() };
    Receiver::for_server(
        BlockWriter::new(Vec::new(), Mode::Octet, SizeLimit::new(None)),
        commit,
        options,
        None,
    )
}

fn answering(
    committed: &Committed,
) -> Receiver<Vec<u8>, impl FnOnce(Vec<u8>) -> io::Result<()> + use<>> {
    windows_of(1, committed)
}

fn data(receiver: &mut impl Side, block: u16, data: &[u8]) -> Effect {
    receiver.receive(Packet::Data { block, data }).unwrap()
}

fn sends(receiver: &impl Side) -> Vec<u8> {
    receiver.packets().iter().flatten().copied().collect()
}

#[test]
fn a_short_block_ends_the_file_which_is_committed_before_the_ack() {
    let committed = Committed::default();
    let mut receiver = answering(&committed);
    assert_eq!(sends(&receiver), ack(0));
    assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Effect::SendNext);
    assert_eq!(sends(&receiver), ack(1));
    assert_eq!(data(&mut receiver, 2, b"end"), Effect::LastBlock);
    assert!(committed.borrow().is_none());
    assert_eq!(data(&mut receiver, 2, b"end"), Effect::Ignored, "no ACK before the commit");
    receiver.commit().unwrap();
    assert_eq!(sends(&receiver), ack(2));
    assert_eq!(committed.take().unwrap(), [&[b'a'; 512][..], b"end"].concat());
    assert_eq!((receiver.bytes(), receiver.blocks()), (515, 2));
}

#[test]
fn an_empty_block_after_full_ones_ends_the_file() {
    let committed = Committed::default();
    let mut receiver = answering(&committed);
    data(&mut receiver, 1, &[b'a'; 512]);
    assert_eq!(data(&mut receiver, 2, b""), Effect::LastBlock);
    receiver.commit().unwrap();
    assert_eq!(committed.take().unwrap(), [b'a'; 512]);
}

#[test]
fn a_duplicate_block_is_acknowledged_again_and_written_once() {
    let committed = Committed::default();
    let mut receiver = answering(&committed);
    assert_eq!(data(&mut receiver, 0, &[b'x'; 512]), Effect::Ignored);
    data(&mut receiver, 1, &[b'a'; 512]);
    assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Effect::Repeat(ack(1)));
    data(&mut receiver, 2, &[b'b'; 512]);
    assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Effect::Repeat(ack(1)));
    assert_eq!(data(&mut receiver, 4, &[b'x'; 512]), Effect::Ignored);
    assert_eq!(data(&mut receiver, 3, b"c"), Effect::LastBlock);
    receiver.commit().unwrap();
    assert_eq!(data(&mut receiver, 3, b"c"), Effect::Repeat(ack(3)));
    assert_eq!(data(&mut receiver, 4, b"c"), Effect::Ignored);
    assert_eq!(committed.take().unwrap(), [&[b'a'; 512][..], &[b'b'; 512], b"c"].concat());
}

#[test]
fn the_last_block_of_a_window_is_acknowledged_and_a_short_one_at_once() {
    let committed = Committed::default();
    let mut receiver = windows_of(4, &committed);
    for block in [1, 2, 3] {
        assert_eq!(data(&mut receiver, block, &[1; 512]), Effect::Accepted);
    }
    assert_eq!(data(&mut receiver, 4, &[1; 512]), Effect::SendNext);
    assert_eq!(sends(&receiver), ack(4));
    assert_eq!(data(&mut receiver, 5, &[1; 512]), Effect::Accepted);
    assert_eq!(data(&mut receiver, 6, b"short"), Effect::LastBlock);
    receiver.commit().unwrap();
    assert_eq!(sends(&receiver), ack(6));
    assert_eq!(data(&mut receiver, 5, &[1; 512]), Effect::Ignored);
    assert_eq!(data(&mut receiver, 6, b"short"), Effect::Repeat(ack(6)));
}

#[test]
fn a_gap_is_reported_once_and_the_window_begins_after_it() {
    let committed = Committed::default();
    let mut receiver = windows_of(4, &committed);
    assert_eq!(data(&mut receiver, 1, &[1; 512]), Effect::Accepted);
    assert_eq!(data(&mut receiver, 3, &[3; 512]), Effect::Repeat(ack(1)));
    assert_eq!(data(&mut receiver, 4, &[4; 512]), Effect::Ignored);
    for block in [2, 3, 4] {
        assert_eq!(data(&mut receiver, block, &[1; 512]), Effect::Accepted);
    }
    assert_eq!(data(&mut receiver, 5, &[1; 512]), Effect::SendNext);
    assert_eq!(sends(&receiver), ack(5));
    assert_eq!(data(&mut receiver, 10, &[1; 512]), Effect::Ignored, "beyond the window");
    assert_eq!(data(&mut receiver, 7, &[1; 512]), Effect::Repeat(ack(5)), "a new gap");
}

#[test]
fn an_old_window_gets_one_ack_and_none_once_the_next_has_begun() {
    let committed = Committed::default();
    let mut receiver = windows_of(2, &committed);
    data(&mut receiver, 1, &[1; 512]);
    data(&mut receiver, 2, &[1; 512]);
    assert_eq!(data(&mut receiver, 1, &[1; 512]), Effect::Ignored);
    assert_eq!(data(&mut receiver, 2, &[1; 512]), Effect::Repeat(ack(2)));
    assert_eq!(data(&mut receiver, 3, &[1; 512]), Effect::Accepted);
    assert_eq!(data(&mut receiver, 3, &[1; 512]), Effect::Ignored);
    assert_eq!(data(&mut receiver, 2, &[1; 512]), Effect::Ignored);
    assert_eq!(data(&mut receiver, 4, &[1; 512]), Effect::SendNext);
}

#[test]
fn a_timeout_acknowledges_the_last_block_in_order_again() {
    let committed = Committed::default();
    let mut receiver = windows_of(4, &committed);
    data(&mut receiver, 1, &[1; 512]);
    data(&mut receiver, 2, &[1; 512]);
    receiver.on_retransmit();
    assert_eq!(sends(&receiver), ack(2));
    for block in [3, 4, 5] {
        assert_eq!(data(&mut receiver, block, &[1; 512]), Effect::Accepted);
    }
    assert_eq!(data(&mut receiver, 6, &[1; 512]), Effect::SendNext);
}

#[test]
fn a_full_disk_is_detected_while_the_sender_is_busy() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let file = BlockWriter::new(full(), Mode::Octet, SizeLimit::new(None));
    let options = TransferOptions { blksize: 65464, windowsize: 2, ..Default::default() };
    let mut receiver = Receiver::for_server(file, |_| Ok(()), options, None);
    assert_eq!(data(&mut receiver, 1, &[1; 65464]), Effect::Accepted);
    assert_eq!(data(&mut receiver, 2, &[1; 65464]), Effect::SendNext);
    let error = receiver.work_ahead(false).unwrap_err();
    assert_eq!(error.to_string(), "No space left on device (ERROR 3)");
}

#[test]
fn block_0_follows_block_65535() {
    let committed = Committed::default();
    let mut receiver = answering(&committed);
    let full = [7; 512];
    for block in 1..=65535 {
        assert_eq!(data(&mut receiver, block, &full), Effect::SendNext);
    }
    assert_eq!(data(&mut receiver, 0, &full), Effect::SendNext);
    assert_eq!(data(&mut receiver, 65535, &full), Effect::Repeat(ack(65535)));
    assert_eq!(data(&mut receiver, 1, b"e"), Effect::LastBlock);
    receiver.commit().unwrap();
    assert_eq!(committed.take().unwrap().len(), 65536 * 512 + 1);
}

#[test]
fn data_larger_than_the_block_is_illegal() {
    let committed = Committed::default();
    let mut receiver = answering(&committed);
    let packet = Packet::Data { block: 1, data: &[0; 513] };
    let error = receiver.receive(packet).unwrap_err();
    assert_eq!(error.to_string(), "DATA larger than the block (ERROR 4)");
    assert!(committed.borrow().is_none());
}

#[test]
fn a_client_acknowledges_an_oack_with_ack_0_and_a_duplicate_again() {
    let requested =
        RequestedOptions { blksize: Some(8), tsize: Some(0), ..RequestedOptions::default() };
    let file = BlockWriter::new(Vec::new(), Mode::Octet, SizeLimit::new(None));
    let mut receiver = Receiver::for_client(file, |_| Ok(()), b"RRQ".to_vec(), requested);
    assert_eq!(sends(&receiver), b"RRQ");
    let oack = Packet::Oack { options: b"tsize\x0010\0blksize\x008\0" };
    assert_eq!(receiver.receive(oack).unwrap(), Effect::SendNext);
    assert_eq!((sends(&receiver), receiver.options().tsize), (ack(0).to_vec(), Some(10)));
    assert_eq!(receiver.receive(oack).unwrap(), Effect::Repeat(ack(0)));
    assert_eq!(data(&mut receiver, 1, b"12345678"), Effect::SendNext);
    assert_eq!(receiver.receive(oack).unwrap(), Effect::Ignored, "late");
    assert_eq!(data(&mut receiver, 2, b"90"), Effect::LastBlock);
}

#[test]
fn a_client_refuses_options_it_did_not_request() {
    let file = BlockWriter::new(Vec::new(), Mode::Octet, SizeLimit::new(None));
    let mut receiver =
        Receiver::for_client(file, |_| Ok(()), b"RRQ".to_vec(), RequestedOptions::default());
    let error = receiver.receive(Packet::Oack { options: b"tsize\x001\0" }).unwrap_err();
    assert_eq!(error.to_string(), "Option tsize was not asked for (ERROR 8)");
}

#[test]
fn a_file_that_cannot_be_committed_gets_no_ack() {
    let full = |_| Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
    let file = BlockWriter::new(Vec::new(), Mode::Octet, SizeLimit::new(None));
    let mut receiver = Receiver::for_server(file, full, TransferOptions::default(), None);
    assert_eq!(data(&mut receiver, 1, b"x"), Effect::LastBlock);
    let error = receiver.commit().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
}
