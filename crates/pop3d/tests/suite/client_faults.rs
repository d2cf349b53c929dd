//! pop3c against servers that lie, hang or are odd, full disks, signals, and itself.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Peer, TempDir, names, run};

use crate::common::{POP3C, TestServer, text};

/// A server that one client talks to, as the script does.
fn fake<T: Send + 'static>(
    script: impl FnOnce(Peer) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    (at, thread::spawn(move || script(Peer::new(listener.accept().unwrap().0))))
}

/// Greets, and lets the client log in.
fn log_in(peer: &mut Peer) {
    peer.send("+OK\r\n");
    for command in ["USER", "PASS"] {
        peer.expect(command);
        peer.send("+OK\r\n");
    }
}

/// The same where it is to fetch: it asks before whether it can have UTF-8.
fn log_in_to_fetch(peer: &mut Peer) {
    peer.send("+OK\r\n");
    for (command, reply) in [("CAPA", "-ERR\r\n"), ("USER", "+OK\r\n"), ("PASS", "+OK\r\n")] {
        peer.expect(command);
        peer.send(reply);
    }
}

/// Answers CAPA with an error, and UIDL with `count` letters.
fn list(peer: &mut Peer, count: usize) {
    peer.expect("CAPA");
    peer.send("-ERR\r\n");
    peer.expect("UIDL");
    let rows: String = (1..=count).map(|n| format!("{n} id{n}\r\n")).collect();
    peer.send(format!("+OK\r\n{rows}.\r\n"));
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(POP3C);
    command.args(["-u", "u"]).args(args);
    command
}

fn pop3c(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run(command(args), b"p\n");
    (status.code(), text(&stdout), text(&stderr))
}

#[test]
fn listings_show_utf_8_and_quotes_as_they_are_and_no_terminal_escape() {
    let (at, server) = fake(|mut peer| {
        log_in(&mut peer);
        peer.expect("UIDL");
        peer.send("+OK\r\n1 \"caf\u{e9}\"'\\\r\n2 \u{1b}[2J\u{9b}31m\u{7f}\r\n3 ".as_bytes());
        peer.send(b"\x9b\xff\r\n.\r\n");
        peer.expect("QUIT");
        peer.send("+OK\r\n");
    });
    let (code, said, _) = pop3c(&[&at, "uidl"]);
    server.join().unwrap();
    let expected = "1 \"caf\u{e9}\"'\\\n2 \\u{1b}[2J\\u{9b}31m\\u{7f}\n3 \\x9b\\xff\n";
    assert_eq!((code, &said[..]), (Some(0), expected));
}

#[test]
fn a_server_that_ends_its_lines_in_lf_alone_is_understood() {
    let (at, server) = fake(|mut peer| {
        peer.send("+OK hi\n");
        for (command, reply) in [
            ("CAPA", "+OK\nPIPELINING\nUTF8\n.\n"),
            ("UTF8", "+OK\n"),
            ("USER", "+OK\n"),
            ("PASS", "+ok\n"),
            ("CAPA", "+OK\nPIPELINING\n.\n"),
            ("UIDL", "+OK\n1 a\n2 b\n.\n"),
            ("LIST", "+OK\n1 x\n.\n"),
            ("RETR 1", "+OK\nA: 1\n\n..\n.\n"),
            ("RETR 2", "+OK\nA: 2\n.\n"),
            ("QUIT", "+OK\n"),
        ] {
            peer.expect(command);
            peer.send(reply);
        }
    });
    let to = TempDir::new();
    let (code, said, why) = pop3c(&[&at, "fetch", to.path().to_str().unwrap()]);
    server.join().unwrap();
    assert_eq!(code, Some(0), "{why}");
    assert!(said.starts_with("2 new"), "{said}");
    let new = to.path().join("new");
    let letters: Vec<_> =
        names(&new).iter().map(|name| fs::read_to_string(new.join(name)).unwrap()).collect();
    assert_eq!(letters, ["A: 1\n\n.\n", "A: 2\n"]);
}

#[test]
fn a_message_without_an_end_is_waited_for_as_long_as_the_time_limit_says() {
    let (at, server) = fake(|mut peer| {
        log_in_to_fetch(&mut peer);
        list(&mut peer, 2);
        peer.expect("RETR 1");
        peer.send("+OK\r\none\r\n.\r\n");
        peer.expect("RETR 2");
        peer.send("+OK\r\nno end\r\n");
        peer.is_closed()
    });
    let to = TempDir::new();
    let (code, said, why) = pop3c(&["-t", "0.2", &at, "fetch", to.path().to_str().unwrap()]);
    assert!(server.join().unwrap());
    assert_eq!(code, Some(75));
    assert_eq!(said, "1 new (5 octets), 0 known, 0 deleted on the server\n");
    assert!(why.contains("timed out"), "{why}");
    assert_eq!(names(&to.path().join("new")).len(), 1);
}

