//! pop3c under TLS: nothing is sent to a server that is not the one that was meant.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

use testkit::{Authority, Peer, TLS_VERSIONS, TempDir, run};

use crate::common::{LETTER, POP3C, TestServer, text};

/// A server with a certificate for its address.
struct Site {
    authority: Authority,
    server: TestServer,
}

impl Site {
    fn new() -> Site {
        Site::with(&["--channel-binding"])
    }

    fn with(own: &[&str]) -> Site {
        let authority = Authority::new();
        let pair = authority.pair("127.0.0.1").options();
        let options: Vec<&str> = pair.iter().map(String::as_str).collect();
        let more = ["--tls-listen", "127.0.0.1:0", "--plaintext", "never", "--auth-delay", "0"];
        let server = TestServer::with(&[LETTER], &[&options[..], &more, own].concat(), "");
        Site { authority, server }
    }

    /// Where clients begin with a handshake, and where they do not.
    fn addresses(&self) -> [String; 2] {
        let daemon = &self.server.daemon;
        [daemon.listening_for(" (tls)"), daemon.addr().to_string()]
    }

    fn ca_file(&self) -> String {
        self.authority.file().to_str().unwrap().to_owned()
    }
}

fn pop3c(args: &[&str]) -> Output {
    let mut command = Command::new(POP3C);
    command.args(["-u", "mrose", "-t", "20"]).args(args);
    run(command, b"tanstaaf\n")
}

/// Its exit code and its error.
fn failed(args: &[&str]) -> (Option<i32>, String) {
    let output = pop3c(args);
    assert_eq!(text(&output.stdout), "");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_letter_is_read_under_tls_from_the_first_byte_or_by_stls() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    for how in [["--tls", &tls], ["--stls", &clear]] {
        for login in [&[][..], &["--sasl", "plain"], &["--sasl", "auto"]] {
            let ca_file = site.ca_file();
            let args = [login, &["--ca-file", &ca_file], &how, &["get", "1"]].concat();
            let output = pop3c(&args);
            assert_eq!(text(&output.stderr), "");
            assert_eq!((output.status.code(), &text(&output.stdout)[..]), (Some(0), LETTER));
        }
    }
}

#[test]
fn every_mechanism_logs_in_under_tls_and_one_is_bound_to_it() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    for how in [["--tls", &tls], ["--stls", &clear]] {
        for mechanism in ["plain", "login", "cram-md5", "scram-sha-256", "scram-sha-256-plus"] {
            let ca_file = site.ca_file();
            let args = ["-v", "--sasl", mechanism, "--ca-file", &ca_file, how[0], how[1], "stat"];
            let output = pop3c(&args);
            let dialogue = text(&output.stderr);
            assert_eq!(text(&output.stdout), "1 message, 22 octets\n", "{dialogue}");
            let name = mechanism.to_uppercase();
            assert!(dialogue.contains(&format!("C: AUTH {name}")), "{dialogue}");
            assert!(
                !dialogue.contains("tanstaaf") && !dialogue.contains("dGFuc3RhYWY"),
                "{dialogue}"
            );
        }
    }
    let output =
        pop3c(&["-v", "--sasl", "auto", "--ca-file", &site.ca_file(), "--tls", &tls, "stat"]);
    let dialogue = text(&output.stderr);
    assert!(dialogue.contains("C: AUTH SCRAM-SHA-256-PLUS ********"), "{dialogue}");
}

#[test]
fn the_bound_mechanism_is_offered_only_on_wish_because_some_clients_take_it_and_cannot_bind() {
    let site = Site::with(&[]);
    let [tls, clear] = site.addresses();
    for how in [["--tls", &tls], ["--stls", &clear]] {
        let ca_file = site.ca_file();
        let output =
            pop3c(&["-v", "--sasl", "auto", "--ca-file", &ca_file, how[0], how[1], "stat"]);
        let dialogue = text(&output.stderr);
        assert!(dialogue.contains("C: AUTH SCRAM-SHA-256 ********"), "{dialogue}");
        assert!(!dialogue.contains("SCRAM-SHA-256-PLUS"), "{dialogue}");
        let output =
            pop3c(&["--sasl", "scram-sha-256-plus", "--ca-file", &ca_file, how[0], how[1], "stat"]);
        assert!(!output.status.success());
    }
}

#[test]
fn apop_after_stls_goes_by_the_timestamp_of_the_greeting() {
    let site = Site::new();
    let [_, clear] = site.addresses();
    let mut peer = Peer::connect(clear.parse().unwrap());
    let greeting = text(&peer.line());
    let stamp = &greeting[greeting.find('<').unwrap()..=greeting.find('>').unwrap()];
    let digest = accounts::apop_digest(stamp.as_bytes(), b"tanstaaf");
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.authority.client(&TLS_VERSIONS), "127.0.0.1").unwrap();
    peer.ask(&format!("APOP mrose {}", accounts::hex(&digest)), "+OK");
}

