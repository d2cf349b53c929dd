//! Errors of the disk, and kill -9 between two system calls of UPDATE, by strace(1); all of them, and power cuts,
//! are tried by `make crash-pop3`.

use std::fs;

use testkit::{Daemon, TempDir, injected};

use crate::common::{LETTER, POP3D, TestServer, as_root, make_maildir, text, users_file};

/// A server whose system calls fail, or kill, as requested, with four letters; `None` without strace.
fn server(calls: &str, injection: &str) -> Option<TestServer> {
    let mut strace = injected(calls, &[injection])?;
    let dir = TempDir::new();
    let home = dir.path().join("mrose");
    make_maildir(&home.join("Maildir"));
    for number in 1..=4 {
        dir.file(&format!("mrose/Maildir/new/{number}.a.test"), LETTER);
    }
    let users = users_file(&dir, &format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", home.display()));
    strace.arg(POP3D);
    let mut args = vec!["--users".to_owned(), users.to_str().unwrap().to_owned()];
    args.extend(as_root());
    let daemon = Daemon::spawn(strace, &args);
    Some(TestServer { dir, daemon })
}

/// Marks letters 1 to 3, says QUIT, and returns the replies.
fn update(server: &TestServer) -> String {
    let mut client = server.mrose();
    for number in 1..=3 {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    client.send("QUIT\r\n");
    text(&client.rest())
}

#[test]
fn removals_that_cannot_be_synced_are_err_with_a_line_of_the_log_and_the_lock_is_free() {
    for (error, reason) in [
        ("EIO", "Input/output error"),
        ("ENOSPC", "No space left on device"),
        ("EDQUOT", "Disk quota exceeded"),
    ] {
        let Some(server) = server("fsync", &format!("fsync:error={error}")) else { return };
        assert_eq!(
            update(&server),
            "-ERR [SYS/TEMP] deleted messages may be back after a power failure\r\n",
            "{error}"
        );
        assert_eq!(server.letters(), ["4.a.test"]);
        server.daemon.wait_log(&format!("Maildir/new: {reason}"));
        assert!(server.daemon.log().contains(": mrose: fsync "), "{}", server.daemon.log());
        server.mrose().ask("STAT", "+OK 1 22");
    }
}

#[test]
fn kill_9_between_two_removals_leaves_each_letter_whole_or_gone_and_the_lock_free() {
    // The parent has removed a folder before, so that it makes the first such call. It makes no fsync.
    for (call, number, left) in [("unlinkat", 2, 3), ("unlinkat", 3, 2), ("fsync", 1, 1)] {
        let injection = format!("{call}:signal=KILL:when={number}");
        let Some(server) = server(call, &injection) else { return };
        assert_eq!(update(&server), "", "{injection}");
        let letters = server.letters();
        assert!(letters.contains(&"4.a.test".to_owned()) && letters.len() == left, "{letters:?}");
        for letter in letters {
            assert_eq!(
                fs::read(server.maildir().join("new").join(letter)).unwrap(),
                LETTER.as_bytes()
            );
        }
        server.mrose().ask("STAT", &format!("+OK {left} {}\r\n", 22 * left));
    }
}

#[test]
fn a_folder_that_cannot_be_read_to_its_end_is_a_temporary_error_and_no_endless_loop() {
    for number in 1..=7 {
        let injection = format!("getdents64:error=EIO:when={number}+");
        let Some(server) = server("getdents64", &injection) else { return };
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.send("PASS tanstaaf\r\nDELE 1\r\nQUIT\r\n");
        let replies = text(&client.rest());
        if replies.starts_with("+OK") {
            assert_eq!(server.letters().len(), 3, "{replies}");
        } else {
            assert!(replies.starts_with("-ERR [SYS/TEMP] "), "{replies}");
            server.daemon.wait_log("Input/output error");
        }
    }
}

#[test]
fn a_letter_that_cannot_be_read_is_logged_with_client_user_and_reason() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    let letter = server.maildir().join("new/1.a.test");
    fs::remove_file(&letter).unwrap();
    fs::create_dir(&letter).unwrap();
    client.ask("RETR 1", "-ERR [SYS/");
    let peer = client.stream().local_addr().unwrap();
    server.daemon.wait_log(&format!("{peer}: mrose: message 1: open {}: ", letter.display()));
}
