//! Files of more than 65535 blocks: the number goes on with 0, both ways.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod udp;

use std::fs;
use std::process::Command;

use udp::{Served, noise, rrq, wrq};

/// A little over 32 MiB: 65538 blocks.
const SIZE: usize = 65_537 * 512 + 100;

fn tftpc(served: &Served, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
    command.arg(served.daemon.addr().to_string()).args(args).current_dir(served.dir.path());
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
