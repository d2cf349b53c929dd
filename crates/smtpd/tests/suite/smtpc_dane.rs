//! smtpc without -s under TLS: opportunistic, as DNS says (DANE, RFC 7672), and where it must be.

use std::process::Command;

use testkit::name_server::{NameServer, Says, Value, address, mx};
use testkit::{Authority, Daemon, Pair, run};

use crate::common::{Fixture, LETTER};

/// A server with a certificate for mail.red.test, on 127.0.0.1.
struct Site {
    authority: Authority,
    pair: Pair,
    fixture: Fixture,
    daemon: Daemon,
}

impl Site {
    fn new() -> Site {
        let authority = Authority::new();
        let pair = authority.pair("mail.red.test");
        let options = pair.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let fixture = Fixture::new();
        let daemon = fixture.serve(&options);
        Site { authority, pair, fixture, daemon }
    }

    /// Sends a letter to levy@red.test, whose zone is signed, or not, and has this TLSA.
    fn send(&self, is_signed: bool, tlsa: Says, args: &[&str]) -> (i32, String) {
        let server = NameServer::start(move |name, kind| {
            let values = match (name, kind) {
                ("red.test", "MX") => vec![mx(10, "mail.red.test")],
                ("mail.red.test", "A") => vec![address("127.0.0.1")],
                ("mail.red.test", "AAAA") => vec![],
                (_, "TLSA") => return tlsa.clone(),
                _ => return Says::NoName,
            };
            if is_signed { Says::Signed(values) } else { Says::Records(values) }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_smtpc"));
        let (resolver, port) =
            (server.address().to_string(), self.daemon.addr().port().to_string());
        command.args(["--resolver", &resolver, "--port", &port, "-t", "30"]);
        command.args(["-f", "hedrick@topaz.test", "--helo", "topaz.test"]).args(args);
        command.arg("levy@red.test");
        let output = run(command, LETTER.as_bytes());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// The protocol of the letter that has come, which is removed.
    fn came_with(&self) -> String {
        let letters = self.fixture.letters("levy");
        assert_eq!(letters.len(), 1);
        std::fs::remove_dir_all(self.fixture.maildir("levy")).unwrap();
        let with = letters[0].split(" with ").nth(1).unwrap();
        with.split_whitespace().next().unwrap().to_owned()
    }
}

fn key(pair: &Pair) -> Says {
    Says::Signed(vec![Value::Tlsa(3, 1, 0, pair.public_key())])
}

#[test]
fn starttls_is_used_where_it_is_offered_with_any_certificate() {
    let site = Site::new();
    for is_signed in [false, true] {
        let (code, said) = site.send(is_signed, Says::NoName, &[]);
        assert_eq!((code, said.as_str()), (0, ""));
        assert_eq!(site.came_with(), "ESMTPS");
    }
    let (code, said) = site.send(false, Says::NoName, &["-v"]);
    assert_eq!(code, 0);
    assert!(said.contains("C: STARTTLS\nS: 220 "), "{said}");
    assert!(said.matches("C: EHLO topaz.test\n").count() == 2, "{said}");
}

#[test]
fn the_certificate_that_dns_names_is_asked_for_where_the_answer_is_signed() {
    let (site, other) = (Site::new(), Site::new());
    let (code, said) = site.send(true, key(&site.pair), &["-v"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("D: mail.red.test TLSA 1\n"), "{said}");
    assert_eq!(site.came_with(), "ESMTPS");
    // Another one is named: the letter waits, and nothing goes in the clear.
    let (code, said) = site.send(true, key(&other.pair), &[]);
    assert_eq!(code, 76, "{said}");
    assert!(said.contains("certificate of mail.red.test: not trusted: DNS names other"), "{said}");
    site.fixture.assert_nothing();
    // What is not signed says nothing.
    let (code, said) = site.send(false, key(&other.pair), &[]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(site.came_with(), "ESMTPS");
    // No answer is no proof.
    let (code, said) = site.send(true, Says::Code(testkit::name_server::SERVFAIL), &[]);
    assert_eq!(code, 75, "{said}");
    site.fixture.assert_nothing();
}

#[test]
fn with_starttls_the_certificate_has_the_hosts_name_unless_dns_names_it() {
    let (site, other) = (Site::new(), Site::new());
    let path = |authority: &Authority| authority.file().to_str().unwrap().to_owned();
    let (right, wrong) = (path(&site.authority), path(&other.authority));
    let (code, said) = site.send(false, Says::NoName, &["--starttls", "--ca-file", &right]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(site.came_with(), "ESMTPS");
    let (code, said) = site.send(false, Says::NoName, &["--starttls", "--ca-file", &wrong]);
    assert_eq!(code, 76);
    assert!(said.contains("certificate of mail.red.test: not trusted: its authority"), "{said}");
    site.fixture.assert_nothing();
    let (code, said) = site.send(true, key(&site.pair), &["--starttls", "--ca-file", &wrong]);
    assert_eq!((code, said.as_str()), (0, ""));
}

#[test]
fn a_host_without_starttls_gets_nothing_where_dns_names_a_certificate() {
    let mut site = Site::new();
    site.daemon = site.fixture.serve(&[]);
    let (code, said) = site.send(true, key(&site.pair), &[]);
    assert_eq!(code, 76);
    assert!(said.contains("STARTTLS is not offered"), "{said}");
    site.fixture.assert_nothing();
    let (code, said) = site.send(false, Says::NoName, &[]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(site.came_with(), "ESMTP");
}
