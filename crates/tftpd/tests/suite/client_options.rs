//! tftpc's options, URLs and ends, against a scripted server and against tftpd.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use crate::tftpc::{Client, port_for, start};
use crate::udp::{Served, Udp, ack, data, error, noise, oack, rrq, with, wrq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{TempDir, in_namespaces, names, run, wait_child};

const TFTPC: &str = env!("CARGO_BIN_EXE_tftpc");

fn tftpc(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(TFTPC);
    command.args(args).current_dir(dir.path());
    command
}

#[test]
fn nothing_is_asked_for_unless_it_is_said() {
    let (mut server, dir) = start();
    let client = Client::start(&server, &dir, &["get", "x"]);
    server.expect(rrq(b"x", "octet"));
    port_for(&server).put_blocks(b"hello");
    client.succeeds();
}

#[test]
fn options_are_asked_for_and_what_is_granted_is_used() {
    let (mut server, dir) = start();
    let asked = ["-b", "1000", "-w", "4", "--interval", "2", "--tsize"];
    let client = Client::start(&server, &dir, &[&["get", "x"], &asked[..]].concat());
    let all = "blksize 1000 tsize 0 timeout 2 windowsize 4";
    server.expect(with(&rrq(b"x", "octet"), all));
    let file = noise(3500, 1);
    let mut port = port_for(&server);
    port.send(oack("blksize 900 tsize 3500 timeout 2 windowsize 3"));
    port.expect(ack(0));
    for (block, octets) in file.chunks(900).enumerate() {
        port.send(data(block as u16 + 1, octets));
    }
    port.expect(ack(3));
    port.expect(ack(4));
    client.succeeds();
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), file);
}

#[test]
fn a_server_without_options_is_served_as_rfc_1350_says() {
    let (mut server, dir) = start();
    let file = noise(1300, 1);
    let client = Client::start(&server, &dir, &["-b", "1468", "-w", "16", "get", "x"]);
    server.expect(with(&rrq(b"x", "octet"), "blksize 1468 windowsize 16"));
    port_for(&server).put_blocks(&file);
    client.succeeds();
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), file);
    let client = Client::start(&server, &dir, &["-b", "1468", "put", "x"]);
    server.expect(with(&wrq(b"x", "octet"), "blksize 1468"));
    let mut port = port_for(&server);
    port.send(ack(0));
    port.expect(data(1, &file[..512]));
    port.send(error(0, "enough"));
    client.fails(&["put x", "enough"]);
}

#[test]
fn an_upload_tells_its_size_where_it_is_known_and_asked_for() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("f"), noise(600, 1)).unwrap();
    let client = Client::start(&server, &dir, &["--tsize", "put", "f"]);
    server.expect(with(&wrq(b"f", "octet"), "tsize 600"));
    port_for(&server).send(error(3, "too big"));
    client.fails(&["too big (ERROR 3)"]);
    for args in [&["--tsize", "-m", "netascii", "put", "f"][..], &["--tsize", "put", "-", "f"]] {
        let client = Client::fed(&server, &dir, args, b"text");
        let request = server.recv();
        assert!(request.ends_with(b"f\0netascii\0") || request.ends_with(b"f\0octet\0"));
        port_for(&server).send(error(0, "enough"));
        client.fails(&["enough"]);
    }
}

#[test]
fn what_nobody_asked_for_is_refused_with_error_8() {
    let (mut server, dir) = start();
    for (args, bad) in [
        (&["get", "x"][..], "blksize 1468"),
        (&["-b", "1000", "get", "x"], "blksize 1001"),
        (&["-b", "1000", "get", "x"], "blksize 7"),
        (&["-w", "4", "get", "x"], "windowsize 5"),
        (&["--interval", "2", "get", "x"], "timeout 3"),
    ] {
        let client = Client::start(&server, &dir, args);
        server.recv();
        let mut port = port_for(&server);
        port.send(oack(bad));
        port.expect_error(8);
        client.fails(&["get \"x\""]);
        assert!(names(dir.path()).is_empty());
    }
}

