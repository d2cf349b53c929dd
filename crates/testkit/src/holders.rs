//! Who holds a client's connection, and with which rights: seen by /proc alone.

use std::fs;
use std::net::SocketAddr;

use nix::unistd::geteuid;

use crate::open_files::sockets_between;
use crate::peer::Peer;
use crate::process::title;

/// All processes.
///
/// # Panics
/// There is no /proc.
pub fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes that hold the connection of a client of this server.
///
/// # Panics
/// The client is not connected any more.
#[must_use]
pub fn holders(server: SocketAddr, client: &Peer) -> Vec<i32> {
    let peer = client.stream().local_addr().unwrap();
    let sockets = sockets_between("tcp", server, Some(peer));
    let holds = |pid: &i32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let links = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter_map(|link| link.to_str().map(str::to_owned)).any(|it| sockets.contains(&it))
    };
    processes().filter(holds).collect()
}

/// What a process has that none with a client should have; empty for one that is as it should be, or has ended.
#[must_use]
pub fn rights_left(pid: i32) -> String {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return String::new();
    };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().to_owned()
    };
    let mut left = Vec::new();
    if geteuid().is_root() {
        let ids = field("Uid:") + " " + &field("Gid:");
        if ids.split_whitespace().any(|id| id == "0") {
            left.push(format!("ids {ids}"));
        }
    }
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        if field(set).chars().any(|digit| digit != '0') {
            left.push(format!("{set} {}", field(set)));
        }
    }
    for (name, wanted) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        if field(name) != wanted {
            left.push(format!("{name} {}", field(name)));
        }
    }
    let shown = title(pid);
    if left.is_empty() { String::new() } else { format!("{pid} ({shown}): {left:?}") }
}
