//! For tests in which a child of a server is taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;

use crate::bystander::NOBODY;
use crate::daemon::Daemon;
use crate::memory::{Image, STACK};
use crate::open_files::{open_files, sockets_between};
use crate::peer::Peer;
use crate::process::title;
use crate::wait::wait_until;

/// Starts a server in a process group of its own; as root, one that becomes an ordinary user: a server
/// that signalled whatever number a child has written would otherwise take the machine along.
#[must_use]
pub fn start_as_nobody(binary: &str, args: &[&str]) -> Daemon {
    let mut command = Command::new(binary);
    command.process_group(0);
    let nobody = NOBODY.to_string();
    let user = if geteuid().is_root() { &["-u", &nobody][..] } else { &[] };
    Daemon::spawn(command, &[args, user].concat())
}

/// The log of a server of this name.
///
/// # Panics
/// One of its lines is none, or tells of a panic.
#[must_use]
pub fn log_of_lines(daemon: &Daemon, name: &str) -> String {
    let log = daemon.log();
    for line in log.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let is_line = words.len() == 4
            && words[0].len() == "2026-01-31T12:00:00.000Z".len()
            && words[0].ends_with('Z')
            && matches!(words[1], "INFO" | "WARN")
            && words[2].starts_with(&format!("{name}["))
            && words[2].ends_with("]:")
            && !words[3].contains(char::is_control);
        assert!(is_line, "{line:?}");
    }
    assert!(!log.contains("panicked"), "{log}");
    log
}

/// Searches a process's memory for other clients, each with the process that serves it.
///
/// Searched is all memory that a program can have written to: data, heap, stack, what it has mapped and
/// what it shares. What is searched for: the address as bytes in the order of the network and in that
/// of the machine, and as text; the process id as text, and as a 32-bit word (of which a single one may
/// stand there by chance, and so all of them are asked for).
///
/// In the stack, of which a child has a copy, frames of calls stand that have returned: the client
/// of the parent's last call of a kind may still be there, but no table of clients.
///
/// # Panics
/// Something is found.
pub fn check_unknown(pid: i32, others: &[(SocketAddr, i32)]) {
    let image = Image::of(pid);
    let mut in_stack = String::new();
    let mut count = 0;
    for (address, its_pid) in others {
        let pid_text = format!("pid {its_pid}").into_bytes();
        let needles = forms(address.ip()).into_iter().chain([pid_text]);
        let found: Vec<_> = needles.flat_map(|needle| image.find(&needle)).collect();
        let (stack, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(name, _)| name == STACK);
        assert!(others.is_empty(), "{address} in {} ({pid}): {others:#x?}", title(pid));
        if !stack.is_empty() {
            count += 1;
            let _ = writeln!(in_stack, "{address}: {stack:x?}");
        }
    }
    assert!(count < 2, "in the stack of {} ({pid}): {in_stack}", title(pid));
    let pids: Vec<i32> = others.iter().map(|(_, pid)| *pid).collect();
    let found: BTreeSet<i32> = image.words(&pids);
    assert!(found.len() < pids.len(), "{found:?} in {} ({pid})", title(pid));
}

/// An address as it may stand in memory.
fn forms(address: IpAddr) -> Vec<Vec<u8>> {
    let IpAddr::V4(ip) = address else { panic!("{address}") };
    let reversed: Vec<u8> = ip.octets().into_iter().rev().collect();
    vec![ip.octets().to_vec(), reversed, ip.to_string().into_bytes()]
}

/// What each process of a server has for standard input, output and error.
const STANDARD: [&str; 3] = ["/dev/null", "/dev/null", "log"];

/// Waits until these are all that a child of the server's holds, beside the standard ones: one that has
/// just been forked, or has just accepted, may have more for a moment. See [`held_by`].
///
/// # Panics
/// It holds something else.
pub fn check_held(daemon: &Daemon, pid: i32, client: Option<&Peer>, more: &[&str]) {
    let mut expected = [&STANDARD, more].concat();
    expected.sort_unstable();
    let mut held = Vec::new();
    let waiting = std::panic::AssertUnwindSafe(|| {
        wait_until("a process holds what it should", || {
            held = held_by(daemon, pid, client);
            held == expected
        });
    });
    let is_right = std::panic::catch_unwind(waiting).is_ok();
    assert!(is_right, "{} holds {held:#?}, not {expected:#?}", title(pid));
}

/// The open files of a child by what they are to the server, sorted: `log`, `listener`, `datagrams`
/// (a socket for them), `client` (the given one), `pipe read` and `pipe write` (that end), `epoll`.
/// What the parent does not have is the child's `own socket` and `eventfd`. All else has the
/// kernel's name.
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn held_by(daemon: &Daemon, pid: i32, client: Option<&Peer>) -> Vec<String> {
    let (addr, parent) = (daemon.addr(), open_files(daemon.pid()));
    let between =
        |peer: &Peer| sockets_between("tcp", addr, Some(peer.stream().local_addr().unwrap()));
    let known = [
        (client.map(between).unwrap_or_default(), "client"),
        (sockets_between("tcp", addr, None), "listener"),
        (sockets_between("udp", addr, None), "datagrams"),
        (vec![parent[&2].clone()], "log"),
    ];
    let files = open_files(pid).into_values();
    let mut names: Vec<String> = files.map(|file| name_of(file, &known, &parent)).collect();
    names.sort();
    names
}

fn name_of(file: String, known: &[(Vec<String>, &str)], parent: &BTreeMap<i32, String>) -> String {
    if let Some((_, name)) = known.iter().find(|(files, _)| files.contains(&file)) {
        return (*name).to_owned();
    }
    let is_parents = parent.values().any(|its| *its == file);
    match file.split_once(' ') {
        // The pipes' other ends are the parent's; an eventfd has no ends, and would be shared.
        Some((pipe, end)) if pipe.starts_with("pipe:") => format!("pipe {end}"),
        Some(("anon_inode:[eventfd]", _)) if !is_parents => "eventfd".into(),
        None if file == "anon_inode:[eventpoll]" => "epoll".into(),
        None if file.starts_with("socket:") && !is_parents => "own socket".into(),
        _ => file,
    }
}
