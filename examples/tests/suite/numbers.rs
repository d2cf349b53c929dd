//! Two numbers and their sum between two machines: as text, as memory (wrong), as XDR; and the order of
//! octets.

use std::process::{Command, Stdio};

use testkit::{Daemon, Peer, Program, run, wait_until};

const TEXT: [&str; 2] = [env!("CARGO_BIN_EXE_sum_text_serv"), env!("CARGO_BIN_EXE_sum_text_cli")];
const BIN: [&str; 2] = [env!("CARGO_BIN_EXE_sum_bin_serv"), env!("CARGO_BIN_EXE_sum_bin_cli")];
const XDR: [&str; 2] = [env!("CARGO_BIN_EXE_sum_xdr_serv"), env!("CARGO_BIN_EXE_sum_xdr_cli")];

fn server(program: &str, options: &[&str]) -> Daemon {
    let mut command = Command::new(program);
    command.args(options).arg("127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

fn client(program: &str, server: &Daemon, options: &[&str]) -> Program {
    let addr = server.addr().to_string();
    Program::start(program, &[options, &[&addr]].concat())
}

/// What the client of one machine is told by the server of another. `None`: nothing.
fn sum(here: &[&str], there: &[&str], numbers: &str) -> Option<String> {
    let server = server(BIN[0], there);
    let mut client = client(BIN[1], &server, &[here, &["--wait", "20"]].concat());
    client.send(&format!("{numbers}\n"));
    client.line()
}

#[test]
fn text_is_right_and_what_is_no_number_is_an_input_error() {
    let server = server(TEXT[0], &[]);
    let mut client = client(TEXT[1], &server, &[]);
    for (line, answer) in [
        ("1 2", "3"),
        ("-22 -77", "-99"),
        ("9223372036854775806 1", "9223372036854775807"),
        ("9223372036854775807 1", "input error"),
        ("one two", "input error"),
        ("1", "input error"),
        ("", "input error"),
        ("12 30 and so on", "42"),
    ] {
        assert_eq!(client.ask(line), answer, "{line}");
    }
    assert!(client.wait().success());
    wait_until("no zombie is left", || testkit::children(server.pid()).is_empty());
}

#[test]
fn memory_is_right_between_two_machines_of_one_kind() {
    for machine in [&[][..], &["--order", "big", "--long", "4"], &["--order", "big"]] {
        assert_eq!(sum(machine, machine, "1 2").unwrap(), "3", "{machine:?}");
        assert_eq!(sum(machine, machine, "-22 -77").unwrap(), "-99", "{machine:?}");
    }
}

/// Stevens saw the same number between a BSD/OS on a PC and a Solaris on a SPARC.
#[test]
fn memory_is_wrong_across_byte_orders_and_sometimes_right_by_chance() {
    let (pc, sparc) = (["--order", "little", "--long", "4"], ["--order", "big", "--long", "4"]);
    for (here, there) in [(pc, sparc), (sparc, pc)] {
        assert_eq!(sum(&here, &there, "1 2").unwrap(), "3");
        assert_eq!(sum(&here, &there, "-22 -77").unwrap(), "-16777314");
        assert_ne!(sum(&here, &there, "200 100").unwrap(), "300");
    }
}

#[test]
fn memory_is_wrong_across_sizes_of_long() {
    let (small, large) =
        (["--order", "little", "--long", "4"], ["--order", "little", "--long", "8"]);
    // 16 octets are two questions for it: 1 + 0 and 2 + 0. Two answers of 4 octets are one of 8.
    assert_eq!(sum(&large, &small, "1 2").unwrap(), (1_i64 + (2 << 32)).to_string());
    let server = server(BIN[0], &large);
    let mut client = client(BIN[1], &server, &[&small[..], &["--wait", "0.2"]].concat());
    client.send("1 2\n");
    assert_eq!(client.wait().code(), Some(1));
    let said = client.errors();
    assert!(
        said.ends_with("sum_bin_cli: no answer: does the server wait for more octets?\n"),
        "{said}"
    );
    assert_eq!(client.line(), None);
}

#[test]
fn a_long_of_four_octets_holds_no_more() {
    let machine = ["--order", "little", "--long", "4"];
    let server = server(BIN[0], &machine);
    let mut client = client(BIN[1], &server, &[&machine[..], &["--wait", "20"]].concat());
    client.send("2147483648 0\n");
    client.wait_errors("two numbers, please, that fit into a long");
    assert_eq!(client.ask("2147483647 1"), "-2147483648"); // the sum overflows, as it does in C
}

#[test]
fn an_explicit_format_is_right_and_an_overflow_is_an_answer() {
    let server = server(XDR[0], &[]);
    let mut client = client(XDR[1], &server, &[]);
    for (line, answer) in [
        ("1 2", "3"),
        ("-22 -77", "-99"),
        ("9223372036854775807 1", "the sum does not fit into 64 bits"),
        ("9223372036854775807 1 -2", "9223372036854775806"),
        ("1 1 1 1 1 1 1 1", "8"),
        ("", "0"),
    ] {
        assert_eq!(client.ask(line), answer, "{line}");
    }
    for refused in ["1 1 1 1 1 1 1 1 1\n", "9223372036854775808 1\n", "1 x\n"] {
        client.send(refused);
    }
    assert_eq!(client.ask("4 5"), "9");
    assert!(client.wait().success());
    assert_eq!(client.errors().matches("numbers of 64 bits, please, 8 at most").count(), 3);
}

#[test]
fn the_explicit_format_is_just_these_octets_whoever_speaks() {
    let server = server(XDR[0], &[]);
    let mut peer = Peer::connect(server.addr());
    let minus_22 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xea];
    let minus_99 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x9d];
    let minus_77 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xb3];
    let question = [&[0, 0, 0, 2][..], &minus_22, &minus_77].concat();
    for octet in &question {
        peer.send([*octet]); // however it is cut
    }
    assert_eq!(peer.take(12), [&[0, 0, 0, 0][..], &minus_99].concat());
    let max = i64::MAX.to_be_bytes();
    peer.send([&[0, 0, 0, 2][..], &max, &max, &question].concat());
    assert_eq!(peer.take(4), [0, 0, 0, 1]);
    assert_eq!(peer.take(12), [&[0, 0, 0, 0][..], &minus_99].concat());
}

