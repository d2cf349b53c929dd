//! What a child holds, to the last descriptor.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use testkit::{
    Daemon, Peer, TempDir, children, open_files, root_can_judge, sockets_between, title, wait_until,
};

use crate::common::{server_of, signal, talk, wait_idle};
use crate::{children_titled, datagram_helper, server_as};

/// Standard input and output, and the log.
const STANDARD: [&str; 3] = ["/dev/null", "/dev/null", "log"];
/// What a preforked worker waits with, and for whom: the listener twice, one copy being for the session
/// that has to shut it down; a descriptor of its own in reserve; two ends of pipes that tell it to end,
/// and one to wake its parent with.
const WORKER: [&str; 7] =
    ["epoll", "eventfd", "listener", "listener", "pipe read", "pipe read", "pipe write"];

/// The files of a process by what they are to the server. One that is none of what is named is told as
/// the kernel tells it.
struct Held<'d> {
    daemon: &'d Daemon,
    parent: BTreeMap<i32, String>,
}

impl Held<'_> {
    fn new(daemon: &Daemon) -> Held<'_> {
        Held { daemon, parent: open_files(daemon.pid()) }
    }

    /// `client` is the one that the process may serve.
    fn of(&self, pid: i32, client: Option<&Peer>) -> Vec<String> {
        let addr = self.daemon.addr();
        let between =
            |peer: &Peer| sockets_between("tcp", addr, Some(peer.stream().local_addr().unwrap()));
        let known = [
            (client.map(between).unwrap_or_default(), "client"),
            (sockets_between("tcp", addr, None), "listener"),
            (sockets_between("udp", addr, None), "datagrams"),
            (vec![self.parent[&2].clone()], "log"),
        ];
        let is_parents = |file: &String| self.parent.values().any(|its| its == file);
        let name = |file: String| {
            if let Some((_, name)) = known.iter().find(|(files, _)| files.contains(&file)) {
                return (*name).to_owned();
            }
            match file.split_once(' ') {
                // The pipes' other ends are the parent's; an eventfd has none, and would be shared.
                Some((pipe, end)) if pipe.starts_with("pipe:") => format!("pipe {end}"),
                Some(("anon_inode:[eventfd]", _)) if !is_parents(&file) => "eventfd".into(),
                None if file == "anon_inode:[eventpoll]" => "epoll".into(),
                None if file.starts_with("socket:") && !is_parents(&file) => "own socket".into(),
                _ => file,
            }
        };
        let mut names: Vec<String> = open_files(pid).into_values().map(name).collect();
        names.sort();
        names
    }
}

/// Waits until these are all that the process holds: one that has just been forked, or has just
/// accepted, may have more for a moment.
fn check(daemon: &Daemon, pid: i32, client: Option<&Peer>, more: &[&str]) {
    let mut expected = [&STANDARD, more].concat();
    expected.sort_unstable();
    let mut held = Vec::new();
    let is_right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("a process holds what it should", || {
            held = Held::new(daemon).of(pid, client);
            held == expected
        });
    }));
    assert!(is_right.is_ok(), "{} holds {held:#?}, not {expected:#?}", title(pid));
}

/// A file of its own gives the server a cleanup helper, where it has become another user. Its line leads
/// to nobody but the parent.
fn with_pid_file(model: &str, more: &[&str]) -> (TempDir, Daemon) {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid").display().to_string();
    let daemon = server_as(model, &[&["-p", &pid_file], more].concat());
    (dir, daemon)
}

#[test]
fn a_clients_process_holds_the_client_and_nothing_of_anybody_elses() {
    let (_dir, daemon) = with_pid_file("fork", &[]);
    let (_before, client, _after) = (talk(daemon.addr()), talk(daemon.addr()), talk(daemon.addr()));
    check(&daemon, server_of(&daemon, &client), Some(&client), &["client"]);
}

#[test]
fn a_preforked_worker_holds_what_it_accepts_with_and_its_client() {
    // Without and with a line of its own to ask its parent.
    for (limits, own) in [(&[][..], &[][..]), (&["--max-per-ip", "2"], &["own socket"])] {
        let (_dir, daemon) = with_pid_file("prefork", &[&["-n", "3"], limits].concat());
        wait_idle(&daemon, 3);
        let client = talk(daemon.addr());
        let busy = [&WORKER[..], own, &["client"]].concat();
        check(&daemon, server_of(&daemon, &client), Some(&client), &busy);
        wait_idle(&daemon, 2);
        for idle in children_titled(&daemon, "worker, idle") {
            check(&daemon, idle, None, &[&WORKER[..], own].concat());
        }
    }
}

#[test]
fn the_process_for_datagrams_holds_their_sockets_under_every_model() {
    for model in ["fork", "prefork", "iterative"] {
        let (_dir, daemon) = with_pid_file(model, &["-n", "3", "--max-per-ip", "2"]);
        if model == "prefork" {
            wait_idle(&daemon, 3);
        }
        check(&daemon, datagram_helper(&daemon), None, &["datagrams"]);
        // Also one that was forked while there are clients.
        let _client = (model != "iterative").then(|| talk(daemon.addr()));
        let first = datagram_helper(&daemon);
        signal(first, Signal::SIGKILL);
        wait_until("it is replaced", || datagram_helper(&daemon) != first);
        check(&daemon, datagram_helper(&daemon), None, &["datagrams"]);
    }
}

/// What the helper of an unprivileged server holds, and that it is no child whose end is waited for.
#[test]
fn the_cleanup_helper_holds_one_socket_that_no_child_has() {
    if !root_can_judge() {
        return;
    }
    let (dir, daemon) = with_pid_file("prefork", &["-n", "3"]);
    wait_idle(&daemon, 3);
    let helper = crate::stopped::cleanup_helper(dir.path()).unwrap();
    assert!(!children(daemon.pid()).contains(&helper));
    let files = open_files(helper);
    let sockets: Vec<&String> = files.values().filter(|file| !file.starts_with('/')).collect();
    assert!(sockets.len() == 1 && sockets[0].starts_with("socket:"), "{files:#?}");
    for pid in children(daemon.pid()).into_iter().chain([daemon.pid()]) {
        assert!(!open_files(pid).values().any(|file| file == sockets[0]), "{}", title(pid));
    }
}
