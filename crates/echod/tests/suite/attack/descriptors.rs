//! What a child holds, to the last descriptor.

use nix::sys::signal::Signal;
use testkit::{
    Daemon, TempDir, can_take_over, check_held, children, open_files, root_can_judge, title,
    wait_until,
};

use crate::attack::{children_titled, datagram_helper, server_as};
use crate::common::{server_of, signal, talk, wait_idle};

/// The descriptors of a preforked worker, and what each is for: the listener twice, one copy being for the session
/// that has to shut it down; a descriptor of its own in reserve; two ends of pipes that say when to end,
/// and one to wake its parent with.
const WORKER: [&str; 7] =
    ["epoll", "eventfd", "listener", "listener", "pipe read", "pipe read", "pipe write"];

/// A file of its own gives the server a cleanup helper, where it has become another user. Only the
/// parent has the other end of its line.
fn with_pid_file(model: &str, more: &[&str]) -> (TempDir, Daemon) {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid").display().to_string();
    let daemon = server_as(model, &[&["-p", &pid_file], more].concat());
    (dir, daemon)
}

#[test]
fn a_clients_process_holds_the_client_and_nothing_of_anybody_elses() {
    let (_dir, daemon) = with_pid_file("fork", &[]);
    if !can_take_over(daemon.pid()) {
        return;
    }
    let (_before, client, _after) = (talk(daemon.addr()), talk(daemon.addr()), talk(daemon.addr()));
    check_held(&daemon, server_of(&daemon, &client), Some(&client), &["client"]);
}

#[test]
fn a_preforked_worker_holds_what_it_accepts_with_and_its_client() {
    // Without and with a line of its own to ask its parent.
    for (limits, own) in [(&[][..], &[][..]), (&["--max-per-ip", "2"], &["own socket"])] {
        let (_dir, daemon) = with_pid_file("prefork", &[&["-n", "3"], limits].concat());
        if !can_take_over(daemon.pid()) {
            return;
        }
        wait_idle(&daemon, 3);
        let client = talk(daemon.addr());
        let busy = [&WORKER[..], own, &["client"]].concat();
        check_held(&daemon, server_of(&daemon, &client), Some(&client), &busy);
        wait_idle(&daemon, 2);
        for idle in children_titled(&daemon, "worker, idle") {
            check_held(&daemon, idle, None, &[&WORKER[..], own].concat());
        }
    }
}

#[test]
fn the_process_for_datagrams_holds_their_sockets_under_every_model() {
    for model in ["fork", "prefork", "iterative"] {
        let (_dir, daemon) = with_pid_file(model, &["-n", "3", "--max-per-ip", "2"]);
        if !can_take_over(daemon.pid()) {
            return;
        }
        if model == "prefork" {
            wait_idle(&daemon, 3);
        }
        check_held(&daemon, datagram_helper(&daemon), None, &["datagrams"]);
        // Also one that was forked while there are clients.
        let _client = (model != "iterative").then(|| talk(daemon.addr()));
        let first = datagram_helper(&daemon);
        signal(first, Signal::SIGKILL);
        wait_until("it is replaced", || datagram_helper(&daemon) != first);
        check_held(&daemon, datagram_helper(&daemon), None, &["datagrams"]);
    }
}

/// What the helper of an unprivileged server holds, and that it is no child whose end is waited for.
#[test]
fn the_cleanup_helper_holds_one_socket_that_no_child_has() {
    if !root_can_judge() {
        return;
    }
    let (dir, daemon) = with_pid_file("prefork", &["-n", "3"]);
    if !can_take_over(daemon.pid()) {
        return;
    }
    wait_idle(&daemon, 3);
    let helper = crate::attack::stopped::cleanup_helper(dir.path()).unwrap();
    assert!(!children(daemon.pid()).contains(&helper));
    let files = open_files(helper);
    let sockets: Vec<&String> = files.values().filter(|file| !file.starts_with('/')).collect();
    assert!(sockets.len() == 1 && sockets[0].starts_with("socket:"), "{files:#?}");
    for pid in children(daemon.pid()).into_iter().chain([daemon.pid()]) {
        assert!(!open_files(pid).values().any(|file| file == sockets[0]), "{}", title(pid));
    }
}
