//! pop3c, against servers that answer by hand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use testkit::{Authority, TempDir, injected, run};

use crate::common::{LETTER, POP3C, TestServer, text};

/// A server with two letters, which answers each command by `answer`, or as every server does where that returns
/// `None`. Returns its address and what it was asked.
fn server(
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"+OK ready\r\n").unwrap();
        let mut asked = Vec::new();
        for line in lines.map_while(Result::ok) {
            let reply = answer(&line).unwrap_or_else(|| usual(&line).as_bytes().to_vec());
            let has_ended = line == "QUIT";
            asked.push(line);
            // The client may have gone after what it got.
            if stream.write_all(&reply).is_err() || has_ended {
                break;
            }
        }
        asked
    });
    (address, served)
}

fn usual(line: &str) -> &'static str {
    match line.split(' ').next().unwrap_or_default() {
        "CAPA" => "+OK\r\nUIDL\r\nTOP\r\nUSER\r\n.\r\n",
        "STAT" => "+OK 2 16\r\n",
        "LIST" => "+OK\r\n1 8\r\n2 8\r\n.\r\n",
        "UIDL" => "+OK\r\n1 one\r\n2 two\r\n.\r\n",
        "RETR" => "+OK 8 octets\r\nA: b\r\n\r\n.\r\n",
        _ => "+OK\r\n",
    }
}

fn pop3c(args: &[&str]) -> Output {
    let mut command = Command::new(POP3C);
    command.args(["-u", "u", "-t", "20"]).args(args);
    run(command, b"p\n")
}

fn stored(folder: &std::path::Path) -> Vec<String> {
    let read = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let files = ["new", "cur"].into_iter().flat_map(|it| read(folder.join(it)));
    let mut letters: Vec<_> = files.map(|it| fs::read_to_string(it.path()).unwrap()).collect();
    letters.sort();
    letters
}

#[test]
fn case_80_the_client_takes_the_second_dot_away() {
    let letter = "A: b\n\n.\n..\n.x\n\n...y\n";
    let server = TestServer::new(&[letter, LETTER]);
    let output = server.pop3c(&["get", "1"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), letter);
    let dir = TempDir::new();
    let folder = dir.path().join("Mail");
    assert!(server.pop3c(&["fetch", folder.to_str().unwrap()]).status.success());
    assert_eq!(stored(&folder), [letter, LETTER]);
}

