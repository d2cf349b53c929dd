//! What becomes of a letter: it is delivered, kept, or returned to its author.

use std::sync::Mutex;

use testkit::mail_server::{Answer, Came, MailServer, say};

use crate::common::{Site, said};

/// Answers commands that hold a text with a line.
fn to(text: &'static str, line: &'static str) -> impl Fn(&Came) -> Option<Answer> + Send + Sync {
    move |came| match came {
        Came::Command(command) if command.contains(text) => say(line),
        _ => None,
    }
}

#[test]
fn a_letter_travels_by_mx_and_is_gone_from_the_queue() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let name = site.put(&["bob@red.test"]);
    let output = site.once(&server.port(), &[]);
    assert_eq!(server.letters(), ["Subject: hello\n\nlet us go\n.\n"]);
    let dialogue = &server.dialogues()[0];
    let expected = [
        "EHLO topaz.test",
        "MAIL FROM:<levy@topaz.test>",
        "RCPT TO:<bob@red.test>",
        "DATA",
        "QUIT",
    ];
    assert_eq!(dialogue, &expected);
    for part in ["letters", "state", "tmp", "hold"] {
        assert!(site.names(part).is_empty(), "{part}");
    }
    let line = format!("{name}: to=<bob@red.test>, host=mx.red.test, delivered: 250 2.0.0 taken");
    assert!(said(&output).contains(&line), "{}", said(&output));
    let asked: Vec<String> = site.dns.asked().iter().map(|it| it.kind.clone()).collect();
    assert!(asked.starts_with(&["MX".into()]), "{asked:?}");
}

#[test]
fn letters_for_one_host_go_over_one_connection() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    for _ in 0..7 {
        site.put(&["bob@red.test"]);
    }
    site.once(&server.port(), &[]);
    assert_eq!((server.letters().len(), server.dialogues().len()), (7, 1));
    site.wait_empty();
}

#[test]
fn recipients_of_one_domain_share_a_letter_and_those_of_another_have_theirs() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    site.put(&["a@red.test", "b@blue.test", "c@RED.test"]);
    site.once(&server.port(), &[]);
    let mut letters: Vec<Vec<String>> = server.dialogues();
    letters.iter_mut().for_each(|lines| lines.retain(|line| line.starts_with("RCPT")));
    letters.sort_by_key(Vec::len);
    assert_eq!(letters[0], ["RCPT TO:<b@blue.test>"]);
    assert_eq!(letters[1], ["RCPT TO:<a@red.test>", "RCPT TO:<c@RED.test>"]);
    site.wait_empty();
}

#[test]
fn a_letter_that_is_put_off_stays_with_the_reply() {
    let (site, server) = (Site::new(), MailServer::start(to("RCPT", "451 4.3.0 later")));
    let name = site.put(&["bob@red.test"]);
    site.once(&server.port(), &[]);
    let state = site.text("state", &name);
    assert!(
        state.contains(" 1 deferred ") && state.ends_with(" mx.red.test 451 4.3.0 later\n"),
        "{state}"
    );
    assert_eq!(site.names("letters"), [name]);
    // It is not due yet.
    site.once(&server.port(), &[]);
    assert_eq!(server.dialogues().len(), 1);
}

#[test]
fn a_letter_that_is_refused_is_returned_to_its_author() {
    let (site, server) = (Site::new(), MailServer::start(to("bob", "550 5.1.1 no such user")));
    site.put(&["bob@red.test"]);
    site.once(&server.port(), &[]);
    site.wait_empty();
    let [notification] = &server.letters()[..] else { panic!("{:?}", server.letters()) };
    for line in [
        "To: <levy@topaz.test>\n",
        "Final-Recipient: rfc822;bob@red.test\n",
        "Action: failed\n",
        "Status: 5.1.1\n",
        "Remote-MTA: dns; mx.red.test\n",
        "Subject: hello\n",
    ] {
        assert!(notification.contains(line), "{line} in {notification}");
    }
    assert_eq!(server.commands("MAIL").last().unwrap(), "MAIL FROM:<>");
}

