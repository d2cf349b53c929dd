//! The process of a client is taken over: what it can do to its parent and to other clients.

use crate::common::POP3D;
use nix::sys::signal::Signal;
use testkit::{
    Bystander, CONCURRENT, Daemon, Garbage, Peer, TempDir, can_take_over, check_held, each_model,
    fill_shared_pages, log_of_lines, start_as_nobody, wait_until,
};

/// Clients at once, and prefork workers.
const CLIENTS: usize = 4;

/// A server of a design. No client logs in, so there are no mailboxes.
fn server(model: &str) -> (TempDir, Daemon) {
    let dir = TempDir::new();
    let users = dir.file("users", "").display().to_string();
    let limit = CLIENTS.to_string();
    let limits = ["-n", &limit, "-c", &limit, "--max-per-ip", &limit];
    let args = [&["-m", model, "--users", &users], &limits[..]].concat();
    (dir, start_as_nobody(POP3D, &args))
}

/// A client that was greeted, if not at once, then as soon as there is a place.
fn greeted(daemon: &Daemon) -> Peer {
    let mut found = None;
    wait_until("a client is greeted", || {
        let mut peer = Peer::connect(daemon.addr());
        found = peer.line().starts_with(b"+OK ").then_some(peer);
        found.is_some()
    });
    found.unwrap()
}

/// The session goes on.
fn talk(peer: &mut Peer) {
    peer.ask("USER mrose", "+OK");
}

#[test]
fn shared_pages_full_of_garbage_harm_no_other_client() {
    each_model(&CONCURRENT, |model| {
        let (_dir, mut daemon) = server(model);
        if !can_take_over(daemon.pid()) {
            return;
        }
        let bystanders = [Bystander::start(daemon.pid()), Bystander::start(0)];
        let mut other = greeted(&daemon);
        for garbage in Garbage::kinds() {
            let mut attacker = greeted(&daemon);
            assert!(fill_shared_pages(daemon.server_of(&attacker), garbage) > 0);
            talk(&mut other);
            talk(&mut greeted(&daemon));
            talk(&mut attacker);
        }
        drop(other);
        let mut all: Vec<Peer> = (0..CLIENTS).map(|_| greeted(&daemon)).collect();
        all.iter_mut().for_each(talk);
        drop(all);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        daemon.wait_log("]: stopped\n");
        let _ = log_of_lines(&daemon, "pop3d");
        bystanders.iter().for_each(Bystander::check);
    });
}

#[test]
fn a_clients_process_holds_the_client_and_nothing_of_anybody_elses() {
    let (_dir, daemon) = server("fork");
    if !can_take_over(daemon.pid()) {
        return;
    }
    let (_before, client) = (greeted(&daemon), greeted(&daemon));
    check_held(&daemon, daemon.server_of(&client), Some(&client), &["client", "own socket"]); // the line to the keeper
}