#[test]
fn endless_lines_listings_and_headers_end_with_a_limit() {
    for (command, reply) in [("stat", "+OK "), ("list", "+OK\r\n1 "), ("get", "+OK\r\n")] {
        let (at, server) = fake(move |mut peer| {
            log_in(&mut peer);
            peer.line();
            peer.send(reply);
            let row = if command == "get" { "x".repeat(65_536) } else { "1".repeat(65_536) };
            // Until the client hangs up; more than any limit would be a hang of this test.
            (0..1_000_000).take_while(|_| peer.try_send(&row).is_ok()).count()
        });
        let args: &[&str] = if command == "get" { &[&at, "get", "1"] } else { &[&at, command] };
        let mut limited = Command::new("sh");
        // A client that keeps what it reads would not have the memory.
        limited
            .args(["-c", "ulimit -v 400000; exec \"$0\" \"$@\" >/dev/null", POP3C, "-u", "u"])
            .args(args);
        let output = run(limited, b"p\n");
        assert!(server.join().unwrap() < 1_000_000);
        assert_eq!(output.status.code(), Some(76), "{command}: {}", text(&output.stderr));
    }
}

#[test]
fn numbers_too_large_for_any_maildrop_are_no_pop3() {
    for (command, reply) in
        [("stat", "+OK 99999999999999999999 1\r\n"), ("stat", "+OK\r\n"), ("stat", "+OK -1 5\r\n")]
    {
        let (at, server) = fake(move |mut peer| {
            log_in(&mut peer);
            peer.line();
            peer.send(reply);
            peer.is_closed()
        });
        let (code, _, why) = pop3c(&[&at, command]);
        assert!(server.join().unwrap());
        assert!(code == Some(76) && why.ends_with("the reply is no POP3\n"), "{why}");
    }
}

#[test]
fn letters_count_as_deleted_once_the_server_has_taken_quit() {
    let (at, server) = fake(|mut peer| {
        log_in_to_fetch(&mut peer);
        list(&mut peer, 1);
        for (command, reply) in [
            ("RETR 1", "+OK\r\none\r\n.\r\n"),
            ("DELE 1", "+OK\r\n"),
            ("QUIT", "-ERR some deleted messages not removed\r\n"),
        ] {
            peer.expect(command);
            peer.send(reply);
        }
    });
    let to = TempDir::new();
    let (code, said, why) = pop3c(&["--delete", &at, "fetch", to.path().to_str().unwrap()]);
    server.join().unwrap();
    assert_eq!(said, "1 new (5 octets), 0 known, 0 deleted on the server\n");
    assert!(code == Some(69) && why.contains("QUIT: -ERR some deleted"), "{why}");
}

#[test]
fn refusals_have_an_exit_code_for_each_kind() {
    for (greeting, pass, code) in [
        ("+OK", "-ERR [AUTH] wrong", 77),
        ("+OK", "-ERR wrong", 77),
        ("+OK", "-ERR [IN-USE] other session", 66),
        ("+OK", "-ERR maildrop is locked", 66),
        ("+OK", "-ERR [SYS/TEMP] later", 75),
        ("+OK", "-ERR [LOGIN-DELAY] later", 75),
        ("+OK", "-ERR [SYS/PERM] never", 69),
        ("-ERR [SYS/PERM] never", "", 69),
        ("-ERR busy", "", 75),
        ("220 smtp", "", 76),
    ] {
        let (at, server) = fake(move |mut peer| {
            peer.send(format!("{greeting}\r\n"));
            if greeting == "+OK" {
                peer.expect("USER");
                peer.send("+OK\r\n");
                peer.expect("PASS");
                peer.send(format!("{pass}\r\n"));
            }
            peer.is_closed()
        });
        let ended = pop3c(&[&at, "stat"]);
        assert!(server.join().unwrap());
        assert_eq!(ended.0, Some(code), "{greeting} {pass}: {ended:?}");
    }
    assert_eq!(pop3c(&["no-such-host.test", "stat"]).0, Some(68));
}