#[test]
fn each_recipient_has_an_outcome_of_its_own() {
    let script = |came: &Came| match came {
        Came::Command(command) if command.contains("bad@") => say("550 5.1.1 no such user"),
        Came::Command(command) if command.contains("later@") => say("452 4.2.2 full"),
        _ => None,
    };
    let (site, server) = (Site::new(), MailServer::start(script));
    let name = site.put(&["bad@red.test", "later@red.test", "good@red.test"]);
    site.once(&server.port(), &[]);
    assert_eq!(server.letters().len(), 2, "the letter, and the notification");
    assert_eq!(site.names("letters"), std::slice::from_ref(&name));
    let state = site.text("state", &name);
    for line in [" 1 notified ", " 2 deferred ", " 3 delivered "] {
        assert!(state.contains(line), "{line} in {state}");
    }
    // Only the one that was put off is tried again.
    site.once(&server.port(), &["--flush"]);
    let again = server.commands("RCPT").split_off(4);
    assert_eq!(again, ["RCPT TO:<later@red.test>"]);
}

#[test]
fn a_host_that_is_down_has_its_letters_wait() {
    let site = Site::new();
    let port = {
        let server = MailServer::start(|_| None);
        server.port()
    };
    let names = [site.put(&["bob@red.test"]), site.put(&["ann@red.test"])];
    site.once(&port, &[]);
    for name in &names {
        let state = site.text("state", name);
        assert!(state.contains(" 1 deferred ") && state.contains("Connection refused"), "{state}");
    }
    assert_eq!(site.names("letters"), names);
}

#[test]
fn a_letter_whose_end_was_not_answered_is_sent_again() {
    let first = Mutex::new(true);
    let server = MailServer::start(move |came| match came {
        Came::Letter(_) if std::mem::take(&mut *first.lock().unwrap()) => Some(Answer::Close),
        _ => None,
    });
    let site = Site::new();
    let name = site.put(&["bob@red.test"]);
    site.once(&server.port(), &[]);
    let state = site.text("state", &name);
    assert!(state.contains(" 1 deferred ") && state.contains("may or may not"), "{state}");
    site.once(&server.port(), &["--flush"]);
    assert_eq!(server.letters().len(), 2);
    site.wait_empty();
}

#[test]
fn a_notification_that_cannot_be_delivered_is_told_to_the_postmaster_and_no_further() {
    let server = MailServer::start(|came| match came {
        Came::Command(command) if command.starts_with("RCPT") => say("550 5.1.1 no such user"),
        _ => None,
    });
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let output = site.once(&server.port(), &["--double-bounce", "postmaster@topaz.test"]);
    // topaz.test is this host by its name alone: its MX is mx.topaz.test.
    let expected = ["bob@red.test", "levy@topaz.test", "postmaster@topaz.test"]
        .map(|to| format!("RCPT TO:<{to}>"));
    assert_eq!(server.commands("RCPT"), expected, "{}", said(&output));
    site.wait_empty();
}

#[test]
fn a_notification_goes_in_seven_bits_to_a_server_without_8bitmime_and_other_letters_come_back() {
    let (site, server) = (Site::new(), MailServer::start(to("EHLO", "250 mx.test")));
    site.put_lines("levy@topaz.test", "ret FULL\nto <bob@red.test>\n", "Subject: a\n\ngr\u{fc}n\n");
    site.once(&server.port(), &[]);
    let letters = server.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert!(
        letter.is_ascii() && letter.contains("\nContent-Transfer-Encoding: 7bit\n"),
        "{letter}"
    );
    assert!(letter.contains("\nStatus: 5.6.3\n"), "{letter}");
    assert!(letter.contains("Content-Type: text/rfc822-headers\n"), "{letter}");
    assert!(letter.contains("takes no\n8-bit letters.") && !letter.contains("gr=C3"), "{letter}");
    let mails = server.commands("MAIL");
    assert_eq!(mails, ["MAIL FROM:<>"], "without BODY");
    site.wait_empty();
}
