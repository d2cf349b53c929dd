//! System calls that a debugger makes in another process: what code that has taken it over could call.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The instruction of a system call.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Bytes below the stack pointer where arguments are put: out of the way of what the process has there.
const BELOW_STACK: u64 = 16 * 1024;
/// Results of the kernel's own, for calls that a debugger has interrupted: ERESTARTSYS to
/// ERESTART_RESTARTBLOCK, errno numbers.
const INTERRUPTED: std::ops::RangeInclusive<i64> = -516..=-512;

/// A process, or a thread, that waits in a system call and is stopped. It goes on when this is dropped.
#[derive(Debug)]
pub struct Injected {
    pid: Pid,
    before: nix::libc::user_regs_struct,
    /// Where the next bytes go.
    next: u64,
}

impl Injected {
    /// Stops a process or thread, from the thread that makes all further calls.
    ///
    /// # Panics
    /// It cannot be stopped, or does not wait in a system call.
    #[must_use]
    pub fn attach(pid: i32) -> Injected {
        let pid = Pid::from_raw(pid);
        ptrace::attach(pid).unwrap();
        let stopped = waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        let before = ptrace::getregs(pid).unwrap();
        let injected = Injected { pid, before, next: before.rsp - BELOW_STACK };
        let mut code = [0; SYSCALL.len()];
        injected.memory().read_exact_at(&mut code, before.rip - 2).unwrap();
        assert_eq!(code, SYSCALL, "{pid} does not wait in a system call");
        injected
    }

    fn memory(&self) -> std::fs::File {
        let path = format!("/proc/{}/mem", self.pid);
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    /// Puts bytes into its memory; returns their address.
    ///
    /// # Panics
    /// There is no room.
    pub fn put(&mut self, bytes: &[u8]) -> u64 {
        let address = self.next;
        self.memory().write_all_at(bytes, address).unwrap();
        self.next += (bytes.len() as u64).next_multiple_of(16);
        assert!(self.next < self.before.rsp - 1024, "room for arguments");
        address
    }

    /// Puts a text with its NUL into its memory; returns its address.
    pub fn text(&mut self, text: &str) -> u64 {
        self.put(format!("{text}\0").as_bytes())
    }

    /// Returns bytes of its memory.
    ///
    /// # Panics
    /// There is no such memory.
    #[must_use]
    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory().read_exact_at(&mut bytes, address).unwrap();
        bytes
    }

    /// Makes a call there; returns its result.
    ///
    /// # Errors
    /// The call's errno.
    ///
    /// # Panics
    /// The process has ended by it.
    pub fn call(&mut self, number: i64, arguments: &[u64]) -> nix::Result<i64> {
        let at = |n: usize| arguments.get(n).copied().unwrap_or(0);
        let mut registers = self.before;
        registers.rip = self.before.rip - 2;
        registers.rax = number.cast_unsigned();
        registers.orig_rax = u64::MAX; // nothing that was interrupted
        (registers.rdi, registers.rsi, registers.rdx) = (at(0), at(1), at(2));
        (registers.r10, registers.r8, registers.r9) = (at(3), at(4), at(5));
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        let stopped = waitpid(self.pid, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "call {number}: {stopped:?}");
        let result = ptrace::getregs(self.pid).unwrap().rax.cast_signed();
        if (-4095..0).contains(&result) {
            return Err(Errno::from_raw(i32::try_from(-result).unwrap()));
        }
        Ok(result)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let mut registers = self.before;
        if INTERRUPTED.contains(&registers.rax.cast_signed()) {
            (registers.rip, registers.rax) = (registers.rip - 2, registers.orig_rax); // once more
        }
        let _ = ptrace::setregs(self.pid, registers); // a failed test may have left nothing there
        let _ = ptrace::detach(self.pid, None);
    }
}
