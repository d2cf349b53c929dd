//! The flow of packets when a client writes, and the files that come of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::udp::{MOMENT, Served, Udp, ack, data, error, noise, rrq, with, wrq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{children, hasty_refusals, wait_until};

#[test]
fn files_of_every_size_about_the_block_are_stored_whole() {
    let served = Served::writable();
    for size in [0, 1, 511, 512, 513, 1023, 1024, 1025, 70_000] {
        let file = noise(size, size as u64);
        served.peer().put(&wrq(b"f", "octet"), &file);
        assert_eq!(served.read("f"), file, "{size} octets, there when the last ACK is");
        assert_eq!(served.names(), ["f"]);
    }
}

#[test]
fn netascii_is_translated_both_ways_over_every_edge() {
    let served = Served::writable();
    let text = b"line\nreturn\r\nalone\r.\n".repeat(100);
    for shift in 0..4 {
        let text = [&b"abc"[..shift], &text].concat();
        let mut wire = Vec::new();
        netascii::translate::encode(&text, &mut wire);
        served.peer().put(&wrq(b"t", "netascii"), &wire);
        assert_eq!(served.read("t"), text);
        assert_eq!(served.peer().get(&rrq(b"t", "netascii")), wire);
    }
    served.peer().put(&wrq(b"t", "netascii"), b"ends with CR\r");
    assert_eq!(served.read("t"), b"ends with CR\r");
}

#[test]
fn a_duplicate_block_is_acknowledged_again_and_written_once() {
    let served = Served::writable();
    let file = noise(1300, 7);
    let mut peer = served.peer();
    peer.send(wrq(b"x", "octet"));
    peer.expect(ack(0));
    for _ in 0..3 {
        peer.send(data(1, &file[..512]));
        peer.expect(ack(1));
    }
    peer.send(data(2, &file[512..1024]));
    peer.expect_after(&ack(1), ack(2));
    peer.send(data(1, &file[..512]));
    peer.expect_after(&ack(2), ack(1));
    peer.send(data(4, b"from the future"));
    peer.expect_only(&ack(2));
    peer.send(data(3, &file[1024..]));
    peer.expect_after(&ack(2), ack(3));
    assert_eq!(served.read("x"), file);
}

#[test]
fn a_lost_final_ack_is_sent_again() {
    let served = Served::writable();
    let mut peer = served.peer();
    peer.put(&wrq(b"x", "octet"), b"hello");
    served.wait_line("WRQ \"x\"", "complete");
    for _ in 0..3 {
        peer.send(data(1, b"hello"));
        peer.expect(ack(1));
    }
    assert_eq!(served.read("x"), b"hello");
}

#[test]
fn a_lost_final_ack_is_sent_again_to_a_client_with_a_long_time_out() {
    let served = Served::writable();
    let (mut peer, options) = (served.peer(), "timeout 60");
    peer.put_with(&with(&wrq(b"x", "octet"), options), options, b"hello", 512, 1);
    assert_eq!(peer.recv_for(Duration::from_secs(7)), None, "all is said");
    peer.send(data(1, b"hello"));
    peer.expect(ack(1));
}

#[test]
fn a_write_request_sent_again_is_the_same_transfer() {
    let served = Served::writable();
    let mut peer = served.peer();
    for _ in 0..5 {
        peer.send(wrq(b"x", "octet"));
    }
    peer.expect(ack(0));
    let port = peer.peer;
    peer.expect(ack(0)); // the clock's: the request asks for the same answer
    assert_eq!(peer.peer, port);
    peer.send(data(1, b"hello"));
    peer.expect_after(&ack(0), ack(1));
    served.assert_one_transfer();
}

#[test]
fn data_larger_than_the_block_is_illegal_and_nothing_is_stored() {
    let served = Served::writable();
    for size in [513, 1024, 10_000] {
        let mut peer = served.peer();
        peer.send(wrq(b"x", "octet"));
        peer.expect(ack(0));
        peer.send(data(1, &noise(size, 1)));
        peer.expect_error(4);
    }
    served.wait_idle();
    assert!(served.names().is_empty());
}

