//! AUTHORIZATION (RFC 1939 §4, §7): who gets in, and the replies to the others.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::common::{
    HASH, LETTER, TestServer, give, make_maildir, start, text, until_dot, users_file,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pop3d::protocol::apop;
use testkit::{Peer, children, wait_until, within_once};

#[test]
fn case_60_a_password_with_spaces_also_at_its_end_works() {
    let users = "a:{PLAIN} two  words ::::HOME/a:\n";
    let server = TestServer::with(&[], &["--auth-delay", "0"], users);
    fs::create_dir(server.path("a")).unwrap();
    let mut client = server.client();
    client.ask("USER a", "+OK");
    client.ask("PASS  two  words", "-ERR [AUTH] ");
    client.ask("USER a", "+OK");
    client.ask("PASS  two  words ", "+OK");
}

#[test]
fn a_hashed_password_works_and_a_locked_field_lets_nobody_in() {
    let users = format!("h:{HASH}:::h:HOME/h:\nl:*:::l:HOME/l:\ne::::e:HOME/e:\n");
    let server = TestServer::with(&[], &["--auth-delay", "0"], &users);
    fs::create_dir(server.path("h")).unwrap();
    let mut client = server.client();
    for (name, password) in [("h", "wrong"), ("h", HASH), ("l", "*"), ("e", "x")] {
        client.ask(&format!("USER {name}"), "+OK");
        client.ask(&format!("PASS {password}"), "-ERR [AUTH] ");
    }
    client.ask("USER h", "+OK");
    client.ask("PASS tanstaaf", "+OK maildrop has 0 messages");
    server.daemon.wait_log("login of 'l' failed (PASS)");
    server.daemon.wait_log("h logged in");
}

#[test]
fn the_log_tells_a_field_of_an_unknown_form_and_keeps_it_to_itself() {
    let users = "w:wordonly:::w:HOME/w:\ny:$y$j9T$abc:::y:HOME/y:\nl:!$6$x:::l:HOME/l:\n";
    let server = TestServer::with(&[], &["--auth-delay", "0"], users);
    let mut client = server.client();
    for (name, password) in [("w", "wordonly"), ("l", "other"), ("y", "other")] {
        client.ask(&format!("USER {name}"), "+OK");
        client.ask(&format!("PASS {password}"), "-ERR [AUTH] ");
    }
    let users = server.path("users").display().to_string();
    server.daemon.wait_log(&format!("users {users}:2: the password is no $6$, $5$, "));
    server.daemon.wait_log(&format!("users {users}:3: the password's hash is malformed"));
    server.daemon.wait_log("login of 'w': the password is no $6$, $5$, ");
    server.daemon.wait_log("login of 'y': the password's hash is malformed");
    let log = server.daemon.log();
    assert!(!log.contains("login of 'l': ") && !log.contains("wordonly"), "{log}");
}

#[test]
fn case_61_unknown_user_and_wrong_password_get_the_same_reply_after_the_same_time() {
    // Half a second is longer than any of the checks takes, also without optimisation.
    let users = format!("h:{HASH}:::h:HOME/h:\nl:*:::l:HOME/l:\n");
    let server = TestServer::with(&[], &["--auth-delay", "0.5"], &users);
    let mut replies = Vec::new();
    for name in ["mrose", "h", "l", "nobody"] {
        within_once(Duration::from_millis(900), || {
            let mut client = server.client();
            client.ask(&format!("USER {name}"), "+OK");
            let start = Instant::now();
            replies.push(client.ask("PASS wrong", "-ERR [AUTH] "));
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(500), "{name}: {took:?}");
            took
        });
    }
    replies.dedup();
    assert_eq!(replies.len(), 1);
}

#[test]
fn the_fifth_failed_login_closes_the_connection() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    for _ in 0..4 {
        client.ask("USER mrose", "+OK");
        client.ask("PASS wrong", "-ERR [AUTH] ");
    }
    client.ask("USER mrose", "+OK");
    client.send("PASS wrong\r\nUSER mrose\r\nPASS tanstaaf\r\n");
    assert_eq!(text(&client.rest()), "-ERR [AUTH] too many failed logins, goodbye\r\n");
    server.daemon.wait_log("5 failed logins, session ended");
}

