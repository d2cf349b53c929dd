//! Descriptors: dup2(2), fcntl(2), close_range(2).

use std::fs::{DirEntry, read_dir};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

/// The first descriptor after standard input, output and error.
pub const FIRST_OTHER: RawFd = 3;
/// Descriptors that are closed at most where /proc does not list the open ones.
const MAX_CLOSED: RawFd = 1 << 20;

/// Opens /dev/null for reading and writing.
///
/// # Errors
/// As open(2).
pub fn null() -> nix::Result<OwnedFd> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}

/// Makes standard input, output and error, or some of the three, copies of this descriptor.
///
/// # Errors
/// As dup2(2).
pub fn replace_standard(by: &OwnedFd, [input, output, error]: [bool; 3]) -> nix::Result<()> {
    if output {
        dup2_stdout(by)?;
    }
    if error {
        dup2_stderr(by)?;
    }
    if input { dup2_stdin(by) } else { Ok(()) }
}

/// Makes a number a copy of this descriptor that stays open across exec(2). For a process that is about to
/// run another program: what had the number before is closed.
///
/// # Errors
/// As dup2(2).
pub fn place(fd: &impl AsFd, number: RawFd) -> nix::Result<()> {
    let fd = fd.as_fd();
    if fd.as_raw_fd() == number {
        return fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop);
    }
    // SAFETY: plain numbers, the first of an open descriptor. Who owned the second one in this process would
    // find another file there, and nothing worse; the caller runs another program.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Copies a descriptor to the lowest free number above this one, closed on exec.
///
/// # Errors
/// As fcntl(2).
pub fn copy_above(fd: &impl AsFd, number: RawFd) -> nix::Result<OwnedFd> {
    let copy = fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number.saturating_add(1)))?;
    // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Returns true when two descriptors refer to the same file or socket.
pub fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    let file = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    file(a.as_fd()).is_ok_and(|a| file(b.as_fd()) == Ok(a))
}

/// Returns true for a regular file.
pub fn is_regular_file(fd: impl AsFd) -> bool {
    kind(fd) == Some(SFlag::S_IFREG)
}

/// Returns true for a socket.
pub fn is_socket(fd: impl AsFd) -> bool {
    kind(fd) == Some(SFlag::S_IFSOCK)
}

fn kind(fd: impl AsFd) -> Option<SFlag> {
    let mode = fstat(fd).ok()?.st_mode;
    Some(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT)
}

/// Set by [`take_inherited`].
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the `count` descriptors from 3 on that the starter of this process has passed, makes them
/// close-on-exec, and closes all others.
///
/// Only the first call does so. Call it at the start of the program, before that opens descriptors
/// of its own.
///
/// # Errors
/// The number of a descriptor that is not open, with EBADF; or the first number, with an error of
/// close_range(2).
pub fn take_inherited(count: RawFd) -> Result<Vec<OwnedFd>, (RawFd, Errno)> {
    if TAKEN.swap(true, SeqCst) {
        return Ok(Vec::new());
    }
    let end = FIRST_OTHER.saturating_add(count);
    let taken = (FIRST_OTHER..end).map(|fd| take(fd).map_err(|errno| (fd, errno))).collect();
    close_from(end).map_err(|errno| (end, errno))?;
    taken
}

fn take(fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: fcntl on a number that may or may not be a descriptor fails at worst; the borrow ends
    // with the call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open, as fcntl has just shown, and nothing in this process owns it,
    // because its starter opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes all descriptors from this number on. Old container filters refuse close_range(2) with
/// EPERM or ENOSYS; then each is closed by itself.
fn close_from(first: RawFd) -> nix::Result<()> {
    let from = first.cast_unsigned();
    // SAFETY: plain numbers. What is closed here is owned by nothing in this process, because
    // it was open when the program began (`take_inherited`, which runs once).
    match Errno::result(unsafe { libc::close_range(from, libc::c_uint::MAX, 0) }) {
        Ok(_) => Ok(()),
        Err(_) => close_each(first),
    }
}

/// Closes the descriptors that /proc lists; without /proc, all up to the limit of open files.
fn close_each(first: RawFd) -> nix::Result<()> {
    let listed = read_dir("/proc/self/fd").map(|entries| {
        let number = |entry: io::Result<DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        entries.filter_map(number).collect::<Vec<RawFd>>()
    });
    let open = match listed {
        Ok(listed) => listed,
        Err(_) => {
            let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
            (first..RawFd::try_from(limit).unwrap_or(MAX_CLOSED).min(MAX_CLOSED)).collect()
        }
    };
    for fd in open.into_iter().filter(|fd| *fd >= first) {
        // SAFETY: as in `close_from`; a number that is no longer open, as that of the listing
        // itself, is a harmless error.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Sets or clears O_NONBLOCK, which all copies of the descriptor share.
///
/// # Errors
/// As fcntl(2).
pub fn set_nonblocking(fd: &impl AsFd, on: bool) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let wanted = if on { flags | OFlag::O_NONBLOCK } else { flags - OFlag::O_NONBLOCK };
    if wanted == flags { Ok(()) } else { fcntl(fd, FcntlArg::F_SETFL(wanted)).map(drop) }
}

/// Returns true when O_NONBLOCK is set.
#[must_use]
pub fn is_nonblocking(fd: &impl AsFd) -> bool {
    let flags = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
    flags.is_ok_and(|flags| flags.contains(OFlag::O_NONBLOCK))
}

/// Returns the number, for messages.
#[must_use]
pub fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}
