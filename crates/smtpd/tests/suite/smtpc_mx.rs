//! The client without `-s`: the hosts of each recipient's domain, as a name server on loopback tells them, played by
//! the test on several loopback addresses and one port (RFC 5321 §5.1).

use std::net::TcpListener;
use std::process::Command;
use std::thread::{self, JoinHandle};

use testkit::name_server::{NameServer, Says, address, listeners, mx};
use testkit::{Peer, run};

const LETTER: &[u8] = b"Subject: x\n\nhello\n";

/// What is left of a scripted server: what it has received.
type Heard = JoinHandle<String>;

/// A server that takes every letter it gets on one connection, with these replies in place of 250 to words.
fn serve(listener: TcpListener, replies: &'static [(&'static str, &'static str)]) -> Heard {
    thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        let reply = |word: &str| {
            replies.iter().find(|(asked, _)| *asked == word).map(|(_, reply)| (*reply).to_owned())
        };
        let mut heard = String::new();
        let greeting = reply("greeting").unwrap_or_else(|| "220 red.test".into());
        peer.send(format!("{greeting}\r\n"));
        let mut is_data = false;
        loop {
            let line = String::from_utf8(peer.line()).unwrap();
            if line.is_empty() {
                return heard;
            }
            heard += &line;
            let word: String = line.trim_end().chars().take(4).collect();
            if is_data && line != ".\r\n" {
                continue;
            }
            let answer = match (word.as_str(), reply(&word)) {
                (".", Some(reply)) if reply.is_empty() => return heard, // hangs up
                (_, Some(reply)) => reply,
                ("DATA", None) => "354 go on".into(),
                ("QUIT", None) => "221 bye".into(),
                (_, None) => "250 ok".into(),
            };
            is_data = word == "DATA" && answer.starts_with("354");
            peer.send(format!("{answer}\r\n"));
        }
    })
}

