//! One recipient's trouble is that recipient's alone: the others have the letter, and when the client sends it again, for
//! the one who has not, they do not get it twice.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use testkit::{Daemon, Peer};

use crate::common::*;

const TEXT: &str = "Message-ID: <7@b.test>\r\n\r\nfor two\r\n";
/// Recipients in both orders: levy has a Maildir, and the other one trouble.
const ORDERS: [[&str; 2]; 2] = [["levy", "other"], ["other", "levy"]];

/// A server with aliases, and a spool of its own.
fn serve(fixture: &Fixture, aliases: &str, more: &[&str]) -> Daemon {
    let spool = spool(fixture);
    crate::aliases::serve(fixture, aliases, &[&["--spool", &spool], more].concat())
}

/// Where the server keeps who has letters that come again.
fn spool(fixture: &Fixture) -> String {
    let path = fixture.dir.path().join("spool");
    fs::create_dir(&path).unwrap();
    path.display().to_string()
}

/// A client that has named both, which the server has accepted.
fn to_both(daemon: &Daemon, order: [&str; 2]) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for to in order {
        peer.ask(&format!("RCPT TO:<{to}@red.test>"), "250 ");
    }
    peer.ask("DATA", "354 ");
    peer
}

fn end(peer: &mut Peer) -> String {
    peer.send(format!("{TEXT}.\r\n"));
    String::from_utf8(peer.line()).unwrap()
}

fn send(daemon: &Daemon, order: [&str; 2]) -> String {
    end(&mut to_both(daemon, order))
}

/// How many letters are in a file; 0 where there is none.
fn copies(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().matches("for two").count()
}

const PARTIAL: &str =
    "451 4.3.0 Not delivered to <other@red.test>, try again later; the others have it\r\n";

/// What must hold where `other` fails after the text, until `mend`: `count` tells how many copies `other` has.
fn one_fails(
    (fixture, daemon): (&Fixture, &Daemon),
    order: [&str; 2],
    spoil: impl FnOnce(),
    mend: impl FnOnce(),
    count: impl Fn() -> usize,
) {
    let mut peer = to_both(daemon, order);
    spoil();
    assert_eq!(end(&mut peer), PARTIAL, "{order:?}");
    assert_eq!((fixture.letters("levy").len(), count()), (1, 0), "{order:?}");
    daemon.wait_log("delivered id=");
    daemon.wait_log("letter refused id=");
    mend();
    // In another session, and in this one.
    assert!(send(daemon, order).starts_with("250 "));
    assert_eq!((fixture.letters("levy").len(), count()), (1, 1), "{order:?}");
    daemon.wait_log(",before:1 ");
    let spool = testkit::names(&fixture.dir.path().join("spool"));
    assert!(spool.is_empty(), "nothing is to be known any more: {spool:?}");
    // What comes after it was taken is another letter.
    assert!(send(daemon, order).starts_with("250 "));
    assert_eq!((fixture.letters("levy").len(), count()), (2, 2), "{order:?}");
}

#[test]
fn a_command_that_fails_after_the_text_is_its_recipients_trouble() {
    for order in ORDERS {
        let fixture = Fixture::new();
        let out = fixture.dir.path().join("out");
        make_home(&out, OWNER);
        let command = "other: \"|test -e DIR/out/good || exit 75; cat >>DIR/out/got\"\n";
        let daemon = serve(&fixture, command, &[]);
        let good = || fs::write(out.join("good"), "").unwrap();
        one_fails((&fixture, &daemon), order, || {}, good, || copies(&out.join("got")));
    }
}

#[test]
fn a_command_that_fails_again_and_again_gives_the_others_one_copy() {
    let fixture = Fixture::new();
    let out = fixture.dir.path().join("out");
    make_home(&out, OWNER);
    let aliases = "other: \"|exit 75\"\ngood: \"|cat >>DIR/out/got\"\nall: levy, other, good\n";
    let daemon = serve(&fixture, aliases, &[]);
    let mut kept = introduced(&daemon);
    for _ in 0..3 {
        for peer in [&mut introduced(&daemon), &mut kept] {
            peer.ask("MAIL FROM:<a@b.test>", "250 ");
            peer.ask("RCPT TO:<all@red.test>", "250 ");
            peer.ask("RCPT TO:<bob@red.test>", "250 ");
            peer.ask("DATA", "354 ");
            let said = end(peer);
            assert!(said.starts_with("451 4.3.0 Not delivered to <all@red.test>, "), "{said}");
        }
    }
    assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 1));
    assert_eq!(copies(&out.join("got")), 1);
    // A letter of another sender is another letter.
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<c@d.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    assert!(end(&mut peer).starts_with("250 "));
    assert_eq!(fixture.letters("levy").len(), 2);
}

