//! Processes of a session that hang: a user may stop those of that user, and a disk all. They are stopped before the server has ended
//! them for another reason.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{MODELS, Peer, Stopwatch, each_model, has_ended, holders, judged_within, wait_until};

use crate::common::{LETTER, TestServer};
use crate::separation::mailbox_of;

/// The time-out of a session, and most time in which one is found and stopped.
const TIMEOUT: &str = "4";
const QUICK: Duration = Duration::from_secs(3);

/// Stops the client's process of the mailbox; returns it, and the others that hold the client.
fn stop_mailbox(server: &TestServer, client: &Peer) -> (i32, Vec<i32>) {
    let mailbox = mailbox_of(&server.daemon, client);
    kill(Pid::from_raw(mailbox), Signal::SIGSTOP).unwrap();
    let others = holders(server.daemon.addr(), client).into_iter().filter(|pid| *pid != mailbox);
    (mailbox, others.collect())
}

#[test]
fn a_stopped_process_of_a_mailbox_holds_neither_its_client_nor_the_slot() {
    each_model(&MODELS, |model| {
        let cases: &[bool] = if model == "fork" { &[true, false] } else { &[true] };
        for hangs_up in cases {
            judged_within(QUICK, |watch| is_free_again(model, *hangs_up, watch));
        }
    });
}

fn is_free_again(model: &str, hangs_up: bool, watch: &Stopwatch) {
    let options = ["-m", model, "-n", "1", "-c", "1", "-t", TIMEOUT];
    let server = TestServer::with(&[LETTER], &options, "");
    let mut client = server.mrose();
    let (mailbox, fronts) = stop_mailbox(&server, &client);
    watch.stop();
    if hangs_up {
        drop(client);
    } else {
        assert!(client.is_closed(), "{model}");
    }
    wait_until("the stopped process is ended", || has_ended(mailbox));
    assert!(server.daemon.log().contains("the process of the mailbox does not answer"));
    let lives_on = ["thread", "iterative"].contains(&model);
    wait_until("front has ended", || lives_on || fronts.iter().all(|pid| has_ended(*pid)));
    assert_eq!(server.letters().len(), 1);
    server.mrose().ask("STAT", "+OK 1 22"); // slot and lock are free
}

#[test]
fn a_process_of_a_mailbox_whose_front_is_killed_while_it_is_stopped_is_ended() {
    judged_within(QUICK, |watch| {
        let server = TestServer::with(&[LETTER], &["-t", TIMEOUT], "");
        let client = server.mrose();
        let (mailbox, fronts) = stop_mailbox(&server, &client);
        for front in fronts {
            kill(Pid::from_raw(front), Signal::SIGKILL).unwrap();
        }
        watch.stop();
        wait_until("the stopped process is ended", || has_ended(mailbox));
        server.daemon.wait_log(&format!("process {mailbox} does not end though its asker has"));
        server.mrose().ask("STAT", "+OK 1 22");
    });
}
