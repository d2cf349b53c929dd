//! Clients behind a proxy (`--proxy-from`): the test is the proxy, on this machine.

use testkit::{Authority, MODELS, Peer, TLS_VERSIONS, each_model, title, wait_until};

use crate::common::{LETTER, TestServer};

/// A header of version 2 from the proxy itself (LOCAL).
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind(model: &str, more: &[&str]) -> TestServer {
    let options = ["--auth-delay", "0", "-m", model, "--proxy-from", "127.0.0.1"];
    TestServer::with(&[LETTER], &[&options, more].concat(), "")
}

/// A client of the proxy's that has received the greeting.
fn client_for(server: &TestServer, header: impl AsRef<[u8]>) -> Peer {
    let mut peer = Peer::connect(server.daemon.addr());
    peer.send(header);
    peer.expect("+OK ");
    peer
}

#[test]
fn a_client_behind_a_proxy_on_this_machine_sends_no_password_in_the_clear() {
    each_model(&MODELS, |model| {
        let server = behind(model, &[]);
        for header in [
            &b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 110\r\n"[..],
            b"PROXY TCP4 127.0.0.1 127.0.0.1 5210 110\r\n",
            b"PROXY TCP6 ::1 ::1 5210 110\r\n",
            b"PROXY UNKNOWN\r\n",
            LOCAL,
        ] {
            let mut peer = client_for(&server, header);
            peer.ask("USER mrose", "-ERR");
            peer.ask("QUIT", "+OK");
            assert_eq!(peer.rest(), b"");
        }
    });
}

#[test]
fn the_address_that_a_proxy_has_sent_is_the_clients_before_and_after_the_login() {
    each_model(&MODELS, |model| {
        let server = behind(model, &["--plaintext", "always"]);
        let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 110\r\n";
        let mut peer = Peer::connect(server.daemon.addr());
        // Everything at once: what follows the header is not lost.
        peer.send([&header[..], b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\n"].concat());
        for _ in 0..4 {
            peer.expect("+OK");
        }
        while peer.line() != b".\r\n" {}
        server.daemon.wait_log("203.0.113.7:5210: mrose logged in");
        if model == "fork" || model == "prefork" {
            let titled = |pid: i32| title(pid) == "pop3d: 203.0.113.7:5210 mrose TRANSACTION";
            wait_until("the title of front", || {
                testkit::children(server.daemon.pid()).into_iter().any(titled)
            });
        }
        peer.ask("QUIT", "+OK");
        server.daemon.wait_log("client 203.0.113.7:5210 end: pid ");
        let log = server.daemon.log();
        assert!(!log.contains("127.0.0.1:5"), "{log}");
    });
}

#[test]
fn health_checks_leave_no_line() {
    each_model(&MODELS, |model| {
        let server = behind(model, &["--plaintext", "always"]);
        let mut check = client_for(&server, LOCAL);
        check.ask("QUIT", "+OK");
        drop(client_for(&server, LOCAL)); // without QUIT
        client_for(&server, LOCAL).reset();
        drop(Peer::connect(server.daemon.addr()));
        let mut peer = client_for(&server, b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 110\r\n");
        peer.ask("QUIT", "+OK");
        server.daemon.wait_log("client 203.0.113.7:5210 end: pid ");
        let log = server.daemon.log();
        let lines = log.lines().filter(|line| line.contains("]: ")).map(|line| {
            let (_, said) = line.split_once("]: ").unwrap();
            said.to_owned()
        });
        let of_checks: Vec<_> = lines.filter(|said| said.contains("127.0.0.1:")).collect();
        assert!(of_checks.iter().all(|said| said.starts_with("listening on ")), "{log}");
    });
}

#[test]
fn one_who_says_proxy_and_is_none_gets_an_error_and_the_end() {
    for options in [&["--proxy-from", "203.0.113.9"][..], &[]] {
        let options = [&["--auth-delay", "0"][..], options].concat();
        let server = TestServer::with(&[LETTER], &options, "");
        for header in [&b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 110\r\n"[..], LOCAL] {
            let mut peer = Peer::connect(server.daemon.addr());
            peer.expect("+OK ");
            peer.send([header, b"CAPA\r\n"].concat());
            peer.expect("-ERR [SYS/PERM] PROXY ");
            assert_eq!(peer.rest(), b"");
        }
        server.daemon.wait_log(" refused: it says PROXY, and --proxy-from does not name it");
        let mut mrose = server.mrose();
        mrose.ask("PROXY TCP4 203.0.113.7 192.0.2.1 5210 110", "-ERR");
        mrose.ask("STAT", "+OK 1 ");
    }
}

#[test]
fn a_proxy_that_says_no_header_gets_an_error_and_no_greeting() {
    let server = behind("fork", &[]);
    let mut peer = Peer::connect(server.daemon.addr());
    peer.send("CAPA\r\n");
    peer.expect("-ERR [SYS/PERM] PROXY ");
    assert_eq!(peer.rest(), b"");
    server.daemon.wait_log(" refused: no PROXY header");
}

#[test]
fn the_header_comes_before_tls_and_tls_lets_the_client_log_in() {
    each_model(&MODELS, |model| {
        let authority = Authority::new();
        let pair = authority.pair("mail.test").options();
        let tls: Vec<&str> = pair.iter().map(String::as_str).collect();
        let server = behind(model, &[&tls[..], &["--tls-listen", "127.0.0.1:0"]].concat());
        let at = server.daemon.listening_for(" (tls)");
        let client = authority.client(&TLS_VERSIONS);
        let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 5210 995\r\n";
        let log_in = |mut peer: Peer| {
            peer.ask("USER mrose", "+OK");
            peer.ask("PASS tanstaaf", "+OK");
            peer.ask("QUIT", "+OK");
        };
        let mut implicit = Peer::connect(at.parse().unwrap());
        implicit.send(header);
        implicit.start_tls(&client, "mail.test").unwrap();
        implicit.expect("+OK ");
        log_in(implicit);
        let mut stls = client_for(&server, header);
        stls.ask("STLS", "+OK");
        stls.start_tls(&client, "mail.test").unwrap();
        log_in(stls);
        let mut check = Peer::connect(at.parse().unwrap());
        check.send(LOCAL);
        check.shutdown_write();
        check.rest();
        server.daemon.wait_log("203.0.113.7:5210: mrose logged in");
        let log = server.daemon.log();
        let of_checks = log.lines().filter(|line| line.contains(" 127.0.0.1:"));
        assert!(of_checks.clone().all(|line| line.contains("listening on ")), "{log}");
    });
}

#[test]
fn one_who_says_proxy_where_tls_begins_at_once_and_is_none_is_refused() {
    let authority = Authority::new();
    let pair = authority.pair("mail.test").options();
    let tls: Vec<&str> = pair.iter().map(String::as_str).collect();
    let server = TestServer::with(&[], &[&tls[..], &["--tls-listen", "127.0.0.1:0"]].concat(), "");
    let at = server.daemon.listening_for(" (tls)");
    let mut peer = Peer::connect(at.parse().unwrap());
    peer.send(LOCAL);
    peer.expect("-ERR [SYS/PERM] PROXY ");
    assert_eq!(peer.rest(), b"");
    server.daemon.wait_log(" refused: it says PROXY, and --proxy-from does not name it");
}
