//! A prefork worker's clients, one after the other: the processes that answer for it stay for the next one.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, Image, Peer, children, has_ended, judged_within, title, wait_until};

use crate::common::{Fixture, OWNER, files, give, introduced, of_server, set_mode};

/// `NUL levy NUL x`.
const RIGHT: &str = "AGxldnkAeA==";
/// They wait for ten seconds; where a machine is too slow for that, a test is tried again.
const CLIENT_WAIT: Duration = Duration::from_secs(9);
/// In a letter to bob.
const CANARY: &str = "canary-that-sings-for-bob-alone";

/// A server with one worker.
fn serve(fixture: &Fixture, more: &[&str]) -> Daemon {
    fixture.serve(&[&["-m", "prefork", "-n", "1"][..], more].concat())
}

/// A letter to levy, in a session of its own, whose reply has not been read.
fn send(daemon: &Daemon) -> Peer {
    send_to(daemon, &["levy"], "x\r\n")
}

fn send_to(daemon: &Daemon, users: &[&str], text: &str) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
    for user in users {
        peer.ask(&format!("RCPT TO:<{user}@red.test>"), "250 ");
    }
    peer.ask("DATA", "354 ");
    peer.send(format!("Subject: x\r\n\r\n{text}.\r\n"));
    peer
}

fn quit(mut peer: Peer) {
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
}

/// Waits until the last client has left.
fn wait_idle(daemon: &Daemon) {
    wait_until("the worker is idle", || {
        children(daemon.pid()).iter().all(|worker| title(*worker) == "smtpd: worker, idle")
    });
}

/// The processes that have answered the last client, when they wait for the next one.
fn that_wait(daemon: &Daemon) -> Vec<i32> {
    wait_idle(daemon);
    wait_until("what has answered waits", || {
        !of_server(daemon, "smtpd: questions, idle").is_empty()
    });
    let mut all = of_server(daemon, "smtpd: questions");
    all.extend(of_server(daemon, "smtpd: mailbox of levy"));
    all
}

#[test]
fn a_letter_of_the_next_client_takes_no_new_process() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        quit(send(&daemon));
        let first = that_wait(&daemon);
        assert_eq!(first.len(), 2);
        for _ in 0..3 {
            quit(send(&daemon));
        }
        assert_eq!(that_wait(&daemon), first);
        assert_eq!(fixture.letters("levy").len(), 4);
        let hosts = files(&fixture.maildir("levy").join("new")).into_iter().map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            name.splitn(3, '.').nth(2).unwrap().split(',').next().unwrap().to_owned()
        });
        let hosts: HashSet<_> = hosts.collect();
        assert_eq!(hosts.len(), 1, "{hosts:?}: one that has its filter still knows the host");
    });
}

/// Under `fork` each client has processes of its own.
#[test]
fn under_fork_they_end_with_the_session() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    quit(send(&daemon));
    wait_until("no process is left but parent and keeper", || {
        of_server(&daemon, "smtpd: questions").is_empty()
            && of_server(&daemon, "smtpd: mailbox").is_empty()
    });
}

#[test]
fn the_log_names_the_client_whose_letter_failed_and_not_the_one_before() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        quit(send(&daemon));
        that_wait(&daemon);
        let mut second = introduced(&daemon);
        let address = second.stream().local_addr().unwrap();
        second.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
        second.ask("RCPT TO:<levy@red.test>", "250 ");
        second.ask("DATA", "354 ");
        let new = fixture.maildir("levy").join("new");
        set_mode(&new, 0o500);
        second.send("x\r\n.\r\n");
        second.expect("451 ");
        let names_both = |line: &str| {
            line.contains(&format!("]: {address}: letter "))
                && line.contains(": mailbox of 'levy': ")
        };
        wait_until("the mailbox's process names the client and the letter", || {
            daemon.log().lines().any(names_both)
        });
        set_mode(&new, 0o700);
        second.ask("QUIT", "221 ");
        that_wait(&daemon);
        // Where the process cannot use the mailbox any more, another one says why.
        let mut third = introduced(&daemon);
        let address = third.stream().local_addr().unwrap();
        third.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
        let tmp = fixture.maildir("levy").join("tmp");
        set_mode(&tmp, 0o500);
        third.ask("RCPT TO:<levy@red.test>", "451 ");
        daemon.wait_log(&format!("]: {address}: mailbox of 'levy': "));
        set_mode(&tmp, 0o700);
        third.ask("RCPT TO:<levy@red.test>", "250 ");
    });
}

