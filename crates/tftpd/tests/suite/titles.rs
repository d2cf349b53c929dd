//! What `ps` shows of a transfer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::udp::{Served, ack, data, noise, rrq, wrq};
use testkit::{only_child, title, wait_title};

#[test]
fn a_transfer_shows_its_client_and_its_file_and_the_parent_how_many_there_are() {
    let served = Served::with(&["-c", "9"]);
    served.write("pxelinux.0", noise(512, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"pxelinux.0", "octet"));
    peer.expect(data(1, &noise(512, 1)));
    let child = only_child(served.daemon.pid());
    assert_eq!(title(child), format!("tftpd: {} RRQ pxelinux.0", peer.addr()));
    let at = served.daemon.addr();
    wait_title(served.daemon.pid(), &format!("tftpd: parent, 1 of 9 clients, {at}"));
    peer.send(ack(1));
    peer.expect(data(2, b""));
    peer.send(ack(2));
    wait_title(served.daemon.pid(), &format!("tftpd: parent, 0 of 9 clients, {at}"));
}

#[test]
fn an_upload_that_is_complete_and_only_stays_for_its_last_ack_says_so() {
    let served = Served::writable();
    let mut peer = served.peer();
    peer.send(wrq(b"up", "octet"));
    peer.expect(ack(0));
    let child = only_child(served.daemon.pid());
    assert_eq!(title(child), format!("tftpd: {} WRQ up", peer.addr()));
    peer.send(data(1, b"short"));
    peer.expect(ack(1));
    wait_title(child, &format!("tftpd: {} WRQ up complete", peer.addr()));
}

#[test]
fn odd_file_names_are_escaped_and_long_ones_cut() {
    let name = [b"a\x1b[2J\n\xff".to_vec(), vec![b'n'; 100]].concat();
    let served = Served::with(&[]);
    std::fs::write(served.path("").join(OsStr::from_bytes(&name)), noise(512, 1)).unwrap();
    let mut peer = served.peer();
    peer.send(rrq(&name, "octet"));
    peer.expect(data(1, &noise(512, 1)));
    let shown = "a\\u{1b}[2J\\n\\xff".to_owned() + &"n".repeat(57) + "...";
    let child = only_child(served.daemon.pid());
    assert_eq!(title(child), format!("tftpd: {} RRQ {shown}", peer.addr()));
}