#[test]
fn case_62_apop_takes_the_digest_over_this_sessions_timestamp() {
    let server = TestServer::new(&[LETTER]);
    let mut stamps = Vec::new();
    for _ in 0..2 {
        let mut client = Peer::connect(server.daemon.addr());
        let greeting = client.expect("+OK ");
        let stamp = text(apop::timestamp_in(&greeting).unwrap());
        client.ask(&format!("APOP mrose {}", apop::digest("<1.2@h>", b"tanstaaf")), "-ERR [AUTH]");
        client.ask(&format!("APOP mrose {}", apop::digest(&stamp, b"wrong")), "-ERR [AUTH]");
        client.ask(&format!("APOP nobody {}", apop::digest(&stamp, b"tanstaaf")), "-ERR [AUTH]");
        client.ask("APOP mrose", "-ERR");
        client.ask(&format!("apop mrose {}", apop::digest(&stamp, b"tanstaaf")), "+OK");
        client.ask("STAT", "+OK 1 22");
        client.ask("QUIT", "+OK");
        stamps.push(stamp);
    }
    assert_ne!(stamps[0], stamps[1]);
}

#[test]
fn without_a_plain_secret_apop_is_neither_offered_nor_taken() {
    let dir = testkit::TempDir::new();
    let line = format!("mrose:{HASH}:::Rose:{}:\n", dir.path().display());
    let daemon = start(&["--users", users_file(&dir, &line).to_str().unwrap()]);
    let mut client = Peer::connect(daemon.addr());
    assert!(!text(&client.expect("+OK ")).contains('<'));
    client.ask("APOP mrose c4c9334bac560ecc979e58001b3e22fb", "-ERR APOP is not offered here");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
}

#[test]
fn case_74_plaintext_never_is_told_by_capa_and_by_user() {
    let server = TestServer::with(&[], &["--plaintext", "never"], "");
    let mut client = server.client();
    client.ask("CAPA", "+OK");
    assert!(!until_dot(&mut client).contains(&"USER".to_owned()));
    client.ask("USER mrose", "-ERR plaintext login");
    client.ask("PASS tanstaaf", "-ERR plaintext login");
    let server = TestServer::with(&[], &["--plaintext", "always"], "");
    let mut client = server.mrose();
    client.ask("CAPA", "+OK");
    assert!(until_dot(&mut client).contains(&"USER".to_owned()));
}

#[test]
fn case_63_a_second_session_is_told_in_use_also_by_another_name_of_the_folder() {
    let server = TestServer::new(&[LETTER]);
    let users = fs::read_to_string(server.path("users")).unwrap();
    let home = server.path("mrose/."); // the same folder
    let other = format!("{users}other:{{PLAIN}}x:::o:{}:\n", home.display());
    fs::write(server.path("users"), other).unwrap();

    let mut first = server.mrose();
    let mut second = server.client();
    second.ask("USER mrose", "+OK");
    second.ask("PASS tanstaaf", "-ERR [IN-USE] ");
    second.ask("USER other", "+OK");
    second.ask("PASS x", "-ERR [IN-USE] ");
    first.ask("STAT", "+OK 1 22");
    first.ask("QUIT", "+OK");
    // The lock was free before the reply to QUIT was sent.
    second.ask("USER other", "+OK");
    second.ask("PASS x", "+OK");
}

#[test]
fn case_63_the_lock_is_free_after_a_drop_a_reset_and_kill_9() {
    let server = TestServer::new(&[LETTER]);
    drop(server.mrose());
    server.mrose().reset();
    let mut client = server.mrose();
    let child = server.daemon.server_of(&client);
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert!(client.is_closed());
    let mut client = server.mrose();
    client.ask("STAT", "+OK 1 22");
    client.ask("QUIT", "+OK");
    wait_until("no child is left", || children(server.daemon.pid()).is_empty());
}

#[test]
fn case_92_a_users_file_that_vanishes_is_a_temporary_failure_and_its_return_is_seen() {
    let server = TestServer::new(&[LETTER]);
    let (users, away) = (server.path("users"), server.path("away"));
    fs::rename(&users, &away).unwrap();
    let mut client = server.client();
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "-ERR [SYS/TEMP] ");
    let reason = format!("login of 'mrose': users {}: No such file", users.display());
    server.daemon.wait_log(&reason);
    fs::create_dir(&users).unwrap();
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "-ERR [SYS/TEMP] ");
    fs::remove_dir(&users).unwrap();
    fs::rename(&away, &users).unwrap();
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
}

