//! `--login-delay` (RFC 2449 §6.5, §8.1.1).

use std::fs;
use std::time::{Duration, Instant};

use testkit::{MODELS, Peer, children, each_model, processes, title, wait_until};

use crate::common::{LETTER, TestServer, give};
use crate::separation::mailbox_of;

fn log_in(server: &TestServer, name: &str, password: &str, expected: &str) -> Peer {
    let mut client = server.client();
    client.ask(&format!("USER {name}"), "+OK");
    client.ask(&format!("PASS {password}"), expected);
    client
}

#[test]
fn case_89_a_second_login_within_the_delay_gets_login_delay() {
    each_model(&MODELS, |model| {
        let options = ["-m", model, "-n", "2", "--login-delay", "600", "--auth-delay", "0"];
        let users = "bob:{PLAIN}x:::b:HOME/bob:\n";
        let server = TestServer::with(&[LETTER], &options, users);
        fs::create_dir(server.path("bob")).unwrap();
        give(&server.path("bob"));
        // Neither a wrong password nor a right one that comes too soon counts, and the replies differ.
        drop(log_in(&server, "mrose", "wrong", "-ERR [AUTH] "));
        let mut first = log_in(&server, "mrose", "tanstaaf", "+OK");
        first.ask("QUIT", "+OK");
        drop(first);
        drop(log_in(&server, "mrose", "wrong", "-ERR [AUTH] "));
        let mut again = log_in(&server, "MRose", "tanstaaf", "-ERR [LOGIN-DELAY] ");
        again.ask("STAT", "-ERR");
        again.ask("AUTH PLAIN AG1yb3NlAHRhbnN0YWFm", "-ERR [LOGIN-DELAY] ");
        drop(again);
        drop(log_in(&server, "bob", "x", "+OK"));
        drop(log_in(&server, "bob", "x", "-ERR [LOGIN-DELAY] "));
        server.daemon.wait_log("login of 'bob': too soon after the last one (--login-delay)");
    });
}

#[test]
fn case_89_after_the_delay_the_user_gets_in_again() {
    let server = TestServer::with(&[LETTER], &["--login-delay", "1", "--auth-delay", "0"], "");
    let start = Instant::now();
    drop(log_in(&server, "mrose", "tanstaaf", "+OK"));
    wait_until("the delay is over", || {
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.send("PASS tanstaaf\r\n");
        client.line().starts_with(b"+OK")
    });
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn case_89_the_delay_begins_with_the_login_and_not_with_its_session_s_end() {
    let server = TestServer::with(&[LETTER], &["--login-delay", "1", "--auth-delay", "0"], "");
    let mut first = log_in(&server, "mrose", "tanstaaf", "+OK");
    // The delay is looked at before the maildrop, which the first session has.
    wait_until("the delay is over, before the session is", || {
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.send("PASS tanstaaf\r\n");
        client.line().starts_with(b"-ERR [IN-USE]")
    });
    first.ask("QUIT", "+OK");
    drop(first);
    drop(log_in(&server, "mrose", "tanstaaf", "+OK"));
}

#[test]
fn case_89_a_login_that_found_no_mailbox_does_not_count() {
    let options = ["--login-delay", "600", "--auth-delay", "0"];
    let server = TestServer::with(&[LETTER], &options, "");
    let (home, away) = (server.path("mrose"), server.path("away"));
    fs::rename(&home, &away).unwrap();
    for _ in 0..2 {
        drop(log_in(&server, "mrose", "tanstaaf", "-ERR [SYS/TEMP] "));
    }
    fs::rename(&away, &home).unwrap();
    drop(log_in(&server, "mrose", "tanstaaf", "+OK"));
    drop(log_in(&server, "mrose", "tanstaaf", "-ERR [LOGIN-DELAY] "));
}

#[test]
fn case_89_no_process_is_left_that_could_note_a_login() {
    let options = ["--login-delay", "600", "--auth-delay", "0"];
    let users = "bob:{PLAIN}x:::b:HOME/bob:\n"; // whose home is not there
    let server = TestServer::with(&[LETTER], &options, users);
    let client = log_in(&server, "mrose", "tanstaaf", "+OK");
    assert!(children(mailbox_of(&server.daemon, &client)).is_empty());
    drop(log_in(&server, "bob", "x", "-ERR [SYS/TEMP] "));
    let log = fs::read_link(format!("/proc/{}/fd/2", server.daemon.pid())).unwrap();
    let is_ours = |pid: &i32| fs::read_link(format!("/proc/{pid}/fd/2")).is_ok_and(|it| it == log);
    wait_until("no process checks a login", || {
        !processes().filter(is_ours).any(|pid| title(pid) == "pop3d: a login")
    });
}

#[test]
fn case_89_without_the_option_there_is_no_delay() {
    let server = TestServer::new(&[LETTER]);
    for _ in 0..3 {
        log_in(&server, "mrose", "tanstaaf", "+OK").ask("QUIT", "+OK");
    }
}
