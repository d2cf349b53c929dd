//! tftpc against a scripted server, which may be rude.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::tftpc::{Client, port_for, start, waiting};
use crate::udp::{ack, data, error, noise, oack, rrq, wrq};
use testkit::names;

#[test]
fn get_asks_and_acknowledges_each_block() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "sub/x"]);
    server.expect(rrq(b"sub/x", "octet"));
    let file = noise(1024, 1);
    let mut port = port_for(&server);
    port.put_blocks(&file);
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), file, "there before its last ACK");
    client.succeeds();
    assert_eq!(names(dir.path()), ["x"]);
}

#[test]
fn put_sends_each_block_once_and_waits_for_the_last_ack() {
    let (mut server, dir) = start();
    let file = noise(1300, 1);
    fs::write(dir.path().join("f"), &file).unwrap();
    let client = Client::start(&server, &dir, &["put", "f", "up/g"]);
    server.expect(wrq(b"up/g", "octet"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, &file[..512]));
    port.send(ack(0));
    port.send(ack(0));
    port.expect_only(&data(1, &file[..512]));
    port.send(ack(1));
    port.expect_after(&data(1, &file[..512]), data(2, &file[512..1024]));
    port.send(ack(2));
    port.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    port.expect(data(3, &file[1024..])); // not acknowledged: sent again
    port.send(ack(3));
    client.succeeds();
}

#[test]
fn netascii_is_translated_both_ways() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["--mode", "NETASCII", "get", "t"]);
    server.expect(rrq(b"t", "netascii"));
    port_for(&server).put_blocks(b"a\r\nb\r\0c\r");
    client.succeeds();
    assert_eq!(fs::read(dir.path().join("t")).unwrap(), b"a\nb\rc\r");
    let client = Client::start(&server, &dir, &["-m", "netascii", "put", "t"]);
    server.expect(wrq(b"t", "netascii"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, b"a\r\nb\r\0c\r\0"));
    port.send(ack(1));
    client.succeeds();
}

#[test]
fn a_dash_is_standard_output_and_standard_input() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x", "-"]);
    server.expect(rrq(b"x", "octet"));
    let file = noise(600, 2);
    port_for(&server).put_blocks(&file);
    assert_eq!(client.succeeds(), file);
    let client = Client::fed(&server, &dir, &["put", "-", "x"], &file);
    server.expect(wrq(b"x", "octet"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, &file[..512]));
    port.send(ack(1));
    port.expect(data(2, &file[512..]));
    port.send(ack(2));
    client.succeeds();
    assert!(names(dir.path()).is_empty());
}

#[test]
fn the_first_answer_fixes_the_port_and_strangers_get_error_5() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    let (mut first, mut second) = (port_for(&server), port_for(&server));
    first.send(data(1, &[b'a'; 512]));
    first.expect(ack(1));
    second.send(data(1, &[b'b'; 512]));
    second.expect_error(5);
    server.send(error(1, "an ERROR from a stranger is not answered"));
    first.send(data(2, b"end"));
    first.expect_after(&ack(1), ack(2));
    client.succeeds();
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), [&[b'a'; 512][..], b"end"].concat());
    assert_eq!(server.recv_for(crate::udp::MOMENT), None);
}

#[test]
fn a_packet_of_the_middle_of_a_transfer_is_a_strangers() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("f"), "hello").unwrap();
    let upload = [data(2, b"another's"), ack(1), ack(65535)];
    let fetch = [data(2, b"another's"), data(65535, b""), ack(7)];
    for (args, strange) in [(["put", "f", "up"], &upload[..]), (["get", "x", "y"], &fetch[..])] {
        let client = Client::start(&server, &dir, &args);
        server.recv();
        let (mut stranger, mut port) = (port_for(&server), port_for(&server));
        for packet in strange {
            stranger.send(packet);
            stranger.expect_error(5);
        }
        match args[0] {
            "put" => {
                port.send(ack(0));
                port.expect(data(1, b"hello"));
                port.send(ack(1));
            }
            _ => port.put_blocks(b"hello"),
        }
        client.succeeds();
    }
    assert_eq!(fs::read(dir.path().join("y")).unwrap(), b"hello");
}

#[test]
fn a_lost_request_and_a_lost_answer_are_repaired() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    server.expect(rrq(b"x", "octet"));
    let mut port = port_for(&server);
    port.send(data(1, b"hello"));
    port.expect(ack(1));
    port.send(data(1, b"hello")); // as if the ACK had been lost
    port.expect(ack(1));
    client.succeeds();
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"hello");
}

#[test]
fn the_client_stays_for_a_lost_last_ack_whether_packets_were_lost_before_or_not() {
    let (mut server, dir) = start();
    for duplicates in [0, 1] {
        let client = Client::start(&server, &dir, &["get", "x"]);
        server.expect(rrq(b"x", "octet"));
        let mut port = port_for(&server);
        for _ in 0..=duplicates {
            port.send(data(1, &[b'a'; 512]));
            port.expect(ack(1));
        }
        port.send(data(2, b"b"));
        port.expect(ack(2));
        client.succeeds(); // the user does not wait for that
        port.send(data(2, b"b"));
        port.expect(ack(2));
    }
}

#[test]
fn a_first_answer_of_the_wrong_kind_is_dropped_and_gets_no_error() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("f"), "hello").unwrap();
    let odd = [&b"\0\x04\0\0"[..], b"\0", b"\0\x03\0", b"\0\x01x\0octet\0", b"\0\x07", b""];
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    let mut port = port_for(&server);
    odd.iter().for_each(|packet| port.send(packet));
    port.send(data(1, b"hello"));
    port.expect(ack(1));
    client.succeeds();
    let client = Client::start(&server, &dir, &["put", "f"]);
    server.expect(wrq(b"f", "octet"));
    let mut port = port_for(&server);
    odd[1..].iter().for_each(|packet| port.send(packet));
    port.send(data(1, b"is no answer to a WRQ"));
    port.send(ack(0));
    port.expect(data(1, b"hello"));
    port.send(ack(1));
    client.succeeds();
}

