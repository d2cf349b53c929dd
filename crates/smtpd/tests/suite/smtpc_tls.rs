//! smtpc under TLS: nothing is sent to a server that is not the one that was meant.

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use testkit::{Authority, Daemon, Peer, run};

use crate::common::{Fixture, LETTER};

const SMTPC: &str = env!("CARGO_BIN_EXE_smtpc");

/// A server with a certificate for its address.
struct Site {
    authority: Authority,
    fixture: Fixture,
    daemon: Daemon,
}

impl Site {
    fn new() -> Site {
        let authority = Authority::new();
        let pair = authority.pair("127.0.0.1").options();
        let mut options: Vec<&str> = pair.iter().map(String::as_str).collect();
        options.extend(["--tls-listen", "127.0.0.1:0", "--channel-binding"]);
        let fixture = Fixture::new();
        let daemon = fixture.serve(&options);
        Site { authority, fixture, daemon }
    }

    /// Where clients begin with a handshake, and where they do not.
    fn addresses(&self) -> [String; 2] {
        [self.daemon.listening_for(" (tls)"), self.daemon.addr().to_string()]
    }
}

fn ca_file(authority: &Authority) -> String {
    authority.file().to_str().unwrap().to_owned()
}

/// Sends the letter to levy; returns the exit code and the errors.
fn smtpc(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(SMTPC);
    command.args(["-f", "a@b.test", "--helo", "b.test", "-t", "20"]).args(args);
    command.arg("levy@red.test");
    let output = run(command, LETTER.as_bytes());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_letter_is_sent_under_tls_from_the_first_byte_or_by_starttls() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    let ca_file = ca_file(&site.authority);
    for how in [["--tls", "-s", &tls], ["--starttls", "-s", &clear]] {
        let (code, why) = smtpc(&[&["--ca-file", &ca_file], &how[..]].concat());
        assert_eq!((code, &why[..]), (Some(0), ""));
    }
    let letters = site.fixture.letters("levy");
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter.contains(" with ESMTPS id ")), "{letters:?}");
}

#[test]
fn a_user_logs_in_under_tls_by_every_mechanism_and_the_trace_says_so() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    let password = site.authority.folder().join("password");
    std::fs::write(&password, "x\n").unwrap();
    let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, owner).unwrap();
    let (ca_file, password) = (ca_file(&site.authority), password.to_str().unwrap());
    let mechanisms = ["plain", "login", "cram-md5", "scram-sha-256", "scram-sha-256-plus"];
    for how in [["--tls", "-s", &tls], ["--starttls", "-s", &clear]] {
        for mechanism in mechanisms {
            let login = ["-u", "levy", "--password-file", password, "--sasl", mechanism];
            let (code, why) = smtpc(&[&["--ca-file", &ca_file], &how[..], &login].concat());
            assert_eq!((code, &why[..]), (Some(0), ""), "{mechanism}");
        }
    }
    let letters = site.fixture.letters("levy");
    assert_eq!(letters.len(), 2 * mechanisms.len());
    assert!(letters.iter().all(|letter| letter.contains(" with ESMTPSA id ")), "{letters:?}");
}

#[test]
fn without_a_trusted_certificate_for_the_name_nothing_is_sent() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    let others = Authority::new();
    for how in [["--tls", "-s", &tls], ["--starttls", "-s", &clear]] {
        let (code, why) = smtpc(&[&["--ca-file", &ca_file(&others)], &how[..]].concat());
        assert_eq!(code, Some(76));
        assert!(why.contains("certificate of 127.0.0.1: not trusted: its authority"), "{why}");
        let named = how[2].replace("127.0.0.1", "localhost");
        let (_, why) = smtpc(&["--ca-file", &ca_file(&site.authority), how[0], "-s", &named]);
        assert!(
            why.contains("certificate of localhost: not trusted: it is for other names"),
            "{why}"
        );
    }
    site.fixture.assert_nothing();
}

