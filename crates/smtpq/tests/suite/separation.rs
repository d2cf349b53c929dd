//! What the process that talks to another server has: its letters, and nothing else.

use std::sync::{Mutex, mpsc};

use testkit::mail_server::{Came, MailServer};
use testkit::{children, limit_of, open_files, status_field, wait_until};

use crate::common::Site;

#[test]
fn the_process_that_talks_to_a_server_has_its_letters_and_nothing_else() {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = Mutex::new(receiver);
    let server = MailServer::start(move |came| {
        if matches!(came, Came::Letter(_)) {
            let _ = receiver.lock().unwrap().recv();
        }
        None
    });
    let site = Site::new();
    let its = site.put(&["bob@red.test"]);
    let others = [site.put(&["ann@blue.test"]), site.put(&["eve@green.test"])];
    site.ask(&["--hold", &others[1]]);
    let runner = site.start(&server.port(), &[]);
    wait_until("both are being sent", || server.letters().len() == 2);
    let of = |domain: &str| {
        let children = children(runner.pid());
        children.into_iter().find(|pid| testkit::title(*pid).contains(domain)).unwrap()
    };
    let child = of("red.test");
    assert_eq!(status_field(child, "Seccomp:"), "2");
    assert_eq!(status_field(child, "NoNewPrivs:"), "1");
    assert_eq!(limit_of(child, "Max processes"), [Some(0), Some(0)]);
    let open = open_files(child);
    let text = format!("{open:?}");
    assert!(
        text.contains(&format!("letters/{its}")) && text.contains(&format!("state/{its}")),
        "{text}"
    );
    for other in &others {
        assert!(!text.contains(other), "{text}");
    }
    drop(sender);
}
