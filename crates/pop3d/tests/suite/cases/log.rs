//! The lines of the log about a session.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{MODELS, each_model, judged_within};

use super::listing;
use crate::common::{LETTER, TestServer, text};
use crate::tls::Site;

#[test]
fn case_93_the_line_at_the_end_says_who_how_and_how_much() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[], &["-m", model, "-n", "1"], "");
        for number in 1..=3 {
            let name = format!("mrose/Maildir/new/{number}.a.test,S=19,W=22");
            server.dir.file(&name, LETTER);
        }
        let mut client = server.mrose();
        let address = client.stream().local_addr().unwrap();
        client.ask("RETR 1", "+OK 22 octets");
        crate::common::until_dot(&mut client);
        listing(&mut client, "TOP 2 0");
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        drop(client);
        let done = "tls=none auth=PASS retr=1/22 top=1/16 dele=1/22 left=2/44, ";
        server.daemon.wait_log(&format!("{address}: mrose logged out: {done}"));
    });
}

#[test]
fn case_93_tls_and_the_mechanism_are_told() {
    let site = Site::new(&[LETTER], &[]);
    let mut peer = site.stls(&site.client);
    peer.ask("AUTH PLAIN AG1yb3NlAHRhbnN0YWFm", "+OK");
    peer.ask("QUIT", "+OK");
    site.server.daemon.wait_log("mrose logged out: tls=TLSv1.3 auth=PLAIN retr=0/0 ");
    let old = site.authority.client(&testkit::TLS_VERSIONS[..1]);
    let mut peer = site.implicit(&old);
    peer.expect("+OK");
    crate::sasl::log_in(&mut peer, accounts::Mechanism::CramMd5, "mrose", "tanstaaf", false);
    peer.ask("QUIT", "+OK");
    site.server.daemon.wait_log("mrose logged out: tls=TLSv1.2 auth=CRAM-MD5 retr=0/0 ");
}

#[test]
fn case_93_each_end_of_a_session_has_its_words() {
    let server = TestServer::new(&[LETTER]);
    let nothing = "tls=none auth=PASS retr=0/0 top=0/0 dele=0/0 left=1/22, ";
    let marked = || {
        let mut client = server.mrose();
        client.ask("DELE 1", "+OK");
        client
    };
    drop(marked());
    server.daemon.wait_log(&format!("mrose went without QUIT: {nothing}"));
    marked().reset();
    server.daemon.wait_log(&format!("mrose lost the connection: {nothing}"));
    let mut wrong = marked();
    wrong.send("x\r\n".repeat(100));
    assert!(text(&wrong.rest()).ends_with("too many bad commands, goodbye\r\n"));
    server.daemon.wait_log(&format!("mrose was disconnected: {nothing}"));
    let stuck = server.maildir().join("new/1.a.test");
    let mut client = marked();
    std::fs::remove_file(&stuck).unwrap();
    std::fs::create_dir(&stuck).unwrap();
    client.ask("QUIT", "-ERR [SYS/PERM]");
    server.daemon.wait_log("mrose logged out, 1 not removed: tls=none auth=PASS ");
}

#[test]
fn case_93_a_session_that_expires_says_so() {
    judged_within(Duration::from_secs(3), |watch| {
        let server = TestServer::with(&[LETTER], &["-t", "4"], "");
        let mut silent = server.mrose();
        silent.ask("DELE 1", "+OK");
        watch.stop();
        assert!(silent.rest().is_empty());
        server.daemon.wait_log("mrose was silent for too long: tls=none auth=PASS retr=0/0 ");
        assert_eq!(server.letters().len(), 1);
    });
}

#[test]
fn case_93_sessions_that_end_with_the_server_say_so() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "1", "--grace", "1"], "");
        let mut client = server.mrose();
        server.daemon.signal(Signal::SIGTERM);
        assert!(client.rest().is_empty());
        server.daemon.wait_log("mrose was ended by the server: tls=none auth=PASS ");
    });
}

#[test]
fn case_93_a_letter_that_was_sent_in_part_counts_as_far_as_it_was_sent() {
    let letter = format!("A: b\n\n{}", "a line of a long letter\n".repeat(1_000_000));
    let server = TestServer::new(&[&letter]);
    let mut client = server.mrose();
    client.ask("RETR 1", "+OK");
    client.take(1000);
    client.reset();
    server.daemon.wait_log("mrose lost the connection: tls=none auth=PASS retr=1/");
    let log = server.daemon.log();
    let (_, sent) = log.split_once("retr=1/").unwrap();
    let sent: usize = sent.split(' ').next().unwrap().parse().unwrap();
    assert!((1000..letter.len()).contains(&sent), "{sent}");
}

#[test]
fn case_93_a_failed_login_is_logged_with_peer_name_and_mechanism() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    let address = client.stream().local_addr().unwrap();
    client.ask("USER it's\"me\u{e4}", "+OK");
    client.ask("PASS wrong", "-ERR");
    server.daemon.wait_log(&format!("{address}: login of 'it\\'s\\\"me\\xc3\\xa4' failed (PASS)"));
    client.ask("AUTH PLAIN AG1yb3NlAHdyb25n", "-ERR");
    server.daemon.wait_log(&format!("{address}: login of 'mrose' failed (AUTH PLAIN)"));
}

#[test]
fn a_client_that_asks_for_what_cannot_be_read_over_and_over_fills_no_log() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    std::fs::remove_file(server.maildir().join("new/1.a.test")).unwrap();
    client.send("RETR 1\r\n".repeat(150));
    for _ in 0..150 {
        client.expect("-ERR ");
    }
    client.ask("QUIT", "+OK");
    server.daemon.wait_log("mrose logged out");
    let log = server.daemon.log();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(": mrose: message 1: open "), 100, "{log}");
    assert_eq!(count("further warnings of this session are left out"), 1);
}