#[test]
fn without_tls_or_login_where_they_are_asked_for_nothing_is_sent() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let address = daemon.addr().to_string();
    let authority = Authority::new();
    let (code, why) = smtpc(&["--ca-file", &ca_file(&authority), "--starttls", "-s", &address]);
    assert!(code == Some(76) && why.contains("STARTTLS is not offered"), "{why}");
    let (code, why) = smtpc(&["--ca-file", &ca_file(&authority), "--tls", "-s", &address]);
    assert!(code == Some(76) && why.contains("TLS with 127.0.0.1: "), "{why}");
    let password = authority.folder().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    let password = password.to_str().unwrap();
    let login = ["-u", "levy", "--password-file", password, "--sasl", "scram-sha-256-plus"];
    let (code, why) = smtpc(&[&login[..], &["-s", &address]].concat());
    assert!(code == Some(77) && why.contains("no mechanism of --sasl can be used"), "{why}");
    assert!(why.contains("mode 644 lets others read it"), "{why}");
    fixture.assert_nothing();
    let (code, why) = smtpc(&["--sasl", "plain", "-s", &address]);
    assert!(code == Some(64) && why.contains("--password-file and --sasl go with -u"), "{why}");
}

/// A server that answers these words with these replies, one by one; returns all that came.
fn fake(replies: &'static [(&'static str, &'static str)]) -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send("220 ready\r\n");
        let mut came = Vec::new();
        for (word, reply) in replies {
            came.extend(peer.expect(word));
            peer.send(reply);
        }
        came.extend(peer.rest());
        came
    });
    (address, server)
}

#[test]
fn what_a_server_sends_behind_its_reply_to_starttls_is_never_read_as_a_reply() {
    let (address, server) = fake(&[
        ("EHLO", "250-x\r\n250 STARTTLS\r\n"),
        ("STARTTLS", "220 go\r\n250-x\r\n250 HELP\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"),
    ]);
    let authority = Authority::new();
    let (code, why) = smtpc(&["--ca-file", &ca_file(&authority), "--starttls", "-s", &address]);
    assert_eq!(code, Some(76));
    let is_refused = why.contains("sends more before TLS begins") || why.contains("TLS with ");
    assert!(is_refused, "{why}");
    let came = server.join().unwrap();
    assert!(!came.windows(4).any(|word| word == b"MAIL"), "{}", came.escape_ascii());
}

#[test]
fn a_login_goes_by_the_mechanism_that_is_asked_for_and_is_not_shown() {
    let authority = Authority::new();
    let password = authority.folder().join("password");
    std::fs::write(&password, "tanstaaf\n").unwrap();
    let password = password.to_str().unwrap();
    let (address, server) = fake(&[
        ("EHLO", "250-x\r\n250 AUTH LOGIN PLAIN\r\n"),
        ("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"),
        ("bGV2eQ==", "334 UGFzc3dvcmQ6\r\n"),
        ("dGFuc3RhYWY=", "235 2.7.0 in\r\n"),
        ("MAIL", "421 enough\r\n"),
    ]);
    let login = ["-v", "-u", "levy", "--password-file", password, "--sasl", "login"];
    let (code, dialogue) = smtpc(&[&login[..], &["-s", &address]].concat());
    assert_eq!(code, Some(75));
    assert!(dialogue.contains("C: AUTH LOGIN") && dialogue.contains("C: ********"), "{dialogue}");
    assert!(!dialogue.contains("dGFuc3RhYWY"), "{dialogue}");
    server.join().unwrap();
    let (address, server) = fake(&[
        ("EHLO", "250-x\r\n250 AUTH PLAIN\r\n"),
        ("AUTH PLAIN AGxldnkAdGFuc3RhYWY=", "535 5.7.8 no\r\n"),
    ]);
    let login = ["-u", "levy", "--password-file", password];
    let (code, why) = smtpc(&[&login[..], &["-s", &address]].concat());
    assert!(code == Some(77) && why.contains("AUTH: 535 5.7.8 no"), "{why}");
    let came = server.join().unwrap();
    assert!(!came.windows(4).any(|word| word == b"MAIL"), "{}", came.escape_ascii());
}