#[test]
fn the_next_client_can_log_in() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &["--auth-delay", "0"]);
        for _ in 0..2 {
            quit(send(&daemon));
            that_wait(&daemon);
            let mut peer = introduced(&daemon);
            peer.ask("AUTH PLAIN AGxldnkAeQ==", "535 ");
            peer.ask(&format!("AUTH PLAIN {RIGHT}"), "235 ");
            peer.ask("MAIL FROM:<levy@red.test>", "250 ");
            peer.ask("RCPT TO:<bob@red.test>", "250 ");
            peer.ask("QUIT", "221 ");
        }
        assert_eq!(fixture.letters("levy").len(), 2);
        assert!(fixture.letters("bob").is_empty());
    });
}

#[test]
fn recipients_of_a_client_that_has_left_get_nothing_of_the_next_ones() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        let mut peer = introduced(&daemon);
        peer.ask("MAIL FROM:<>", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "250 ");
        peer.ask("QUIT", "221 ");
        that_wait(&daemon);
        assert!(fixture.drafts("bob").is_empty());
        quit(send(&daemon));
        assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 0));
    });
}

/// Whichever of them has ended meanwhile, by a kill or because it has waited for long enough, the next client does not see it.
#[test]
fn one_that_ends_meanwhile_is_replaced_before_the_next_client_comes() {
    judged_within(CLIENT_WAIT, |watch| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        for which in 0..2 {
            quit(send(&daemon));
            let victim = that_wait(&daemon)[which];
            let worker = children(daemon.pid());
            kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
            let is_there = |shown| !of_server(&daemon, shown).is_empty();
            if which == 0 {
                wait_until("a worker with a line of its own", || {
                    let now = children(daemon.pid());
                    now.len() == 1 && now != worker && title(now[0]) == "smtpd: worker, idle"
                });
            } else {
                wait_until("it has ended", || !is_there("smtpd: mailbox of levy"));
            }
            quit(send(&daemon));
        }
        assert_eq!(fixture.letters("levy").len(), 4);
        let waiting = that_wait(&daemon);
        watch.stop();
        wait_until("they do not wait for ever", || waiting.iter().all(|pid| has_ended(*pid)));
        quit(send(&daemon));
    });
}

#[test]
fn two_mailboxes_of_one_owner_get_their_own_letters_in_any_order() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, &[]);
    for user in ["levy", "bob", "levy", "bob", "bob", "levy"] {
        quit(send_to(&daemon, &[user], "x\r\n"));
    }
    quit(send_to(&daemon, &["levy", "bob"], "x\r\n"));
    assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (4, 4));
}

#[test]
fn a_forward_that_comes_between_two_clients_is_followed() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        quit(send(&daemon));
        that_wait(&daemon);
        let path = fixture.dir.path().join("levy/.forward");
        fs::write(&path, "bob\n").unwrap();
        give(&path, OWNER);
        quit(send(&daemon));
        assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 1));
    });
}

#[test]
fn what_answers_is_made_anew_after_a_hundred_clients() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        let ask = || {
            let mut peer = introduced(&daemon);
            peer.ask("VRFY levy", "250 ");
            peer.ask("QUIT", "221 ");
        };
        ask();
        let mut all = HashSet::from([that_wait(&daemon)[0]]);
        for _ in 0..120 {
            ask();
            all.extend(of_server(&daemon, "smtpd: questions"));
        }
        assert!(all.len() > 1, "{all:?}");
    });
}

/// A scanner, or a load balancer that looks whether the server is there.
#[test]
fn a_client_that_asks_nothing_takes_no_process_of_the_keepers() {
    judged_within(CLIENT_WAIT, |_| {
        let fixture = Fixture::new();
        let daemon = serve(&fixture, &[]);
        quit(send(&daemon));
        let waiting = that_wait(&daemon);
        kill(Pid::from_raw(waiting[0]), Signal::SIGTERM).unwrap();
        wait_until("they have ended", || waiting.iter().all(|pid| has_ended(*pid)));
        for _ in 0..3 {
            let mut peer = introduced(&daemon);
            peer.ask("QUIT", "221 ");
            assert!(peer.is_closed());
        }
        wait_idle(&daemon);
        assert_eq!(of_server(&daemon, "smtpd: questions"), []);
    });
}

#[test]
fn a_mailboxs_process_has_nothing_of_the_letter_of_the_client_before() {
    let fixture = Fixture::two_users();
    let daemon = serve(&fixture, &[]);
    quit(send_to(&daemon, &["bob"], &format!("{CANARY}\r\n").repeat(100)));
    wait_idle(&daemon);
    let mut second = introduced(&daemon);
    second.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
    second.ask("RCPT TO:<levy@red.test>", "250 ");
    let levys = of_server(&daemon, "smtpd: mailbox of levy");
    assert_eq!(levys.len(), 1);
    assert!(Image::of(levys[0]).find(CANARY.as_bytes()).is_empty());
}