#[test]
fn strangers_get_error_5_and_the_upload_goes_on() {
    if super::udp::is_single() {
        return; // at the service's port no sender is a stranger
    }
    let served = Served::writable();
    let mut peer = served.peer();
    peer.send(wrq(b"x", "octet"));
    peer.expect(ack(0));
    let mut stranger = Udp::new(peer.peer);
    stranger.send(data(1, b"evil"));
    stranger.expect_error(5);
    peer.send(data(1, b"good"));
    peer.expect_after(&ack(0), ack(1));
    assert_eq!(served.read("x"), b"good");
}

#[test]
fn without_create_a_new_file_is_an_access_violation() {
    let served = Served::with(&["--overwrite"]);
    served.write("old", "old");
    assert_eq!(served.refusal(wrq(b"new", "octet")), 2);
    served.peer().put(&wrq(b"old", "octet"), b"replaced");
    assert_eq!(served.read("old"), b"replaced");
    assert_eq!(served.names(), ["old"]);
}

#[test]
fn without_overwrite_a_file_that_exists_is_error_6() {
    let served = Served::with(&["--create"]);
    served.write("old", "old");
    assert_eq!(served.refusal(wrq(b"old", "octet")), 6);
    served.peer().put(&wrq(b"new", "octet"), b"new");
    assert_eq!((served.read("old"), served.read("new")), (b"old".to_vec(), b"new".to_vec()));
    assert_eq!(served.refusal(wrq(b"new", "octet")), 6);
}

#[test]
fn a_read_only_server_refuses_all_writing() {
    let served = Served::with(&["--create", "--overwrite", "--read-only"]);
    served.write("old", "old");
    assert_eq!(served.refusal(wrq(b"old", "octet")), 2);
    assert_eq!(served.refusal(wrq(b"new", "octet")), 2);
    assert_eq!(served.peer().get(&rrq(b"old", "octet")), b"old");
}

#[test]
fn of_two_uploads_of_a_new_name_one_wins_and_the_other_gets_error_6() {
    let served = Served::with(&["--create"]);
    let (mut one, mut two) = (served.peer(), served.peer());
    for peer in [&mut one, &mut two] {
        peer.send(wrq(b"x", "octet"));
        peer.expect(ack(0));
    }
    two.put_blocks(b"two");
    one.send(data(1, b"one"));
    let answer = one.recv();
    assert_eq!(answer[..4], [0, 5, 0, 6], "{}", answer.escape_ascii());
    assert_eq!(served.read("x"), b"two");
    assert_eq!(served.names(), ["x"]);
}

#[test]
fn of_two_uploads_that_overwrite_one_wins_whole() {
    let served = Served::writable();
    served.write("x", "old");
    let (mut one, mut two) = (served.peer(), served.peer());
    for peer in [&mut one, &mut two] {
        peer.send(wrq(b"x", "octet"));
        peer.expect(ack(0));
    }
    let (first, second) = (noise(3000, 1), noise(2000, 2));
    for block in 0..5 {
        let octets = &first[block * 512..(block + 1) * 512];
        one.send(data(block as u16 + 1, octets));
        one.expect_after(&ack(block as u16), ack(block as u16 + 1));
    }
    two.put_blocks(&second);
    assert_eq!(served.read("x"), second);
    one.send(data(6, &first[2560..]));
    one.expect_after(&ack(5), ack(6));
    assert_eq!(served.read("x"), first);
    assert_eq!(served.names(), ["x"]);
}

/// Begins to replace `x` and stops in the middle.
fn half_an_upload(served: &Served) -> Udp {
    served.write("x", "old");
    let mut peer = served.peer();
    peer.send(wrq(b"x", "octet"));
    peer.expect(ack(0));
    peer.send(data(1, &[b'n'; 512]));
    peer.expect_after(&ack(0), ack(1));
    peer
}

#[test]
fn an_aborted_upload_leaves_the_old_file_and_no_temporary() {
    let served = Served::writable();
    let mut peer = half_an_upload(&served);
    peer.send(error(0, "changed my mind"));
    served.wait_line("WRQ \"x\"", "changed my mind");
    served.wait_idle();
    assert_eq!(peer.recv_for(MOMENT), None, "an ERROR is never answered");
    assert_eq!((served.read("x"), served.names()), (b"old".to_vec(), vec!["x".to_owned()]));
}

