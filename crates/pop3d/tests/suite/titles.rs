//! What `ps` shows of a session.

use crate::common::{TestServer, make_maildir};
use testkit::{Peer, only_child, title, wait_title};

/// What the child shows that serves this client.
fn shown(peer: &Peer, what: &str) -> String {
    format!("pop3d: {} {what}", peer.stream().local_addr().unwrap())
}

#[test]
fn a_session_shows_its_state_and_its_user_once_that_is_proved() {
    let server = TestServer::new(&[crate::common::LETTER]);
    let mut peer = server.client();
    let child = only_child(server.daemon.pid());
    assert_eq!(title(child), shown(&peer, "AUTHORIZATION"));
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS wrong", "-ERR");
    assert_eq!(title(child), shown(&peer, "AUTHORIZATION"), "anybody can say a name");
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    assert_eq!(title(child), shown(&peer, "mrose TRANSACTION"));
    peer.ask("DELE 1", "+OK");
    peer.ask("QUIT", "+OK");
    // The child stays for our end of the connection, as long as that is open.
    wait_title(child, &shown(&peer, "mrose UPDATE"));
    let parent = format!("pop3d: parent, 0 of 256 clients, {}", server.daemon.addr());
    drop(peer);
    wait_title(server.daemon.pid(), &parent);
}

#[test]
fn odd_names_are_escaped_and_long_ones_cut() {
    let long = "n".repeat(35) + "\u{e9}" + &"n".repeat(40);
    let users = format!("{long}:{{PLAIN}}x:::Long:HOME/long:\n");
    let server = TestServer::with(&[], &["--auth-delay", "0"], &users);
    make_maildir(&server.path("long/Maildir"));
    let mut peer = server.client();
    peer.ask(&format!("USER {long}"), "+OK");
    peer.ask("PASS x", "+OK");
    let name = "n".repeat(35) + "\\xc3\\xa9" + &"n".repeat(21) + "...";
    let child = only_child(server.daemon.pid());
    assert_eq!(title(child), shown(&peer, &format!("{name} TRANSACTION")));
}
