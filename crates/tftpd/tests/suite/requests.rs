//! Requests: what is served, what is refused with which code, what meets with silence.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::udp::{Served, Udp, ack, data, error, noise, rrq, timed, wrq};
use testkit::{Daemon, wait_until, within_once};

#[test]
fn a_read_request_is_answered_with_data_1_from_a_fresh_port() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, b"hello"));
    assert_eq!(peer.peer.ip(), served.daemon.addr().ip());
    assert_eq!(peer.peer.port() == served.daemon.addr().port(), super::udp::is_single());
    peer.send(ack(1));
    let line = served.wait_line("RRQ \"x\" octet", "complete");
    assert!(line.contains("5 octets, 1 blocks"), "{line}");
}

#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let served = Served::with(&["-l", "*:0"]);
    served.write("x", "hello");
    let listening = served.daemon.listening(1);
    let port = listening[0].rsplit(':').next().unwrap();
    for asked in ["127.0.0.1", "127.0.0.2", "[::1]"] {
        let mut peer = Udp::new(format!("{asked}:{port}").parse().unwrap());
        let ip = peer.peer.ip();
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, b"hello"));
        assert_eq!(peer.peer.ip(), ip);
        peer.send(ack(1));
    }
}

#[test]
fn the_same_request_to_another_address_of_ours_is_answered_from_there() {
    let served = Served::with(&["-l", "*:0"]);
    served.write("x", "hello");
    let listening = served.daemon.listening(1);
    let port = listening[0].rsplit(':').next().unwrap();
    let mut peer = Udp::new(format!("127.0.0.1:{port}").parse().unwrap());
    for asked in ["127.0.0.1", "127.0.0.2"] {
        peer.peer = format!("{asked}:{port}").parse().unwrap();
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, b"hello"));
        while peer.peer.ip().to_string() != asked {
            peer.expect(data(1, b"hello")); // that was the first answer once more, by its clock
        }
    }
    peer.send(ack(1));
}

#[test]
fn a_broadcast_request_is_ignored() {
    let served = Served::with(&["-l", "0.0.0.0:0"]);
    served.write("x", "hello");
    let port = served.daemon.addr().port();
    let mut peer = Udp::new(format!("127.0.0.1:{port}").parse().unwrap());
    peer.socket.set_broadcast(true).unwrap();
    peer.socket.send_to(&rrq(b"x", "octet"), ("127.255.255.255", port)).unwrap();
    peer.expect_silence();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, b"hello"));
    peer.send(ack(1));
}

/// A raw socket, which sends the UDP header as it was given: without a sum.
#[test]
fn a_request_from_port_0_is_ignored() {
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
    use nix::sys::socket::{SockaddrIn, sendto, socket};
    if !testkit::root_can_judge() {
        return;
    }
    let served = Served::with(&[]);
    served.write("x", "hello");
    let flags = SockFlag::SOCK_CLOEXEC;
    let raw = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Udp).unwrap();
    let mut peer = served.peer();
    let request = rrq(b"x", "octet");
    let send_from = |port: u16| {
        let length = 8 + request.len() as u16;
        let header = [port, served.daemon.addr().port(), length, 0].map(u16::to_be_bytes);
        let packet = [&header.concat(), &request[..]].concat();
        let to = SockaddrIn::new(127, 0, 0, 1, 0);
        sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty()).unwrap();
    };
    send_from(0);
    send_from(peer.addr().port()); // the other one was read before this one
    peer.expect(data(1, b"hello"));
    peer.send(ack(1));
    served.wait_line("RRQ \"x\"", "complete");
    let log = served.daemon.log();
    assert!(!log.contains("127.0.0.1:0 "), "{log}");
    served.assert_one_transfer();
}

#[test]
fn files_of_every_size_about_the_block_come_whole() {
    let served = Served::with(&[]);
    for size in [0, 1, 511, 512, 513, 1023, 1024, 1025, 70_000] {
        let file = noise(size, size as u64);
        served.write("f", &file);
        assert_eq!(served.peer().get(&rrq(b"f", "octet")), file, "{size} octets");
    }
}

