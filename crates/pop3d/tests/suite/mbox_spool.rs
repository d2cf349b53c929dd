//! mboxes in a folder as /var/mail is: root's, where a group can make files.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use nix::errno::Errno;
use nix::libc;
use testkit::{Daemon, Injected, Peer, TempDir, names, root_can_judge, wait_until};

use crate::common::{OWNER, start, users_file};
use crate::mbox::{Server, lock_process, mbox_of};
use crate::separation::{ids_of, mailbox_of};

/// The group that may make files in the folder of mailboxes.
const MAIL: u32 = 61_008;
/// Another user of mailboxes.
const BOB: u32 = 61_002;

/// A server with a folder as /var/mail is: root's, where a group can make files; and what mrose and bob have
/// there.
fn spool_server(mode: u32) -> Server {
    let dir = TempDir::new();
    let lines = format!(
        "mrose:{{PLAIN}}tanstaaf:{OWNER}:{OWNER}:Rose:/none:\nbob:{{PLAIN}}x:{BOB}:{BOB}:Bob:/none:\n"
    );
    let users = users_file(&dir, &lines);
    let spool = dir.path().join("mail");
    fs::create_dir(&spool).unwrap();
    chown(&spool, Some(0), Some(MAIL)).unwrap();
    set_permissions(&spool, Permissions::from_mode(mode)).unwrap();
    for (name, owner) in [("mrose", OWNER), ("bob", BOB)] {
        let path = dir.file(&format!("mail/{name}"), mbox_of(1..=3));
        chown(&path, Some(owner), Some(MAIL)).unwrap();
        set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
    }
    let mail = format!("mbox:{}/%u", spool.display());
    let daemon = start(&["--users", users.to_str().unwrap(), "--mail", &mail, "--auth-delay", "0"]);
    Server { dir, daemon }
}

#[test]
fn in_a_spool_of_roots_a_group_makes_the_locks_and_the_new_file() {
    if !root_can_judge() {
        return;
    }
    for mode in [0o2775, 0o3775, 0o775, 0o1777] {
        let server = spool_server(mode);
        let spool = server.dir.path().join("mail");
        let mut client = server.client();
        client.ask("STAT", "+OK 3 66");
        let other = login_as_bob(&server.daemon);
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        drop(other);
        assert_eq!(fs::read_to_string(spool.join("mrose")).unwrap(), mbox_of([2, 3]));
        let after = fs::metadata(spool.join("mrose")).unwrap();
        // Without the set-group-id bit and the group's rights the file's group cannot be kept.
        assert_eq!(
            (after.uid(), after.gid(), after.mode() & 0o777),
            (OWNER, MAIL, 0o660),
            "{mode:o}"
        );
        wait_until("bob's session has ended", || {
            names(&spool) == [".bob.pop3", ".mrose.pop3", "bob", "mrose"]
        });
    }
}

fn login_as_bob(daemon: &Daemon) -> Peer {
    let mut client = Peer::connect(daemon.addr());
    client.expect("+OK ");
    client.ask("USER bob", "+OK");
    client.ask("PASS x", "+OK");
    client
}

#[test]
fn a_spool_without_anything_looks_like_a_disk_that_is_not_mounted() {
    if !root_can_judge() {
        return;
    }
    let server = spool_server(0o2775);
    let spool = server.dir.path().join("mail");
    fs::remove_file(spool.join("mrose")).unwrap();
    let mut client = server.client();
    client.ask("STAT", "+OK 0 0");
    client.ask("QUIT", "+OK");
    for name in [".bob.pop3", ".mrose.pop3", "bob"] {
        let _ = fs::remove_file(spool.join(name)); // some were not made
    }
    server.refused("-ERR [SYS/TEMP]");
    server.daemon.wait_log("mrose: ");
    server.daemon.wait_log("is empty or cannot be read: is it mounted?");
    assert!(names(&spool).is_empty());
}

#[test]
fn the_process_that_reads_an_mbox_has_no_group_and_opens_nothing() {
    if !root_can_judge() {
        return;
    }
    let server = spool_server(0o2775);
    let mut client = server.client();
    let mailbox = mailbox_of(&server.daemon, &client);
    assert_eq!(ids_of(mailbox, "Uid:"), [&OWNER.to_string()[..]; 4]);
    assert_eq!(ids_of(mailbox, "Gid:"), [&OWNER.to_string()[..]; 4]);
    assert!(ids_of(mailbox, "Groups:").is_empty());
    let locks = lock_process(&server.daemon, &client);
    assert_eq!(ids_of(locks, "Uid:"), [&OWNER.to_string()[..]; 4]);
    assert_eq!(ids_of(locks, "Groups:"), [MAIL.to_string()]);
    {
        let mut injected = Injected::attach(mailbox);
        for name in ["bob", "mrose", "mrose.lock", ".mrose.pop3", "."] {
            let path = server.dir.path().join("mail").join(name);
            let path = injected.text(path.to_str().unwrap());
            for flags in [libc::O_RDONLY, libc::O_RDWR, libc::O_RDWR | libc::O_CREAT] {
                let arguments = [libc::AT_FDCWD as u64, path, flags as u64, 0o600];
                let opened = injected.call(libc::SYS_openat, &arguments);
                let refused = [Errno::EACCES, Errno::EISDIR, Errno::ENOENT];
                assert!(opened.is_err_and(|errno| refused.contains(&errno)), "{name}: {opened:?}");
            }
            let arguments = [libc::AT_FDCWD as u64, path, 0];
            assert!(injected.call(libc::SYS_unlinkat, &arguments).is_err(), "{name}");
        }
    }
    // The user's other processes cannot look into it, who could trace it then and have the group.
    let environment = format!("/proc/{locks}/environ");
    let mut cat = std::process::Command::new("cat");
    assert!(!cat.arg(&environment).uid(OWNER).gid(OWNER).output().unwrap().status.success());
    {
        // What has the group makes no socket, starts nothing and signals no process.
        let mut injected = Injected::attach(locks);
        let passwd = injected.text("/etc/passwd");
        let arguments = [libc::AT_FDCWD as u64, passwd, 0, 0];
        assert_eq!(injected.call(libc::SYS_openat, &arguments), Err(Errno::EACCES));
        for (call, arguments) in [
            (libc::SYS_execve, vec![passwd, 0, 0]),
            (libc::SYS_socket, vec![libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0]),
            (libc::SYS_setgid, vec![0]),
            (libc::SYS_kill, vec![u64::try_from(mailbox).unwrap(), libc::SIGKILL as u64]),
        ] {
            assert_eq!(injected.call(call, &arguments), Err(Errno::EPERM), "{call}");
        }
    }
    client.ask("STAT", "+OK 3 66");
}

#[test]
fn where_no_user_can_make_a_lock_none_is_served_and_the_log_says_why() {
    if !root_can_judge() {
        return;
    }
    let server = spool_server(0o755);
    let spool = server.dir.path().join("mail");
    server.daemon.wait_log(&format!("--mail: {}: no user can make a lock there", spool.display()));
    server.refused("-ERR [SYS/");
    server.daemon.wait_log("/.mrose.pop3: Permission denied");
    // Another user's file under this name.
    set_permissions(&spool, Permissions::from_mode(0o2775)).unwrap();
    chown(spool.join("mrose"), Some(BOB), None).unwrap();
    server.refused("-ERR [SYS/TEMP]");
    server.daemon.wait_log(&format!("mrose: belongs to uid {BOB}, not {OWNER}"));
}
