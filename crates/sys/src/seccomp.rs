//! seccomp(2): a process gives up, for good, the system calls that it does not need.

mod program;

use libc::{
    SYS_brk, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_close, SYS_exit,
    SYS_exit_group, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fsync, SYS_ftruncate,
    SYS_futex, SYS_getdents64, SYS_getpid, SYS_getrandom, SYS_gettid, SYS_linkat, SYS_lseek,
    SYS_madvise, SYS_mkdirat, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_nanosleep,
    SYS_newfstatat, SYS_openat, SYS_openat2, SYS_ppoll, SYS_pread64, SYS_pwrite64, SYS_read,
    SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_renameat, SYS_renameat2,
    SYS_restart_syscall, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_yield, SYS_sendmsg,
    SYS_sendto, SYS_shutdown, SYS_sigaltstack, SYS_statx, SYS_unlinkat, SYS_write, SYS_writev,
    c_long,
};
use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;

use program::{MACHINE, Rule, Table, assemble};

/// What every process needs: memory that is not executable, the time, locks, its own signals, its end.
const BASIC: &[c_long] = &[
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_futex,
    SYS_sched_yield,
    SYS_getrandom,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_getpid,
    SYS_gettid,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_exit,
    SYS_exit_group,
];
/// What goes over descriptors that are open, sockets among them. None is made.
const STREAMS: &[c_long] = &[
    SYS_read,
    SYS_readv,
    SYS_write,
    SYS_writev,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_shutdown,
    SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    SYS_close,
];
/// Files and folders, by the descriptor of a folder.
const FILES: &[c_long] = &[
    SYS_openat,
    SYS_openat2,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_readlinkat,
    SYS_getdents64,
    libc::SYS_fstatfs,
    libc::SYS_fallocate,
    libc::SYS_io_setup, // fsync(2) of many files at the same time
    libc::SYS_io_submit,
    libc::SYS_io_getevents,
    SYS_lseek,
    SYS_pread64,
    SYS_pwrite64,
    SYS_ftruncate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_flock,
    SYS_mkdirat,
    SYS_linkat,
    SYS_renameat,
    SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    SYS_unlinkat,
];
/// What a process does that accepts its clients itself, or is the parent of those that do: it makes no
/// socket but pairs, which lead nowhere.
const LISTENERS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_socketpair,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_setitimer,
    libc::SYS_rt_sigaction,
    libc::SYS_getppid,
    libc::SYS_geteuid,
    libc::SYS_getresuid,
];
/// What a new thread does. clone3(2) is answered with ENOSYS, so that libc makes threads by clone(2),
/// whose flags a filter can see.
const THREADS: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_sched_getaffinity,
];
/// What the parent of processes that talk to clients does besides: it starts and ends them, and they give
/// their rights up; it reaches the log and the service manager; it removes its own files. It starts no program
/// and takes no other user's rights.
const PARENT: &[c_long] = &[
    SYS_clone,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_prlimit64,
    libc::SYS_seccomp,
    libc::SYS_landlock_restrict_self,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_dup3,
    libc::SYS_close_range,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresgid,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_fchmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];
/// What a process does besides that has the locks of an mbox and makes its next file. kill(2) is for asking
/// whether the holder of a lock has ended.
const SPOOL: &[c_long] =
    &[libc::SYS_fchmod, libc::SYS_fchown, libc::SYS_utimensat, libc::SYS_uname];
/// What a process does besides that talks to servers elsewhere, and has its files open: it makes sockets of the
/// Internet alone, and reads and appends.
const CLIENT: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    SYS_fstat,
    SYS_statx,
    SYS_lseek,
    SYS_pread64,
    SYS_fsync,
    SYS_fdatasync,
];
/// The families of its sockets.
const INTERNET: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32];
/// The commands of ioctl(2) that it has: whether a socket waits.
const IOCTL: &[u32] = &[libc::FIONBIO as u32];
/// Commands of fcntl(2) that open no file and send no signal.
const FCNTL: &[u32] =
    &[libc::F_GETFD as u32, libc::F_SETFD as u32, libc::F_GETFL as u32, libc::F_SETFL as u32];
