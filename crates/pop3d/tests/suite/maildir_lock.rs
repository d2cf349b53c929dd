//! The lock of a maildrop: one session at a time, and no other user can hold it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc::{F_RDLCK, SEEK_SET, flock};
use testkit::{NOBODY, copy_program, root_can_judge};

use crate::common::{LETTER, OWNER, TestServer};

fn login(server: &TestServer) -> String {
    let mut client = server.client();
    client.ask("USER mrose", "+OK");
    client.send("PASS tanstaaf\r\n");
    String::from_utf8(client.line()).unwrap()
}

#[test]
fn the_lock_is_a_file_that_its_owner_alone_can_open() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    let lock = fs::metadata(server.maildir().join("pop3d.lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o7777, 0o600);
    if root_can_judge() {
        assert_eq!(lock.uid(), OWNER);
    }
    assert!(login(&server).starts_with("-ERR [IN-USE] "));
    client.ask("QUIT", "+OK");
    assert!(login(&server).starts_with("+OK "));
}

#[test]
fn who_locks_the_folder_or_its_parts_holds_no_session_up() {
    let server = TestServer::new(&[LETTER]);
    let parts = ["", "new", "cur", "tmp"].map(|part| server.maildir().join(part));
    let locked = parts.map(|part| {
        let folder = File::open(part).unwrap();
        Flock::lock(folder, FlockArg::LockExclusiveNonblock).unwrap()
    });
    for _ in 0..2 {
        assert!(login(&server).starts_with("+OK maildrop has 1 message "));
    }
    drop(locked);
}

/// A lock on a whole file, which the right to read is enough for.
const WHOLE: flock =
    flock { l_type: F_RDLCK as i16, l_whence: SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
/// Where the attacker below finds the Maildir.
const ATTACKED: &str = "ATTACKED_MAILDIR";

/// Tries to lock each file and folder of a Maildir that all may read, and holds what it gets until its input ends. It is run
/// by the next test, as another user.
#[test]
#[ignore = "another test runs it"]
fn attacker() {
    let maildir = PathBuf::from(std::env::var_os(ATTACKED).unwrap());
    let held: Vec<_> = ["", "new", "cur", "tmp", "pop3d.lock", "pop3d.sizes"]
        .iter()
        .filter_map(|part| File::open(maildir.join(part)).ok())
        .map(|file| {
            let by_fcntl = fcntl(&file, FcntlArg::F_SETLK(&WHOLE)).is_ok();
            (Flock::lock(file, FlockArg::LockExclusiveNonblock), by_fcntl)
        })
        .collect();
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(held);
}

#[test]
fn another_user_who_may_read_the_maildir_cannot_hold_its_lock() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    let open = |path: &std::path::Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let program = server.path("attacker"); // where another user can run it
    copy_program(&std::env::current_exe().unwrap(), &program);
    open(&server.path("mrose"));
    ["", "new", "cur", "tmp"].iter().for_each(|part| open(&server.maildir().join(part)));
    for first in [true, false] {
        let mut command = Command::new(&program);
        command.args(["--exact", "maildir_lock::attacker", "--ignored", "--nocapture"]);
        command.env(ATTACKED, server.maildir()).uid(NOBODY).gid(NOBODY);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut attacker = command.spawn().unwrap();
        let mut said = BufReader::new(attacker.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().ends_with("held")));
        let reply = login(&server);
        assert!(reply.starts_with("+OK maildrop has 1 message "), "{first}: {reply}");
        drop(attacker.stdin.take());
        said.for_each(drop);
        attacker.wait().unwrap();
    }
}

#[test]
fn a_lock_file_of_another_user_is_replaced_and_holds_no_session_up() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    let path = server.maildir().join("pop3d.lock");
    let file = File::create(&path).unwrap(); // root's
    let _held = Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    assert!(file.as_raw_fd() > 2);
    let mut client = server.mrose();
    assert_eq!(fs::metadata(&path).unwrap().uid(), OWNER);
    assert!(login(&server).starts_with("-ERR [IN-USE] "));
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn in_a_maildir_in_which_nothing_can_be_made_sessions_work_and_exclude_each_other() {
    let server = TestServer::new(&[LETTER]);
    let rights = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(server.maildir(), rights(0o500)).unwrap();
    let mut client = server.mrose();
    if !fs::exists(server.maildir().join("pop3d.lock")).unwrap() {
        server.daemon.wait_log("pop3d.lock: Permission denied; the folder is locked in its place");
    }
    assert!(login(&server).starts_with("-ERR [IN-USE] "));
    client.ask("STAT", "+OK 1 22");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert!(server.letters().is_empty());
    fs::set_permissions(server.maildir(), rights(0o700)).unwrap();
}
