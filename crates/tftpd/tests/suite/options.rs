//! Options of a request (RFC 2347 to 2349, and tftp-hpa's own): what is granted and what is not.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::udp::{MOMENT, Served, ack, data, error, noise, oack, rrq, with, wrq};

/// The options of the OACK that answers a request for `x` with these; nothing, when DATA answers.
fn granted(served: &Served, options: &str) -> String {
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), options));
    let answer = peer.recv();
    peer.send(error(0, "that is all"));
    match answer[1] {
        6 => String::from_utf8(answer[2..].to_vec()).unwrap().replace('\0', " ").trim().into(),
        _ => {
            assert_eq!(answer[..4], [0, 3, 0, 1], "DATA 1");
            String::new()
        }
    }
}

fn three_blocks(args: &[&str]) -> (Served, Vec<u8>) {
    let served = Served::with(args);
    let file = noise(1300, 3);
    served.write("x", &file);
    (served, file)
}

#[test]
fn only_what_is_known_and_asked_for_is_granted() {
    let (served, file) = three_blocks(&[]);
    assert_eq!(granted(&served, "multicast 1 frob x"), "", "no OACK at all");
    assert_eq!(granted(&served, "frob x blksize 1468 more 1"), "blksize 1468");
    assert_eq!(granted(&served, "tsize 0 blksize 600"), "tsize 1300 blksize 600");
    assert_eq!(served.peer().get(&with(&rrq(b"x", "octet"), "multicast 1")), file);
}

#[test]
fn options_are_known_in_any_case() {
    let (served, _) = three_blocks(&[]);
    assert_eq!(granted(&served, "BLKSIZE 600").to_lowercase(), "blksize 600");
    assert_eq!(granted(&served, "tSize 0").to_lowercase(), "tsize 1300");
}

#[test]
fn an_option_that_comes_twice_counts_once() {
    let (served, _) = three_blocks(&[]);
    assert_eq!(granted(&served, "blksize 600 blksize 700"), "blksize 600");
}

#[test]
fn values_out_of_range_are_left_out() {
    let (served, _) = three_blocks(&[]);
    for not in [
        "blksize 7",
        "blksize 0",
        "blksize abc",
        "blksize -512",
        "blksize 0x200",
        "blksize 512.0",
        "blksize 99999999999999999999",
        "blksize 4294967808",
        "windowsize 0",
        "windowsize 65536",
        "timeout 0",
        "timeout 256",
        "utimeout 9999",
        "rollover 2",
        "blksize2 7",
        "tsize x",
        "tsize -1",
    ] {
        assert_eq!(granted(&served, not), "", "{not}");
        assert_eq!(granted(&served, &format!("{not} tsize 0")), "tsize 1300", "{not}");
    }
    for value in [&b"\0"[..], b" \0", b"+\0", b"5 12\0", b"++512\0", b"+ 512\0", b"-0\0"] {
        let mut peer = served.peer();
        peer.send([&rrq(b"x", "octet"), &b"blksize\0"[..], value, b"tsize\x000\0"].concat());
        peer.expect(oack("tsize 1300"));
        peer.send(error(0, "that is all"));
    }
}

#[test]
fn blanks_and_a_plus_sign_around_a_value_are_taken() {
    let (served, _) = three_blocks(&[]);
    for value in [&b" 600\0"[..], b"600 \0", b"+600\0", b"\t+600\r\n\0", b"0600\0"] {
        let mut peer = served.peer();
        peer.send([&rrq(b"x", "octet"), &b"blksize\0"[..], value, b"tsize\x000\0"].concat());
        peer.expect(oack("blksize 600 tsize 1300"));
        peer.send(error(0, "that is all"));
    }
}

#[test]
fn a_request_full_of_options_to_its_last_octet_gets_those_that_are_known() {
    let (served, _) = three_blocks(&[]);
    let unknown = "frob 1 ".repeat(67);
    let request = with(&rrq(b"x", "octet"), &format!("blksize 600 {unknown}another 1234 tsize 0"));
    assert_eq!(request.len(), 512);
    let mut peer = served.peer();
    peer.send(request);
    peer.expect(oack("blksize 600 tsize 1300"));
    peer.send(error(0, "that is all"));
    assert_eq!(granted(&served, &"tsize 0 ".repeat(60)), "tsize 1300");
}

#[test]
fn values_above_the_servers_own_limits_are_lowered() {
    let (served, _) = three_blocks(&["--max-blksize", "1000", "--max-windowsize", "5"]);
    assert_eq!(granted(&served, "blksize 1468"), "blksize 1000");
    assert_eq!(granted(&served, "blksize2 65464"), "blksize2 512");
    assert_eq!(granted(&served, "windowsize 65535"), "windowsize 5");
    assert_eq!(granted(&served, "windowsize 4 blksize 999"), "windowsize 4 blksize 999");
    let (served, _) = three_blocks(&[]);
    assert_eq!(granted(&served, "blksize 65535"), "blksize 65464");
    assert_eq!(granted(&served, "windowsize 65535"), "windowsize 64");
}

