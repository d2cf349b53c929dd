//! TRANSACTION and UPDATE (RFC 1939 §5 to §7).

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::common::{LETTER, TestServer, text, until_dot};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use testkit::{Peer, children, judged_within, names, wait_until};

fn listing(client: &mut Peer, command: &str) -> Vec<String> {
    client.ask(command, "+OK");
    until_dot(client)
}

#[test]
fn case_46_an_empty_maildrop_gives_ok_and_a_dot() {
    let server = TestServer::new(&[]);
    let mut client = server.mrose();
    assert!(listing(&mut client, "LIST").is_empty());
    assert!(listing(&mut client, "UIDL").is_empty());
    client.ask("STAT", "+OK 0 0\r\n");
    for command in ["LIST 1", "UIDL 1", "RETR 1", "DELE 1", "TOP 1 0"] {
        client.ask(command, "-ERR no such message, only 0 messages in maildrop");
    }
    client.ask("QUIT", "+OK");
}

#[test]
fn case_47_dele_leaves_out_without_renumbering_and_rset_revives_all() {
    let server = TestServer::new(&[LETTER, "A: b\n\n", LETTER]);
    let mut client = server.mrose();
    client.ask("DELE 2", "+OK message 2 deleted");
    assert_eq!(listing(&mut client, "LIST"), ["1 22", "3 22"]);
    assert_eq!(listing(&mut client, "UIDL"), ["1 1.a.test", "3 3.a.test"]);
    client.ask("STAT", "+OK 2 44");
    for command in ["RETR 2", "TOP 2 0", "LIST 2", "UIDL 2", "DELE 2"] {
        client.ask(command, "-ERR message 2 already deleted");
    }
    client.ask("RSET", "+OK");
    client.ask("STAT", "+OK 3 52");
    client.ask("LIST 2", "+OK 2 8\r\n");
    client.ask("UIDL 2", "+OK 2 2.a.test\r\n");
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters().len(), 3);
}

#[test]
fn case_49_numbers_that_are_none_are_refused() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    for number in ["0", "2", "-1", "1x", "4294967297", "18446744073709551617", "", "one"] {
        for command in ["RETR", "DELE", "LIST", "UIDL"] {
            if number.is_empty() && matches!(command, "LIST" | "UIDL") {
                continue;
            }
            client.ask(&format!("{command} {number}"), "-ERR");
        }
    }
    client.ask("TOP 1", "-ERR");
    client.ask("TOP 1 -1", "-ERR");
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn case_51_unique_ids_stay_through_flags_moves_aborted_sessions_and_a_restart() {
    let server = TestServer::new(&[LETTER, LETTER, LETTER]);
    let before = listing(&mut server.mrose(), "UIDL");
    let (new, cur) = (server.maildir().join("new"), server.maildir().join("cur"));
    fs::rename(new.join("1.a.test"), cur.join("1.a.test:2,")).unwrap();
    fs::rename(new.join("3.a.test"), cur.join("3.a.test:2,S")).unwrap();
    let mut client = server.mrose();
    assert_eq!(listing(&mut client, "UIDL"), before);
    // Under way, too; and the message is still found.
    fs::rename(cur.join("1.a.test:2,"), cur.join("1.a.test:2,RS")).unwrap();
    assert_eq!(listing(&mut client, "UIDL"), before);
    assert_eq!(listing(&mut client, "RETR 1"), ["Subject: one", "", "body"]);
    fs::rename(cur.join("1.a.test:2,RS"), cur.join("1.a.test:2,FRS")).unwrap();
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(names(&cur), ["3.a.test:2,S"]);

    let ids: Vec<&str> = before.iter().map(|row| row.split(' ').nth(1).unwrap()).collect();
    assert!(ids.iter().all(|id| (1..=70).contains(&id.len())));
    let users = server.path("users");
    let again = crate::common::start(&["--users", users.to_str().unwrap()]);
    let mut client = Peer::connect(again.addr());
    client.expect("+OK");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    let after = listing(&mut client, "UIDL");
    assert_eq!(after, [format!("1 {}", ids[1]), format!("2 {}", ids[2])]);
}

#[test]
fn a_long_or_odd_name_has_an_id_of_its_own_within_the_limits() {
    let server = TestServer::new(&[]);
    let new = server.maildir().join("new");
    let odd = ["1.a b.test", "2.\u{e4}.test", "3.tab\t", "4.new\nline"].map(str::to_owned);
    let long = [format!("5.{}", "x".repeat(69)), format!("6.{}", "x".repeat(200))];
    for name in odd.iter().chain(&long) {
        fs::write(new.join(name), LETTER).unwrap();
    }
    let mut rows = listing(&mut server.mrose(), "UIDL");
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let id = row.split_once(' ').unwrap().1;
        assert!((1..=70).contains(&id.len()) && id.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    }
    rows.iter_mut().for_each(|row| *row = row.split_once(' ').unwrap().1.to_owned());
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), 6);
}

#[test]
fn case_57_a_message_that_vanished_is_an_err_and_the_session_lives() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let mut client = server.mrose();
    fs::remove_file(server.maildir().join("new/1.a.test")).unwrap();
    client.ask("RETR 1", "-ERR message 1 is gone");
    client.ask("TOP 1 1", "-ERR message 1 is gone");
    assert_eq!(listing(&mut client, "RETR 2"), ["Subject: one", "", "body"]);
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters(), ["2.a.test"]);
}

