//! A disk that takes no more. The limit is RLIMIT_FSIZE, which holds for root too: write(2) ends
//! with EFBIG there as it ends with ENOSPC on a full disk, and SIGXFSZ must not kill a process.

use std::process::Command;
use std::thread;

use crate::tftpc::waiting;
use crate::udp::{Served, TFTPD, Udp, ack, data, noise, rrq, wrq};

const LIMIT: u64 = 100 * 1024;

/// A program under that limit, by the shell: it counts in blocks of 512 bytes (POSIX, ulimit).
fn limited(program: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {}; exec \"$@\"", LIMIT / 512);
    command.args(["-c", &script, "sh", program]);
    command
}

#[test]
fn a_full_disk_is_error_3_and_leaves_the_old_file_and_no_temporary() {
    let served = Served::spawn(limited(TFTPD), &["--create", "--overwrite"]);
    let server = waiting();
    let mut command = limited(env!("CARGO_BIN_EXE_tftpc"));
    command.args([&server.addr().to_string(), "get", "x"]).current_dir(served.dir.path());
    let client = thread::spawn(move || testkit::run(command, b""));
    client_meets_the_limit(server);
    let output = client.join().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("to x: File too large"), "{said}");
    assert!(!served.dir.path().join("x").exists());
    daemon_meets_the_limit(&served);
}

fn client_meets_the_limit(mut server: Udp) {
    server.expect(rrq(b"x", "octet"));
    for block in 1.. {
        server.send(data(block, &[1; 512]));
        let mut answer = server.recv();
        while block > 1 && answer == ack(block - 1) {
            answer = server.recv();
        }
        if answer != ack(block) {
            assert_eq!(answer[..4], [0, 5, 0, 3]);
            assert!(u64::from(block) * 512 > LIMIT);
            return;
        }
    }
}

fn daemon_meets_the_limit(served: &Served) {
    let file = noise(LIMIT as usize, 1);
    served.peer().put(&wrq(b"x", "octet"), &file);
    let mut peer = served.peer();
    peer.send(wrq(b"x", "octet"));
    peer.expect(ack(0));
    for block in 1.. {
        peer.send(data(block, &[1; 512]));
        let mut answer = peer.recv();
        while answer == ack(block - 1) {
            answer = peer.recv();
        }
        if answer != ack(block) {
            assert_eq!(answer[..4], [0, 5, 0, 3]);
            break;
        }
    }
    served.wait_line("WRQ \"x\"", "failed: File too large (ERROR 3)");
    assert_eq!(served.read("x"), file);
    testkit::wait_until("no temporary is left", || served.names() == ["x"]);
}