/// Those, and another descriptor of an open file.
const FCNTL_DUP: &[u32] = &[
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD_CLOEXEC as u32,
];
/// Those, and commands for record locks and leases.
const FCNTL_LOCK: &[u32] = &[
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_OFD_SETLK as u32,
    libc::F_SETLEASE as u32,
];
/// Calls of which only those are allowed that map no memory as executable: the third argument says.
const NOT_EXECUTABLE: [c_long; 2] = [SYS_mmap, SYS_mprotect];

/// What a process may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Talk over what it has open.
    Streams,
    /// That, and work with files and folders. Which ones is for Landlock to say.
    StreamsAndFiles,
    /// That, and have locks, and give files their mode, group and times.
    Spool,
    /// Talk over what it has open, and accept(2) what comes to its listeners.
    Listeners,
    /// That, and start threads.
    Threads,
    /// Talk over what it has open, and to servers of the Internet; read and append to open files.
    Client,
    /// Accept clients, start processes for them, and wait for those; work with files.
    Parent,
}

/// Returns the table of a process that may do this.
fn table(allowed: Allowed) -> nix::Result<Table> {
    let more: &[&[c_long]] = match allowed {
        Allowed::Streams => &[],
        Allowed::StreamsAndFiles => &[FILES],
        Allowed::Spool => &[FILES, SPOOL],
        Allowed::Listeners => &[LISTENERS],
        Allowed::Threads => &[LISTENERS, THREADS],
        Allowed::Client => &[CLIENT],
        Allowed::Parent => &[LISTENERS, THREADS, FILES, PARENT],
    };
    let calls = BASIC.iter().chain(STREAMS).chain(more.iter().copied().flatten());
    let mut rules: Vec<(c_long, Rule)> = calls.map(|call| (*call, Rule::Allow)).collect();
    let executable = libc::PROT_EXEC.cast_unsigned();
    rules.extend(NOT_EXECUTABLE.map(|call| (call, Rule::Without { argument: 2, bit: executable })));
    let commands = match allowed {
        Allowed::Streams | Allowed::StreamsAndFiles => FCNTL,
        Allowed::Spool => FCNTL_LOCK,
        Allowed::Listeners | Allowed::Threads | Allowed::Client => FCNTL_DUP,
        Allowed::Parent => &[],
    };
    rules.push((SYS_fcntl, Rule::OneOf { argument: 1, values: commands }));
    if allowed == Allowed::Client {
        rules.push((libc::SYS_socket, Rule::OneOf { argument: 0, values: INTERNET }));
        rules.push((libc::SYS_ioctl, Rule::OneOf { argument: 1, values: IOCTL }));
    }
    if allowed == Allowed::Spool {
        rules.push((libc::SYS_kill, Rule::OneOf { argument: 1, values: &[0] }));
    }
    if allowed == Allowed::Parent {
        rules.push((SYS_fcntl, Rule::Allow)); // the lock of the pid file
        rules.push((libc::SYS_clone3, Rule::Unknown));
    }
    if allowed == Allowed::Threads {
        let thread = libc::CLONE_THREAD.cast_unsigned();
        rules.push((SYS_clone, Rule::With { argument: 0, bit: thread }));
        rules.push((libc::SYS_clone3, Rule::Unknown));
    }
    let number = |call: c_long| u32::try_from(call).map_err(|_| Errno::EINVAL);
    rules.into_iter().map(|(call, rule)| Ok((number(call)?, rule))).collect()
}

