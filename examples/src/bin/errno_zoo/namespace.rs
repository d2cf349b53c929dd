//! A network namespace of the program's own with only a loopback interface: unshare(2).

use std::fmt;
use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::tools::text;
use unp::netlink;

/// Why the namespace could not be created.
#[derive(Debug)]
pub struct Refused {
    what: &'static str,
    errno: Errno,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no network namespace: {}: {}", self.what, text(self.errno))
    }
}

/// Enters a new network namespace and brings its loopback up. A user other than root first becomes
/// root of a user namespace, if the system allows that.
pub fn enter() -> Result<(), Refused> {
    let leave = || step("unshare", unshare(CloneFlags::CLONE_NEWNET));
    if !geteuid().is_root() || leave().is_err() {
        become_root_of_a_user_namespace()?;
        leave()?;
    }
    step("bringing lo up", netlink::bring_up(netlink::LOOPBACK, true))
}

/// user_namespaces(7): this program's user becomes 0 in it, and no other user is mapped.
fn become_root_of_a_user_namespace() -> Result<(), Refused> {
    let (uid, gid) = (geteuid(), getegid());
    step("unshare", unshare(CloneFlags::CLONE_NEWUSER))?;
    for (file, map) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or_default());
        step(file, fs::write(file, map).map_err(errno))?;
    }
    Ok(())
}

fn step(what: &'static str, result: nix::Result<()>) -> Result<(), Refused> {
    result.map_err(|errno| Refused { what, errno })
}