#[test]
fn what_the_server_says_is_shown_escaped() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    port_for(&server).send(error(1, "File \x1b[31mnot\nfound"));
    client.fails(&["get \"x\"", r"File \x1b[31mnot\nfound (ERROR 1)"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_transfer_that_breaks_off_leaves_the_old_file_and_no_half_one() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("x"), "old").unwrap();
    for breaking in [error(3, "gone"), data(2, &[0; 513]), b"\0\x09".to_vec()] {
        let client = Client::start(&server, &dir, &["get", "x"]);
        server.expect(rrq(b"x", "octet"));
        let mut port = port_for(&server);
        port.send(data(1, &[b'n'; 512]));
        port.expect(ack(1));
        port.send(&breaking);
        client.fails(&["get \"x\""]);
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["x"]);
    }
}

#[test]
fn silence_ends_at_the_time_limit() {
    let (server, dir) = start();
    // All these tries would take longer than the watchdog.
    let args = ["-t", "0.5", "--retries", "100", "get", "x"];
    let client = Client::start(&server, &dir, &args);
    client.fails(&["get \"x\"", "Connection timed out"]);
    fs::write(dir.path().join("f"), "x").unwrap();
    let client = Client::start(&server, &dir, &["--retries", "0", "put", "f"]);
    client.fails(&["put f to \"f\"", "Connection timed out"]);
}

#[test]
fn a_closed_port_is_an_error_at_once() {
    let (server, dir) = start();
    let closed = waiting().addr().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
    command.args(["-v", &closed, "get", "x"]).current_dir(dir.path());
    drop(server);
    let output = testkit::run(command, b"");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let asked_once = "C: RRQ \"x\" octet\n";
    let failed = format!("tftpc: get \"x\" from {closed} to x: Connection refused\n");
    assert_eq!(said, [asked_once, &failed].concat());
}

#[test]
fn a_missing_last_ack_of_an_upload_is_a_failure() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("f"), "x").unwrap();
    let client = Client::start(&server, &dir, &["--retries", "1", "put", "f"]);
    server.expect(wrq(b"f", "octet"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, b"x"));
    client.fails(&["put f to \"f\"", "Connection timed out"]);
}

#[test]
fn local_files_that_can_not_be_used_are_named_and_nobody_is_asked() {
    let (mut server, dir) = start();
    fs::create_dir(dir.path().join("dir")).unwrap();
    for (args, wanted) in [
        (["put", "none", "x"], "tftpc: put none: No such file or directory\n"),
        (["put", "dir", "x"], "tftpc: put dir: Is a directory\n"),
        (["get", "x", "no/x"], "tftpc: get \"x\" to no/x: No such file or directory\n"),
        (["get", "x", "dir"], "tftpc: get \"x\" to dir: Is a directory\n"),
    ] {
        let (code, said, _) = Client::start(&server, &dir, &args).end();
        assert_eq!((code, &said[..]), (Some(1), wanted));
    }
    assert_eq!(server.recv_for(crate::udp::MOMENT), None);
}

#[test]
fn a_device_is_written_to_and_a_link_followed() {
    let (mut server, dir) = start();
    symlink("real", dir.path().join("link")).unwrap();
    fs::write(dir.path().join("real"), "old").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    symlink("../third", dir.path().join("sub/second")).unwrap();
    symlink("sub/second", dir.path().join("first")).unwrap(); // there is no third yet
    for local in ["/dev/null", "link", "first"] {
        let client = Client::start(&server, &dir, &["get", "x", local]);
        server.expect(rrq(b"x", "octet"));
        port_for(&server).put_blocks(b"new");
        client.succeeds();
    }
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    for (link, file) in [("link", "real"), ("first", "third")] {
        assert!(fs::symlink_metadata(dir.path().join(link)).unwrap().is_symlink());
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), b"new");
    }
}

#[test]
fn verbose_shows_every_packet() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["-v", "get", "x"]);
    server.expect(rrq(b"x", "octet"));
    port_for(&server).put_blocks(b"hello");
    let (code, said, _) = client.end();
    assert_eq!(code, Some(0));
    assert_eq!(said, "C: RRQ \"x\" octet\nS: DATA 1 (5 octets)\nC: ACK 1\n");
}

#[test]
fn bad_usage_exits_2() {
    for args in [&[][..], &["h"], &["h", "got", "x"], &["h", "get"], &["--blksize", "8", "h"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
        command.args(args);
        let output = testkit::run(command, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stderr.starts_with(b"tftpc: "));
    }
    for arg in ["-h", "-V"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
        command.arg(arg);
        let output = testkit::run(command, b"");
        assert!(output.status.success() && output.stdout.windows(5).any(|w| w == b"tftpc"));
    }
}

/// The ERROR is unread when the client learns that the port is closed: it sends a long window still.
#[test]
fn the_servers_reason_is_told_though_its_port_is_closed_already() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("x"), noise(8 << 20, 1)).unwrap();
    for _ in 0..10 {
        let client = Client::start(&server, &dir, &["-w", "16000", "-b", "512", "put", "x"]);
        server.recv();
        let mut port = port_for(&server);
        port.send(oack("blksize 512 windowsize 16000"));
        let first = port.recv();
        assert_eq!(first[..4], data(1, b"")[..]);
        port.send(error(3, "the disk is full"));
        drop(port);
        client.fails(&["put x", "the disk is full (ERROR 3)"]);
    }
}