#[test]
fn a_server_that_is_started_again_knows_who_has_a_letter() {
    let fixture = Fixture::new();
    let out = fixture.dir.path().join("out");
    make_home(&out, OWNER);
    let command = "other: \"|test -e DIR/out/good || exit 75; cat >>DIR/out/got\"\n";
    let daemon = serve(&fixture, command, &[]);
    assert_eq!(send(&daemon, ORDERS[0]), PARTIAL);
    drop(daemon);
    fs::write(out.join("good"), "").unwrap();
    fs::rename(fixture.dir.path().join("spool"), fixture.dir.path().join("kept")).unwrap();
    let kept = fixture.dir.path().join("kept").display().to_string();
    let daemon = crate::aliases::serve(&fixture, command, &["--spool", &kept]);
    assert!(send(&daemon, ORDERS[1]).starts_with("250 "));
    assert_eq!((fixture.letters("levy").len(), copies(&out.join("got"))), (1, 1));
}

#[test]
fn a_command_that_refuses_for_good_is_its_recipients_trouble() {
    for order in ORDERS {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, "other: \"|exit 77\"\n", &[]);
        let said = send(&daemon, order);
        assert_eq!(said, "550 5.3.0 Not delivered to <other@red.test>; the others have it\r\n");
        assert_eq!(fixture.letters("levy").len(), 1);
    }
}

#[test]
fn a_command_whose_program_is_not_there_is_4xx_at_rcpt() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, "other: \"|DIR/program %u\"\n", &[]);
    for order in ORDERS {
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        for to in order {
            let reply = if to == "levy" { "250 " } else { "451 4.3.0 " };
            peer.ask(&format!("RCPT TO:<{to}@red.test>"), reply);
        }
        peer.ask("DATA", "354 ");
        assert!(end(&mut peer).starts_with("250 "));
    }
    daemon.wait_log("program: No such file or directory");
    assert_eq!(fixture.letters("levy").len(), 2);
}

#[test]
fn a_file_that_cannot_be_appended_to_after_the_text_is_its_recipients_trouble() {
    for order in ORDERS {
        let fixture = Fixture::new();
        let out = fixture.dir.path().join("out");
        make_home(&out, OWNER);
        let daemon = serve(&fixture, "other: DIR/out/mbox\n", &[]);
        let mbox = out.join("mbox");
        let spoil = || fs::create_dir(&mbox).unwrap();
        let mend = || fs::remove_dir(&mbox).unwrap();
        one_fails((&fixture, &daemon), order, spoil, mend, || copies(&mbox));
    }
}

#[test]
fn an_mbox_that_another_program_has_locked_is_4xx_at_rcpt_for_its_user_alone() {
    let fixture = Fixture::two_users();
    let daemon = serve(&fixture, "", &["--mail", "mbox:~/mbox"]);
    for user in ["levy", "bob"] {
        let path = fixture.dir.file(&format!("{user}/mbox"), "");
        set_mode(&path, 0o600);
        give(&path, if user == "levy" { LEVY } else { BOB });
    }
    // The lock of a process that is there: of this one.
    let lock = fixture.dir.file("bob/mbox.lock", std::process::id().to_string());
    for order in [["levy", "bob"], ["bob", "levy"]] {
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        for to in order {
            let reply = if to == "levy" { "250 " } else { "451 4.3.0 " };
            peer.ask(&format!("RCPT TO:<{to}@red.test>"), reply);
        }
        peer.ask("DATA", "354 ");
        assert!(end(&mut peer).starts_with("250 "));
    }
    assert_eq!(copies(&fixture.dir.path().join("levy/mbox")), 2);
    fs::remove_file(lock).unwrap();
    assert!(send(&daemon, ["levy", "bob"]).starts_with("250 "));
    assert_eq!(copies(&fixture.dir.path().join("bob/mbox")), 1);
}