#[test]
fn a_file_shorter_than_the_server_announced_is_not_kept() {
    let (mut server, dir) = start();
    fs::write(dir.path().join("x"), "old").unwrap();
    for (announced, kept) in [("tsize 6", false), ("tsize 5", true), ("tsize 4", true)] {
        let client = Client::start(&server, &dir, &["--tsize", "get", "x"]);
        server.expect(with(&rrq(b"x", "octet"), "tsize 0"));
        let mut port = port_for(&server);
        port.send(oack(announced));
        port.expect(ack(0));
        port.send(data(1, b"hello"));
        if kept {
            port.expect(ack(1));
            client.succeeds();
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"hello");
        } else {
            port.expect_error(0);
            client.fails(&["get \"x\"", "5 octets of 6 came"]);
            assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"old");
            assert_eq!(names(dir.path()), ["x"]);
        }
    }
}

/// tftpc in the middle of a `get` of `x`, and the port that it talks to: a closed one would end it.
fn half_a_file(server: &mut Udp, dir: &TempDir) -> (Child, Udp) {
    // A shell has its background jobs ignore SIGINT, and these tests may be one.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_tftpc")]);
    command.args([&server.addr().to_string(), "get", "x"]).current_dir(dir.path());
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    server.expect(rrq(b"x", "octet"));
    let mut port = port_for(server);
    port.send(data(1, &[b'n'; 512]));
    port.expect(ack(1));
    (child, port)
}

#[test]
fn a_client_that_is_killed_or_interrupted_leaves_the_old_file_and_no_half_one() {
    let (mut server, dir) = start();
    for old in [None, Some("old")] {
        if let Some(old) = old {
            fs::write(dir.path().join("x"), old).unwrap();
        }
        for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
            let (mut child, _port) = half_a_file(&mut server, &dir);
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            let status = wait_child(&mut child, "tftpc ends");
            assert_eq!(status.signal(), Some(signal as i32));
            let left = names(dir.path()).into_iter().filter(|name| !name.starts_with('.'));
            assert_eq!(left.collect::<Vec<_>>(), old.map_or(vec![], |_| vec!["x".to_owned()]));
            assert_eq!(fs::read_to_string(dir.path().join("x")).ok().as_deref(), old);
        }
    }
}

#[test]
fn an_interrupted_client_takes_its_temporary_file_along_where_that_has_a_name() {
    in_namespaces(&["--mount"], concat!(module_path!(), "::interrupted_without_proc"));
}

#[test]
#[ignore = "needs a mount namespace; see above"]
fn interrupted_without_proc() {
    // No nameless file could be given a name without /proc, so none is made.
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/proc"]).status().unwrap();
    assert!(mounted.success());
    let (mut server, dir) = start();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut child, _port) = half_a_file(&mut server, &dir);
        let hidden = names(dir.path());
        assert!(hidden.len() == 1 && hidden[0].starts_with(".tftp-new."), "{hidden:?}");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = wait_child(&mut child, "tftpc ends");
        assert_eq!(status.signal(), Some(signal as i32), "as a shell wants to see it");
        assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
    }
}

#[test]
fn of_a_host_with_two_addresses_the_second_is_tried_where_the_first_is_silent() {
    in_namespaces(&["--mount"], concat!(module_path!(), "::with_two_addresses"));
}