#[test]
fn an_empty_file_is_one_empty_block() {
    let served = Served::with(&[]);
    served.write("empty", "");
    let mut peer = served.peer();
    peer.send(rrq(b"empty", "octet"));
    peer.expect(data(1, b""));
    peer.send(ack(1));
    served.wait_line("RRQ \"empty\"", "complete");
}

#[test]
fn the_same_request_may_come_again_at_once_from_the_same_port() {
    let served = Served::writable();
    served.write("x", "hello");
    let mut peer = served.peer();
    let mut late = 0; // after a clock's second
    let mut prompt = |peer: &mut Udp, request: Vec<u8>, answer: Vec<u8>| {
        peer.peer = served.daemon.addr();
        peer.send(request);
        let ((), took) = timed(|| peer.expect(answer));
        late += usize::from(took > Duration::from_millis(900));
    };
    for _ in 0..200 {
        prompt(&mut peer, rrq(b"x", "octet"), data(1, b"hello"));
        peer.send(ack(1));
        prompt(&mut peer, wrq(b"up", "octet"), ack(0));
        peer.put_blocks(b"upload");
        peer.peer = served.daemon.addr();
        peer.send(rrq(b"missing", "octet"));
        peer.expect_error(1);
    }
    assert!(late <= 40, "{late} of 400 answers took a second, though the machine may be busy");
}

#[test]
fn the_mode_may_be_written_in_any_case() {
    let served = Served::with(&[]);
    served.write("x", "a\nb");
    assert_eq!(served.peer().get(&rrq(b"x", "OCTET")), b"a\nb");
    assert_eq!(served.peer().get(&rrq(b"x", "NetAscii")), b"a\r\nb");
}

#[test]
fn mail_and_unknown_modes_are_illegal() {
    let served = Served::with(&["--create"]);
    served.write("x", "x");
    for mode in ["mail", "MAIL", "binary", "octe", "octets", ""] {
        assert_eq!(served.refusal(rrq(b"x", mode)), 4, "{mode}");
        assert_eq!(served.refusal(wrq(b"new", mode)), 4, "{mode}");
    }
    assert_eq!(served.names(), ["x"]);
}

#[test]
fn half_requests_are_illegal() {
    let served = Served::with(&[]);
    served.write("x", "x");
    for request in [
        &b"\0\x01"[..],
        b"\0\x01x",
        b"\0\x01x\0",
        b"\0\x01x\0octet",
        b"\0\x01\0octet\0",
        b"\0\x02\0octet\0",
        b"\0\x02x",
        b"\0\x01\0\0",
    ] {
        assert_eq!(served.refusal(request), 4, "{}", request.escape_ascii());
    }
}

#[test]
fn octets_after_the_mode_that_are_no_options_are_tolerated() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    for tail in [&b"\0"[..], b"junk", b"blksize\x001024", b"\0\0\0\0", b"\0blksize\x009\0"] {
        let request = [rrq(b"x", "octet"), tail.to_vec()].concat();
        assert_eq!(served.peer().get(&request), b"hello", "{}", tail.escape_ascii());
    }
}

#[test]
fn a_path_may_be_as_long_as_a_request_can_carry() {
    let served = Served::with(&[]);
    let folder = "f".repeat(250);
    std::fs::create_dir(served.path(&folder)).unwrap();
    let longest = format!("{folder}/{}", "n".repeat(251)); // 512 octets in all
    served.write(&longest, "long");
    let request = rrq(longest.as_bytes(), "octet");
    assert_eq!(request.len(), 511);
    assert_eq!(served.peer().get(&request), b"long");
    // What a file system has no name for is an error, and so is what has no end in the request.
    assert_eq!(served.refusal(rrq(&[b'n'; 256], "octet")), 2);
    for length in [505, 512, 1400, 60_000] {
        assert_eq!(served.refusal(rrq(&vec![b'n'; length], "octet")), 4, "{length}");
    }
}

