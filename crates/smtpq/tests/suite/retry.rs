//! When letters are tried again, and for how long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use testkit::mail_server::{Came, MailServer, say};
use testkit::wait_until;

use crate::common::{Site, said};

#[test]
fn a_letter_is_tried_again_when_it_is_due_until_it_is_taken() {
    let tries = AtomicUsize::new(0);
    let server = MailServer::start(move |came| match came {
        Came::Command(line)
            if line.starts_with("RCPT") && tries.fetch_add(1, Ordering::SeqCst) < 2 =>
        {
            say("451 4.7.1 greylisted")
        }
        _ => None,
    });
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let begin = Instant::now();
    let runner = site.start(&server.port(), &["--retry", "1,2"]);
    site.wait_empty();
    assert_eq!((server.commands("RCPT").len(), server.letters().len()), (3, 1));
    assert!(begin.elapsed().as_secs() >= 2, "{:?}", begin.elapsed());
    let log = runner.errors();
    assert!(log.contains("deferred, next attempt in 1 s: 451"), "{log}");
    assert!(log.contains("deferred, next attempt in 2 s: 451"), "{log}");
}

#[test]
fn a_letter_that_has_become_too_old_is_returned() {
    let server = MailServer::start(|came| match came {
        Came::Command(line) if line.contains("bob@") => say("451 4.3.0 later"),
        _ => None,
    });
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let output = site.once(&server.port(), &["--max-age", "0"]);
    site.wait_empty();
    let notification = &server.letters()[0];
    assert!(notification.contains("Action: failed\n"), "{notification}");
    assert!(said(&output).contains("expired, returned: 451 4.3.0 later"), "{}", said(&output));
}

#[test]
fn the_author_is_told_once_of_a_delay() {
    let server = MailServer::start(|came| match came {
        Came::Command(line) if line.contains("bob@") => say("451 4.3.0 later"),
        _ => None,
    });
    let site = Site::new();
    let name = site.put(&["bob@red.test"]);
    let runner = site.start(&server.port(), &["--retry", "1", "--warn-after", "0"]);
    wait_until("the author is told", || server.letters().len() == 1);
    let seen = server.commands("RCPT TO:<bob").len();
    wait_until("two more attempts", || server.commands("RCPT TO:<bob").len() >= seen + 2);
    let letters = server.letters();
    assert!(letters.len() == 1 && letters[0].contains("Action: delayed\n"), "{letters:?}");
    assert!(site.text("state", &name).contains(" 1 warned "), "{}", runner.errors());
}

#[test]
fn a_host_that_comes_back_is_found_at_the_next_attempt() {
    let site = Site::new();
    let address = MailServer::start(|_| None).address();
    site.put(&["bob@red.test"]);
    let runner = site.start(&address.port().to_string(), &["--retry", "1"]);
    runner.wait_errors("Connection refused");
    let server = MailServer::at(address, |_| None);
    site.wait_empty();
    assert_eq!(server.letters().len(), 1);
}