#[test]
fn an_account_of_the_file_has_its_own_way_of_tls_and_login() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    let home = TempDir::new();
    let text_of_file = format!(
        "user mrose\npassword tanstaaf\nca-file {}\n\
         account a\nhost {clear}\nstls\nsasl auto\n\
         account b\nhost {tls}\ntls\n\
         account c\nhost {clear}\ntls\n",
        site.ca_file()
    );
    let file = home.file("rc", text_of_file);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ask = |account: &str| {
        let mut command = Command::new(POP3C);
        command.args(["--rc", file.to_str().unwrap(), account, "stat"]);
        run(command, b"")
    };
    for account in ["a", "b"] {
        let output = ask(account);
        assert_eq!(text(&output.stdout), "1 message, 22 octets\n", "{output:?}");
    }
    let output = ask("c"); // no TLS is there, and none is done without
    assert_eq!(output.status.code(), Some(76), "{output:?}");
    assert!(text(&output.stderr).starts_with("pop3c: c: TLS with 127.0.0.1"), "{output:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_or_for_another_name_is_the_end() {
    let site = Site::new();
    let [tls, clear] = site.addresses();
    let others = Authority::new();
    let wrong = others.file().to_str().unwrap().to_owned();
    for how in [["--tls", &tls], ["--stls", &clear]] {
        let (code, why) = failed(&[&["--ca-file", &wrong], &how[..], &["stat"]].concat());
        assert_eq!(code, Some(76));
        assert!(why.contains("certificate of 127.0.0.1: not trusted: its authority"), "{why}");
        let named = how[1].replace("127.0.0.1", "localhost");
        let (_, why) = failed(&["--ca-file", &site.ca_file(), how[0], &named, "stat"]);
        assert!(
            why.contains("certificate of localhost: not trusted: it is for other names"),
            "{why}"
        );
    }
    assert!(!site.server.daemon.log().contains("logged in"));
    let (code, why) = failed(&["--ca-file", "/nowhere", "--tls", &tls, "stat"]);
    assert!(code == Some(78) && why.contains("/nowhere: No such file or directory"), "{why}");
}

#[test]
fn without_tls_where_it_is_asked_for_no_password_is_sent() {
    let server = TestServer::new(&[LETTER]);
    let address = server.daemon.addr().to_string();
    let trusted = Authority::new();
    let ca_file = trusted.file().to_str().unwrap().to_owned();
    let (code, why) = failed(&["--ca-file", &ca_file, "--stls", &address, "stat"]);
    assert!(
        code == Some(69) && why.contains("STLS: -ERR STLS: the server has no certificate"),
        "{why}"
    );
    let (code, why) = failed(&["--ca-file", &ca_file, "--tls", &address, "stat"]);
    assert!(code == Some(76) && why.contains("TLS with 127.0.0.1: "), "{why}");
    assert!(!server.daemon.log().contains("logged in"));
}

#[test]
fn case_83_what_a_server_sends_behind_its_reply_to_stls_is_never_read_as_a_reply() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send("+OK ready\r\n");
        peer.expect("STLS");
        peer.send("+OK begin\r\n+OK\r\n+OK\r\n");
        peer.rest()
    });
    let trusted = Authority::new();
    let ca_file = trusted.file().to_str().unwrap().to_owned();
    let (code, why) = failed(&["--ca-file", &ca_file, "--stls", &address, "stat"]);
    assert_eq!(code, Some(76));
    let is_refused =
        why.contains("sends more before TLS begins") || why.contains("TLS with 127.0.0.1");
    assert!(is_refused, "{why}");
    let heard = server.join().unwrap();
    assert!(!heard.windows(4).any(|word| word == b"PASS"), "{}", heard.escape_ascii());
}

#[test]
fn a_mechanism_that_cannot_be_used_is_an_error_and_one_that_sends_the_password_is_for_this_machine()
{
    let server = TestServer::new(&[LETTER]);
    let address = server.daemon.addr().to_string();
    let (code, why) = failed(&["--sasl", "scram-sha-256-plus", &address, "stat"]);
    assert!(code == Some(69) && why.contains("no mechanism of --sasl can be used"), "{why}");
    let output = pop3c(&["--sasl", "plain", &address, "stat"]);
    assert_eq!(text(&output.stdout), "1 message, 22 octets\n", "{}", text(&output.stderr));
}
