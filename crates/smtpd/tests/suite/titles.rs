//! What `ps` shows of a session.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::{Fixture, LETTER, SMTPD, with_root};
use testkit::{Daemon, Peer, only_child, title, wait_title};

/// What the child shows that serves this client.
fn shown(peer: &Peer, what: &str) -> String {
    format!("smtpd: {} {what}", peer.stream().local_addr().unwrap())
}

#[test]
fn a_session_shows_the_clients_name_and_where_in_a_letter_it_is() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    let child = only_child(daemon.pid());
    assert_eq!(title(child), shown(&peer, "connected"));
    let steps = [
        ("HELO a.test", "250 ", "a.test idle"),
        ("MAIL FROM:<x@a.test>", "250 ", "a.test MAIL"),
        ("RCPT TO:<nobody@red.test>", "550 ", "a.test MAIL"),
        ("RCPT TO:<bob@red.test>", "250 ", "a.test RCPT"),
        ("DATA", "354 ", "a.test DATA"),
        (&format!("{LETTER}."), "250 ", "a.test idle, 1 letter"),
        ("MAIL FROM:<>", "250 ", "a.test MAIL"),
        ("RSET", "250 ", "a.test idle, 1 letter"),
        ("MAIL FROM:<>", "250 ", "a.test MAIL"),
        ("RCPT TO:<bob@red.test>", "250 ", "a.test RCPT"),
        ("HELO b.test", "250 ", "b.test idle, 1 letter"),
    ];
    for (line, reply, what) in steps {
        peer.ask(line, reply);
        // The reply to a letter is sent when the title shows it, but not before.
        wait_title(child, &shown(&peer, what));
    }
}

#[test]
fn a_long_name_is_cut() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    peer.ask(&format!("HELO {}.test", "a".repeat(62)), "250 ");
    let name = "a".repeat(62) + ".t...";
    assert_eq!(title(only_child(daemon.pid())), shown(&peer, &format!("{name} idle")));
}

/// The zone stands in a variable that the title has taken the place of.
#[test]
fn the_environment_is_as_before_where_a_title_stands_in_its_place() {
    let fixture = Fixture::new();
    let users = fixture.users.display().to_string();
    let mut zoned = Command::new(SMTPD);
    zoned.env_clear().env("TZ", "<+0530>-5:30").arg0("s");
    let daemon = Daemon::spawn(zoned, &with_root(&["--users", &users, "--hostname", "red.test"]));
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 ");
    let name = format!("{}.test", "a".repeat(60));
    for line in [&format!("HELO {name}"), "MAIL FROM:<>", "RCPT TO:<bob@red.test>"] {
        peer.ask(line, "250 ");
    }
    peer.ask("DATA", "354 ");
    let environ = format!("/proc/{}/environ", only_child(daemon.pid()));
    let environ = std::fs::read(environ).unwrap();
    assert!(!environ.starts_with(b"TZ="), "the title has reached it, or this shows nothing");
    peer.ask(&format!("{LETTER}."), "250 ");
    assert!(fixture.letters("bob")[0].contains(" +0530\n"), "{:?}", fixture.letters("bob"));
}
