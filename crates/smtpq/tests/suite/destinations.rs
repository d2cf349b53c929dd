//! Where letters go: what the name server says, and what the options do.

use testkit::mail_server::{Came, MailServer, say};
use testkit::name_server::{SERVFAIL, Says, address, mx};

use crate::common::{Site, said};

/// Sends a letter to bob@red.test whose MX is answered so; returns its state, and whether it is still there.
fn sent(zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static) -> (String, bool, usize) {
    let (site, server) = (Site::with(zone), MailServer::start(|_| None));
    let name = site.put_from("levy@none.test", &["bob@red.test"], "x\n");
    site.once(&server.port(), &["--double-bounce", "postmaster@none.test"]);
    let is_there = site.names("letters").contains(&name);
    (site.text("state", &name), is_there, server.letters().len())
}

#[test]
fn a_domain_that_is_none_or_takes_no_mail_has_its_letters_returned() {
    for zone in [(|_: &str, _: &str| Says::NoName) as fn(&str, &str) -> Says, |_, kind| {
        if kind == "MX" { Says::Records(vec![mx(0, "")]) } else { Says::NoName }
    }] {
        let (state, is_there, letters) = sent(zone);
        assert!(!is_there && letters == 0, "{state}");
    }
}

#[test]
fn a_name_server_that_fails_has_letters_wait() {
    let (state, is_there, letters) = sent(|_, _| Says::Code(SERVFAIL));
    assert!(is_there && letters == 0 && state.contains(" 1 deferred "), "{state}");
}

#[test]
fn a_letter_that_would_come_back_is_returned() {
    let (state, is_there, letters) = sent(|name, kind| match (name, kind) {
        ("red.test", "MX") => Says::Records(vec![mx(5, "topaz.test"), mx(10, "mx.red.test")]),
        ("mx.red.test" | "topaz.test", "A") => Says::Records(vec![address("127.0.0.1")]),
        _ => Says::NoName,
    });
    assert!(!is_there && letters == 0, "{state}");
}

#[test]
fn the_next_host_is_tried_where_one_is_down_or_says_later() {
    let busy = MailServer::start(|came| match came {
        Came::Connection => say("421 4.3.2 busy"),
        _ => None,
    });
    let at = std::net::SocketAddr::from(([127, 0, 0, 2], busy.address().port()));
    let server = MailServer::at(at, |_| None);
    let site = Site::with(|name, kind| match (name, kind) {
        ("red.test", "MX") => {
            Says::Records(vec![mx(5, "down.test"), mx(10, "busy.test"), mx(20, "good.test")])
        }
        ("down.test", "A") => Says::Records(vec![address("127.0.0.3")]),
        ("busy.test", "A") => Says::Records(vec![address("127.0.0.1")]),
        ("good.test", "A") => Says::Records(vec![address("127.0.0.2")]),
        _ => Says::Records(Vec::new()),
    });
    site.put(&["bob@red.test"]);
    site.once(&server.port(), &[]);
    assert_eq!((busy.dialogues().len(), server.letters().len()), (1, 1));
    site.wait_empty();
}

#[test]
fn a_relay_host_has_everything_whatever_the_domain() {
    let (site, server) = (Site::with(|_, _| Says::NoName), MailServer::start(|_| None));
    for to in ["a@red.test", "b@blue.test", "c@[192.0.2.9]"] {
        site.put(&[to]);
    }
    let relay = server.address().to_string();
    site.once("25", &["--relayhost", &relay]);
    assert_eq!((server.letters().len(), server.dialogues().len()), (3, 1));
    assert!(site.dns.asked().is_empty());
    site.wait_empty();
}

#[test]
fn a_relay_host_is_found_by_its_name_and_one_without_an_address_has_letters_wait() {
    let site = Site::with(|name, kind| match (name, kind) {
        ("relay.test", "A") => Says::Records(vec![address("127.0.0.1")]),
        _ => Says::NoName,
    });
    let server = MailServer::start(|_| None);
    let name = site.put(&["a@red.test"]);
    let output = site.once(&server.port(), &["--relayhost", "none.test"]);
    assert!(site.text("state", &name).contains(" 1 deferred "), "{}", said(&output));
    site.once(&server.port(), &["--relayhost", "relay.test", "--flush"]);
    assert_eq!(server.letters().len(), 1);
    assert!(site.dns.asked().iter().all(|asked| asked.kind != "MX"));
}

#[test]
fn at_a_relay_host_there_is_a_login() {
    let server = MailServer::start(|came| match came {
        Came::Command(line) if line.starts_with("EHLO") => say("250-mx.test\r\n250 AUTH PLAIN"),
        Came::Command(line) if line == "AUTH PLAIN AGxldnkAc2VjcmV0" => say("235 2.7.0 ok"),
        Came::Command(line) if line.starts_with("AUTH") => say("535 5.7.8 wrong"),
        _ => None,
    });
    let (site, dir) = (Site::new(), testkit::TempDir::new());
    site.put(&["bob@red.test"]);
    let (right, wrong) = (dir.file("right", "secret\n"), dir.file("wrong", "guess\n"));
    let relay = server.address().to_string();
    let login = |file: &std::path::Path| {
        let file = file.to_str().unwrap();
        let options =
            ["--relayhost", &relay, "--relay-user", "levy", "--relay-password-file", file];
        site.once("25", &[&options[..], &["--flush"]].concat())
    };
    // A password that is wrong here is no reason to return letters.
    let output = login(&wrong);
    assert!(said(&output).contains("deferred"), "{}", said(&output));
    let output = login(&right);
    assert!(!said(&output).contains("secret"));
    assert_eq!((site.names("letters").len(), server.letters().len()), (0, 1));
}

#[test]
fn without_tls_nothing_is_sent_where_it_is_required() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let (authority, name) = (testkit::Authority::new(), site.put(&["bob@red.test"]));
    let ca_file = authority.file();
    site.once(&server.port(), &["--require-tls", "--ca-file", ca_file.to_str().unwrap()]);
    assert!(server.letters().is_empty());
    let state = site.text("state", &name);
    assert!(state.contains(" 1 deferred ") && state.contains("STARTTLS"), "{state}");
}
