//! Logins that are another program's matter: `--checkpassword`, `--auth-socket`. Who has a mailbox says the users
//! file.

use std::fs;

use accounts::base64;
use testkit::{AuthServer, Daemon, Peer, TempDir, checkpassword, command, run};

use crate::common::{Fixture, LETTER, OWNER, SMTPD, with_root};

/// Says EHLO; returns the mechanisms that are listed.
fn introduced(daemon: &Daemon) -> (Peer, String) {
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    peer.send("EHLO topaz.test\r\n");
    let mut mechanisms = String::new();
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        if let Some(listed) = line.trim_end().get(4..).and_then(|it| it.strip_prefix("AUTH ")) {
            mechanisms = listed.to_owned();
        }
        if line.starts_with("250 ") {
            return (peer, mechanisms);
        }
    }
}

fn log_in(peer: &mut Peer, name: &str, password: &str, expected: &str) {
    let response = base64(format!("\0{name}\0{password}").as_bytes());
    peer.ask(&format!("AUTH PLAIN {response}"), expected);
}

/// Sends a letter to bob, who is in the users file, and none to a user who is not.
fn send_letter(peer: &mut Peer) {
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<unknown@red.test>", "550 5.1.1 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send(format!("{LETTER}.\r\n"));
    peer.expect("250 ");
}

#[test]
fn a_program_of_checkpasswords_interface_says_who_may_log_in() {
    let fixture = Fixture::new();
    let program = checkpassword(&fixture.dir, OWNER, &fixture.dir.path().join("levy"));
    let daemon = fixture.serve(&["--checkpassword", &program, "--auth-delay", "0"]);
    let (mut peer, mechanisms) = introduced(&daemon);
    assert_eq!(mechanisms, "PLAIN LOGIN", "and no CRAM-MD5, though the users file has secrets");
    log_in(&mut peer, "levy", "x", "535 5.7.8 "); // the password in the users file
    log_in(&mut peer, "bob", "tanstaaf", "535 5.7.8 ");
    for (password, why) in [("temporary", "exit code 111"), ("forged", "a report of uid")] {
        log_in(&mut peer, "levy", password, "454 4.7.0 ");
        daemon.wait_log(&format!("login of 'levy': checkpassword: {why}"));
    }
    log_in(&mut peer, "LEVY", "tanstaaf", "235 2.7.0 ");
    daemon.wait_log("levy logged in (AUTH PLAIN)");
    send_letter(&mut peer);
    assert!(fixture.letters("bob")[0].contains(" with ESMTPA id "));
    let asked = fs::read_to_string(fixture.dir.path().join("log")).unwrap();
    assert!(asked.ends_with("levy -x two\n"), "its own arguments, and a small name: {asked}");
    assert!(!daemon.log().contains("tanstaaf"));
}

#[test]
fn an_auth_server_says_who_may_log_in_and_has_other_exchanges_itself() {
    let fixture = Fixture::new();
    let server = AuthServer::start(&fixture.dir);
    let socket = server.path().to_str().unwrap();
    let options = ["--auth-socket", socket, "--auth-delay", "0", "--names-domain", "cut"];
    let daemon = fixture.serve(&options);
    let (mut peer, mechanisms) = introduced(&daemon);
    assert_eq!(mechanisms, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN");
    log_in(&mut peer, "levy", "x", "535 5.7.8 ");
    log_in(&mut peer, "levy", "down", "454 4.7.0 ");
    daemon.wait_log("login of 'levy': auth socket: a temporary error of the server");
    let challenge = format!("334 {}", base64(b"<1@dovecot>"));
    for (digest, expected) in [("f", "535 5.7.8 "), ("0123456789abcdef", "235 2.7.0 ")] {
        peer.ask("AUTH CRAM-MD5", &challenge);
        let response = format!("Levy@RED.test {}", digest.repeat(32 / digest.len()));
        peer.ask(&base64(response.as_bytes()), expected);
    }
    daemon.wait_log("login of 'Levy@RED.test' failed (AUTH CRAM-MD5)");
    daemon.wait_log("levy logged in (AUTH CRAM-MD5)");
    send_letter(&mut peer);
    assert_eq!(fixture.letters("bob").len(), 1);
    let (mut peer, _) = introduced(&daemon);
    log_in(&mut peer, "LEVY@red.test", "tanstaaf", "235 2.7.0 ");
    let request = "AUTH\t1\tPLAIN\tservice=smtp\tnologin\trip=127.0.0.1\tsecured\tresp=";
    assert!(server.heard().iter().any(|line| line.starts_with(request)), "{:?}", server.heard());
}

#[test]
fn letters_are_taken_while_an_auth_server_does_not_answer() {
    let fixture = Fixture::new();
    let socket = fixture.dir.path().join("auth");
    let daemon = fixture.serve(&["--auth-socket", socket.to_str().unwrap(), "--auth-delay", "0"]);
    daemon.wait_log("No such file or directory");
    let (mut peer, mechanisms) = introduced(&daemon);
    assert_eq!(mechanisms, "PLAIN LOGIN");
    log_in(&mut peer, "levy", "tanstaaf", "454 4.7.0 ");
    send_letter(&mut peer);
    let _server = AuthServer::start(&fixture.dir);
    let (mut peer, _) = introduced(&daemon);
    log_in(&mut peer, "levy", "tanstaaf", "235 2.7.0 ");
}

#[test]
fn what_is_missing_or_cannot_stand_together_is_named() {
    let fails = |args: &[&str]| {
        let all = with_root(args);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let output = run(command(SMTPD, &all), b"");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = fails(&["--checkpassword", "/p", "--auth-socket", "/s"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--checkpassword and --auth-socket: only one of them"), "{text}");
    let dir = TempDir::new();
    let program = checkpassword(&dir, OWNER, dir.path());
    let fixture = Fixture::new();
    let users = fixture.users.to_str().unwrap();
    for (args, said) in [
        (["--users", "/no/users", "--checkpassword", &program], "users /no/users: No such file"),
        (["--users", "/no/users", "--auth-socket", "/s"], "users /no/users: No such file"),
        (["--users", users, "--checkpassword", "/no/p"], "checkpassword /no/p: No such file"),
    ] {
        let (code, text) = fails(&[&args[..], &["--check"]].concat());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
