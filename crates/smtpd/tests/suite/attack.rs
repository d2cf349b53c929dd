//! The process of a client is taken over: what it can do to its parent and to other clients.

use crate::common::SMTPD;
use nix::sys::signal::Signal;
use testkit::{
    Bystander, CONCURRENT, Daemon, Garbage, Peer, TempDir, can_take_over, check_held, each_model,
    fill_shared_pages, log_of_lines, start_as_nobody, wait_until,
};

/// Clients at once, and prefork workers.
const CLIENTS: usize = 4;

/// A server of a design. No letter is sent, so there are no mailboxes.
fn server(model: &str) -> (TempDir, Daemon) {
    let dir = TempDir::new();
    let users = dir.file("users", "").display().to_string();
    let limit = CLIENTS.to_string();
    let limits = ["-n", &limit, "-c", &limit, "--max-per-ip", &limit];
    let args = [&["-m", model, "--users", &users, "--hostname", "red.test"], &limits[..]].concat();
    (dir, start_as_nobody(SMTPD, &args))
}

/// A client that was greeted, if not at once, then as soon as there is a place.
fn greeted(daemon: &Daemon) -> Peer {
    let mut found = None;
    wait_until("a client is greeted", || {
        let mut peer = Peer::connect(daemon.addr());
        found = peer.line().starts_with(b"220 ").then_some(peer);
        found.is_some()
    });
    found.unwrap()
}

/// The session goes on.
fn talk(peer: &mut Peer) {
    peer.ask("NOOP", "250 ");
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
        let _ = log_of_lines(&daemon, "smtpd");
        bystanders.iter().for_each(Bystander::check);
    });
}

/// The socket is the line to the keeper. What tells an idle session that the server stops is the reading end of a pipe: with more of it, one
/// client's process could tell all others.
#[test]
fn a_clients_process_holds_the_client_its_line_and_one_end_of_a_pipe() {
    let (_dir, daemon) = server("fork");
    if !can_take_over(daemon.pid()) {
        return;
    }
    let (_before, mut client) = (greeted(&daemon), greeted(&daemon));
    check_held(
        &daemon,
        daemon.server_of(&client),
        Some(&client),
        &["client", "own socket", "pipe read"],
    );
    daemon.signal(Signal::SIGTERM);
    client.expect("421 "); // and the client learns it
}
