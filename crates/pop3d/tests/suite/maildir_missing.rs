//! What is missing is never told as an empty maildrop, because a client then forgets which letters it has.

use std::fs;

use testkit::{TempDir, root_can_judge};

use crate::common::{LETTER, OWNER, TestServer, give, make_maildir};

/// Logs mrose in; returns the reply.
fn login(server: &TestServer) -> String {
    let mut client = server.client();
    client.ask("USER mrose", "+OK");
    client.send("PASS tanstaaf\r\n");
    String::from_utf8(client.line()).unwrap()
}

/// Checks that the login is a temporary error and the log warns of it.
fn check_temporary(server: &TestServer, reason: &str) {
    let reply = login(server);
    assert!(reply.starts_with("-ERR [SYS/TEMP] "), "{reply}");
    server.daemon.wait_log(reason);
    let log = server.daemon.log();
    assert!(log.lines().any(|line| line.contains(reason) && line.contains(" WARN ")), "{log}");
}

#[test]
fn a_home_that_is_away_is_temporary_and_its_mail_is_there_afterwards() {
    let server = TestServer::new(&[LETTER]);
    let (home, away) = (server.path("mrose"), server.path("away"));
    fs::rename(&home, &away).unwrap();
    check_temporary(&server, "mrose: No such file or directory");
    fs::rename(&away, &home).unwrap();
    assert!(login(&server).starts_with("+OK maildrop has 1 message "));
}

#[test]
fn a_folder_on_the_way_to_the_maildir_that_is_away_is_temporary() {
    let server = TestServer::with(&[], &["--mail", "~/mail/Maildir"], "");
    check_temporary(&server, "mrose/mail: No such file or directory");
    make_maildir(&server.path("mrose/mail/Maildir"));
    assert!(login(&server).starts_with("+OK maildrop has 0 messages "));
}

#[test]
fn a_maildir_without_new_or_cur_is_temporary() {
    let server = TestServer::new(&[LETTER]);
    for part in ["new", "cur"] {
        let (there, away) = (server.maildir().join(part), server.maildir().join("away"));
        fs::rename(&there, &away).unwrap();
        check_temporary(&server, &format!("Maildir/{part}: No such file or directory"));
        fs::rename(&away, &there).unwrap();
    }
    assert!(login(&server).starts_with("+OK maildrop has 1 message "));
}

#[test]
fn a_new_user_with_a_home_has_an_empty_maildrop() {
    let server = TestServer::new(&[]);
    fs::rename(server.maildir(), server.path("away")).unwrap();
    assert!(login(&server).starts_with("+OK maildrop has 0 messages "));
    give(&server.path("mrose"));
    assert!(login(&server).starts_with("+OK maildrop has 0 messages "));
    server.daemon.wait_log("mrose/Maildir: no mailbox yet");
    assert!(!server.maildir().exists(), "nothing is made");
}

#[test]
fn a_new_user_is_one_whose_spool_has_other_mailboxes_and_an_empty_spool_is_a_disk_that_is_away() {
    let spool = TempDir::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    let pattern = format!("{}/spool/%u", spool.path().display());
    let server = TestServer::with(&[], &["--mail", &pattern], "");
    fs::set_permissions(spool.path(), mode).unwrap();
    check_temporary(&server, "spool: No such file or directory");
    fs::create_dir(spool.path().join("spool")).unwrap();
    check_temporary(&server, "spool is empty or cannot be read: is it mounted?");
    make_maildir(&spool.path().join("spool/another"));
    assert!(login(&server).starts_with("+OK maildrop has 0 messages "));
    make_maildir(&spool.path().join("spool/mrose"));
    assert!(login(&server).starts_with("+OK maildrop has 0 messages "));
}

#[test]
fn a_part_of_a_maildir_that_cannot_be_read_is_an_error() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    for part in ["new", "cur"] {
        let path = server.maildir().join(part);
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&path, closed).unwrap();
        let reply = login(&server);
        assert!(reply.starts_with("-ERR [SYS/PERM] "), "{reply}");
        server.daemon.wait_log(&format!("Maildir/{part}: Permission denied"));
        std::os::unix::fs::chown(&path, Some(OWNER), Some(OWNER)).unwrap();
    }
    assert!(login(&server).starts_with("+OK maildrop has 1 message "));
}

#[test]
fn a_link_in_place_of_a_part_of_a_maildir_is_an_error_and_not_followed() {
    let server = TestServer::new(&[LETTER]);
    for part in ["new", "cur"] {
        let (there, away) = (server.maildir().join(part), server.maildir().join("away"));
        fs::rename(&there, &away).unwrap();
        std::os::unix::fs::symlink(&away, &there).unwrap();
        let reply = login(&server);
        assert!(reply.starts_with("-ERR [SYS/PERM] "), "{reply}");
        fs::remove_file(&there).unwrap();
        fs::rename(&away, &there).unwrap();
    }
}

#[test]
fn a_home_of_another_user_is_no_home_of_a_new_user() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[]);
    fs::rename(server.maildir(), server.path("away")).unwrap();
    std::os::unix::fs::chown(server.path("mrose"), Some(OWNER + 1), None).unwrap();
    check_temporary(&server, &format!("mrose belongs to uid {}", OWNER + 1));
}