#[test]
fn an_upload_that_times_out_leaves_the_old_file_and_no_temporary() {
    let served = Served::with(&["--overwrite", "-t", "3"]);
    let _silent = half_an_upload(&served);
    served.wait_line("WRQ \"x\"", "Connection timed out");
    served.wait_idle();
    assert_eq!((served.read("x"), served.names()), (b"old".to_vec(), vec!["x".to_owned()]));
}

#[test]
fn a_killed_upload_leaves_the_old_file_and_no_temporary() {
    if super::udp::is_single() {
        return; // there is no process to be killed but the server
    }
    let served = Served::writable();
    let _peer = half_an_upload(&served);
    for pid in children(served.daemon.pid()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    served.wait_idle();
    assert_eq!(served.read("x"), b"old");
    if makes_nameless_files(&served) {
        assert_eq!(served.names(), ["x"]);
    }
}

/// False on a file system without O_TMPFILE: there a killed process can't help leaving a hidden
/// file, which is neither served nor in the way.
fn makes_nameless_files(served: &Served) -> bool {
    use nix::fcntl::{OFlag, open};
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    open(&served.path(""), OFlag::O_WRONLY | OFlag::O_TMPFILE, mode).is_ok()
}

#[test]
fn a_reader_of_the_old_file_gets_the_old_file_to_its_end() {
    let served = Served::writable();
    let old = noise(2000, 1);
    served.write("x", &old);
    let mut reader = served.peer();
    reader.send(rrq(b"x", "octet"));
    reader.expect(data(1, &old[..512]));
    served.peer().put(&wrq(b"x", "octet"), &noise(2000, 2));
    reader.send(ack(1));
    reader.expect_after(&data(1, &old[..512]), data(2, &old[512..1024]));
    assert_eq!(served.read("x"), noise(2000, 2));
}

#[test]
fn a_replaced_file_keeps_its_permissions() {
    let served = Served::writable();
    served.write("x", "old");
    fs::set_permissions(served.path("x"), Permissions::from_mode(0o604)).unwrap();
    served.peer().put(&wrq(b"x", "octet"), b"new");
    assert_eq!(fs::metadata(served.path("x")).unwrap().permissions().mode() & 0o777, 0o604);
    fs::set_permissions(served.path("x"), Permissions::from_mode(0o444)).unwrap();
    assert_eq!(served.refusal(wrq(b"x", "octet")), 2, "nobody may write it");
    assert_eq!(served.read("x"), b"new");
}

#[test]
fn an_upload_to_a_link_replaces_the_file_behind_it() {
    let served = Served::writable();
    fs::create_dir(served.path("sub")).unwrap();
    served.write("sub/real", "old");
    symlink("sub/real", served.path("link")).unwrap();
    served.peer().put(&wrq(b"link", "octet"), b"new");
    assert!(fs::symlink_metadata(served.path("link")).unwrap().is_symlink());
    assert_eq!(served.read("sub/real"), b"new");
}

#[test]
fn a_missing_folder_is_not_found_and_none_is_made() {
    let served = Served::writable();
    assert_eq!(served.refusal(wrq(b"no/x", "octet")), 1);
    assert!(served.names().is_empty());
}

#[test]
fn names_of_temporary_files_are_neither_served_nor_written() {
    let served = Served::writable();
    served.write(".tftp-new.1-0", "half a file");
    assert_eq!(served.refusal(rrq(b".tftp-new.1-0", "octet")), 2);
    assert_eq!(served.refusal(wrq(b".tftp-new.2-0", "octet")), 2);
}

#[test]
fn over_the_size_limit_is_disk_full_and_the_old_file_stays() {
    let served = Served::with(&["--create", "--overwrite", "--max-size", "1000"]);
    served.peer().put(&wrq(b"x", "octet"), &noise(1000, 1));
    let mut peer = served.peer();
    peer.send(wrq(b"x", "octet"));
    peer.expect(ack(0));
    peer.send(data(1, &[1; 512]));
    peer.expect_after(&ack(0), ack(1));
    peer.send(data(2, &[1; 489]));
    peer.expect_error(3);
    served.wait_line("WRQ \"x\"", "ERROR 3");
    served.wait_idle();
    assert_eq!((served.read("x"), served.names()), (noise(1000, 1), vec!["x".to_owned()]));
}

#[test]
fn more_uploads_than_places_pass_because_the_finished_ones_give_way() {
    let served = Served::with(&["--create", "-c", "4"]);
    for n in 0..20 {
        served.peer().put(&wrq(format!("f{n}").as_bytes(), "octet"), b"small");
    }
    assert_eq!(served.names().len(), 20);
    wait_until("four at most linger", || children(served.daemon.pid()).len() <= 4);
}

#[test]
fn a_request_that_waits_for_a_place_gets_that_of_an_upload_that_is_complete() {
    let served = Served::with(&["--create", "-c", "1", "--over", "queue"]);
    served.peer().put(&wrq(b"f0", "octet"), b"small");
    served.peer().put(&wrq(b"f1", "octet"), b"small");
    if !super::udp::is_single() {
        served.daemon.wait_log("complete, gave way to another");
    }
}

#[test]
fn case_24_the_only_client_asks_again_at_once_and_is_served() {
    let served = Served::with(&["-c", "1", "--over", "busy"]);
    served.write("x", b"small");
    let is_served = |_| {
        let mut peer = served.peer();
        peer.send(rrq(b"x", "octet"));
        let answer = peer.recv();
        peer.send(ack(1));
        answer == data(1, b"small")
    };
    let (mut requests, mut refused) = (0, 0);
    while requests < 100 && refused < 20 {
        requests += 1;
        if !is_served(requests) {
            refused += 1;
            std::thread::sleep(Duration::from_secs(1)); // it waits again
        }
    }
    // On a busy machine the process before may take longer to end than the server waits for it.
    let hasty = hasty_refusals(&served.daemon.log());
    assert!(hasty * 10 < requests, "{hasty} of {requests}: {}", served.daemon.log());
}

/// An upload of `x` that has sent its first block: before that it would give way.
fn begun(served: &Served) -> Udp {
    let mut first = served.peer();
    first.send(wrq(b"x", "octet"));
    first.expect(ack(0));
    first.send(data(1, &noise(512, 1)));
    first.expect_after(&ack(0), ack(1));
    first
}

fn ends(served: &Served, mut first: Udp) {
    first.send(data(2, b"still served"));
    first.expect_after(&ack(1), ack(2));
    served.wait_line("WRQ \"x\"", "complete");
    assert_eq!(served.read("x"), [&noise(512, 1)[..], b"still served"].concat());
}

#[test]
fn case_24_over_the_limits_of_an_address_a_request_gets_an_error() {
    for (option, limit, why) in [
        ("--max-per-ip", "1", "1 clients of this address are served already"),
        ("--rate", "1/3600", "more than 1 connections of this address in 3600 s"),
    ] {
        let served = Served::with(&["--create", "--over", "busy", option, limit]);
        let first = begun(&served);
        assert_eq!(served.refusal(rrq(b"x", "octet")), 0);
        served.daemon.wait_log(&format!("refused: {why}"));
        ends(&served, first);
    }
}

#[test]
fn a_request_for_which_there_is_no_place_counts_once_at_most() {
    let served = Served::with(&["--create", "--over", "busy", "-c", "1", "--rate", "4/3600"]);
    let first = begun(&served);
    assert_eq!(served.refusal(rrq(b"x", "octet")), 0);
    ends(&served, first);
    wait_until("it is served", || served.refusal(rrq(b"none", "octet")) == 1);
}

#[test]
fn case_24_over_the_limit_of_clients_a_request_gets_an_error() {
    let served = Served::with(&["--create", "--over", "busy", "-c", "1"]);
    let first = begun(&served);
    assert_eq!(served.refusal(rrq(b"x", "octet")), 0);
    served.daemon.wait_log("refused: 1 clients are served already");
    ends(&served, first);
}
