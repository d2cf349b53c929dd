//! SEND, SOML and SAML: letters to terminals (RFC 821 §3.4; slide: "SEND", "SOML, SAML").

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use testkit::{Daemon, Peer};

use crate::common::*;

/// A server whose users' terminals are files of a folder.
struct Site {
    fixture: Fixture,
    folder: PathBuf,
    daemon: Daemon,
}

impl Site {
    fn new(more: &[&str]) -> Site {
        let fixture = Fixture::two_users();
        let folder = fixture.dir.path().join("terminals");
        fs::create_dir(&folder).unwrap();
        let option = folder.display().to_string();
        let daemon = fixture.serve(&[&["--terminal", &option], more].concat());
        Site { fixture, folder, daemon }
    }

    /// Makes the terminal of a user.
    fn terminal(&self, user: &str) -> PathBuf {
        let path = self.folder.join(user);
        fs::write(&path, "").unwrap();
        give(&path, if user == "levy" { LEVY } else { BOB });
        path
    }

    /// Sends a letter to levy; returns the reply to RCPT, and that to the letter where there is one.
    fn send(&self, verb: &str, text: &str) -> (String, String) {
        let mut peer = introduced(&self.daemon);
        peer.ask(&format!("{verb} FROM:<frol@mail.test>"), "250 2.1.0 ");
        peer.send("RCPT TO:<levy@red.test>\r\n");
        let rcpt = String::from_utf8(peer.line()).unwrap();
        if !rcpt.starts_with("250 ") {
            return (rcpt, String::new());
        }
        (rcpt, end(&mut peer, text))
    }

    fn mails(&self, user: &str) -> usize {
        self.fixture.letters(user).len()
    }
}

/// Sends the text of a letter; returns the reply.
fn end(peer: &mut Peer, text: &str) -> String {
    peer.ask("DATA", "354 ");
    peer.send(format!("{text}\r\n.\r\n"));
    String::from_utf8(peer.line()).unwrap()
}

fn shown(terminal: &Path) -> String {
    fs::read_to_string(terminal).unwrap()
}

#[test]
fn send_shows_the_letter_on_the_terminal_and_nowhere_else() {
    let site = Site::new(&[]);
    let terminal = site.terminal("levy");
    let (_, reply) = site.send("SEND", "Subject: Hello\r\n\r\nHello levy!\r\n..dot");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let text = shown(&terminal);
    let expected = "\r\nMessage from frol@mail.test by red.test:\r\nSubject: Hello\r\n\r\nHello levy!\r\n.dot\r\nEOF\r\n";
    assert_eq!(text, expected);
    assert_eq!(site.mails("levy"), 0);
}