#[test]
fn a_length_from_the_network_is_not_believed() {
    let server = server(XDR[0], &[]);
    for length in [9_u32, 0x0800_0000, u32::MAX] {
        let mut peer = Peer::connect(server.addr());
        peer.send(length.to_be_bytes());
        assert_eq!(peer.rest(), [0, 0, 0, 2]);
    }
    let mut peer = Peer::connect(server.addr());
    peer.send([0, 0, 0, 2, 0]);
    peer.shutdown_write(); // half a question
    assert!(peer.is_closed());
    server.wait_log("sum_xdr_serv: read error: ");
    let mut peer = Peer::connect(server.addr());
    peer.send([0, 0, 0, 0]);
    assert_eq!(peer.take(12), [0; 12]); // and it lives on
}

#[test]
fn a_port_that_is_not_converted_is_another_port() {
    let output = run(Command::new(env!("CARGO_BIN_EXE_byteorder")), b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"htons(0x0102)      in memory: 01 02"));
    assert!(lines.contains(&"htonl(0x01020304)  in memory: 01 02 03 04"));
    assert!(lines.contains(&"htons(9877)        in memory: 26 95"));
    assert!(lines.contains(&"sin_port = htons(9877): bound to port 9877"));
    if cfg!(target_endian = "little") {
        assert_eq!(lines[0], "this machine is little-endian: the low octet comes first");
        assert!(lines.contains(&"0x0102             in memory: 02 01"));
        assert!(lines.contains(&"0x01020304         in memory: 04 03 02 01"));
        assert!(lines.contains(&"sin_port = 9877: bound to port 38182"));
    } else {
        assert_eq!(lines[0], "this machine is big-endian: the high octet comes first");
        assert!(lines.contains(&"0x0102             in memory: 01 02"));
        assert!(lines.contains(&"sin_port = 9877: bound to port 9877"));
    }
    assert!(output.status.success());
}
