//! CAPA (RFC 2449) and STLS (RFC 2595): what is listed can be used, and nothing else is.

use testkit::Peer;

use super::listing;
use crate::common::{HASH, LETTER, TestServer, text};
use crate::tls::Site;

const ALWAYS: [&str; 8] =
    ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8", "LANG", "EXPIRE NEVER"];
const ALL: &str = "SASL SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN";

/// CAPA must list this, besides what it always lists.
fn check(peer: &mut Peer, more: &[&str]) {
    let mut listed = listing(peer, "CAPA");
    let implementation = format!("IMPLEMENTATION forklore-pop3d-{}", env!("CARGO_PKG_VERSION"));
    let mut expected: Vec<String> = ALWAYS.iter().chain(more).map(|it| (*it).into()).collect();
    expected.push(implementation);
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn case_79_capa_lists_in_both_states_what_can_be_used() {
    let server = TestServer::with(&[LETTER], &["--login-delay", "1.5"], "");
    let mut client = server.client();
    check(&mut client, &["USER", ALL, "LOGIN-DELAY 2"]);
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    check(&mut client, &["USER", ALL, "LOGIN-DELAY 2"]);
    client.ask("CAPA x", "-ERR");
    client.ask("STAT", "+OK 1 22");

    let never = TestServer::with(&[], &["--plaintext", "never"], "");
    check(&mut never.client(), &["SASL SCRAM-SHA-256 CRAM-MD5"]);

    // No user has a secret that a digest or SCRAM could be checked by, and no password is allowed.
    let users = format!("mrose:{HASH}:::Rose:HOME/mrose:\n");
    let none = TestServer::alone(&["--plaintext", "never"], &users);
    check(&mut none.client(), &[]);
}

#[test]
fn case_79_capa_is_right_before_and_after_tls_and_the_login() {
    let site = Site::new(&[LETTER], &["--plaintext", "never"]);
    let mut peer = site.server.client();
    check(&mut peer, &["STLS", "SASL SCRAM-SHA-256 CRAM-MD5"]);
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.client, "mail.test").unwrap();
    check(&mut peer, &["USER", ALL]);
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    check(&mut peer, &["USER", ALL]);
    peer.ask("QUIT", "+OK");

    let site = Site::new(&[LETTER], &["--channel-binding"]);
    let mut implicit = site.implicit(&site.client);
    implicit.expect("+OK");
    let bound = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN";
    check(&mut implicit, &["USER", bound]);
    implicit.ask("USER mrose", "+OK");
    implicit.ask("PASS tanstaaf", "+OK");
    check(&mut implicit, &["USER", bound]);

    // A login without TLS, where there is TLS.
    let site = Site::new(&[LETTER], &[]);
    let mut peer = site.server.client();
    check(&mut peer, &["STLS", "USER", ALL]);
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    check(&mut peer, &["USER", ALL]);
}

#[test]
fn case_75_a_command_in_the_packet_of_stls_is_never_executed() {
    let site = Site::new(&[LETTER], &["--transcript", "/dev/stderr"]);
    let mut peer = site.server.client();
    peer.send("STLS\r\nUSER mallory\r\n");
    peer.expect("+OK begin TLS");
    peer.start_tls(&site.client, "mail.test").unwrap();
    // Had it been executed, there would be its reply, or PASS would be valid now.
    peer.ask("PASS mallory", "-ERR PASS: USER comes right before");
    peer.ask("USER mrose", "+OK now PASS");
    peer.ask("PASS tanstaaf", "+OK maildrop has 1 message");
    peer.ask("QUIT", "+OK");
    assert!(!site.server.daemon.log().contains("mallory"));
}

#[test]
fn case_76_stls_after_the_login_or_under_tls_is_an_error_and_not_listed() {
    let site = Site::new(&[LETTER], &[]);
    let mut clear = site.server.mrose();
    clear.ask("STLS", "-ERR STLS is not valid in this state");
    assert!(!listing(&mut clear, "CAPA").contains(&"STLS".to_owned()));
    clear.ask("STAT", "+OK 1 22");
    clear.ask("QUIT", "+OK");
    let mut secured = site.stls(&site.client);
    secured.ask("STLS", "-ERR STLS: the session is under TLS already");
    assert!(!listing(&mut secured, "CAPA").contains(&"STLS".to_owned()));
    secured.ask("USER mrose", "+OK");
    secured.ask("PASS tanstaaf", "+OK");
    secured.ask("STLS", "-ERR");
    let mut implicit = site.implicit(&site.client);
    implicit.expect("+OK");
    implicit.ask("STLS", "-ERR STLS: the session is under TLS already");
}

#[test]
fn case_76_stls_after_utf8_is_an_error_and_not_listed() {
    let site = Site::new(&[LETTER], &[]);
    let mut peer = site.server.client();
    peer.ask("UTF8", "+OK");
    peer.ask("STLS", "-ERR STLS: it comes before UTF8");
    assert!(!listing(&mut peer, "CAPA").contains(&"STLS".to_owned()));
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    // After STLS it is fine.
    let mut peer = site.stls(&site.client);
    peer.ask("UTF8", "+OK");
}

#[test]
fn case_77_a_user_that_was_named_and_an_auth_that_was_begun_before_stls_are_forgotten() {
    let site = Site::new(&[], &[]);
    let mut peer = site.server.client();
    peer.ask("USER mrose", "+OK");
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.client, "mail.test").unwrap();
    peer.ask("PASS tanstaaf", "-ERR PASS: USER comes right before");
    let mut peer = site.server.client();
    peer.ask("AUTH PLAIN", "+ ");
    // The line is the response, so it is no STLS.
    assert!(text(&peer.ask("STLS", "-ERR")).starts_with("-ERR"));
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.client, "mail.test").unwrap();
    peer.ask("AG1yb3NlAHRhbnN0YWFm", "-ERR unknown command");
}
