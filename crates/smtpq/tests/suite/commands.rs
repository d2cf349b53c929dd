//! What is done with the queue from outside: list, hold, release, delete, flush, beside a runner and without one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

use nix::unistd::{Gid, Uid, chown};
use testkit::mail_server::{Came, MailServer, say};
use testkit::{NOBODY, root_can_judge, run, wait_until};

use crate::common::{SMTPQ, Site, said, stuck};

#[test]
fn the_list_tells_what_mailq_tells() {
    let script = |came: &Came| match came {
        Came::Command(line) if line.contains("later@") => say("451 4.3.0 try again later"),
        _ => None,
    };
    let (site, server) = (Site::new(), MailServer::start(script));
    assert_eq!(site.ask(&["--list"]), "Mail queue is empty\n");
    let name = site.put(&["later@red.test", "bob@red.test"]);
    site.once(&server.port(), &[]);
    let fresh = site.put(&["x@blue.test"]);
    site.ask(&["--hold", &fresh]);
    let list = site.ask(&["--list"]);
    for line in [
        format!("{name}  28  "),
        "  <levy@topaz.test>\n".into(),
        "\n    <later@red.test>: deferred, next in 29m: mx.red.test: 451 4.3.0 try again later\n"
            .into(),
        "\n    <bob@red.test>: delivered: mx.red.test: 250 2.0.0 taken\n".into(),
        format!("\n{fresh}!  28  "),
        "\n    <x@blue.test>: waiting\n".into(),
        "\n-- 56 bytes in 2 letters\n".into(),
    ] {
        let line = line.replace("29m", if list.contains("30m") { "30m" } else { "29m" });
        assert!(list.contains(&line), "{line} in {list}");
    }
}

#[test]
fn a_letter_that_is_held_is_not_sent_until_it_is_released() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let held = site.put(&["bob@red.test"]);
    assert_eq!(site.ask(&["--hold", &held]), format!("{held}: held\n"));
    let _runner = site.start(&server.port(), &[]);
    let other = site.put(&["ann@red.test"]);
    wait_until("the other is gone", || !site.names("letters").contains(&other));
    site.ask(&["--flush"]);
    let third = site.put(&["ann@red.test"]);
    wait_until("the third is gone", || !site.names("letters").contains(&third));
    assert_eq!((site.names("letters"), server.letters().len()), (vec![held.clone()], 2));
    assert_eq!(site.ask(&["--release", &held]), format!("{held}: released\n"));
    site.wait_empty();
    assert_eq!(server.letters().len(), 3);
}

#[test]
fn a_letter_is_held_and_deleted_while_it_is_being_sent() {
    let (server, go) = stuck();
    let site = Site::new();
    let (one, two) = (site.put(&["bob@red.test"]), site.put(&["ann@blue.test"]));
    let runner = site.start(&server.port(), &[]);
    wait_until("both are being sent", || server.letters().len() == 2);
    let list = site.ask(&["--list"]);
    assert!(list.contains(&format!("{one}*")) && list.contains(&format!("{two}*")), "{list}");
    site.ask(&["--hold", &one]);
    let answer = site.ask(&["--delete", &two]);
    assert_eq!(answer, format!("{two}: deleted; it is being sent, and may arrive\n"));
    drop(go);
    // What has arrived is done, held or not.
    site.wait_empty();
    wait_until("nothing is left", || {
        ["state", "hold"].iter().all(|part| site.names(part).is_empty())
    });
    assert_eq!(server.letters().len(), 2, "{}", runner.errors());
}

#[test]
fn a_letter_that_is_deleted_is_gone_without_a_word() {
    let site = Site::new();
    let (one, two) = (site.put(&["bob@red.test"]), site.put(&["bob@red.test"]));
    assert_eq!(site.ask(&["--delete", &one]), format!("{one}: deleted\n"));
    assert_eq!(site.names("letters"), [two]);
    site.ask(&["--delete", "ALL"]);
    assert!(site.names("letters").is_empty());
    for args in [["--delete", &one], ["--hold", &one], ["--release", &one], ["--delete", "../tmp"]]
    {
        let output = run(site.command("25", &args), b"");
        assert!(output.status.code() == Some(1), "{args:?}: {}", said(&output));
    }
}