#[test]
fn send_to_who_has_no_terminal_is_450_and_the_session_goes_on() {
    let site = Site::new(&[]);
    let (rcpt, _) = site.send("SEND", "x");
    assert!(rcpt.starts_with("450 4.2.1 "), "{rcpt}");
    let mut peer = introduced(&site.daemon);
    let bobs = site.terminal("bob");
    peer.ask("send from:<frol>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "450 4.2.1 ");
    peer.ask("RCPT TO:<nobody@red.test>", "550 5.1.1 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    assert!(end(&mut peer, "to one").starts_with("250 "));
    assert!(shown(&bobs).contains("to one"));
    // The next letter is an ordinary one.
    peer.ask("MAIL FROM:<frol>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    assert!(end(&mut peer, "mail").starts_with("250 "));
    assert_eq!((site.mails("levy"), site.mails("bob")), (1, 1));
    assert!(!shown(&bobs).contains("mail\r\nEOF"));
}

#[test]
fn soml_falls_back_to_the_mailbox() {
    let site = Site::new(&[]);
    assert!(site.send("SOML", "one").1.starts_with("250 "));
    assert_eq!(site.fixture.letter("levy"), "one\n");
    let terminal = site.terminal("levy");
    assert!(site.send("SOML", "two").1.starts_with("250 "));
    assert_eq!(site.mails("levy"), 1);
    assert!(shown(&terminal).contains("two\r\n"));
}

#[test]
fn saml_does_both_and_the_mailbox_alone_where_there_is_no_terminal() {
    let site = Site::new(&[]);
    assert!(site.send("SAML", "one").1.starts_with("250 "));
    let terminal = site.terminal("levy");
    assert!(site.send("SAML", "two").1.starts_with("250 "));
    assert_eq!(site.mails("levy"), 2);
    assert!(shown(&terminal).contains("two\r\n") && !shown(&terminal).contains("one"));
    // A letter that is too long for a terminal is shown in part, and is whole in the mailbox.
    let long = "x".repeat(900).repeat(100);
    assert!(site.send("SAML", &long).1.starts_with("250 "));
    assert_eq!(site.mails("levy"), 3);
    assert!(site.fixture.letters("levy").iter().any(|letter| letter.contains(&long)));
}

#[test]
fn a_letter_that_is_too_long_for_a_terminal_is_refused() {
    let site = Site::new(&[]);
    let terminal = site.terminal("levy");
    let reply = site.send("SEND", &"x".repeat(900).repeat(100)).1;
    assert!(reply.starts_with("550 5.3.0 "), "{reply}");
    assert_eq!((shown(&terminal), site.mails("levy")), (String::new(), 0));
}

#[test]
fn controls_in_a_letter_never_reach_the_terminal() {
    let site = Site::new(&[]);
    let terminal = site.terminal("levy");
    let mut peer = introduced(&site.daemon);
    peer.ask("SEND FROM:<\"a<b> \"@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send(b"Subject: \x1b[31mred\x07\r\n\r\n\x00\x08\x0e\x7f\x9b\xc2\x9b2J\xd0\xb9\xe2\x80\xae\t!\r\n.\r\n");
    peer.expect("250 ");
    let text = shown(&terminal);
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
    assert!(text.chars().all(is_harmless) && !text.contains('\u{202e}'), "{}", text.escape_debug());
    assert!(text.contains("?[31mred?") && text.contains("\u{439}?\t!"), "{}", text.escape_debug());
}

#[test]
fn a_terminal_that_is_not_read_is_none_and_holds_up_nothing() {
    let site = Site::new(&[]);
    let path = site.folder.join("levy");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    give(&path, LEVY);
    assert!(site.send("SEND", "x").0.starts_with("450 "));
    let mut reader = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path).unwrap();
    assert!(site.send("SEND", "shown").1.starts_with("250 "));
    let mut text = vec![0; 4096];
    let count = reader.read(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text[..count]).contains("shown"));
}

#[test]
fn a_group_is_shown_to_all_or_refused() {
    let fixture = Fixture::two_users();
    let folder = fixture.dir.path().join("terminals");
    fs::create_dir(&folder).unwrap();
    let aliases = fixture.dir.file("aliases", "all: levy, bob\n").display().to_string();
    let option = folder.display().to_string();
    let daemon = fixture.serve(&["--terminal", &option, "--aliases", &aliases]);
    let site = Site { fixture, folder, daemon };
    let levys = site.terminal("levy");
    let mut peer = introduced(&site.daemon);
    peer.ask("SEND FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<all@red.test>", "450 4.2.1 ");
    let bobs = site.terminal("bob");
    peer.ask("RCPT TO:<all@red.test>", "250 ");
    assert!(end(&mut peer, "to all").starts_with("250 "));
    assert!(shown(&levys).contains("to all") && shown(&bobs).contains("to all"));
}

#[test]
fn the_process_that_writes_has_the_rights_of_the_user_alone() {
    if !testkit::root_can_judge() {
        return;
    }
    let site = Site::new(&[]);
    let path = site.folder.join("levy");
    fs::write(&path, "").unwrap();
    give(&path, BOB);
    set_mode(&path, 0o600);
    set_mode(&site.folder, 0o775);
    assert!(site.send("SEND", "x").0.starts_with("450 "), "another user's file");
    assert!(site.send("SOML", "x").1.starts_with("250 "));
    assert_eq!((shown(&path), site.mails("levy")), (String::new(), 1));
    // A link in a folder of root's leads where the user may write, not where root may.
    set_mode(&site.folder, 0o755);
    fs::rename(&path, site.folder.join("other")).unwrap();
    std::os::unix::fs::symlink("other", &path).unwrap();
    assert!(site.send("SEND", "x").0.starts_with("450 "), "a link");
    // What stands there itself was put there by root.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(site.send("SEND", "to a file of root's").1.starts_with("250 "));
    assert!(shown(&path).contains("to a file of root's"));
}

#[test]
fn users_with_one_owner_have_terminals_of_their_own() {
    let fixture = Fixture::new();
    let folder = fixture.dir.path().join("terminals");
    fs::create_dir(&folder).unwrap();
    let option = folder.display().to_string();
    let daemon = fixture.serve(&["--terminal", &option]);
    let bobs = folder.join("bob");
    fs::write(&bobs, "").unwrap();
    let mut peer = introduced(&daemon);
    peer.ask("SOML FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    assert!(end(&mut peer, "to both").starts_with("250 "));
    assert_eq!(fixture.letter("levy"), "to both\n");
    assert!(shown(&bobs).contains("to both"));
    let levys = folder.join("levy");
    fs::write(&levys, "").unwrap();
    peer.ask("SEND FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    assert!(end(&mut peer, "again").starts_with("250 "));
    assert!(shown(&levys).contains("again") && shown(&bobs).contains("again"));
}

#[test]
fn help_and_the_option_without_a_folder() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--terminal"]);
    let mut peer = introduced(&daemon);
    peer.ask("HELP SAML", "214 2.0.0 SAML FROM:<address>");
    // No user of that name is logged in on this machine.
    peer.ask("SEND FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "450 4.2.1 ");
    peer.ask("RSET", "250 ");
    peer.ask("SOML FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    assert!(end(&mut peer, "x").starts_with("250 "));
    assert_eq!(fixture.letter("levy"), "x\n");
}