#[test]
fn case_81_a_line_a_listing_and_a_reply_without_end_are_given_up() {
    let long = |start: &str| [start.as_bytes(), &[b'x'; 200_000], b"\r\n.\r\n"].concat();
    let (address, served) = server(move |line| line.starts_with("RETR").then(|| long("+OK ")));
    assert!(!pop3c(&[&address, "get", "1"]).status.success());
    served.join().unwrap();
    let (address, served) = server(move |line| (line == "LIST").then(|| long("+OK\r\n1 ")));
    assert!(!pop3c(&[&address, "list"]).status.success());
    served.join().unwrap();
    let rows = || [&b"+OK\r\n"[..], &b"1 8\r\n".repeat(1_100_000), b".\r\n"].concat();
    let (address, served) = server(move |line| (line == "LIST").then(rows));
    let output = pop3c(&[&address, "list"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    served.join().unwrap();
}

#[test]
fn case_82_a_message_ends_at_its_dot_whatever_list_says() {
    for size in ["3", "8", "4000000000", "99999999999999999999999"] {
        let reply =
            format!("+OK {size} octets\r\nA: b\r\n\r\nmuch more\r\n..\r\n.\r\n").into_bytes();
        let list = format!("+OK\r\n1 {size}\r\n2 8\r\n.\r\n").into_bytes();
        let (address, served) = server(move |line| match line {
            "RETR 1" => Some(reply.clone()),
            "LIST" => Some(list.clone()),
            _ => None,
        });
        let output = pop3c(&[&address, "get", "1"]);
        assert_eq!(text(&output.stdout), "A: b\n\nmuch more\n.\n", "{size}");
        served.join().unwrap();
    }
}

#[test]
fn case_84_the_client_asks_capa_again_under_tls() {
    let authority = Authority::new();
    let ca_file = authority.file().to_str().unwrap().to_owned();
    let pair = authority.pair("127.0.0.1").options();
    let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
    // Without TLS the server lists no mechanism that sends the password, so what was received there would not do.
    let more = ["--transcript", "/dev/stderr", "--plaintext", "never", "--auth-delay", "0"];
    let server = TestServer::with(&[LETTER], &[&pair[..], &more].concat(), "");
    let place = server.daemon.addr().to_string();
    let mut command = Command::new(POP3C);
    let args = ["-u", "mrose", "--ca-file", &ca_file, "--stls", "--sasl", "plain", &place, "stat"];
    command.args(args);
    let output = run(command, b"tanstaaf\n");
    assert_eq!(text(&output.stdout), "1 message, 22 octets\n", "{}", text(&output.stderr));
    server.daemon.wait_log("C: QUIT");
    let log = server.daemon.log();
    let after = log.split_once("C: STLS").expect("STLS").1;
    let capa = after.find("C: CAPA").expect("CAPA after STLS");
    assert!(capa < after.find("C: AUTH PLAIN").expect("a login"), "{log}");
}

#[test]
fn case_85_the_ids_are_stored_before_quit() {
    let dir = TempDir::new();
    let folder = dir.path().join("Mail");
    let at_quit = Arc::new(Mutex::new(String::new()));
    let (seen, inside) = (at_quit.clone(), dir.path().to_owned());
    let (address, served) = server(move |line| {
        if line == "QUIT" {
            *seen.lock().unwrap() = all_text(&inside);
        }
        None
    });
    let output = pop3c(&[&address, "fetch", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(served.join().unwrap().contains(&"QUIT".to_owned()));
    let at_quit = at_quit.lock().unwrap();
    for id in ["one", "two"] {
        assert!(
            at_quit.lines().any(|line| line.split(' ').any(|word| word == id)),
            "{id}: {at_quit}"
        );
    }
}

/// The text of all files below a folder whose names begin with a dot.
fn all_text(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            all += &all_text(&path);
        } else if name.to_str().is_some_and(|name| name.starts_with('.')) {
            all += &fs::read_to_string(path).unwrap_or_default();
        }
    }
    all
}

#[test]
fn case_86_nothing_is_deleted_before_the_copy_is_on_the_disk() {
    // The letter's own call, and each of the calls for folders: those that may be new, and that of the letter.
    let of_folders = (1..=8).map(|number| format!("fsync:error=EIO:when={number}"));
    let mut failed_late = 0;
    for rule in std::iter::once("fdatasync:error=EIO".to_owned()).chain(of_folders) {
        let Some(mut command) = injected("fsync,fdatasync", &[&rule]) else { return };
        let dir = TempDir::new();
        let folder = dir.path().join("Mail");
        let (address, served) = server(|_| None);
        let args = ["-u", "u", "--delete", &address, "fetch", folder.to_str().unwrap()];
        command.arg(POP3C).args(args);
        let output = run(command, b"p\n");
        drop(TcpStream::connect(&address)); // where pop3c has not got as far as that
        let asked = served.join().unwrap();
        if output.status.success() {
            continue; // there are fewer calls
        }
        let stored = stored(&folder).len();
        let deleted = asked.iter().filter(|line| line.starts_with("DELE")).count();
        assert!(deleted <= stored, "{rule}: {asked:?}, {stored} stored");
        failed_late += usize::from(asked.iter().any(|line| line.starts_with("RETR")));
    }
    assert!(failed_late >= 2, "the letter's call and that of its folder");
}

#[test]
fn case_86_a_letter_is_deleted_once_it_is_there() {
    let dir = TempDir::new();
    let folder = dir.path().join("Mail");
    let inside = folder.clone();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let noted = counts.clone();
    let (address, served) = server(move |line| {
        if line.starts_with("DELE") {
            noted.lock().unwrap().push(stored(&inside).len());
        }
        None
    });
    let output = pop3c(&["--delete", &address, "fetch", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    served.join().unwrap();
    let counts = counts.lock().unwrap();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().zip(1..).all(|(stored, deleted)| *stored >= deleted), "{counts:?}");
}
