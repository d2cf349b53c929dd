//! pop3c delivers to an mbox, a command, and servers of SMTP and LMTP; what they refuse stays on the server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;
use std::thread::{self, JoinHandle};

use testkit::{TempDir, run};

use crate::common::{TestServer, give, text};

const LETTERS: [&str; 3] = ["A: 1\n\nFrom one\n", "A: 2\n\n.two\n", "A: 3\n\nthree\n"];

struct Site {
    server: TestServer,
    home: TempDir,
}

impl Site {
    fn new() -> Site {
        Site { server: TestServer::new(&LETTERS), home: TempDir::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Fetches, and deletes what is stored.
    fn fetch(&self, to: &str, args: &[&str]) -> Output {
        let mut command =
            self.server.pop3c_command(&[&["--delete"], args, &["fetch", to]].concat());
        command.env("HOME", self.home.path());
        run(command, b"tanstaaf\n")
    }
}

fn outcome(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_mbox_gets_letters_that_look_like_letters_quoted() {
    let site = Site::new();
    let mbox = site.path("mbox");
    let to = format!("mbox:{}", mbox.display());
    let (code, said, _) = outcome(&site.fetch(&to, &[]));
    assert_eq!((code, &said[..5]), (Some(0), "3 new"));
    let text = fs::read_to_string(&mbox).unwrap();
    let bodies: Vec<&str> = text.split("From MAILER-DAEMON ").skip(1).collect();
    assert_eq!(bodies.len(), 3, "{text}");
    assert!(bodies[0].ends_with("\nA: 1\n\n>From one\n\n") && bodies[1].ends_with("\n\n.two\n\n"));
    assert!(!site.path("mbox.lock").exists() && site.server.letters().is_empty());
}

#[test]
fn an_mbox_that_pop3c_has_written_has_the_same_letters_for_pop3d() {
    let site = Site::new();
    let server = TestServer::with(&[], &["--mail", "mbox:~/mbox", "--auth-delay", "0"], "");
    give(&server.path("mrose"));
    let mbox = server.path("mrose/mbox");
    assert!(site.fetch(&format!("mbox:{}", mbox.display()), &[]).status.success());
    give(&mbox);
    for (number, letter) in (1..).zip(LETTERS) {
        let output = server.pop3c(&["get", &number.to_string()]);
        assert_eq!(text(&output.stdout), letter, "{output:?}");
    }
}

#[test]
fn an_mbox_that_cannot_be_written_leaves_all_on_the_server() {
    let site = Site::new();
    let to = format!("mbox:{}", site.path("no/such/mbox").display());
    let (code, said, why) = outcome(&site.fetch(&to, &[]));
    assert_eq!(code, Some(73), "{why}");
    assert_eq!(said, "0 new (0 octets), 0 known, 0 deleted on the server, 3 failed\n");
    assert_eq!(site.server.letters().len(), 3);
}

#[test]
fn a_command_reads_each_letter_and_its_exit_code_decides() {
    let site = Site::new();
    let script = "mda:cat > letter; case $(cat letter) in *two*) exit 75;; esac; cat letter >> all";
    let cwd = |to: &str| {
        let mut command = site.server.pop3c_command(&["--delete", "fetch", to]);
        command.env("HOME", site.home.path()).current_dir(site.home.path());
        run(command, b"tanstaaf\n")
    };
    let (code, said, why) = outcome(&cwd(script));
    assert_eq!((code, &why[..]), (Some(75), "pop3c: mda: exit code 75\n"));
    assert!(
        said.starts_with("2 new ") && said.contains("2 deleted on the server, 1 failed"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(site.path("all")).unwrap(), [LETTERS[0], LETTERS[2]].concat());
    assert_eq!(site.server.letters(), ["2.a.test"]);
    for (script, expected) in [
        ("mda:exit 1", (69, "pop3c: mda: exit code 1\n")),
        ("mda:no-such-command-here", (69, "mda: exit code 127: not run\n")),
        ("mda:kill -9 $$", (75, "pop3c: mda: signal: 9 (SIGKILL)\n")),
    ] {
        let (code, _, why) = outcome(&cwd(script));
        assert!(code == Some(expected.0) && why.ends_with(expected.1), "{why}");
        assert_eq!(site.server.letters(), ["2.a.test"]);
    }
    assert_eq!(outcome(&cwd("mda:true")).0, Some(0), "a command that reads nothing");
    assert!(site.server.letters().is_empty());
}

/// What a server has received.
type Heard = JoinHandle<Vec<String>>;

/// Speaks SMTP or LMTP: answers the end of each letter with the next of `replies`. Returns its lines.
fn speak(input: impl std::io::Read, mut output: impl Write, replies: &[&str]) -> Vec<String> {
    let (mut heard, mut in_data, mut replies) = (Vec::new(), false, replies.iter());
    output.write_all(b"220-two lines\r\n220 ready\r\n").unwrap();
    for line in BufReader::new(input).lines() {
        let line = line.unwrap();
        let answer = match line.split(' ').next().unwrap_or_default() {
            _ if in_data && line != "." => "",
            "." => {
                in_data = false;
                replies.next().expect("no letter more")
            }
            "EHLO" | "LHLO" => "250-h\r\n250 8BITMIME",
            "DATA" => {
                in_data = true;
                "354 go"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        heard.push(line);
        if !answer.is_empty() {
            output.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
        }
    }
    heard
}

fn smtp_server(replies: &'static [&'static str]) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let heard = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        speak(&stream, &stream, replies)
    });
    (at, heard)
}

#[test]
fn a_server_of_smtp_has_a_letter_when_it_says_so_and_refuses_single_ones() {
    let site = Site::new();
    let (at, heard) = smtp_server(&["250 stored", "554 no", "250 stored"]);
    let args = ["--rcpt-to=rose@red.test", "--mail-from=list@red.test"];
    let (code, said, why) = outcome(&site.fetch(&format!("smtp:{at}"), &args));
    assert_eq!(code, Some(69));
    assert_eq!(why, format!("pop3c: smtp {at}: the letter was refused: 554 no\n"));
    assert!(
        said.contains("2 new ") && said.contains("2 deleted on the server, 1 failed"),
        "{said}"
    );
    assert_eq!(site.server.letters(), ["2.a.test"]);
    let heard = heard.join().unwrap();
    assert!(heard[0].starts_with("EHLO "));
    let first = ["MAIL FROM:<list@red.test>", "RCPT TO:<rose@red.test>", "DATA", "A: 1"];
    assert_eq!(heard[1..5], first);
    assert!(heard.contains(&"..two".to_owned()) && heard.contains(&"RSET".to_owned()));
    assert_eq!(heard.last().unwrap(), "QUIT");
}

#[test]
fn a_server_of_lmtp_on_a_unix_socket_gets_the_users_letters() {
    let site = Site::new();
    let path = site.path("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let heard = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        speak(&stream, &stream, &["250 1", "451 later", "250 3"])
    });
    let (code, _, why) = outcome(&site.fetch(&format!("lmtp:unix:{}", path.display()), &[]));
    assert_eq!(code, Some(75), "{why}");
    let heard = heard.join().unwrap();
    assert!(heard[0].starts_with("LHLO "));
    assert_eq!(heard[1..3], ["MAIL FROM:<>", "RCPT TO:<mrose>"]);
    assert_eq!(site.server.letters(), ["2.a.test"]);
}

#[test]
fn without_a_server_of_smtp_nothing_is_fetched_and_nothing_deleted() {
    let site = Site::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said, why) = outcome(&site.fetch(&format!("smtp:{closed}"), &[]));
    assert_eq!(code, Some(75));
    assert_eq!(said, "0 new (0 octets), 0 known, 0 deleted on the server\n");
    assert_eq!(why, format!("pop3c: connect to {closed}: Connection refused\n"));
    assert_eq!(site.server.letters().len(), 3);
}

#[test]
fn a_server_of_smtp_that_hangs_up_stores_no_letter_more() {
    let site = Site::new();
    let (at, heard) = smtp_server(&["250 stored", "421 closing"]);
    let (code, said, _) = outcome(&site.fetch(&format!("smtp:{at}"), &[]));
    assert_eq!(code, Some(75));
    assert!(said.starts_with("1 new ") && said.contains("1 deleted on the server"), "{said}");
    assert_eq!(site.server.letters().len(), 2);
    heard.join().unwrap();
}
