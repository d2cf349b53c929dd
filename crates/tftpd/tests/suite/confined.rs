//! Landlock about each transfer.

use std::fs;

use crate::udp::{Served, ack, data, noise, rrq, wrq};
use testkit::{TempDir, only_child, status_field, wait_until};

fn has_landlock(served: &Served) -> bool {
    wait_until("the log tells of landlock", || served.daemon.log().contains("landlock"));
    served.daemon.log().contains("landlock version")
}

#[test]
fn each_transfer_is_confined_and_the_parent_is_not() {
    let served = Served::writable();
    let privileges = |pid| status_field(pid, "NoNewPrivs:");
    let expected = if has_landlock(&served) { "1" } else { "0" };
    served.write("x", noise(512, 1));
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &noise(512, 1)));
    let child = only_child(served.daemon.pid());
    assert_eq!(privileges(child), expected);
    assert_eq!(privileges(served.daemon.pid()), "0");
    peer.send(ack(1));
    peer.expect(data(2, b""));
    peer.send(ack(2));
    assert!(!served.daemon.log().contains("WARN"), "{}", served.daemon.log());
}

#[test]
fn the_log_tells_whether_the_one_process_of_a_single_port_is_confined() {
    let dir = TempDir::new();
    let map = dir.file("map", "slash");
    let pid_file = dir.path().join("pid");
    for (args, confined) in [
        (&[][..], true),
        (&["--map", map.to_str().unwrap()], false),
        (&["-p", pid_file.to_str().unwrap()], false),
    ] {
        let served = Served::with(&[&["--single-port"], args].concat());
        let confined = has_landlock(&served) && confined;
        let privileges = status_field(served.daemon.pid(), "NoNewPrivs:");
        assert_eq!(privileges, if confined { "1" } else { "0" }, "{args:?}");
        let alone = "openat2 alone confines names";
        assert_eq!(served.daemon.log().contains(alone), !confined, "{args:?}");
    }
}

#[test]
fn log_and_transcript_that_lie_elsewhere_are_written_from_inside() {
    let dir = TempDir::new();
    let transcript = dir.path().join("transcript");
    let served = Served::with(&["--create", "--transcript", transcript.to_str().unwrap()]);
    served.peer().put(&wrq(b"up", "octet"), b"upload");
    served.wait_line("WRQ \"up\"", "complete");
    assert_eq!(served.read("up"), b"upload");
    wait_until("the transcript holds the last ACK", || {
        fs::read_to_string(&transcript).unwrap().contains("S: ACK 1")
    });
}

#[test]
fn links_inside_the_root_and_uploads_into_folders_work_inside() {
    let served = Served::writable();
    fs::create_dir(served.path("sub")).unwrap();
    std::os::unix::fs::symlink("sub/real", served.path("link")).unwrap();
    served.peer().put(&wrq(b"link", "octet"), b"new");
    assert_eq!(served.read("sub/real"), b"new");
    served.peer().put(&wrq(b"link", "octet"), b"newer");
    assert_eq!(served.peer().get(&rrq(b"link", "octet")), b"newer");
    assert_eq!(testkit::names(&served.path("sub")), ["real"], "and no temporary");
}
