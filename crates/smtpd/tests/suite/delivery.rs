//! Letters are in mailboxes when they are acknowledged, and not in part when they are not.

use crate::common::*;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use testkit::{Daemon, Peer};

fn to_both(daemon: &Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer
}

#[test]
fn a_missing_maildir_is_made_for_its_owner_alone() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    assert_alive(&daemon);
    for part in ["", "tmp", "new", "cur"] {
        let mode = fixture.maildir("levy").join(part).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part}");
    }
    let letter = &files(&fixture.maildir("levy").join("new"))[0];
    assert_eq!(letter.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// Puts a file where a folder should be.
fn break_mailbox(fixture: &Fixture, user: &str) {
    let _it_may_not_be_there = std::fs::remove_dir_all(fixture.maildir(user));
    let path = fixture.dir.file(&format!("{user}/Maildir"), "no folder");
    give(&path, OWNER);
}

#[test]
fn a_mailbox_that_cannot_be_used_is_4xx_and_the_log_says_why() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    break_mailbox(&fixture, "levy");
    peer.send("x\r\n.\r\n");
    peer.expect("451 4.3.0 ");
    daemon.wait_log("mailbox of 'levy': rename ");
    daemon.wait_log("No such file or directory");
    daemon.wait_log("letter refused id=");
    peer.ask("RCPT TO:<levy@red.test>", "503 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log("mailbox of 'levy': open ");
    daemon.wait_log("Not a directory");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("bob"), "x\n");
}

#[test]
fn a_mailbox_that_cannot_be_used_any_more_keeps_the_letter_from_no_other() {
    // Of two mailboxes of one owner the second gets a link to the first one's file.
    let fixtures = [Fixture::new, Fixture::two_users];
    let orders = [("levy", "bob"), ("bob", "levy")];
    for (new, (broken, other)) in
        fixtures.into_iter().flat_map(|it| orders.map(|order| (it, order)))
    {
        let fixture = new();
        let spool = fixture.dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let daemon = fixture.serve(&["--spool", spool.to_str().unwrap()]);
        let mut peer = to_both(&daemon);
        peer.ask("DATA", "354 ");
        break_mailbox(&fixture, broken);
        peer.send("x\r\n.\r\n");
        peer.expect(&format!("451 4.3.0 Not delivered to <{broken}@red.test>, try again later"));
        assert_eq!(fixture.letter(other), "x\n");
        assert_eq!(fixture.letters(broken), Vec::<String>::new());
    }
}

#[test]
fn a_letter_that_cannot_be_published_leaves_no_draft() {
    for fixture in [Fixture::new(), Fixture::two_users()] {
        let spool = fixture.dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let daemon = fixture.serve(&["--spool", spool.to_str().unwrap()]);
        let mut peer = to_both(&daemon);
        peer.send("DATA\r\nx\r\n.\r\n");
        peer.expect("354 ");
        peer.expect("250 ");
        let mut peer = to_both(&daemon);
        peer.ask("DATA", "354 ");
        // bob's letter can be written to bob's tmp, and not be renamed into bob's new.
        let new = fixture.maildir("bob").join("new");
        if testkit::root_can_judge() {
            std::os::unix::fs::chown(&new, Some(0), Some(0)).unwrap();
        } else {
            set_mode(&new, 0o500);
        }
        peer.send("x\r\n.\r\n");
        peer.expect("451 4.3.0 Not delivered to <bob@red.test>, ");
        daemon.wait_log("Permission denied");
        assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (2, 1));
        for user in ["levy", "bob"] {
            testkit::wait_until("no draft is left", || fixture.drafts(user).is_empty());
        }
        set_mode(&new, 0o755);
    }
}

#[test]
fn a_full_disk_is_452_and_leaves_nothing() {
    let fixture = Fixture::new();
    let spool = fixture.dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let spool = spool.display().to_string();
    // The limit of a file's size stands for the full disk: of the mailbox, and of the spool.
    for kib in [100, 600] {
        let mut command = Command::new("/bin/sh");
        let users = fixture.users.display().to_string();
        let limited = format!("ulimit -f {}; exec \"$@\"", kib * 2); // sh counts in halves of KiB
        command.args(["-c", &limited, "sh", SMTPD]);
        let args = ["--users", &users, "--hostname", "red.test", "--spool", &spool];
        let daemon = Daemon::spawn(command, &with_root(&args));
        let mut peer = in_data(&daemon);
        let lines = if kib == 100 { 200 } else { 1000 };
        peer.send(format!("{}\r\n", "x".repeat(998)).repeat(lines) + ".\r\n");
        peer.expect("452 4.3.1 ");
        peer.ask("NOOP", "250 ");
        fixture.assert_nothing();
        daemon.wait_log("File too large");
        assert_alive(&daemon);
        assert_eq!(fixture.letters("levy").len(), 1);
        std::fs::remove_dir_all(fixture.maildir("levy")).unwrap();
    }
}

#[test]
fn a_mail_pattern_says_where_letters_go_and_only_its_last_folder_is_made() {
    let fixture = Fixture::new();
    let spool = fixture.dir.path().join("spool");
    let pattern = format!("{}/%u", spool.display());
    let daemon = fixture.serve(&["--mail", &pattern]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log("spool: No such file or directory");
    assert!(!spool.exists());
    std::fs::create_dir(&spool).unwrap();
    assert_alive(&daemon);
    assert_eq!(files(&spool.join("levy/new")).len(), 1);
    let meta = spool.join("levy").metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o700);
    if testkit::root_can_judge() {
        assert_eq!((meta.uid(), meta.gid()), (OWNER, OWNER));
    }
    assert_eq!(testkit::names(&spool), ["levy"]);
}

#[test]
fn a_letter_over_the_size_for_memory_goes_through_the_spool_and_leaves_nothing_there() {
    let fixture = Fixture::two_users();
    let spool = fixture.dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let daemon = fixture.serve(&["--spool", spool.to_str().unwrap()]);
    let letter = format!("{}\r\n", "x".repeat(98)).repeat(20_000);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    peer.send(format!("{letter}.\r\n"));
    peer.expect("250 ");
    for user in ["levy", "bob"] {
        assert_eq!(fixture.letter(user), letter.replace("\r\n", "\n"));
    }
    assert_eq!(testkit::names(&spool).len(), 0);
    std::fs::remove_dir(&spool).unwrap();
    let mut peer = in_data(&daemon);
    peer.send(format!("{letter}.\r\n"));
    peer.expect("451 4.3.0 ");
    daemon.wait_log("spool: No such file or directory");
    assert_alive(&daemon);
}

#[test]
fn run_by_root_the_letter_belongs_to_the_user_of_the_users_file() {
    if !testkit::root_can_judge() {
        return; // An ordinary user cannot give files away; an ordinary user's are its own anyway.
    }
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    let owner = |path: &std::path::Path| {
        let meta = path.metadata().unwrap();
        (meta.uid(), meta.gid())
    };
    for (user, id) in [("levy", LEVY), ("bob", BOB)] {
        assert_eq!(owner(&fixture.maildir(user)), (id, id));
        assert_eq!(owner(&files(&fixture.maildir(user).join("new"))[0]), (id, id));
    }
}