#[test]
fn sigterm_ends_a_fetch_in_order_and_what_came_is_not_fetched_again() {
    let (sender, pid) = std::sync::mpsc::channel::<i32>();
    let (at, server) = fake(move |mut peer| {
        log_in_to_fetch(&mut peer);
        list(&mut peer, 3);
        for number in 1..=2 {
            peer.expect(&format!("RETR {number}"));
            if number == 2 {
                // Pending before the reply is there, so that the client sees it first.
                kill(Pid::from_raw(pid.recv().unwrap()), Signal::SIGTERM).unwrap();
            }
            peer.send(format!("+OK\r\n{number}\r\n.\r\n"));
        }
        peer.expect("QUIT");
        peer.send("+OK\r\n");
    });
    let to = TempDir::new();
    let folder = to.path().to_str().unwrap();
    let password = to.file("password", "p\n");
    let password = format!("--password-file={}", password.display());
    let mut client = command(&[&password, &at, "fetch", folder]);
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sender.send(client.id() as i32).unwrap();
    let output = client.wait_with_output().unwrap();
    server.join().unwrap();
    assert_eq!(text(&output.stdout), "2 new (6 octets), 0 known, 0 deleted on the server\n");
    assert!(text(&output.stderr).ends_with("stopped by a signal\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(names(&to.path().join("new")).len(), 2);
    let ids = names(to.path()).into_iter().find(|name| name.starts_with(".pop3c.seen.")).unwrap();
    let ids = fs::read_to_string(to.path().join(ids)).unwrap();
    assert!(ids.contains("+ id1 ") && ids.contains("+ id2 ") && !ids.contains("id3"), "{ids}");
}

#[test]
fn a_server_that_hangs_holds_a_signalled_fetch_for_seconds_and_a_second_signal_ends_it() {
    for signals in [1, 2] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (at, server) = fake(move |mut peer| {
            log_in_to_fetch(&mut peer);
            list(&mut peer, 2);
            peer.expect("RETR 1");
            peer.send("+OK\r\none\r\n.\r\n");
            peer.expect("RETR 2");
            sender.send(()).unwrap();
            peer.is_closed()
        });
        let to = TempDir::new();
        let password = to.file("password", "p\n");
        let password = format!("--password-file={}", password.display());
        let mut client = command(&[&password, &at, "fetch", to.path().to_str().unwrap()]);
        let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        receiver.recv().unwrap();
        let pid = Pid::from_raw(client.id() as i32);
        kill(pid, Signal::SIGTERM).unwrap();
        if signals == 2 {
            // One that is pending would be lost; SIGINT counts as well.
            kill(pid, Signal::SIGINT).unwrap();
        }
        let output = client.wait_with_output().unwrap();
        assert!(server.join().unwrap());
        if signals == 1 {
            let said = text(&output.stdout);
            assert_eq!(said, "1 new (5 octets), 0 known, 0 deleted on the server\n");
            assert_eq!(output.status.code(), Some(75), "{output:?}");
            assert_eq!(names(&to.path().join("new")).len(), 1);
        } else {
            assert!(matches!(output.status.code(), Some(130 | 143)), "{output:?}");
        }
    }
}

#[test]
fn a_second_fetch_for_the_account_ends_at_once() {
    let server = TestServer::new(&["A: 1\n"]);
    let to = TempDir::new();
    let folder = to.path().to_str().unwrap();
    // The command holds the first until the test has seen the second.
    let (mark, go) = (to.path().join("mark"), to.path().join("go"));
    let wait = format!(
        "mda:touch {}; while [ ! -e {} ]; do sleep 0.05; done",
        mark.display(),
        go.display()
    );
    let password = to.file("password", "tanstaaf\n");
    let password = format!("--password-file={}", password.display());
    let ids = format!("--ids={folder}");
    let start = |words: &[&str]| {
        let mut command = server.pop3c_command(&[&[&password[..], &ids], words].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = start(&["fetch", &wait]);
    testkit::wait_until("the command runs", || mark.exists());
    let second = start(&["fetch", folder]).wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(66));
    let why = text(&second.stderr);
    assert!(why.contains("another pop3c fetches for this account"), "{why}");
    fs::write(go, "").unwrap();
    assert!(first.wait_with_output().unwrap().status.success());
}

#[test]
fn a_letter_that_does_not_fit_on_the_disk_stays_and_those_before_are_kept() {
    let large = "x\n".repeat(100_000);
    let server = TestServer::new(&["A: 1\n", &large, "A: 3\n"]);
    let to = TempDir::new();
    let args = server.pop3c_command(&["--delete", "fetch", to.path().to_str().unwrap()]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\"", POP3C]).args(args.get_args());
    let output = run(limited, b"tanstaaf\n");
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(text(&output.stderr).contains("File too large"), "{output:?}");
    assert!(text(&output.stdout).contains("1 deleted on the server, 2 failed"), "{output:?}");
    assert_eq!(server.letters(), ["2.a.test", "3.a.test"]);
    assert_eq!(names(&to.path().join("new")).len(), 1);
    assert!(names(&to.path().join("tmp")).is_empty());
}