#[test]
fn blocks_of_8_and_of_65464_octets_travel_both_ways() {
    let served = Served::writable();
    for (size, lengths) in [(8, [0, 7, 8, 4001]), (65464, [0, 65463, 2 * 65464, 200_000])] {
        let options = format!("blksize {size}");
        for length in lengths {
            let file = noise(length, length as u64);
            let request = with(&wrq(b"f", "octet"), &options);
            served.peer().put_with(&request, &options, &file, size, 1);
            assert_eq!(served.read("f"), file);
            let request = with(&rrq(b"f", "octet"), &options);
            assert!(served.peer().get_with(&request, &options, size, 1) == file, "{length}");
        }
    }
}

#[test]
fn an_option_of_a_power_of_two_lowers_the_block() {
    let (served, file) = three_blocks(&[]);
    let request = with(&rrq(b"x", "octet"), "blksize2 1468");
    assert_eq!(served.peer().get_with(&request, "blksize2 1024", 1024, 1), file);
}

#[test]
fn text_travels_in_blocks_of_any_size() {
    let served = Served::writable();
    let text = b"line\nreturn\r\nalone\r.\n".repeat(100);
    let mut wire = Vec::new();
    netascii::translate::encode(&text, &mut wire);
    for (size, window) in [(8, 1), (9, 4), (1468, 2)] {
        let options = format!("blksize {size} windowsize {window}");
        let request = with(&wrq(b"t", "netascii"), &options);
        served.peer().put_with(&request, &options, &wire, size, window);
        assert_eq!(served.read("t"), text);
        let request = with(&rrq(b"t", "netascii"), &options);
        assert_eq!(served.peer().get_with(&request, &options, size, window as u16), wire);
    }
}

#[test]
fn the_size_of_a_file_is_told_though_it_is_over_4_gib() {
    let (served, _) = three_blocks(&[]);
    let file = File::create(served.path("x")).unwrap();
    for size in [1, 5_000_000_000] {
        file.set_len(size).unwrap();
        assert_eq!(granted(&served, "tsize 0"), format!("tsize {size}"));
    }
    file.set_len(0).unwrap();
    assert_eq!(granted(&served, "tsize 0"), "", "curl takes a size of 0 for an error");
}

#[test]
fn the_size_of_a_text_on_the_wire_is_not_known() {
    let served = Served::with(&[]);
    served.write("x", "a\nb");
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "netascii"), "tsize 0"));
    peer.expect(data(1, b"a\r\nb"));
    peer.send(ack(1));
}

#[test]
fn an_oack_is_the_answer_to_a_write_request_with_options_and_then_comes_data_1() {
    let served = Served::writable();
    let file = noise(1300, 1);
    let request = with(&wrq(b"f", "octet"), "tsize 1300 blksize 1000 unknown 1");
    served.peer().put_with(&request, "tsize 1300 blksize 1000", &file, 1000, 1);
    assert_eq!(served.read("f"), file);
    let line = served.wait_line("WRQ \"f\" octet tsize=1300 blksize=1000:", "complete");
    assert!(line.contains("1300 octets, 2 blocks"), "{line}");
}

#[test]
fn an_upload_that_says_it_is_over_the_limit_is_disk_full_at_once() {
    let served = Served::with(&["--create", "--max-size", "1000"]);
    assert_eq!(served.refusal(with(&wrq(b"f", "octet"), "tsize 1001")), 3);
    assert_eq!(served.refusal(with(&wrq(b"f", "octet"), "tsize 5000000000")), 3);
    assert!(served.names().is_empty());
    let request = with(&wrq(b"f", "octet"), "tsize 1000");
    served.peer().put_with(&request, "tsize 1000", &noise(1000, 1), 512, 1);
    assert_eq!(served.read("f"), noise(1000, 1));
}

#[test]
fn data_larger_than_the_agreed_block_is_illegal() {
    let served = Served::writable();
    let mut peer = served.peer();
    peer.send(with(&wrq(b"f", "octet"), "blksize 600"));
    peer.expect(oack("blksize 600"));
    peer.send(data(1, &[1; 601]));
    peer.expect_error(4);
    served.wait_idle();
    assert!(served.names().is_empty());
}

#[test]
fn an_oack_waits_for_ack_0_and_is_sent_again_when_that_is_lost() {
    let (served, file) = three_blocks(&[]);
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "blksize 1000"));
    let opening = oack("blksize 1000");
    peer.expect(&opening);
    peer.send(ack(1));
    peer.expect_only(&opening);
    peer.expect(&opening);
    peer.send(ack(0));
    peer.expect_after(&opening, data(1, &file[..1000]));
    peer.send(ack(0));
    peer.expect_only(&data(1, &file[..1000]));
    peer.send(ack(1));
    peer.expect_after(&data(1, &file[..1000]), data(2, &file[1000..]));
    peer.send(ack(2));
    served.wait_line("RRQ \"x\" octet blksize=1000", "complete");
}

