//! Files of more than 65535 blocks: the number goes on with 0, both ways.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::udp::{Served, ack, data, noise, oack, rrq, with, wrq};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// A little over 32 MiB: 65538 blocks.
const SIZE: usize = 65_537 * 512 + 100;

fn tftpc(served: &Served, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
    command.args(["-w", "32", &served.daemon.addr().to_string()]).args(args);
    command.current_dir(served.dir.path());
    let output = testkit::run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_over_32_mib_is_read_whole() {
    let served = Served::with(&[]);
    let file = noise(SIZE, 1);
    served.write("big", &file);
    assert!(served.peer().get(&rrq(b"big", "octet")) == file);
    served.wait_line("RRQ \"big\"", "65538 blocks");
}

#[test]
fn a_file_over_32_mib_is_written_whole() {
    let served = Served::writable();
    let file = noise(SIZE, 2);
    served.peer().put(&wrq(b"big", "octet"), &file);
    assert!(served.read("big") == file);
}

#[test]
fn the_client_gets_and_puts_files_over_32_mib() {
    let served = Served::writable();
    let file = noise(SIZE, 3);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    tftpc(&served, &["put", "f", "big"]);
    tftpc(&served, &["get", "big", "back"]);
    assert!(fs::read(served.dir.path().join("back")).unwrap() == file);
}

#[test]
fn a_file_over_4_gib_is_read_whole() {
    const SIZE: u64 = (4 << 30) + 1_000;
    const BLOCKS: u64 = SIZE / 65_464 + 1; // 65609
    let served = Served::in_memory(&[]);
    let file = fs::File::create(served.path("big")).unwrap();
    file.set_len(SIZE - 3).unwrap(); // all hole
    file.write_all_at(b"end", SIZE - 3).unwrap();
    let mut peer = served.peer();
    let options = "blksize 65464 windowsize 2 tsize 0"; // what a socket has room for
    peer.send(with(&rrq(b"big", "octet"), options));
    peer.expect(oack(&options.replace("tsize 0", &format!("tsize {SIZE}"))));
    peer.send(ack(0));
    let (mut count, mut octets, mut head) = (0u64, 0u64, [0; 4]);
    while count < BLOCKS {
        // The kernel tells the length of what it does not copy here.
        let fd = peer.socket.as_raw_fd();
        let is_last = count + 1 == BLOCKS;
        let flags = if is_last { MsgFlags::MSG_PEEK } else { MsgFlags::empty() };
        let length = match recv(fd, &mut head, MsgFlags::MSG_TRUNC | flags) {
            Err(Errno::EINTR) => continue,
            length => length.unwrap(),
        };
        if head[..] != data((count + 1) as u16, b"")[..] {
            if is_last {
                peer.recv_all(); // that was only a look
            }
            continue; // sent again
        }
        count += 1;
        octets += length as u64 - 4;
        if count % 2 == 0 {
            peer.send(ack(count as u16));
        }
    }
    assert_eq!(octets, SIZE);
    assert!(peer.recv_all().ends_with(b"\0end"));
    peer.send(ack(BLOCKS as u16));
    served.wait_line("RRQ \"big\"", &format!("{SIZE} octets, 65609 blocks"));
}
