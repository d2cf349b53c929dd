//! Files of more than 65535 blocks: the number goes on with 0, both ways.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::udp::{Served, ack, data, noise, oack, rrq, with, wrq};

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
    let served = Served::with(&[]);
    let file = fs::File::create(served.path("big")).unwrap();
    file.set_len(SIZE - 3).unwrap(); // all hole
    file.write_all_at(b"end", SIZE - 3).unwrap();
    let mut peer = served.peer();
    let options = "blksize 65464 windowsize 2 tsize 0"; // what a socket has room for
    peer.send(with(&rrq(b"big", "octet"), options));
    peer.expect(oack(&options.replace("tsize 0", &format!("tsize {SIZE}"))));
    peer.send(ack(0));
    let (mut count, mut octets, mut last) = (0u64, 0u64, vec![0; 65_536]);
    loop {
        let (length, port) = peer.socket.recv_from(&mut last).unwrap();
        peer.peer = port;
        if last[..4] != data((count + 1) as u16, b"")[..] {
            continue; // sent again
        }
        count += 1;
        octets += length as u64 - 4;
        let ends = length < 4 + 65_464;
        if ends || count % 2 == 0 {
            peer.send(ack(count as u16));
        }
        if ends {
            last.truncate(length);
            break;
        }
    }
    assert_eq!((octets, count), (SIZE, 65_609));
    assert!(last.ends_with(b"\0end"));
    served.wait_line("RRQ \"big\"", &format!("{SIZE} octets, 65609 blocks"));
}
