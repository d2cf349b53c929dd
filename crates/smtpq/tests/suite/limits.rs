//! How much is done at once, and what many letters cost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use testkit::mail_server::{Came, MailServer};
use testkit::{children, peak_memory, repetitions, wait_until};

use crate::common::Site;

/// A server at which every letter waits, with the number of those that do.
fn stuck() -> (MailServer, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (sender, receiver) = mpsc::channel::<()>();
    let (receiver, count) = (Mutex::new(receiver), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    let server = MailServer::start(move |came| {
        if matches!(came, Came::Letter(_)) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = receiver.lock().unwrap().recv();
        }
        None
    });
    (server, sender, count)
}

#[test]
fn processes_are_bounded_in_all_and_for_each_destination() {
    let (server, go, count) = stuck();
    let site = Site::new();
    for domain in ["red", "blue", "green"] {
        for _ in 0..30 {
            site.put(&[&format!("bob@{domain}.test")]);
        }
    }
    let runner = site.start(&server.port(), &["-c", "5", "--max-per-destination", "2"]);
    wait_until("five are being sent", || count.load(Ordering::SeqCst) == 5);
    runner.wait_errors("letters\n");
    assert_eq!(children(runner.pid()).len(), 5);
    let of = |domain: &str| {
        let titles = children(runner.pid()).into_iter().map(testkit::title);
        titles.filter(|title| title.contains(domain)).count()
    };
    assert!(["red", "blue", "green"].iter().all(|domain| of(domain) <= 2));
    drop(go);
    site.wait_empty();
    assert_eq!(server.letters().len(), 90);
}

#[test]
fn over_one_connection_go_as_many_letters_as_the_option_says() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    for _ in 0..7 {
        site.put(&["bob@red.test"]);
    }
    site.once(&server.port(), &["--max-letters", "3"]);
    assert_eq!((server.letters().len(), server.dialogues().len()), (7, 3));
}

#[test]
fn the_parent_needs_little_memory_for_many_letters() {
    let site = Site::new();
    for number in 0..repetitions(3000) {
        site.put(&[&format!("bob@d{}.test", number % 50)]);
    }
    for name in site.names("letters") {
        std::fs::write(site.queue.join("hold").join(name), "").unwrap();
    }
    let runner = site.start("25", &[]);
    wait_until("all are read", || {
        runner.signal(nix::sys::signal::Signal::SIGUSR1);
        runner
            .errors()
            .contains(&format!("{0} letters, {0} of them held; 0 more", repetitions(3000)))
    });
    let memory = peak_memory(runner.pid());
    // The limit for 100,000 is 50 MB; a program that has just started needs some 5 MB.
    assert!(memory < (8 << 20) + 500 * repetitions(3000) as u64, "{memory} bytes");
}
