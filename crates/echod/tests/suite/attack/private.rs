//! What only the parent uses is in no child's memory.

use std::net::Ipv4Addr;

use nix::sys::signal::Signal;
use testkit::{
    Daemon, Image, Mapping, Peer, can_take_over, check_unknown, children, each_model, mappings,
    state, title, wait_until,
};

use crate::attack::{FORKING, children_titled, datagram_helper, server_as};
use crate::common::{connect_from, hello, server_of, signal, talk, wait_idle};

/// Clients of these addresses are served when the others come.
const VICTIMS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 77, 66, 55),
    Ipv4Addr::new(127, 78, 99, 11),
    Ipv4Addr::new(127, 79, 88, 22),
    Ipv4Addr::new(127, 80, 77, 33),
];
const WORKERS: usize = 10;

/// A page of the machine, in bytes.
const PAGE: usize = 4096;

/// A server with these clients, and some more after them.
fn with_victims(model: &str) -> (Daemon, Vec<Peer>, Vec<Peer>) {
    // So low that prefork workers have to ask for each client.
    let daemon = server_as(model, &["-n", &WORKERS.to_string(), "--max-per-ip", "7"]);
    if model == "prefork" {
        wait_idle(&daemon, WORKERS);
    }
    let from = |ip| {
        let mut peer = connect_from(ip, daemon.addr());
        hello(&mut peer);
        peer
    };
    let victims = VICTIMS.map(from).into();
    let others = (0..3).map(|_| talk(daemon.addr())).collect();
    (daemon, victims, others)
}

/// Ends a child that has no client, and waits for the one that takes its place: forked while there are
/// clients.
fn replace(daemon: &Daemon, child: i32, like: &str) -> i32 {
    let before = children_titled(daemon, like);
    signal(child, Signal::SIGKILL);
    let mut found = None;
    wait_until("it is replaced", || {
        let now = children_titled(daemon, like);
        found = now.into_iter().find(|pid| !before.contains(pid) && state(*pid) == Some('S'));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_child_finds_neither_addresses_nor_process_ids_of_others_in_its_memory() {
    each_model(&FORKING, |model| {
        let (daemon, victims, others) = with_victims(model);
        if !can_take_over(daemon.pid()) {
            return;
        }
        daemon.signal(Signal::SIGUSR1); // they have stood in the parent's log, too
        daemon.wait_log(" of 256 clients");
        let last = talk(daemon.addr());
        let address = |peer: &Peer| peer.stream().local_addr().unwrap();
        let known: Vec<_> =
            victims.iter().map(|peer| (address(peer), server_of(&daemon, peer))).collect();
        let mut taken_over = vec![replace(&daemon, datagram_helper(&daemon), "datagrams, ")];
        if model == "prefork" {
            let idle = children_titled(&daemon, "worker, idle")[0];
            taken_over.push(replace(&daemon, idle, "worker, idle"));
        } else {
            taken_over.push(server_of(&daemon, &others[1]));
            taken_over.push(server_of(&daemon, &last));
        }
        for pid in taken_over {
            check_unknown(pid, &known);
        }
        drop((victims, others, last));
    });
}

/// What the server keeps for itself, its handlers' stack too, lies in memory that the kernel was asked to
/// give to no child.
#[test]
fn no_child_has_memory_that_its_parent_keeps_for_itself() {
    each_model(&["fork", "prefork", "iterative"], |model| {
        let daemon = server_as(model, &["-n", "2", "--max-per-ip", "1"]);
        if !can_take_over(daemon.pid()) {
            return;
        }
        let _client = talk(daemon.addr());
        datagram_helper(&daemon);
        let parent = Image::of(daemon.pid());
        let kept: Vec<Mapping> =
            mappings(daemon.pid()).into_iter().filter(Mapping::is_kept_from_children).collect();
        assert!(!kept.is_empty(), "{model}");
        for child in children(daemon.pid()) {
            let its = mappings(child);
            assert!(!its.iter().any(Mapping::is_kept_from_children), "{model}: {}", title(child));
            let image = Image::of(child);
            // The addresses may lead to other memory of the child's.
            for mapping in &kept {
                for page in (mapping.start..mapping.end).step_by(PAGE) {
                    let ours = parent.at(page, PAGE);
                    let is_empty = ours.iter().all(|byte| *byte == 0);
                    let is_there = !is_empty && image.at(page, PAGE) == ours;
                    assert!(!is_there, "{model}: {page:x} of {mapping} in {}", title(child));
                }
            }
        }
    });
}

/// A child of an ordinary user's server must not be able to trace it, though it is the same user's.
#[test]
fn a_process_of_the_same_user_cannot_get_at_the_memory_of_a_server_that_was_roots() {
    use std::os::unix::process::CommandExt;
    if !testkit::root_can_judge() {
        return;
    }
    let daemon = server_as("fork", &[]);
    let client = talk(daemon.addr());
    for pid in [daemon.pid(), server_of(&daemon, &client)] {
        for file in ["maps", "mem", "environ", "fd/0"] {
            let mut head = std::process::Command::new("head");
            head.args(["-c", "1"]).arg(format!("/proc/{pid}/{file}"));
            head.uid(testkit::NOBODY).gid(testkit::NOBODY);
            let output = head.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("Permission denied"), "{file}: {said}");
        }
    }
}

/// A preforked worker has its own line alone, so it can lie about no other.
#[test]
fn a_worker_shares_the_page_of_its_own_line_and_no_other() {
    let daemon = server_as("prefork", &["-n", "4"]);
    if !can_take_over(daemon.pid()) {
        return;
    }
    wait_idle(&daemon, 4);
    datagram_helper(&daemon); // it has unmapped the others' lines by then
    let shared = |pid| -> Vec<Mapping> {
        mappings(pid).into_iter().filter(Mapping::is_shared_and_writable).collect()
    };
    let all: u64 = shared(daemon.pid()).iter().map(Mapping::pages).sum();
    assert!(all >= 5, "a page for each worker, and one for datagrams: {all}");
    let mut pages = Vec::new();
    for child in children(daemon.pid()) {
        let its = shared(child);
        assert!(its.len() == 1 && its[0].pages() == 1, "{}: {its:?}", title(child));
        pages.push(its[0].start);
    }
    pages.sort_unstable();
    pages.dedup();
    assert_eq!(pages.len(), 5, "{pages:x?}");
}