#[test]
fn an_oack_for_an_upload_is_sent_again_when_it_is_lost() {
    let served = Served::writable();
    let mut peer = served.peer();
    let request = with(&wrq(b"f", "octet"), "blksize 1000");
    peer.send(&request);
    let opening = oack("blksize 1000");
    peer.expect(&opening);
    peer.socket.send_to(&request, served.daemon.addr()).unwrap();
    peer.expect(&opening);
    peer.send(data(1, b"hello"));
    peer.expect_after(&opening, ack(1));
    assert_eq!(served.read("f"), b"hello");
    served.assert_one_transfer();
}

#[test]
fn an_address_that_proves_nothing_gets_two_oacks_at_most() {
    let served = Served::writable();
    served.write("x", noise(100_000, 1));
    for request in [rrq(b"x", "octet"), wrq(b"new", "octet")] {
        let mut peer = served.peer();
        let options = "utimeout 100000 windowsize 64 blksize 1468";
        peer.send(with(&request, options));
        (0..2).for_each(|_| peer.expect(oack(options)));
        served.wait_idle();
        assert_eq!(peer.recv_for(MOMENT), None);
    }
}

#[test]
fn a_client_that_only_asked_for_the_size_ends_the_transfer_quietly() {
    let (served, _) = three_blocks(&[]);
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "tsize 0"));
    peer.expect(oack("tsize 1300"));
    peer.send(error(8, "User aborted the transfer"));
    let line = served.wait_line("RRQ \"x\" octet tsize=1300", "no more than the options");
    assert!(line.contains("INFO") && !line.contains("failed"), "{line}");
    if !super::udp::is_single() {
        served.daemon.wait_log("exit 0");
    }
    assert_eq!(peer.recv_for(MOMENT), None, "an ERROR is never answered");
}

#[test]
fn the_time_between_two_sends_is_the_one_that_was_asked_for_and_never_doubled() {
    let (served, file) = three_blocks(&["--retries", "100", "-t", "3600"]);
    for (options, from, to) in [("timeout 1", 900, 1900), ("utimeout 300000", 250, 590)] {
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x", "octet"), options));
        peer.expect(oack(options));
        peer.send(ack(0));
        let first = data(1, &file[..512]);
        peer.expect(&first);
        let waits: Vec<Duration> = (0..8)
            .map(|_| {
                let before = peer.came;
                peer.expect(&first);
                peer.came - before
            })
            .collect();
        // A busy machine may be late, and never early; doubled waits would all be longer.
        let (least, most) = (Duration::from_millis(from), Duration::from_millis(to));
        assert!(waits.iter().all(|wait| *wait >= least), "{options}: {waits:?}");
        assert!(waits.iter().skip(2).any(|wait| *wait < most), "{options}: {waits:?}");
        peer.send(error(0, "enough"));
    }
}

#[test]
fn a_peer_that_asks_for_a_short_time_out_may_still_take_a_breath() {
    let served = Served::with(&["--retries", "2"]);
    let file = noise(1300, 3);
    served.write("x", &file);
    let (mut peer, options) = (served.peer(), "utimeout 10000");
    peer.send(with(&rrq(b"x", "octet"), options));
    peer.expect(oack(options));
    peer.send(ack(0));
    let first = data(1, &file[..512]);
    let mut sends = 0;
    while sends < 3 {
        let got = peer.recv_all();
        assert!(got == first || sends == 0 && got == oack(options), "{got:?}");
        sends += u32::from(got == first);
    }
    // By the kernel's time of arrival: a busy machine sees the end later, and never earlier.
    served.wait_line("RRQ \"x\"", "failed: Connection timed out");
    let breath = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - peer.came;
    assert!(breath >= Duration::from_secs(1), "{breath:?}");
    assert_eq!(peer.recv_for(MOMENT), None, "three sends, as --retries says");
}

#[test]
fn the_number_after_65535_is_the_one_that_was_asked_for() {
    let served = Served::writable();
    let file = noise(65_540 * 8 + 3, 1);
    served.write("x", &file);
    for rollover in [0u16, 1] {
        let options = format!("blksize 8 windowsize 64 timeout 9 rollover {rollover}");
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x", "octet"), &options));
        peer.expect(oack(&options));
        peer.send(ack(0));
        let (mut got, mut next) = (Vec::new(), 1);
        for count in 1.. {
            let packet = peer.recv();
            assert_eq!(packet[..4], data(next, b"")[..]);
            got.extend_from_slice(&packet[4..]);
            if count % 64 == 0 || packet.len() < 12 {
                peer.send(ack(next));
            }
            if packet.len() < 12 {
                break;
            }
            next = if next == 65_535 { rollover } else { next + 1 };
        }
        assert!(got == file);
        served.wait_line(&format!("rollover={rollover}"), "complete");
    }
}

#[test]
fn an_option_that_is_never_granted_is_left_out_as_an_unknown_one() {
    let (served, _) = three_blocks(&["--no-option", "blksize", "--no-option", "TSize"]);
    assert_eq!(granted(&served, "blksize 600 tsize 0 windowsize 2"), "windowsize 2");
    assert_eq!(granted(&served, "blksize 600 blksize2 512"), "blksize2 512");
    assert_eq!(granted(&served, "blksize 600 tsize 0"), "");
}