/// Sends the letter; returns the exit code and the errors.
fn smtpc(server: &NameServer, port: u16, to: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtpc"));
    command.args(["--resolver", &server.address().to_string(), "--port", &port.to_string()]);
    command.args(["-f", "hedrick@topaz.test", "--helo", "topaz.test"]).args(to);
    let output = run(command, LETTER);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Two hosts of red.test, on 127.0.0.2 and 127.0.0.3; blue.test has the second alone.
fn zone(name: &str, kind: &str) -> Says {
    Says::Records(match (name, kind) {
        ("red.test", "MX") => vec![mx(20, "b.red.test"), mx(10, "a.red.test")],
        ("blue.test", "MX") => vec![mx(10, "b.red.test")],
        ("a.red.test", "A") => vec![address("127.0.0.2")],
        ("b.red.test", "A") => vec![address("127.0.0.3")],
        ("a.red.test" | "b.red.test", _) => vec![],
        _ => return Says::NoName,
    })
}

#[test]
fn the_letter_goes_to_the_host_with_the_lowest_preference() {
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let server = NameServer::start(zone);
    let heard = serve(hosts.remove(0), &[]);
    let (code, said) = smtpc(&server, port, &["levy@red.test", "bob@Red.TEST"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let heard = heard.join().unwrap();
    assert!(
        heard.contains("RCPT TO:<levy@red.test>\r\nRCPT TO:<bob@Red.TEST>\r\nDATA\r\n"),
        "{heard}"
    );
    assert!(heard.contains("hello\r\n.\r\nQUIT\r\n"), "{heard}");
    // "The name server is asked for the MX, and then for the address."
    let asked: Vec<String> =
        server.asked().iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
    assert_eq!(asked, ["MX red.test", "AAAA a.red.test", "A a.red.test"]);
}

#[test]
fn a_host_that_does_not_answer_is_followed_by_the_next() {
    let (mut hosts, port) = listeners(&["127.0.0.3"]);
    let server = NameServer::start(zone);
    let heard = serve(hosts.remove(0), &[]);
    let (code, said) = smtpc(&server, port, &["levy@red.test"]);
    assert_eq!(code, 0, "{said}");
    assert!(heard.join().unwrap().contains("hello\r\n"));
}

#[test]
fn a_host_that_says_later_or_does_not_serve_is_followed_by_the_next() {
    let plays: [&'static [(&str, &str)]; 4] = [
        &[("greeting", "421 busy")],
        &[("greeting", "554 no SMTP here")],
        &[("MAIL", "451 later")],
        &[("DATA", "451 later")],
    ];
    for play in plays {
        let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3"]);
        let server = NameServer::start(zone);
        let (second, first) = (hosts.remove(1), hosts.remove(0));
        let (first, second) = (serve(first, play), serve(second, &[]));
        let (code, said) = smtpc(&server, port, &["levy@red.test"]);
        assert_eq!(code, 0, "{play:?}: {said}");
        assert!(!first.join().unwrap().contains("hello"));
        assert!(second.join().unwrap().contains("hello\r\n"), "{play:?}");
    }
}

#[test]
fn a_host_that_refuses_for_good_is_the_last() {
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3"]);
    let server = NameServer::start(zone);
    let second = hosts.remove(1);
    let first = serve(hosts.remove(0), &[("RCPT", "550 5.1.1 no such user")]);
    let (code, said) = smtpc(&server, port, &["levy@red.test"]);
    assert_eq!(code, 67, "{said}");
    assert!(
        said.contains(&format!("a.red.test[127.0.0.2]:{port}: recipient <levy@red.test>: 550")),
        "{said}"
    );
    first.join().unwrap();
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "the second host was asked too");
}

#[test]
fn a_host_that_may_have_taken_the_letter_is_the_last() {
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3"]);
    let server = NameServer::start(zone);
    let second = hosts.remove(1);
    let first = serve(hosts.remove(0), &[(".", "")]);
    let (code, said) = smtpc(&server, port, &["levy@red.test"]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("it may or may not have been delivered"), "{said}");
    assert!(first.join().unwrap().contains("hello\r\n.\r\n"));
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "the second host was asked too");
}

#[test]
fn recipients_of_several_domains_go_each_to_its_own_host() {
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3"]);
    let server = NameServer::start(zone);
    let (blue, red) = (serve(hosts.remove(1), &[]), serve(hosts.remove(0), &[]));
    let to = ["levy@red.test", "frol@blue.test", "x@nowhere.test", "bob@red.test"];
    let (code, said) = smtpc(&server, port, &to);
    assert_eq!(code, 68, "{said}");
    assert!(said.contains("smtpc: nowhere.test: no such domain\n"), "{said}");
    let (red, blue) = (red.join().unwrap(), blue.join().unwrap());
    assert!(red.contains("RCPT TO:<levy@red.test>\r\nRCPT TO:<bob@red.test>\r\n"), "{red}");
    assert!(blue.contains("RCPT TO:<frol@blue.test>\r\nDATA"), "{blue}");
}

#[test]
fn what_a_name_server_says_decides_the_exit_code() {
    type Zone = fn(&str, &str) -> Says;
    let cases: [(Zone, i32, &str); 5] = [
        (|_, _| Says::NoName, 68, "red.test: no such domain"),
        (
            |_, kind| {
                Says::Records(if kind == "MX" {
                    vec![mx(0, "")]
                } else {
                    vec![address("127.0.0.2")]
                })
            },
            69,
            "takes no mail",
        ),
        (|_, _| Says::Code(testkit::name_server::SERVFAIL), 75, "SERVFAIL"),
        (|_, _| Says::Records(vec![]), 68, "red.test: no host with an address"),
        // An MX whose host is unknown: the domain's own address is never used (RFC 5321 §5.1).
        (
            |name, kind| match (name, kind) {
                ("red.test", "MX") => Says::Records(vec![mx(10, "gone.test")]),
                ("red.test", _) => Says::Records(vec![address("127.0.0.2")]),
                _ => Says::NoName,
            },
            68,
            "gone.test: no such domain",
        ),
    ];
    for (zone, expected, says) in cases {
        let server = NameServer::start(zone);
        let (code, said) = smtpc(&server, 1, &["levy@red.test"]);
        assert_eq!(code, expected, "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn an_address_literal_needs_no_name_server() {
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let server = NameServer::start(|_, _| Says::Silence);
    let heard = serve(hosts.remove(0), &[]);
    let (code, said) = smtpc(&server, port, &["levy@[127.0.0.2]"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(heard.join().unwrap().contains("RCPT TO:<levy@[127.0.0.2]>"));
    assert_eq!(server.asked(), []);
}

#[test]
fn the_dialogue_begins_with_the_hosts_of_the_domain() {
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let server = NameServer::start(zone);
    let heard = serve(hosts.remove(0), &[]);
    let (code, said) = smtpc(&server, port, &["-v", "levy@red.test"]);
    assert_eq!(code, 0);
    let begin = "D: red.test MX 10 a.red.test\nD: red.test MX 20 b.red.test\nS: 220 red.test\n";
    assert!(said.starts_with(begin), "{said}");
    heard.join().unwrap();
}
