//! pop3c against pop3d, and against servers that lie.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::common::{HASH, LETTER, POP3C, TestServer, text};
use testkit::{Peer, TempDir, names, run, wait_until};

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn stat_list_uidl_and_top_show_the_maildrop() {
    let server = TestServer::new(&[LETTER, "A: b\n\n.one\ntwo\n"]);
    assert_eq!(ok(&server.pop3c(&["stat"])), "2 messages, 41 octets\n");
    assert_eq!(ok(&server.pop3c(&["list"])), "1 22\n2 19\n");
    assert_eq!(ok(&server.pop3c(&["uidl"])), "1 1.a.test\n2 2.a.test\n");
    assert_eq!(ok(&server.pop3c(&["top", "2", "1"])), "A: b\n\n.one\n");
}

#[test]
fn get_gives_the_letter_byte_for_byte() {
    let letter = "A: b\n\n.\n..dots\n\u{e4}\u{1}\n".repeat(20_000);
    let server = TestServer::new(&[&letter, ""]);
    assert!(server.pop3c(&["get", "1"]).stdout == letter.as_bytes());
    assert_eq!(ok(&server.pop3c(&["get", "2"])), "");
}

#[test]
fn dele_removes_one_and_says_quit() {
    let server = TestServer::new(&[LETTER, LETTER]);
    assert_eq!(ok(&server.pop3c(&["dele", "1"])), "");
    assert_eq!(server.letters(), ["2.a.test"]);
    let output = server.pop3c(&["dele", "7"]);
    assert_eq!(output.status.code(), Some(69));
    let place = server.daemon.addr();
    let expected =
        format!("pop3c: {place}: DELE 7: -ERR no such message, only 1 message in maildrop\n");
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn fetch_stores_what_is_new_and_deletes_only_when_told() {
    let server = TestServer::new(&["A: 1\n\n.one\n", "A: 2\n\ntwo\n"]);
    let dir = TempDir::new();
    let to = dir.path().join("Mail");
    let folder = to.to_str().unwrap();
    assert!(ok(&server.pop3c(&["fetch", folder])).starts_with("2 new (27 octets), 0 known, 0 "));
    let read = || {
        let names = names(&to.join("new"));
        names
            .iter()
            .map(|n| fs::read_to_string(to.join("new").join(n)).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(read(), ["A: 1\n\n.one\n", "A: 2\n\ntwo\n"]);
    fs::write(server.maildir().join("new/3.a.test"), "A: 3\n").unwrap();
    assert!(
        ok(&server.pop3c(&["--keep", "fetch", folder])).starts_with("1 new (6 octets), 2 known")
    );
    assert_eq!((read().len(), server.letters().len()), (3, 3));
    assert!(ok(&server.pop3c(&["--delete", "fetch", folder])).contains("3 known, 3 deleted"));
    assert!(server.letters().is_empty());
    assert_eq!(read().len(), 3);
    assert!(names(&to.join("tmp")).is_empty());
}

#[test]
fn fetch_that_cannot_store_deletes_nothing() {
    let server = TestServer::new(&[LETTER]);
    let dir = TempDir::new();
    let file = dir.file("file", "");
    let output = server.pop3c(&["--delete", "fetch", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(73));
    let error = text(&output.stderr);
    assert!(error.starts_with("pop3c: ") && error.contains("Not a directory"), "{error}");
    assert_eq!(server.letters().len(), 1);
}

#[test]
fn the_password_comes_from_a_file_or_from_standard_input_and_is_never_shown() {
    let server = TestServer::new(&[]);
    let file = server.dir.file("secret", "tanstaaf\nnot this\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let option = format!("--password-file={}", file.display());
    let output = server.pop3c_with(&[&option, "stat"], b"");
    ok(&output);
    assert_eq!(text(&output.stderr), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = server.pop3c_with(&[&option, "-v", "--apop=never", "stat"], b"");
    ok(&output);
    let said = text(&output.stderr);
    assert!(said.contains("mode 644 lets others read it"), "{said}");
    assert!(said.contains("C: PASS ********\n") && said.contains("S: +OK 0 0\n"), "{said}");
    assert!(!said.contains("tanstaaf"));
    let output = server.pop3c_with(&["stat"], b"");
    assert_eq!(text(&output.stderr), "pop3c: the password is empty\n");
    let output = server.pop3c_with(&["--password-file=/no/such", "stat"], b"");
    assert_eq!(text(&output.stderr), "pop3c: password file /no/such: No such file or directory\n");
}

#[test]
fn apop_is_used_where_it_works_and_a_hashed_user_gets_in_all_the_same() {
    let server = TestServer::with(&[], &["--auth-delay", "0"], "");
    let verbose = text(&server.pop3c(&["-v", "stat"]).stderr);
    assert!(verbose.contains("C: APOP mrose ********") && !verbose.contains("PASS"), "{verbose}");
    let home = server.path("mrose");
    let line = format!("mrose:{HASH}:::Rose:{}:\nother:{{PLAIN}}x\n", home.display());
    fs::write(server.path("users"), line).unwrap();
    let output = server.pop3c(&["-v", "stat"]);
    ok(&output);
    assert!(text(&output.stderr).contains("C: PASS ********"));
    let output = server.pop3c(&["--apop=always", "stat"]);
    assert!(text(&output.stderr).contains("APOP: -ERR [AUTH]"));
}

#[test]
fn a_wrong_password_and_a_locked_maildrop_are_told_with_place_and_reason() {
    let server = TestServer::new(&[]);
    let place = server.daemon.addr();
    let output = server.pop3c_with(&["--apop=never", "stat"], b"wrong\n");
    assert_eq!(output.status.code(), Some(77));
    let expected = format!("pop3c: {place}: PASS: -ERR [AUTH] wrong user name or password\n");
    assert_eq!(text(&output.stderr), expected);
    let _first = server.mrose();
    let output = server.pop3c(&["stat"]);
    assert!(text(&output.stderr).contains("[IN-USE]"), "{output:?}");
    assert_eq!(output.status.code(), Some(66));
}

#[test]
fn usage_errors_exit_64_and_a_closed_port_75() {
    let pop3c = |args: &[&str]| {
        let mut command = Command::new(POP3C);
        command.args(args);
        run(command, b"x\n")
    };
    for args in [&[][..], &["h"], &["h", "frob"], &["h", "get", "0"], &["--frob", "h", "stat"]] {
        let output = pop3c(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(text(&output.stderr).starts_with("pop3c: "));
    }
    assert!(ok(&pop3c(&["--help"])).contains("fetch [TO]"));
    assert!(ok(&pop3c(&["-V"])).starts_with("pop3c (forklore) "));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = pop3c(&["-u", "x", &closed.to_string(), "stat"]);
    assert_eq!(output.status.code(), Some(75));
    let expected = format!("pop3c: connect to {closed}: Connection refused\n");
    assert_eq!(text(&output.stderr), expected);
}

/// Runs the client against a server that says its lines, each after a line of the client's.
fn against(says: &'static [&'static [u8]], args: &[&str]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send("+OK\r\n");
        for words in says {
            peer.line();
            let _gone = peer.stream().write_all(words);
        }
    });
    let mut command = Command::new(POP3C);
    command.args(["-u", "u", &addr]).args(args);
    let output = run(command, b"p\n");
    server.join().unwrap();
    output
}

#[test]
fn list_is_not_trusted_for_where_a_message_ends() {
    let says: &[&[u8]] =
        &[b"+OK\r\n", b"+OK\r\n", b"+OK 3 octets\r\nmuch more\r\n..\r\n.\r\n", b"+OK\r\n"];
    assert_eq!(ok(&against(says, &["get", "1"])), "much more\n.\n");
}

#[test]
fn a_message_that_breaks_off_is_an_error() {
    let says: &[&[u8]] = &[b"+OK\r\n", b"+OK\r\n", b"+OK 9 octets\r\nnine\r\n"];
    let output = against(says, &["get", "1"]);
    assert_eq!(output.status.code(), Some(75));
    assert!(text(&output.stderr).ends_with("RETR 1: the server closed the connection\n"));
}

#[test]
fn a_failed_quit_is_a_failed_dele() {
    let says: &[&[u8]] =
        &[b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"-ERR some deleted messages not removed\r\n"];
    let output = against(says, &["dele", "1"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).ends_with("QUIT: -ERR some deleted messages not removed\n"));
}

#[test]
fn what_is_no_pop3_is_said_so() {
    let output = against(&[b"220 hello\r\n"], &["stat"]);
    assert!(text(&output.stderr).ends_with("USER u: the reply is no POP3\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(76));
}

#[test]
fn a_fetch_killed_at_any_moment_stores_every_message_once() {
    let letters: Vec<String> = (0..40).map(|n| format!("Subject: {n}\n\n{n}\n")).collect();
    let server = TestServer::new(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = server.path("here");
    let password = server.dir.file("password", "tanstaaf\n");
    let password = format!("--password-file={}", password.display());
    let stored = || names(&folder.join("new")).len();
    for count in (2..40).step_by(4) {
        let mut fetch = server.pop3c_command(&[&password, "fetch", folder.to_str().unwrap()]);
        let mut fetch = fetch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("so many are stored", || folder.join("new").exists() && stored() >= count);
        fetch.kill().unwrap();
        fetch.wait().unwrap();
    }
    ok(&server.pop3c(&["fetch", folder.to_str().unwrap()]));
    let mut here: Vec<String> = names(&folder.join("new"))
        .iter()
        .map(|name| fs::read_to_string(folder.join("new").join(name)).unwrap())
        .collect();
    let mut sent = letters;
    here.sort();
    sent.sort();
    assert_eq!(here, sent);
}

#[test]
fn a_password_of_any_octets_logs_in_by_pass_and_by_apop() {
    let server = TestServer::new(&[]);
    let home = server.path("mrose");
    let home = home.to_str().unwrap().as_bytes();
    let line = [b"mrose:{PLAIN} p\xe4ss \xff :::x:", home, b":\n"].concat();
    fs::write(server.path("users"), line).unwrap();
    for apop in ["--apop=always", "--apop=never"] {
        let output = server.pop3c_with(&[apop, "stat"], b" p\xe4ss \xff \n");
        assert_eq!(ok(&output), "0 messages, 0 octets\n");
    }
}