#[test]
fn a_mailbox_that_breaks_after_rcpt_is_its_users_trouble() {
    for order in [["levy", "bob"], ["bob", "levy"]] {
        let fixture = Fixture::two_users();
        let daemon = serve(&fixture, "", &[]);
        let mut peer = to_both(&daemon, order);
        let (maildir, away) = (fixture.maildir("bob"), fixture.dir.path().join("bob/away"));
        fs::rename(maildir.join("new"), &away).unwrap();
        let said = end(&mut peer);
        assert!(said.starts_with("451 4.3.0 Not delivered to <bob@red.test>, "), "{said}");
        assert_eq!(fixture.letters("levy").len(), 1);
        fs::rename(&away, maildir.join("new")).unwrap();
        assert_eq!(fixture.letters("bob").len(), 0, "a folder that was away has nothing");
        assert!(send(&daemon, order).starts_with("250 "));
        assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 1));
    }
}

#[test]
fn a_queue_that_breaks_after_rcpt_is_the_trouble_of_those_elsewhere() {
    for order in [["levy@red.test", "ann@blue.test"], ["ann@blue.test", "levy@red.test"]] {
        let fixture = Fixture::new();
        let (folder, away) = (fixture.dir.path().join("queue"), fixture.dir.path().join("away"));
        let daemon = serve(&fixture, "", &["--queue", &folder.display().to_string()]);
        let begin = || {
            let mut peer = introduced(&daemon);
            peer.ask("MAIL FROM:<a@b.test>", "250 ");
            for to in order {
                peer.ask(&format!("RCPT TO:<{to}>"), "250 ");
            }
            peer.ask("DATA", "354 ");
            peer
        };
        let mut peer = begin();
        fs::rename(&folder, &away).unwrap();
        let said = end(&mut peer);
        assert!(said.starts_with("451 4.3.0 Not delivered to <ann@blue.test>, "), "{said}");
        fs::rename(&away, &folder).unwrap();
        assert!(end(&mut begin()).starts_with("250 "));
        let queued = files(&folder.join("letters"));
        assert_eq!((fixture.letters("levy").len(), queued.len()), (1, 1));
    }
}

/// A server of LMTP that takes the letter for one recipient and not yet for the other, and then for each that is named;
/// returns the recipients of each letter.
fn lmtp_server(first: [&'static str; 2]) -> (String, thread::JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut letters: Vec<Vec<String>> = Vec::new();
        while letters.len() < 2 {
            let mut peer = Peer::new(listener.accept().unwrap().0);
            let mut to: Vec<String> = Vec::new();
            peer.send("220 ready\r\n");
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                if line.is_empty() {
                    break;
                }
                match line.get(..4).unwrap_or_default() {
                    "RSET" => to.clear(),
                    "RCPT" => to.push(line.trim_end().to_owned()),
                    _ => {}
                }
                match line.trim_end() {
                    "DATA" => peer.send("354 go\r\n"),
                    "." if letters.is_empty() => {
                        peer.send(format!("{}\r\n{}\r\n", first[0], first[1]));
                        letters.push(std::mem::take(&mut to));
                    }
                    "." => {
                        to.iter().for_each(|_| peer.send("250 ok\r\n"));
                        letters.push(std::mem::take(&mut to));
                    }
                    line if ["LHLO", "MAIL", "RCPT", "RSET", "NOOP"]
                        .contains(&line.get(..4).unwrap_or_default()) =>
                    {
                        peer.send("250 ok\r\n");
                    }
                    _ => {}
                }
            }
        }
        letters
    });
    (address, server)
}

#[test]
fn what_an_lmtp_server_defers_for_one_recipient_it_gets_again_for_that_one_alone() {
    for (first, failed) in [(["250 ok", "451 later"], "bob"), (["451 later", "250 ok"], "levy")] {
        let fixture = Fixture::two_users();
        let (address, server) = lmtp_server(first);
        let daemon = serve(&fixture, "", &["--deliver", &format!("lmtp:{address}")]);
        let said = send(&daemon, ["levy", "bob"]);
        let expected = format!("451 4.3.0 Not delivered to <{failed}@red.test>, ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(send(&daemon, ["levy", "bob"]).starts_with("250 "));
        drop(daemon);
        let to = |user: &str| format!("RCPT TO:<{user}@red.test>");
        let letters = server.join().unwrap();
        assert_eq!(letters, [vec![to("levy"), to("bob")], vec![to(failed)]]);
    }
}
