//! What resolv.conf(5) and nsswitch.conf(5) say, said by the program itself: where hosts are looked
//! up, and which DNS server is asked.

use std::ffi::{CStr, c_int, c_ulong};
use std::net::SocketAddrV4;

use nix::errno::Errno;
use nix::sys::socket::SockaddrIn;

use crate::nss::{built_in_services_only, configure};

/// Where names of hosts are looked up, in this order: the first that has an answer gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// /etc/hosts alone.
    Files,
    /// DNS alone.
    Dns,
    /// /etc/hosts before DNS, as usual.
    FilesDns,
    /// DNS before /etc/hosts.
    DnsFiles,
}

/// Where this process looks hosts up from now on, whatever nsswitch.conf(5) says. Other C libraries than
/// glibc know no such choice, and keep to theirs.
pub fn look_up_hosts_in(sources: Sources) {
    built_in_services_only();
    let line: &CStr = match sources {
        Sources::Files => c"files",
        Sources::Dns => c"dns",
        Sources::FilesDns => c"files dns",
        Sources::DnsFiles => c"dns files",
    };
    configure(c"hosts", line);
}

/// The beginning of `struct __res_state` (resolv.h of glibc, the same since 1997).
#[cfg(target_env = "gnu")]
#[repr(C)]
struct ResState {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    nscount: c_int,
    nsaddr_list: [libc::sockaddr_in; 3],
}

#[cfg(target_env = "gnu")]
const RES_INIT: c_ulong = 0x01;
#[cfg(target_env = "gnu")]
const RES_RECURSE: c_ulong = 0x40;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// resolv.h: `_res` of the calling thread.
    fn __res_state() -> *mut ResState;
    /// resolv.h: res_init(3), reads resolv.conf(5).
    fn __res_init() -> c_int;
}

/// The calling thread's resolver asks this DNS server alone, once, and waits `seconds` for its
/// answer (1 at least). It asks for names as they stand: no domain of resolv.conf is put behind them.
///
/// # Errors
/// `ENOSYS` where the C library is not glibc; res_init's own.
#[cfg(target_env = "gnu")]
pub fn ask_dns_server(server: SocketAddrV4, seconds: u8) -> nix::Result<()> {
    // SAFETY: res_init fills in the state of this thread, which __res_state points to for as long
    // as the thread lives; nobody else has it. The fields written are those of resolv.h.
    unsafe {
        if __res_init() != 0 {
            return Err(Errno::last());
        }
        let state = &mut *__res_state();
        state.options = RES_INIT | RES_RECURSE;
        state.retrans = c_int::from(seconds.max(1));
        state.retry = 1;
        state.nscount = 1;
        state.nsaddr_list[0] = *SockaddrIn::from(server).as_ref();
    }
    Ok(())
}

/// As above.
///
/// # Errors
/// `ENOSYS`.
#[cfg(not(target_env = "gnu"))]
pub fn ask_dns_server(_server: SocketAddrV4, _seconds: u8) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}
