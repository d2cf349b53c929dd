//! What the descriptors of a process are, told so that those of two processes can be compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The open files of a process by descriptor: `socket:[4711]`, `/dev/null`, `anon_inode:[eventfd] 7`
/// with the kernel's number of the eventfd, `pipe:[4711] read` with the end.
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn open_files(pid: i32) -> BTreeMap<i32, String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process");
    let fds = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    fds.filter_map(|fd| Some((fd, open_file(pid, fd)?))).collect()
}

fn open_file(pid: i32, fd: i32) -> Option<String> {
    let name = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    let name = name.to_string_lossy().into_owned();
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let field = |name: &str| Some(info.lines().find_map(|line| line.strip_prefix(name))?.trim());
    if name.starts_with("pipe:") {
        let end = match field("flags:")?.chars().last() {
            Some('0') => "read",
            Some('1') => "write",
            _ => "both",
        };
        return Some(format!("{name} {end}"));
    }
    match field("eventfd-id:") {
        Some(id) => Some(format!("{name} {id}")),
        None => Some(name),
    }
}

/// The sockets of this machine that are bound to `local` and connected to `peer` (to none: they listen,
/// or take datagrams), as [`open_files`] tells them. `table` is a file of /proc/net: `tcp` or `udp`.
#[must_use]
pub fn sockets_between(table: &str, local: SocketAddr, peer: Option<SocketAddr>) -> Vec<String> {
    let shown = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let (local, peer) = (in_hex(local), peer.map_or("00000000:0000".to_owned(), in_hex));
    let fields = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let meant = fields.filter(|f| f.len() > 9 && f[1] == local && f[2] == peer);
    meant.map(|fields| format!("socket:[{}]", fields[9])).collect()
}

/// `0100007F:1F90`, the address as the machine has it in memory, read as a number.
fn in_hex(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    let number = u32::from_ne_bytes(address.ip().octets());
    format!("{number:08X}:{:04X}", address.port())
}
