//! Mail that goes elsewhere: who may send it, and what is in the queue when it is acknowledged.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use testkit::{Daemon, MODELS, Peer, each_model};

use crate::common::{FRONT, Fixture, LETTER, OWNER, files, introduced, with_root};

/// `NUL levy NUL x`.
const LEVY: &str = "AUTH PLAIN AGxldnkAeA==";

/// The spellings by which open relays are found, with a domain that is not ours; all of them lead elsewhere or nowhere.
const SPELLINGS: [&str; 22] = [
    "ann@blue.test",
    "@red.test:ann@blue.test",
    "@red.test,@b.test:ann@blue.test",
    "ann@[192.0.2.7]",
    "ann@[IPv6:2001:db8::7]",
    "ann@red.test.blue.test",
    "ann@sub.red.test",
    "\"ann\"@blue.test",
    "ann%red.test@blue.test",
    "ann%blue.test@red.test",
    "ann%blue.test@[127.0.0.1]",
    "blue.test!ann@red.test",
    "blue.test!ann@[127.0.0.1]",
    "red.test!ann@blue.test",
    "red.test!levy@blue.test",
    "\"ann@blue.test\"@red.test",
    "\"ann@blue.test\"",
    "\"ann%blue.test\"@red.test",
    "\"ann%blue.test\"",
    "ann%blue.test",
    "blue.test!ann",
    "@red.test:\"ann@blue.test\"@red.test",
];

fn queue(fixture: &Fixture) -> PathBuf {
    fixture.dir.path().join("queue")
}

/// A server with a queue.
fn serve(fixture: &Fixture, more: &[&str]) -> Daemon {
    let folder = queue(fixture).display().to_string();
    fixture.serve(&[&["--queue", &folder, "--auth-delay", "0"], more].concat())
}

fn letters(fixture: &Fixture) -> Vec<String> {
    let mut paths = files(&queue(fixture).join("letters"));
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The lines of the envelope, and the text.
fn the_letter(fixture: &Fixture) -> (Vec<String>, String) {
    let letters = letters(fixture);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let (envelope, text) = letters[0].split_once("\n\n").unwrap();
    (envelope.lines().map(str::to_owned).collect(), text.to_owned())
}

fn send(peer: &mut Peer, text: &str) {
    peer.ask("DATA", "354 ");
    peer.send(format!("{text}.\r\n"));
    peer.expect("250 ");
}

#[test]
fn a_letter_for_another_domain_is_in_the_queue_with_its_envelope_when_it_is_acknowledged() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &["-m", model]);
        let mut peer = introduced(&daemon);
        let mail = "MAIL FROM:<\"le vy\"@red.test> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B3";
        peer.ask(mail, "250 ");
        let rcpt =
            "RCPT TO:<@red.test:ann@blue.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A@blue.test";
        peer.ask(rcpt, "250 2.1.5 ");
        peer.ask("RCPT TO:<\"two words\"@green.test>", "250 2.1.5 ");
        send(&mut peer, LETTER);
        let (envelope, text) = the_letter(&fixture);
        let rest: Vec<&str> = envelope.iter().map(String::as_str).collect();
        assert_eq!(rest[0], "forklore letter 1");
        assert!(rest[1].starts_with("id ") && rest[2].starts_with("arrived 1"), "{rest:?}");
        assert!(rest[3].starts_with("client 127.0.0.1:"), "{rest:?}");
        let expected = [
            "from <\"le vy\"@red.test>",
            "body 8BITMIME",
            "smtputf8",
            "ret HDRS",
            "envid QQ+2B3",
            "to <ann@blue.test>",
            "notify SUCCESS,DELAY",
            "orcpt rfc822;A@blue.test",
            "to <\"two words\"@green.test>",
        ];
        assert_eq!(rest[4..], expected);
        let id = rest[1].strip_prefix("id ").unwrap();
        assert!(text.starts_with("Received: from topaz.test "), "{text}");
        assert!(text.contains(&format!(" id {id}")), "{text}");
        assert!(text.ends_with(&LETTER.replace("\r\n", "\n")), "{text}");
        assert!(files(&queue(&fixture).join("tmp")).is_empty());
        daemon.wait_log(": queued as ");
    });
}

