//! Prefork workers serve on after a right password: nothing of a client is left in them for the next one, and a
//! mailbox's process that was stopped or killed takes no other client along.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Authority, Image, Peer, TLS_VERSIONS, children, has_ended, holders, title, wait_until,
};

use crate::common::{LETTER, TestServer, give, make_maildir, until_dot};
use crate::separation::mailbox_of;
use crate::tls::Site;

/// What only levy may know: a password, one that was wrong, and the text of a letter.
const PASSWORD: &str = "canary-that-sings-for-levy-alone";
const WRONG: &str = "canary-that-sings-out-of-tune";
const TEXT: &str = "canary-in-a-letter-to-levy";
/// `\0levy\0` and the password, in base64.
const PLAIN: &str = "AGxldnkAY2FuYXJ5LXRoYXQtc2luZ3MtZm9yLWxldnktYWxvbmU=";

/// A server with one worker.
fn site() -> Site {
    let authority = Authority::new();
    let pair = authority.pair("mail.test").options();
    let mut options: Vec<&str> = pair.iter().map(String::as_str).collect();
    options.extend([
        "--tls-listen",
        "127.0.0.1:0",
        "--auth-delay",
        "0",
        "-m",
        "prefork",
        "-n",
        "1",
    ]);
    let users = format!("levy:{{PLAIN}}{PASSWORD}:::Levy:HOME/levy:\n");
    let server = TestServer::with(&[LETTER], &options, &users);
    let (home, maildir) = (server.path("levy"), server.path("levy/Maildir"));
    make_maildir(&maildir);
    let letter = maildir.join("new/1.a.test");
    fs::write(&letter, format!("Subject: {TEXT}\n\n{}", format!("{TEXT}\n").repeat(20_000)))
        .unwrap();
    [home, letter].iter().for_each(|path| give(path));
    let client = authority.client(&TLS_VERSIONS);
    Site { authority, server, client }
}

/// The process that talks to this client.
fn front_of(site: &Site, client: &Peer) -> i32 {
    let fronts = children(site.server.daemon.pid());
    let is_front = |pid: &i32| fronts.contains(pid);
    let mut found = None;
    wait_until("a worker holds the client", || {
        found = holders(site.server.daemon.addr(), client).into_iter().find(is_front);
        found.is_some()
    });
    found.unwrap()
}

/// The only worker, once it is idle.
fn worker(site: &Site) -> i32 {
    let mut found = None;
    wait_until("the worker is idle", || {
        let workers = children(site.server.daemon.pid());
        found = workers.into_iter().find(|pid| title(*pid) == "pop3d: worker, idle");
        found.is_some()
    });
    found.unwrap()
}

fn serves_levy(worker: i32, mut levy: Peer, log_in: fn(i32, &mut Peer)) {
    log_in(worker, &mut levy);
    levy.ask("RETR 1", "+OK");
    assert!(until_dot(&mut levy).len() > 20_000);
    levy.ask("QUIT", "+OK");
    assert!(levy.is_closed());
}

fn by_password(worker: i32, levy: &mut Peer) {
    levy.ask("USER levy", "+OK");
    levy.ask(&format!("PASS {WRONG}"), "-ERR [AUTH]");
    levy.ask("USER levy", "+OK");
    levy.send(format!("PASS {PASSWORD}"));
    wait_until("half a line is in the worker's memory, and can be found", || {
        !Image::of(worker).find(PASSWORD.as_bytes()).is_empty()
    });
    levy.ask("", "+OK");
}

fn by_sasl(_: i32, levy: &mut Peer) {
    levy.ask("AUTH PLAIN", "+ ");
    levy.ask(PLAIN, "+OK");
}

/// Serves levy; then the same worker must have nothing of what levy has typed or read.
fn check_left(site: &Site, how: &str, levy: impl Fn() -> Peer, log_in: fn(i32, &mut Peer)) {
    let before = worker(site);
    serves_levy(before, levy(), log_in);
    assert_eq!(worker(site), before, "{how}: the worker serves on");
    has_nothing_of_levy(before, how);
    let mut next = site.server.client();
    next.ask("USER mrose", "+OK");
    assert_eq!(front_of(site, &next), before, "{how}");
    has_nothing_of_levy(before, &format!("{how}, during the next session"));
    next.ask("PASS tanstaaf", "+OK");
    next.ask("QUIT", "+OK");
    assert!(next.is_closed());
}

fn has_nothing_of_levy(worker: i32, how: &str) {
    let image = Image::of(worker);
    assert!(!image.find(b"mail.test").is_empty(), "{how}: what is there can be found");
    for secret in [PASSWORD, WRONG, TEXT, PLAIN, &PLAIN[8..40]] {
        assert_eq!(image.find(secret.as_bytes()), [], "{how}: {secret}");
    }
}

#[test]
fn a_worker_serves_on_after_a_right_password_and_has_nothing_left_of_its_client() {
    let site = site();
    if !testkit::can_take_over(site.server.daemon.pid()) {
        return;
    }
    for (log_in, name) in [(by_password as fn(i32, &mut Peer), "PASS"), (by_sasl, "AUTH PLAIN")] {
        check_left(&site, name, || site.server.client(), log_in);
        for version in TLS_VERSIONS {
            let client = site.authority.client(&[version]);
            let how = format!("{name} under {version:?}");
            let greeted = || {
                let mut levy = site.implicit(&client);
                levy.expect("+OK");
                levy
            };
            check_left(&site, &how, greeted, log_in);
            check_left(&site, &format!("{how}, STLS"), || site.stls(&client), log_in);
        }
    }
}

#[test]
fn a_worker_whose_client_lost_its_mailbox_process_is_replaced_and_the_next_client_is_served() {
    let site = site();
    for _ in 0..3 {
        let mut levy = site.server.client();
        by_sasl(0, &mut levy);
        let (front, mailbox) = (front_of(&site, &levy), mailbox_of(&site.server.daemon, &levy));
        kill(Pid::from_raw(mailbox), Signal::SIGKILL).unwrap();
        assert!(levy.is_closed());
        wait_until("the worker has ended", || has_ended(front));
        let mut next = site.server.mrose();
        next.ask("QUIT", "+OK");
    }
}

#[test]
fn many_clients_log_in_one_after_the_other_to_one_worker() {
    let site = site();
    let first = worker(&site);
    for round in 0..50 {
        let mut peer = site.server.client();
        if round % 2 == 0 {
            peer.send(format!("AUTH PLAIN {PLAIN}\r\nSTAT\r\nQUIT\r\n"));
        } else {
            peer.send("USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nQUIT\r\n");
            peer.expect("+OK now PASS");
        }
        peer.expect("+OK maildrop has 1 message");
        peer.expect("+OK 1 ");
        peer.expect("+OK ");
        assert!(peer.is_closed());
    }
    assert_eq!(worker(&site), first);
}
