//! capset(2), capget(2) and the ambient set of prctl(2): root's rights, one by one
//! (capabilities(7)).

use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3` of <linux/capability.h>: two words a set.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    /// 0 is the calling thread.
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops all capabilities of this process: effective, permitted, inheritable and ambient. A change
/// of uid drops them too, unless securebits forbid that (capabilities(7)).
///
/// # Errors
/// As capset(2) says.
pub fn drop_all() -> nix::Result<()> {
    // SAFETY: plain numbers.
    let cleared =
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    match Errno::result(cleared) {
        Ok(_) | Err(Errno::EINVAL) => {} // Linux before 4.3 has no ambient set
        Err(errno) => return Err(errno),
    }
    let header = Header { version: VERSION, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: both are as <linux/capability.h> has them for this version, and live for the call.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(set).map(drop)
}

/// Returns true when this process has a capability in any of the sets, for itself or for a program
/// that it executes.
///
/// # Errors
/// As capget(2) says.
pub fn has_any() -> nix::Result<bool> {
    Ok(get()? != [Sets::default(); 2])
}

/// Returns true when this process may use a capability.
///
/// # Errors
/// As capget(2) says.
pub fn is_permitted_any() -> nix::Result<bool> {
    Ok(get()?.iter().any(|sets| sets.permitted != 0))
}

fn get() -> nix::Result<[Sets; 2]> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both are as <linux/capability.h> has them for this version, and live for the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    Errno::result(got).map(|_| sets)
}