/// A set of calls. A process that enters it gets EPERM for every other call.
#[derive(Debug)]
pub struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Makes the filter. `None` for a machine whose calls this crate does not know.
    ///
    /// # Errors
    /// EINVAL where it cannot be made.
    pub fn new(allowed: Allowed) -> nix::Result<Option<Filter>> {
        let Some(machine) = MACHINE else { return Ok(None) };
        assemble(machine, &table(allowed)?).map(|program| Some(Filter(program)))
    }

    /// Whether this kernel has filters.
    #[must_use]
    pub fn is_supported() -> bool {
        // SAFETY: plain numbers.
        unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 }
    }

    /// This process goes in, and never comes out; its children will be inside too. It cannot gain
    /// rights by execve(2) any more (PR_SET_NO_NEW_PRIVS).
    ///
    /// # Errors
    /// What prctl(2) and seccomp(2) say: EINVAL from a kernel without filters.
    pub fn enter(&self) -> nix::Result<()> {
        set_no_new_privs()?;
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| Errno::EINVAL)?,
            filter: self.0.as_ptr().cast_mut(),
        };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: `program` names `len` instructions, which live until the call returns; the kernel reads
        // them and writes nothing.
        let entered = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) };
        Errno::result(entered).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{Fork, exit_now, fork_among_threads};
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    use nix::sys::signal::kill;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::getppid;
    use std::num::NonZeroUsize;

    /// Runs `life` inside; gives its exit code, which is the number of the first thing that is wrong.
    fn inside(allowed: Allowed, life: impl FnOnce() -> i32) -> i32 {
        let filter = Filter::new(allowed).unwrap().unwrap();
        match fork_among_threads().unwrap() {
            Fork::Child => exit_now(if filter.enter().is_ok() { life() } else { 99 }),
            Fork::Parent(child) => match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, code) => code,
                other => panic!("{other:?}"),
            },
        }
    }

    /// The number of the first that is false, counted from 1; 0 where all are true.
    fn first_wrong(all: &[bool]) -> i32 {
        all.iter().position(|it| !it).map_or(0, |index| i32::try_from(index + 1).unwrap())
    }

    fn opens() -> nix::Result<()> {
        nix::fcntl::open("/", nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty()).map(drop)
    }

    fn map(rights: ProtFlags) -> nix::Result<()> {
        let page = NonZeroUsize::new(4096).unwrap();
        // SAFETY: a new anonymous mapping overlaps nothing.
        unsafe { mmap_anonymous(None, page, rights, MapFlags::MAP_PRIVATE) }.map(drop)
    }

    #[test]
    fn a_process_inside_talks_and_makes_opens_signals_and_starts_nothing() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let wrong = inside(Allowed::Streams, || {
            let (inet, stream) = (AddressFamily::Inet, SockType::Stream);
            let name = c"/bin/true";
            first_wrong(&[
                nix::unistd::write(&writer, b"x") == Ok(1),
                nix::unistd::read(&reader, &mut [0]) == Ok(1),
                opens() == Err(Errno::EPERM),
                socket(inet, stream, SockFlag::empty(), None).err() == Some(Errno::EPERM),
                kill(getppid(), None) == Err(Errno::EPERM),
                nix::unistd::execv::<&std::ffi::CStr>(name, &[]).err() == Some(Errno::EPERM),
                map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_ok(),
                map(ProtFlags::PROT_READ | ProtFlags::PROT_EXEC) == Err(Errno::EPERM),
                // SAFETY: it is refused; otherwise the child would end as its parent does.
                Errno::result(unsafe { libc::fork() }) == Err(Errno::EPERM),
            ])
        });
        assert_eq!(wrong, 0);
    }

    #[test]
    fn a_process_inside_may_start_threads_and_no_process() {
        let wrong = inside(Allowed::Threads, || {
            first_wrong(&[
                std::thread::spawn(|| 7).join().is_ok_and(|seven| seven == 7),
                // SAFETY: it is refused; otherwise the child would end as its parent does.
                Errno::result(unsafe { libc::fork() }) == Err(Errno::EPERM),
                opens() == Err(Errno::EPERM),
            ])
        });
        assert_eq!(wrong, 0);
    }

    #[test]
    fn files_are_there_for_those_who_may_have_them() {
        assert_eq!(inside(Allowed::StreamsAndFiles, || first_wrong(&[opens().is_ok()])), 0);
    }

    #[test]
    fn a_client_makes_sockets_of_the_internet_alone_and_opens_nothing() {
        let of = |family| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
        let file = tempfile();
        let wrong = inside(Allowed::Client, || {
            use std::io::Write;
            first_wrong(&[
                of(AddressFamily::Inet).is_ok(),
                of(AddressFamily::Unix).err() == Some(Errno::EPERM),
                of(AddressFamily::Netlink).err() == Some(Errno::EPERM),
                opens() == Err(Errno::EPERM),
                kill(getppid(), None) == Err(Errno::EPERM),
                (&file).write_all(b"x").is_ok() && file.sync_data().is_ok(),
                file.set_len(0).is_err(),
                std::net::UdpSocket::bind("127.0.0.1:0")
                    .is_ok_and(|it| it.set_nonblocking(true).is_ok()),
            ])
        });
        assert_eq!(wrong, 0);
    }

    fn tempfile() -> std::fs::File {
        let dir = testkit::TempDir::new();
        std::fs::File::create(dir.path().join("file")).unwrap()
    }
}