#[test]
fn padding_and_garbage_behind_a_whole_request_are_ignored() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    for length in [513, 1400, 9000, 60_000] {
        for fill in [0, b'g', 0xff] {
            let mut padded = rrq(b"x", "octet");
            padded.resize(length, fill);
            assert_eq!(served.peer().get(&padded), b"hello", "{length} of {fill}");
        }
    }
}

#[test]
fn what_is_no_request_meets_with_silence_on_the_service_port() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    let mut peer = served.peer();
    for junk in [&b""[..], b"\0", b"\x01", b"\0\0", b"\0\x06tsize\x005\0", b"\0\x07x", b"GET /"] {
        peer.send(junk);
    }
    for packet in [ack(0), ack(1), data(1, b"x"), error(0, "no"), error(5, "")] {
        peer.send(packet);
    }
    for length in [3, 100, 516, 9000, 60_000] {
        peer.send([&b"\xff"[..], &noise(length, 5)].concat());
    }
    peer.expect_silence();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, b"hello"));
    peer.send(ack(1));
    served.wait_line("RRQ \"x\"", "complete");
    served.assert_one_transfer(); // junk costs no process
}

#[test]
fn each_request_has_one_line_in_the_log_with_all_that_came_of_it() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    let mut peer = served.peer();
    peer.send(super::udp::with(&rrq(b"x", "octet"), "blksize 9 foo 1"));
    peer.expect(super::udp::oack("blksize 9"));
    peer.send(ack(0));
    peer.expect(data(1, b"hello"));
    peer.send(ack(1));
    served.refusal(super::udp::with(&rrq(b"nope", "octet"), "blksize 9"));
    served.refusal(wrq(b"x", "netascii"));
    served.refusal(rrq(b"x", "mail"));
    served.refusal(b"\0\x01x");
    for (request, numbers, result) in [
        ("RRQ \"x\" octet blksize=9", "5 octets, 1 blocks", "complete"),
        (
            "RRQ \"nope\" octet blksize=9",
            "0 octets",
            "refused: No such file or directory (ERROR 1)",
        ),
        ("WRQ \"x\" netascii", "0 octets", "refused: File exists (ERROR 6)"),
        ("RRQ \"x\" mail", "0 octets", "refused: Unknown mode (ERROR 4)"),
        ("bad request", "0 octets", "(ERROR 4)"),
    ] {
        let line = served.wait_line(request, result);
        assert!(line.contains(&format!(": {numbers}")), "{line}");
        assert!(line.contains(" 0 retransmissions, 0."), "{line}");
    }
}

#[test]
fn missing_files_are_not_found() {
    let served = Served::with(&[]);
    served.write("x", "x");
    for name in ["nope", "no/pe", "x/y", "/nope"] {
        assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 1, "{name}");
    }
}

#[test]
fn unreadable_files_are_an_access_violation() {
    let served = Served::with(&[]);
    served.write("x", "x");
    fs::set_permissions(served.path("x"), Permissions::from_mode(0o000)).unwrap();
    assert_eq!(served.refusal(rrq(b"x", "octet")), 2);
}

