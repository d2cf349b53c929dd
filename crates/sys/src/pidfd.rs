//! pidfd_open(2) and pidfd_getfd(2): another process's descriptor.
//!
//! For tests that act as a process that was taken over. No server uses it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// Copies a descriptor of another process, closed on exec. Both share flags and offset, as after
/// dup(2).
///
/// # Errors
/// ESRCH, EBADF; EPERM where this process may not trace the other one; ENOSYS before Linux 5.6.
pub fn descriptor_of(pid: Pid, fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let process = new(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: plain numbers.
    new(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

/// Returns the descriptor that a system call has returned, or its error.
fn new(returned: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(returned)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: both system calls return a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn a_write_to_the_copy_is_read_at_the_other_end_of_the_original() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
        let pid = Pid::from_raw(cat.id() as i32);
        match descriptor_of(pid, 1) {
            Ok(copy) => std::fs::File::from(copy).write_all(b"x").unwrap(),
            Err(errno) => {
                assert!(matches!(errno, Errno::EPERM | Errno::ENOSYS), "{errno}");
                cat.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            }
        }
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        cat.kill().unwrap();
        cat.wait().unwrap();
        assert_eq!(descriptor_of(pid, 1).unwrap_err(), Errno::ESRCH);
    }
}
