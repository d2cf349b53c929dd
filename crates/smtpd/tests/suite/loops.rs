//! Two hosts that forward to each other: Delivered-To ends it (RFC 9228).

use std::fs;
use std::path::Path;

use testkit::Daemon;

use crate::aliases::serve;
use crate::common::*;

/// Hands a letter from `<a@b.test>` to a server; returns the reply to it.
fn hand(daemon: &Daemon, to: &str, text: &str) -> String {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask(&format!("RCPT TO:<{to}>"), "25");
    peer.ask("DATA", "354 ");
    peer.send(format!("{}.\r\n", text.replace('\n', "\r\n")));
    String::from_utf8(peer.line()).unwrap()
}

/// Takes the one letter out of a queue: its recipient and its text.
fn take(queue: &Path) -> (String, String) {
    let found = files(&queue.join("letters"));
    assert_eq!(found.len(), 1, "{found:?}");
    let letter = fs::read_to_string(&found[0]).unwrap();
    fs::remove_file(&found[0]).unwrap();
    let (envelope, text) = letter.split_once("\n\n").unwrap();
    let to = envelope.lines().find_map(|line| line.strip_prefix("to <")).unwrap();
    (to.trim_end_matches('>').to_owned(), text.to_owned())
}

#[test]
fn two_hosts_that_forward_to_each_other_send_a_letter_round_once() {
    let host = |alias: &str, domain: &str| {
        let fixture = Fixture::new();
        let queue = fixture.dir.path().join("queue");
        let options = ["--domain", domain, "--queue", queue.to_str().unwrap()];
        let daemon = serve(&fixture, alias, &options);
        (fixture, daemon, queue)
    };
    let red = host("levy: ann@blue.test\n", "red.test");
    let blue = host("ann: levy@red.test\n", "blue.test");
    let (mut to, mut text) = ("levy@red.test".to_owned(), "Subject: x\n\nround\n".to_owned());
    for (_, daemon, queue) in [&red, &blue] {
        let reply = hand(daemon, &to, &text);
        assert!(reply.starts_with("250 "), "{reply}");
        let before = to.clone();
        (to, text) = take(queue);
        assert!(text.starts_with(&format!("Delivered-To: {before}\nReceived: ")), "{text}");
    }
    assert_eq!(to, "levy@red.test");
    let reply = hand(&red.1, &to, &text);
    assert!(reply.starts_with("554 5.4.6 "), "{reply}");
    assert!(files(&red.2.join("letters")).is_empty());
}

#[test]
fn what_goes_on_says_where_it_was_and_what_stays_does_not() {
    let fixture = Fixture::new();
    let out = fixture.dir.path().join("out");
    make_home(&out, OWNER);
    let queue = fixture.dir.path().join("queue").display().to_string();
    let aliases =
        "prog: \"|cat >>DIR/out/got\"\nall: levy, prog, ann@blue.test\nfile: DIR/out/kept\n";
    let daemon = serve(&fixture, aliases, &["--queue", &queue, "--domain", "red.test"]);
    for to in ["all@red.test", "\"prog\"@red.test", "file@red.test", "eve@green.test"] {
        let reply = hand(&daemon, to, "Subject: x\n\nround\n");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let got = fs::read_to_string(out.join("got")).unwrap();
    let second = |text: &str| text.lines().nth(1).unwrap_or_default().to_owned();
    assert_eq!(second(&got), "Delivered-To: all@red.test");
    assert_eq!(got.matches("\nDelivered-To: ").count(), 2, "{got}");
    assert_eq!(got.matches("\nDelivered-To: prog@red.test\n").count(), 1, "{got}");
    let kept = fs::read_to_string(out.join("kept")).unwrap() + &fixture.letters("levy")[0];
    assert!(!kept.contains("Delivered-To: "), "{kept}");
    let queued: Vec<String> = files(&Path::new(&queue).join("letters"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(queued.len(), 2);
    for text in queued {
        let is_forwarded = text.contains("to <ann@blue.test>");
        assert_eq!(text.contains("\n\nDelivered-To: all@red.test\n"), is_forwarded, "{text}");
    }
}

#[test]
fn a_command_that_sends_the_letter_back_is_refused() {
    let fixture = Fixture::new();
    let out = fixture.dir.path().join("out");
    make_home(&out, OWNER);
    let daemon = serve(&fixture, "prog: \"|cat >DIR/out/got\"\n", &[]);
    assert!(hand(&daemon, "prog@red.test", "x\n").starts_with("250 "));
    let got = fs::read_to_string(out.join("got")).unwrap();
    assert!(hand(&daemon, "Prog@RED.test", &got).starts_with("554 5.4.6 "));
    assert!(hand(&daemon, "levy@red.test", &got).starts_with("250 "));
}