#[test]
fn a_letter_for_here_and_elsewhere_comes_to_both() {
    let fixture = Fixture::two_users();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<>", "250 ");
    for to in ["levy@red.test", "ann@blue.test", "bob@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "250 ");
    }
    send(&mut peer, LETTER);
    let text = LETTER.replace("\r\n", "\n");
    assert_eq!((fixture.letter("levy"), fixture.letter("bob")), (text.clone(), text.clone()));
    let (envelope, queued) = the_letter(&fixture);
    assert!(queued.ends_with(&text), "{queued}");
    assert_eq!(envelope.last().unwrap(), "to <ann@blue.test>");
    assert!(envelope.contains(&"from <>".to_owned()), "{envelope:?}");
}

#[test]
fn what_leaves_has_neither_return_path_nor_bcc() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    let header = "Return-Path: <x@y.test>\r\nBcc: bob@red.test,\r\n\tann@blue.test\r\nTo: x\r\n";
    send(&mut peer, &format!("{header}\r\nBcc: text\r\n"));
    let (_, text) = the_letter(&fixture);
    assert!(text.starts_with("Received: "), "{text}");
    assert!(text.ends_with("To: x\n\nBcc: text\n"), "{text}");
    assert!(!text.contains("Return-Path") && !text.contains("Bcc: bob"), "{text}");
    assert_eq!(fixture.letter("levy"), "To: x\n\nBcc: text\n", "a client of ours hands it in");
}

/// No way elsewhere, whatever the spelling; the own users get their mail.
fn assert_no_relay(peer: &mut Peer, fixture: &Fixture) {
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    for spelling in SPELLINGS {
        let reply = peer.ask(&format!("RCPT TO:<{spelling}>"), "5");
        assert!(reply.starts_with(b"550 ") || reply.starts_with(b"501 "), "{spelling}");
    }
    peer.ask("RCPT TO:<ann@blue.test>", "550 5.7.1 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RSET", "250 ");
    assert_eq!(letters(fixture), Vec::<String>::new());
}

#[test]
fn who_is_not_ours_relays_in_no_spelling() {
    let fixture = Fixture::new();
    for network in ["none", "192.0.2.0/24"] {
        let daemon = serve(&fixture, &["--relay-from", network]);
        assert_no_relay(&mut introduced(&daemon), &fixture);
    }
    let daemon = fixture.serve(&[]);
    assert_no_relay(&mut introduced(&daemon), &fixture); // without a queue
}

#[test]
fn who_may_relay_reaches_with_odd_spellings_what_they_say_and_no_more() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    for spelling in SPELLINGS {
        let reply = peer.ask(&format!("RCPT TO:<{spelling}>"), "");
        let domain = spelling.rsplit_once('@').map_or("", |(_, domain)| domain);
        let is_elsewhere = !["", "red.test", "[127.0.0.1]", "blue.test\""].contains(&domain);
        assert_eq!(reply.starts_with(b"250 "), is_elsewhere, "{spelling}");
    }
}

#[test]
fn a_client_of_a_proxy_is_not_on_this_machine() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &["--proxy-from", "127.0.0.1"]);
    let told = b"PROXY TCP4 127.0.0.1 127.0.0.1 5210 25\r\n";
    for header in [&told[..], b"PROXY UNKNOWN\r\n", b"PROXY TCP4 192.0.2.7 127.0.0.1 5210 25\r\n"] {
        let mut peer = Peer::connect(daemon.addr());
        peer.send(header);
        peer.expect("220 ");
        peer.ask("HELO topaz.test", "250 ");
        peer.ask("MAIL FROM:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<ann@blue.test>", "550 5.7.1 ");
    }
}

#[test]
fn a_network_that_is_named_may_relay() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &["--relay-from", "192.0.2.0/24", "--relay-from", "127.0.0.0/8"]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "250 ");
}

#[test]
fn a_user_who_has_logged_in_may_relay() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &["-m", model, "--relay-from", "none"]);
        let mut peer = introduced(&daemon);
        peer.ask("AUTH PLAIN AGxldnkAeQ==", "535 "); // a wrong password
        peer.ask("MAIL FROM:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<ann@blue.test>", "550 5.7.1 ");
        peer.ask("RSET", "250 ");
        peer.ask(LEVY, "235 ");
        peer.ask("MAIL FROM:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<ann@blue.test>", "250 ");
        send(&mut peer, LETTER);
        let (envelope, text) = the_letter(&fixture);
        assert!(envelope.contains(&"user levy".to_owned()), "{envelope:?}");
        assert!(text.contains(" with ESMTPA id "), "{text}");
        peer.ask("QUIT", "221 ");
        drop(peer);
        let mut other = introduced(&daemon);
        other.ask("MAIL FROM:<levy@red.test>", "250 ");
        other.ask("RCPT TO:<ann@blue.test>", "550 5.7.1 ");
    });
}

