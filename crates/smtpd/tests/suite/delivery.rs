//! Into all mailboxes or into none, and never acknowledged before.

use crate::common::*;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
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

#[test]
fn a_mailbox_that_cannot_be_used_is_4xx_and_the_log_says_why() {
    let fixture = Fixture::new();
    // A file where the folder should be stops root as well.
    std::fs::create_dir(fixture.dir.path().join("levy")).unwrap();
    fixture.dir.file("levy/Maildir", "no folder");
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "451 4.3.0 ");
    daemon.wait_log("Not a directory");
    daemon.wait_log("letter refused id=");
    peer.ask("RCPT TO:<levy@red.test>", "503 ");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("bob"), "x\n");
}

#[test]
fn one_mailbox_that_cannot_be_used_keeps_the_letter_from_all() {
    for broken in ["levy", "bob"] {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.dir.path().join(broken)).unwrap();
        fixture.dir.file(&format!("{broken}/Maildir"), "no folder");
        let daemon = fixture.serve(&[]);
        let mut peer = to_both(&daemon);
        peer.send("DATA\r\n");
        if peer.line().starts_with(b"354 ") {
            peer.send("x\r\n.\r\n");
            peer.expect("451 4.3.0 ");
        }
        fixture.assert_nothing();
    }
}

#[test]
fn a_letter_that_cannot_be_published_to_the_last_is_taken_back_from_the_first() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    // bob's letter can be written to his tmp, and not be renamed into his new.
    let new = fixture.maildir("bob").join("new");
    std::fs::create_dir_all(fixture.maildir("bob").join("tmp")).unwrap();
    std::fs::create_dir_all(fixture.maildir("bob").join("cur")).unwrap();
    symlink("/proc", new).unwrap();
    peer.send("x\r\n.\r\n");
    peer.expect("451 4.3.0 ");
    assert_eq!(files(&fixture.maildir("levy").join("new")), Vec::<std::path::PathBuf>::new());
    assert_eq!(fixture.drafts("levy"), Vec::<std::path::PathBuf>::new());
    assert_eq!(fixture.drafts("bob"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_full_disk_is_452_and_leaves_nothing() {
    let fixture = Fixture::new();
    // The limit of a file's size stands for the full disk.
    let mut command = Command::new("/bin/sh");
    let users = fixture.users.display().to_string();
    command.args(["-c", "ulimit -f 100; exec \"$@\"", "sh", SMTPD]);
    let daemon = Daemon::spawn(command, &["--users", &users, "--hostname", "red.test"]);
    let mut peer = in_data(&daemon);
    peer.send(format!("{}\r\n", "x".repeat(998)).repeat(1000) + ".\r\n");
    peer.expect("452 4.3.1 ");
    peer.ask("NOOP", "250 ");
    fixture.assert_nothing();
    daemon.wait_log("File too large");
    assert_alive(&daemon);
}

#[test]
fn a_mail_pattern_says_where_letters_go() {
    let fixture = Fixture::new();
    let pattern = format!("{}/spool/%u/mail", fixture.dir.path().display());
    let daemon = fixture.serve(&["--mail", &pattern]);
    assert_alive(&daemon);
    assert_eq!(files(&fixture.dir.path().join("spool/levy/mail/new")).len(), 1);
}

#[test]
fn run_by_root_the_letter_belongs_to_the_owner_of_the_mailbox() {
    if !testkit::root_can_judge() {
        return; // An ordinary user cannot give files away; his own are his anyway.
    }
    let fixture = Fixture::new();
    let home = fixture.dir.path().join("levy");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(12345), Some(12346)).unwrap();
    let daemon = fixture.serve(&[]);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    let owner = |path: &std::path::Path| {
        let meta = path.metadata().unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner(&fixture.maildir("levy")), (12345, 12346));
    assert_eq!(owner(&files(&fixture.maildir("levy").join("new"))[0]), (12345, 12346));
    assert_eq!(owner(&files(&fixture.maildir("bob").join("new"))[0]), (0, 0));
    // A link that the user makes leads to nothing that he could not reach himself.
    std::fs::remove_dir_all(fixture.maildir("levy").join("tmp")).unwrap();
    let target = fixture.dir.path().join("root-only");
    std::fs::create_dir(&target).unwrap();
    symlink(&target, fixture.maildir("levy").join("tmp")).unwrap();
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("DATA", "451 4.3.0 ");
    daemon.wait_log("Permission denied");
}

#[test]
fn run_by_root_a_link_in_the_place_of_a_draft_tells_the_others_nothing() {
    if !testkit::root_can_judge() {
        return; // An ordinary user's server reads nothing that he could not read himself.
    }
    let fixture = Fixture::new();
    for (user, id) in [("levy", 12345), ("bob", 12346)] {
        let home = fixture.dir.path().join(user);
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(id), Some(id)).unwrap();
    }
    let secret = fixture.dir.file("secret", "root's alone".repeat(100));
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = fixture.serve(&[]);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    let draft = fixture.drafts("levy").remove(0);
    std::fs::remove_file(&draft).unwrap();
    symlink(&secret, &draft).unwrap();
    peer.send("x\r\n.\r\n");
    peer.expect("451 4.3.0 ");
    daemon.wait_log("Permission denied");
    assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (0, 0));
    assert_eq!(fixture.drafts("bob").len(), 0);
}

#[test]
fn a_draft_that_was_cut_short_meanwhile_is_no_letter_for_the_others() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = to_both(&daemon);
    peer.ask("DATA", "354 ");
    let draft = fixture.drafts("levy").remove(0);
    std::fs::remove_file(&draft).unwrap();
    std::fs::write(&draft, "short").unwrap();
    peer.send("x\r\n.\r\n");
    peer.expect("451 4.3.0 ");
    fixture.assert_nothing();
}