#[test]
fn case_58_mail_that_arrives_stays_unseen_and_is_kept() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    fs::write(server.maildir().join("new/0.late.test"), LETTER).unwrap();
    client.ask("STAT", "+OK 1 22");
    assert_eq!(listing(&mut client, "UIDL"), ["1 1.a.test"]);
    client.ask("RETR 2", "-ERR");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters(), ["0.late.test"]);
}

#[test]
fn what_is_no_regular_file_is_no_message() {
    let server = TestServer::new(&[LETTER]);
    let new = server.maildir().join("new");
    fs::write(new.join("2.b.test"), "x\n").unwrap();
    symlink(server.path("users"), new.join("3.link")).unwrap();
    mkfifo(&new.join("4.fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(new.join("5.folder")).unwrap();
    let mut client = server.mrose();
    assert_eq!(listing(&mut client, "LIST"), ["1 22", "2 3"]);
    client.ask("STAT", "+OK 2 25");
    // A message that turns into something else meanwhile is neither followed nor waited for.
    fs::remove_file(new.join("1.a.test")).unwrap();
    symlink(server.path("users"), new.join("1.a.test")).unwrap();
    client.ask("RETR 1", "-ERR");
    fs::remove_file(new.join("1.a.test")).unwrap();
    mkfifo(&new.join("1.a.test"), Mode::S_IRWXU).unwrap();
    client.ask("RETR 1", "-ERR");
    client.ask("NOOP", "+OK");
}

#[test]
fn case_65_without_quit_nothing_is_deleted_whatever_ends_the_session() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let marked = || {
        let mut client = server.mrose();
        client.ask("DELE 1", "+OK");
        client.ask("DELE 2", "+OK");
        client
    };
    drop(marked());
    marked().reset();
    let mut half = marked();
    half.send("QUIT");
    half.shutdown_write();
    assert!(half.rest().is_empty());
    let mut wrong = marked();
    wrong.ask("QUIT 1", "-ERR");
    drop(wrong);
    let mut killed = marked();
    let child = server.daemon.server_of(&killed);
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert!(killed.is_closed());
    assert_eq!(server.letters().len(), 2);
    let mut client = server.mrose();
    client.ask("STAT", "+OK 2 44");
    client.ask("QUIT", "+OK");
}

#[test]
fn case_65_kill_9_at_any_moment_loses_no_message_that_was_not_marked() {
    let letters = [LETTER; 40];
    let server = TestServer::new(&letters);
    let mut client = server.mrose();
    for number in (1..=40).step_by(2) {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    let child = server.daemon.server_of(&client);
    client.send("QUIT\r\n");
    let _ended_already = kill(Pid::from_raw(child), Signal::SIGKILL);
    assert!(client.is_closed());
    wait_until("the child is gone", || children(server.daemon.pid()).is_empty());
    let left = server.letters();
    for number in (2..=40).step_by(2) {
        assert!(left.contains(&format!("{number}.a.test")), "{number}: {left:?}");
    }
}

#[test]
fn case_67_the_reply_to_quit_comes_after_the_deletions() {
    let server = TestServer::new(&[LETTER; 50]);
    let mut client = server.mrose();
    let all: String = (1..=50).map(|number| format!("DELE {number}\r\n")).collect();
    client.send(all);
    for _ in 0..50 {
        client.expect("+OK");
    }
    let reply = text(&client.ask("QUIT", "+OK"));
    assert!(server.letters().is_empty());
    assert!(reply.ends_with("(maildrop empty)\r\n"), "{reply}");
    assert!(client.rest().is_empty());
    server
        .daemon
        .wait_log("mrose logged out: tls=none auth=PASS retr=0/0 top=0/0 dele=50/1100 left=0/0, ");
}

#[test]
fn case_66_a_message_that_cannot_be_unlinked_is_one_err_and_the_rest_is_deleted() {
    let server = TestServer::new(&[LETTER, LETTER, LETTER, LETTER]);
    let stuck = server.maildir().join("new/2.a.test");
    let mut client = server.mrose();
    for number in 1..=3 {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    client.send("QUIT\r\n");
    assert_eq!(text(&client.rest()), "-ERR [SYS/PERM] some deleted messages not removed\r\n");
    assert_eq!(server.letters(), ["2.a.test", "4.a.test"]);
    server.daemon.wait_log("unlink ");
    server.mrose(); // the lock is free nevertheless
}

#[test]
fn case_39_a_silent_client_is_dropped_without_a_word_and_nothing_is_deleted() {
    judged_within(Duration::from_secs(2), |watch| {
        let server = TestServer::with(&[LETTER], &["-t", "3"], "");
        let mut client = server.mrose();
        client.ask("DELE 1", "+OK");
        watch.stop();
        assert!(client.rest().is_empty());
        assert_eq!(server.letters().len(), 1);
        server.daemon.wait_log("was silent for too long");
    });
}

#[test]
fn five_hundred_letters_are_listed_in_order() {
    let server = TestServer::new(&[]);
    for number in 0..500 {
        let name =
            format!("new/{}.M{:06}P1Q{number}.h,S=19,W=22", 1_700_000_000 + number / 7, number);
        fs::write(server.maildir().join(name), LETTER).unwrap();
    }
    let mut client = server.mrose();
    let rows = listing(&mut client, "LIST");
    assert_eq!(rows.len(), 500);
    assert!(rows.iter().zip(1..).all(|(row, n)| *row == format!("{n} 22")));
    let ids = listing(&mut client, "UIDL");
    assert!(ids.iter().zip(0..).all(|(row, n): (_, i32)| row.contains(&format!("Q{n}.h"))));
}