#[test]
fn case_92_a_maildir_that_cannot_be_read_is_told_apart_and_logged_with_peer_and_reason() {
    let users = "f:{PLAIN}x:::f:HOME/f:\nd:{PLAIN}x:::d:HOME/d:\nc:{PLAIN}x:::c:HOME/c:\n\
                 r:{PLAIN}x:::r:relative:\n";
    let server = TestServer::with(&[], &["--auth-delay", "0"], users);
    for home in ["f", "d", "c/Maildir/new"] {
        fs::create_dir_all(server.path(home)).unwrap();
    }
    fs::write(server.path("f/Maildir"), "a file").unwrap();
    symlink(server.path("nowhere"), server.path("d/Maildir")).unwrap();
    fs::write(server.path("c/Maildir/cur"), "a file").unwrap();
    give(&server.path("c/Maildir"));
    let mut client = server.client();
    let peer = client.stream().local_addr().unwrap();
    for (name, reason) in [
        ("f", "f/Maildir: Not a directory"),
        ("d", "d/Maildir: Too many levels of symbolic links"),
        ("c", "c/Maildir/cur: Not a directory"),
        ("r", "tells no home, or not from /"),
    ] {
        client.ask(&format!("USER {name}"), "+OK");
        client.ask("PASS x", "-ERR [SYS/PERM] ");
        let told = |line: &str| line.contains(&format!("{peer}: login of '{name}'"));
        wait_until(&format!("the log tells of {name}"), || {
            let log = server.daemon.log();
            log.lines().any(|line| told(line) && line.ends_with(reason))
        });
    }
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
}

#[test]
fn a_maildir_that_does_not_exist_yet_is_an_empty_maildrop_and_is_not_made() {
    let server = TestServer::with(&[], &[], "n:{PLAIN}x:::n:HOME/n:\n");
    fs::create_dir(server.path("n")).unwrap();
    let mut client = server.client();
    client.ask("USER n", "+OK");
    client.ask("PASS x", "+OK maildrop has 0 messages (0 octets)");
    client.ask("LIST", "+OK");
    assert!(until_dot(&mut client).is_empty());
    client.ask("QUIT", "+OK");
    assert!(testkit::names(&server.path("n")).is_empty());
}

#[test]
fn case_92_a_home_that_is_not_there_is_a_temporary_failure_and_nothing_is_made() {
    let users = "n:{PLAIN}x:::n:HOME/disk/n:\n";
    for pattern in ["~/Maildir", "~"] {
        let server = TestServer::with(&[], &["--mail", pattern], users);
        let mut client = server.client();
        for there in ["nothing", "disk"] {
            if there == "disk" {
                fs::create_dir(server.path("disk")).unwrap();
            }
            client.ask("USER n", "+OK");
            client.ask("PASS x", "-ERR [SYS/TEMP] the maildrop cannot be opened");
            let what = if there == "disk" { "disk/n" } else { "disk" };
            let missing = server.path(what).display().to_string();
            let told = format!("login of 'n': {missing}: No such file or directory");
            server.daemon.wait_log(&told);
        }
        assert!(testkit::names(&server.path("disk")).is_empty());
    }
}

#[test]
fn mail_may_lie_by_name_and_a_name_cannot_leave_the_folder() {
    let dir = testkit::TempDir::new();
    let pattern = format!("{}/%u/box", dir.path().display());
    let users = "a:{PLAIN}x\n..:{PLAIN}x\nb/c:{PLAIN}x\n";
    let server = TestServer::with(&[], &["--mail", &pattern], users);
    make_maildir(&dir.path().join("a/box"));
    dir.file("a/box/new/1.a", LETTER);
    let mut client = server.client();
    for name in ["..", "b/c"] {
        client.ask(&format!("USER {name}"), "+OK");
        client.ask("PASS x", "-ERR [SYS/PERM] ");
    }
    client.ask("USER a", "+OK");
    client.ask("PASS x", "+OK maildrop has 1 message");
}

#[test]
fn the_transcript_holds_the_dialogue_and_no_secret() {
    let dir = testkit::TempDir::new();
    let file = dir.path().join("transcript");
    let server = TestServer::with(&[LETTER], &["--transcript", file.to_str().unwrap()], "");
    let mut client = server.mrose();
    client.ask("RETR 1", "+OK");
    until_dot(&mut client);
    client.ask("QUIT", "+OK");
    let mut client = server.client();
    client.ask("APOP mrose c4c9334bac560ecc979e58001b3e22fb", "-ERR");
    client.ask("QUIT", "+OK");
    let transcript = fs::read_to_string(&file).unwrap();
    for line in [
        "C: PASS ********\n",
        "C: APOP mrose ********\n",
        "C: RETR 1\n",
        "S: +OK 22 octets\n",
        "S: Subject: one\n",
        "S: .\n",
        "C: QUIT\n",
    ] {
        assert!(transcript.contains(line), "{line}: {transcript}");
    }
    assert!(!transcript.contains("tanstaaf") && !transcript.contains("c4c9334b"));
    assert!(!server.daemon.log().contains("tanstaaf"));
}
