//! resolver(3): res_init and the state that it fills in.

use std::ffi::c_int;
use std::net::SocketAddrV4;

use nix::errno::Errno;

/// The beginning of `struct __res_state` (resolv.h of glibc, the same since 1997).
#[cfg(target_env = "gnu")]
#[repr(C)]
struct ResState {
    retrans: c_int,
    retry: c_int,
    options: std::ffi::c_ulong,
    nscount: c_int,
    nsaddr_list: [libc::sockaddr_in; 3],
}

/// resolv.h.
#[cfg(target_env = "gnu")]
const RES_INIT: std::ffi::c_ulong = 0x01;
/// resolv.h.
#[cfg(target_env = "gnu")]
const RES_RECURSE: std::ffi::c_ulong = 0x40;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// resolv.h: `_res` of the calling thread.
    fn __res_state() -> *mut ResState;
    /// resolv.h: res_init(3), reads resolv.conf(5).
    fn __res_init() -> c_int;
}

/// res_init(3) with other settings than those of resolv.conf(5): the calling thread's resolver asks
/// `server` alone, `retry` times, and waits `retrans` seconds for each answer. It appends no domain
/// to names.
///
/// # Errors
/// ENOSYS where the C library is not glibc; res_init's own.
#[cfg(target_env = "gnu")]
pub fn res_init(server: SocketAddrV4, retrans: u8, retry: u8) -> nix::Result<()> {
    // SAFETY: res_init takes nothing, and fills in the state of this thread.
    if unsafe { __res_init() } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: __res_state gives the state of this thread, which lives as long as the thread. No other
    // thread has it and this one makes no call of the resolver's while the reference lives. It begins
    // with the fields of `ResState`.
    let state = unsafe { &mut *__res_state() };
    state.options = RES_INIT | RES_RECURSE;
    state.retrans = c_int::from(retrans);
    state.retry = c_int::from(retry);
    state.nscount = 1;
    state.nsaddr_list[0] = *nix::sys::socket::SockaddrIn::from(server).as_ref();
    Ok(())
}

/// As above.
///
/// # Errors
/// ENOSYS.
#[cfg(not(target_env = "gnu"))]
pub fn res_init(_server: SocketAddrV4, _retrans: u8, _retry: u8) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}