#[test]
fn the_queue_is_its_owners_alone() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "250 ");
    send(&mut peer, LETTER);
    let owner = if geteuid().is_root() { OWNER } else { geteuid().as_raw() };
    let queue = queue(&fixture);
    let mut all =
        vec![queue.join("tmp"), queue.join("letters"), queue.join("state"), queue.clone()];
    all.extend(files(&queue.join("letters")));
    for path in all {
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.mode() & 0o077), (owner, 0), "{}", path.display());
    }
}

fn start_error(fixture: &Fixture, folder: &Path) -> String {
    let users = fixture.users.display().to_string();
    let folder = folder.display().to_string();
    let args =
        ["--users", &users, "--hostname", "red.test", "-l", "127.0.0.1:0", "--queue", &folder];
    let args = with_root(&args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = testkit::run(testkit::command(crate::common::SMTPD, &args), b"");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    errors
}

#[test]
fn a_queue_that_cannot_be_used_is_told_at_the_start() {
    let fixture = Fixture::new();
    let missing = fixture.dir.path().join("not/there");
    assert!(start_error(&fixture, &missing).contains("not: No such file or directory"));
    let file = fixture.dir.file("file", "");
    assert!(start_error(&fixture, &file).contains("file: Not a directory"));
    drop(serve(&fixture, &[]));
    let letters = queue(&fixture).join("letters");
    fs::set_permissions(&letters, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(start_error(&fixture, &queue(&fixture)).contains("others may use it"));
}

#[test]
fn a_queue_that_breaks_is_4xx_and_keeps_the_letter_from_no_user() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &["--spool", fixture.dir.path().to_str().unwrap()]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    fs::rename(queue(&fixture), fixture.dir.path().join("away")).unwrap();
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("451 4.3.0 ");
    assert_eq!(fixture.letter("levy"), "x\n");
    daemon.wait_log("queue: No such file or directory");
    peer.ask("MAIL FROM:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<ann@blue.test>", "451 4.3.0 ");
}

#[test]
fn only_root_needs_a_user_for_the_queue() {
    if !testkit::root_can_judge() {
        return;
    }
    let fixture = Fixture::new();
    let (users, folder) =
        (fixture.users.display().to_string(), queue(&fixture).display().to_string());
    let common = ["--users", &users, "-l", "127.0.0.1:0", "--queue", &folder];
    let daemon = Daemon::start(crate::common::SMTPD, &[&common[..], &["-u", FRONT]].concat());
    let uid: u32 = FRONT.parse().unwrap();
    assert_eq!(queue(&fixture).join("letters").metadata().unwrap().uid(), uid);
    drop(daemon);
}

/// A server whose system calls fail, or kill, as requested; `None` without strace.
fn serve_injected(fixture: &Fixture, calls: &str, injection: &str) -> Option<Daemon> {
    drop(serve(fixture, &[])); // makes the queue
    let mut strace = testkit::injected(calls, &[injection])?;
    strace.arg(crate::common::SMTPD);
    let (users, folder) =
        (fixture.users.display().to_string(), queue(fixture).display().to_string());
    let args = ["--users", &users, "--hostname", "red.test", "--queue", &folder];
    Some(Daemon::spawn(strace, &with_root(&args)))
}

#[test]
fn a_letter_that_cannot_be_made_safe_is_4xx_and_not_in_the_queue() {
    for (call, fault, reply) in [
        ("fdatasync", "error=EIO", "451 4.3.0 "),
        ("fdatasync", "error=EDQUOT", "452 4.3.1 "),
        ("renameat2", "error=ENOSPC", "452 4.3.1 "),
        ("fdatasync", "signal=KILL", "451 4.3.0 "),
        ("renameat2", "signal=KILL", "451 4.3.0 "),
    ] {
        let fixture = Fixture::new();
        let Some(daemon) = serve_injected(&fixture, call, &format!("{call}:{fault}")) else {
            return;
        };
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<ann@blue.test>", "250 ");
        peer.ask("DATA", "354 ");
        peer.send(format!("{LETTER}.\r\n"));
        let said = peer.expect("4");
        assert!(said.starts_with(reply.as_bytes()), "{call} {fault}: {}", said.escape_ascii());
        assert_eq!(letters(&fixture), Vec::<String>::new(), "{call} {fault}");
    }
}