#[test]
fn folders_pipes_and_devices_are_an_access_violation_and_block_nobody() {
    let served = Served::writable();
    let all = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::unistd::mkfifo(&served.path("fifo"), all).unwrap();
    fs::create_dir(served.path("dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(served.path("socket")).unwrap();
    let mut names = vec!["fifo", "dir", "dir/", "socket", "/", "."];
    let device = nix::sys::stat::makedev(1, 5); // /dev/zero
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    if nix::sys::stat::mknod(&served.path("zero"), kind, all, device).is_ok() {
        names.push("zero"); // only root can make one
    }
    for name in names {
        assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 2, "RRQ {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "WRQ {name}");
    }
}

#[test]
fn a_name_that_climbs_out_of_the_root_is_an_access_violation() {
    let served = Served::writable();
    fs::write(served.dir.path().join("secret"), "secret").unwrap();
    fs::create_dir(served.path("a")).unwrap();
    for name in ["../secret", "a/../../secret", "/../secret", "//..//secret", "..", "a/../.."] {
        assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 2, "RRQ {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "WRQ {name}");
    }
    assert_eq!(fs::read(served.dir.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn two_dots_inside_a_name_are_just_dots() {
    let served = Served::with(&[]);
    served.write("a..b", "dots");
    served.write("..c", "leading");
    assert_eq!(served.peer().get(&rrq(b"a..b", "octet")), b"dots");
    assert_eq!(served.peer().get(&rrq(b"..c", "octet")), b"leading");
}

#[test]
fn absolute_names_are_below_the_root() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    for name in ["/x", "//x", "///x", "/./x", "./x"] {
        assert_eq!(served.peer().get(&rrq(name.as_bytes(), "octet")), b"hello", "{name}");
    }
    assert_eq!(served.refusal(rrq(b"/etc/passwd", "octet")), 1);
}

#[test]
fn a_symbolic_link_is_followed_inside_the_root_only() {
    let served = Served::writable();
    fs::write(served.dir.path().join("secret"), "secret").unwrap();
    served.write("x", "hello");
    symlink("x", served.path("inside")).unwrap();
    symlink("../secret", served.path("outside")).unwrap();
    symlink("/etc/passwd", served.path("absolute")).unwrap();
    symlink("..", served.path("up")).unwrap();
    assert_eq!(served.peer().get(&rrq(b"inside", "octet")), b"hello");
    for name in ["outside", "absolute", "up/secret"] {
        assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 2, "RRQ {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "WRQ {name}");
    }
    assert_eq!(fs::read(served.dir.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn control_characters_in_a_name_are_escaped_in_the_log() {
    let served = Served::with(&[]);
    assert_eq!(served.refusal(rrq(b"\x1b[2J\nfake line\xff", "oc\ntet")), 4);
    served.wait_line(r#"RRQ "\x1b[2J\nfake line\xff" oc\ntet"#, "ERROR 4");
    assert!(!served.daemon.log().contains('\x1b'));
}

#[test]
fn the_transcript_shows_every_packet() {
    let dir = testkit::TempDir::new();
    let transcript = dir.path().join("transcript");
    let served = Served::with(&["--transcript", transcript.to_str().unwrap()]);
    served.write("x", noise(515, 1));
    served.peer().get(&rrq(b"x", "octet"));
    let lines =
        ["C: RRQ \"x\" octet", "S: DATA 1 (512 octets)", "C: ACK 1", "S: DATA 2 (3 octets)"];
    wait_until("the transcript holds the dialogue", || {
        let text = fs::read_to_string(&transcript).unwrap();
        lines.iter().all(|line| text.contains(line)) && text.trim_end().ends_with("C: ACK 2")
    });
}

#[test]
fn a_root_that_is_missing_is_one_clear_error() {
    for (root, reason) in
        [("/no/such/folder", "No such file or directory"), ("/dev/null", "Not a directory")]
    {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tftpd"));
        command.args(["--root", root, "-l", "127.0.0.1:0"]);
        let output = testkit::run(command, b"");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, format!("tftpd: root {root}: {reason}\n"));
    }
}

#[test]
fn sigterm_ends_the_daemon_with_exit_0_while_uploads_linger() {
    // The process that stays for a lost ACK delays no other request.
    within_once(Duration::from_secs(4), || {
        let served = Served::writable();
        served.peer().put(&wrq(b"x", "octet"), b"hello");
        let Served { daemon, dir } = served;
        let (status, took) = timed(|| Daemon::stop(daemon));
        assert_eq!(status.code(), Some(0));
        assert_eq!(fs::read(dir.path().join("root/x")).unwrap(), b"hello");
        took
    });
}

#[test]
fn with_quiet_missing_a_file_that_is_not_there_meets_with_silence_and_a_line() {
    let served = Served::with(&["--quiet-missing"]);
    served.write("x", "hello");
    let mut peer = served.peer();
    peer.send(rrq(b"none", "octet"));
    served.wait_line("RRQ \"none\"", "refused: No such file or directory");
    peer.expect_silence();
    assert_eq!(served.refusal(rrq(b"../x", "octet")), 2, "only what is missing");
    assert_eq!(served.peer().get(&rrq(b"x", "octet")), b"hello");
}