/// A mail server that takes no recipient at first, and then each.
fn later_once() -> MailServer {
    let first = Mutex::new(true);
    MailServer::start(move |came| match came {
        Came::Command(line) if line.starts_with("RCPT") => {
            std::mem::take(&mut *first.lock().unwrap()).then(|| say("451 later"))?
        }
        _ => None,
    })
}

#[test]
fn the_runner_is_told_to_try_all_letters() {
    let server = later_once();
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let runner = site.start(&server.port(), &[]);
    runner.wait_errors("deferred, next attempt in 1800 s");
    assert_eq!(site.ask(&["--flush"]), "the runner tries all letters now\n");
    site.wait_empty();
    assert!(!site.queue.join("flush").exists());
}

#[test]
fn without_a_runner_a_flush_tries_all_letters_itself() {
    let server = later_once();
    let site = Site::new();
    site.put(&["bob@red.test"]);
    site.once(&server.port(), &[]);
    assert_eq!(site.names("letters").len(), 1);
    let output = run(site.command(&server.port(), &["--flush"]), b"");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(server.letters().len(), 1);
    site.wait_empty();
}

#[test]
fn called_as_mailq_it_lists_the_queue_of_the_option_or_of_the_environment() {
    let site = Site::new();
    let name = site.put(&["ann@blue.test"]);
    let queue = site.queue.to_str().unwrap();
    for (args, variable) in [(&["--queue", queue][..], "/no/such"), (&[], queue)] {
        let mut command = Command::new(SMTPQ);
        command.arg0("/usr/bin/mailq").args(args).env("FORKLORE_QUEUE", variable);
        let output = run(command, b"");
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && list.contains(&name), "{output:?}");
    }
}

#[test]
fn a_queue_of_which_folders_are_missing_is_listed_and_changed() {
    for part in ["hold", "state", "tmp"] {
        let site = Site::new();
        let name = site.put(&["bob@red.test"]);
        fs::remove_dir(site.queue.join(part)).unwrap();
        let list = site.ask(&["--list"]);
        assert!(list.contains(&name), "without {part}: {list}");
        assert!(!site.queue.join(part).exists(), "{part} was made by a list");
        assert_eq!(site.ask(&["--hold", &name]), format!("{name}: held\n"));
        assert!(site.ask(&["--list"]).contains(&format!("{name}!")));
        assert_eq!(site.ask(&["--release", &name]), format!("{name}: released\n"));
        assert_eq!(site.ask(&["--delete", &name]), format!("{name}: deleted\n"));
    }
}

#[test]
fn what_is_no_queue_or_not_ones_own_is_named() {
    let site = Site::new();
    let refused = |args: &[&str]| {
        let output = run(site.command("25", args), b"");
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        said(&output)
    };
    let letters = site.queue.join("letters");
    let path = letters.display().to_string();
    fs::set_permissions(&letters, fs::Permissions::from_mode(0o770)).unwrap();
    for args in [&["--list"][..], &["--hold", "1"], &["--flush"]] {
        assert_eq!(refused(args), format!("smtpq: queue: {path}: others may use it (chmod 700)\n"));
    }
    fs::remove_dir(&letters).unwrap();
    for args in [&["--list"][..], &["--release", "1"], &["--delete", "1"], &["--flush"]] {
        let why = format!("smtpq: queue: open {path}: No such file or directory\n");
        assert_eq!(refused(args), why);
    }
}

#[test]
fn a_user_without_rights_and_a_disk_for_reading_are_named() {
    if !root_can_judge() {
        return;
    }
    let site = Site::new();
    let name = site.put(&["bob@red.test"]);
    // Another user may walk to the queue and not into it.
    fs::set_permissions(site.queue.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.command("25", &["--list"]);
    command.uid(NOBODY + 1);
    let output = run(command, b"");
    assert_eq!(output.status.code(), Some(1));
    let why = "Permission denied";
    assert!(said(&output).contains(why) && said(&output).contains("queue"), "{}", said(&output));
    // A folder of root's own, in which the letters' owner can make nothing: root can.
    chown(&site.queue, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).unwrap();
    fs::set_permissions(&site.queue, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir(site.queue.join("hold")).unwrap();
    assert_eq!(site.ask(&["--hold", &name]), format!("{name}: held\n"));
}