#[test]
#[ignore = "needs a mount namespace; see above"]
fn with_two_addresses() {
    let served = Served::with(&[]);
    served.write("x", "hello");
    let port = served.daemon.addr().port();
    let _silent = std::net::UdpSocket::bind(("::1", port)).unwrap();
    let etc = TempDir::new(); // a machine need not have a file of its own to put this one over
    etc.file("hosts", "::1 two.test\n127.0.0.1 two.test\n");
    etc.file("host.conf", "multi on\n"); // all lines of a name count
    let mut bind = Command::new("mount");
    bind.args(["--bind", etc.path().to_str().unwrap(), "/etc"]);
    assert!(bind.status().unwrap().success());
    let host = format!("two.test:{port}");
    let output = run(tftpc(&served.dir, &["-t", "4", &host, "get", "x", "-"]), b"");
    assert_eq!(output.stdout, b"hello", "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(tftpc(&served.dir, &["-t", "4", &host, "get", "none", "-"]), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("127.0.0.1") && said.contains("(ERROR 1)"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nobody_is_asked_before_a_slow_pipe_has_a_first_window() {
    for (options, first) in [(&[][..], 512), (&["-b", "1000", "-w", "3"], 3000)] {
        let (mut server, dir) = start();
        let at = server.addr().to_string();
        let args = [&[&at[..], "put", "-", "x"], options].concat();
        let mut client = tftpc(&dir, &args).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = client.stdin.take().unwrap();
        pipe.write_all(&vec![b'a'; first - 1]).unwrap();
        assert_eq!(server.recv_for(crate::udp::MOMENT), None, "a request came too early");
        pipe.write_all(b"a").unwrap();
        let request = server.recv();
        assert_eq!(request[..4], *b"\0\x02x\0", "while the pipe is open still");
        let mut port = port_for(&server);
        port.send(ack(0));
        port.expect(data(1, &[b'a'; 512]));
        port.send(ack(1));
        drop(pipe);
        for (n, octets) in crate::udp::blocks(&vec![b'a'; first]).enumerate().skip(1) {
            port.expect_after(&data(n as u16, &[b'a'; 512]), data(n as u16 + 1, octets));
            port.send(ack(n as u16 + 1));
        }
        assert!(wait_child(&mut client, "tftpc ends").success());
    }
}

#[test]
fn urls_get_and_put_files() {
    let served = Served::writable();
    fs::create_dir(served.path("sub dir")).unwrap();
    served.write("sub dir/x", "a\nb");
    let host = served.daemon.addr();
    let runs = |args: &[&str]| {
        let output = run(tftpc(&served.dir, args), b"c\n");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    runs(&[&format!("tftp://{host}/sub%20dir/x")]);
    assert_eq!(fs::read(served.dir.path().join("x")).unwrap(), b"a\nb");
    assert_eq!(runs(&["get", &format!("TFTP://{host}//sub%20dir/x;mode=netascii"), "-"]), b"a\nb");
    served.wait_line("netascii", "4 octets");
    runs(&["put", "x", &format!("tftp://{host}/sub%20dir/"), "-b", "1024"]);
    runs(&["put", "-", &format!("tftp://{host}/up;mode=netascii")]);
    assert_eq!(served.read("up"), b"c\n");
    served.wait_line("WRQ \"sub dir/x\" octet blksize=1024", "complete");
    let output = run(tftpc(&served.dir, &[&format!("tftp://{host}/none"), "y"]), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(!served.dir.path().join("y").exists());
}

#[test]
fn a_local_name_that_ends_with_a_slash_is_a_folder() {
    let served = Served::with(&[]);
    fs::create_dir(served.path("sub")).unwrap();
    served.write("sub/x", "hello");
    fs::create_dir(served.dir.path().join("here")).unwrap();
    let host = served.daemon.addr().to_string();
    let get = |local| run(tftpc(&served.dir, &[&host, "get", "sub/x", local]), b"");
    assert!(get("here/").status.success());
    assert_eq!(fs::read(served.dir.path().join("here/x")).unwrap(), b"hello");
    let output = get("nowhere/");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "tftpc: get \"sub/x\" to nowhere/x: No such file or directory\n");
}

#[test]
fn an_argument_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = tftpc(&TempDir::new(), &["h", "get"]);
    command.current_dir("/").arg(std::ffi::OsStr::from_bytes(b"x\xffy"));
    let output = run(command, b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("tftpc: \"x\\xFFy\": not UTF-8\n"), "{said}");
}

#[test]
fn every_option_works_against_tftpd_both_ways() {
    let served = Served::writable();
    let file = noise(200_000, 9);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    let host = served.daemon.addr().to_string();
    for options in [
        &["-b", "1468", "-w", "16", "--tsize"][..],
        &["-b", "65464", "-w", "64", "--interval", "1"],
        &["--blksize2", "1024", "--interval", "0.5"],
        &["-b", "8", "-w", "64", "--rollover", "1"],
        &["-w", "3", "-m", "netascii", "--tsize"],
    ] {
        for args in [["put", "f", "up"], ["get", "up", "back"]] {
            let output = run(tftpc(&served.dir, &[&[&host[..]], options, &args].concat()), b"");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{options:?} {args:?}: {said}");
        }
        assert!(served.read("up") == file, "{options:?}");
        assert!(fs::read(served.dir.path().join("back")).unwrap() == file, "{options:?}");
    }
}
