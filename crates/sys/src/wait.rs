//! waitpid(2) and waitid(2): the reapers of the slides, and the table that they fill for the loop.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::private_memory::Private;

/// Most ended children that a handler can note before the loop reads them.
const TABLE_SIZE: usize = 128;

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its process id, which may be another process's by now.
    pub pid: i32,
    /// Its status, as waitpid(2) gives it.
    pub status: i32,
}

impl Ended {
    /// Returns the exit code; `None` if a signal has ended the child.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        libc::WIFEXITED(self.status).then(|| libc::WEXITSTATUS(self.status))
    }

    /// Returns whether a fault of the program has ended the child, as SIGSEGV, SIGSYS and SIGABRT tell of one, and not another
    /// process's signal.
    #[must_use]
    pub fn is_fault(self) -> bool {
        let of_others = [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGHUP];
        libc::WIFSIGNALED(self.status) && !of_others.contains(&libc::WTERMSIG(self.status))
    }
}

/// `exit 0`, or `signal 11 (SIGSEGV)`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WaitStatus::from_raw(Pid::from_raw(self.pid), self.status) {
            Ok(WaitStatus::Exited(_, code)) => write!(f, "exit {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                write!(f, "signal {} ({signal})", signal as i32)
            }
            _ => write!(f, "status {:#x}", self.status),
        }
    }
}

/// The children that a handler has found. The handler runs only while the process waits in ppoll,
/// and the loop reads only outside of it, so the two never run at once. The atomics are for the
/// compiler, not for another thread.
struct Noted {
    count: AtomicUsize,
    /// Process id and status, 32 bits each.
    table: [AtomicU64; TABLE_SIZE],
}

/// Made by [`prepare`], in memory that no child inherits.
static NOTED: OnceLock<Private<Noted>> = OnceLock::new();

fn noted<T>(look: impl FnOnce(&Noted) -> T) -> Option<T> {
    NOTED.get()?.with(look)
}

/// Makes the table. Before that, and in a child, the reapers do nothing.
///
/// # Errors
/// ENOMEM.
pub fn prepare() -> nix::Result<()> {
    if NOTED.get().is_none() {
        let empty = [const { AtomicU64::new(0) }; TABLE_SIZE];
        let private = Private::new(Noted { count: AtomicUsize::new(0), table: empty })?;
        NOTED.get_or_init(|| private);
    }
    Ok(())
}

/// Slide "Final (correct) Version of sig_chld": signals are not queued, so one signal may stand
/// for many children; wait for all of them, without blocking.
pub fn reaper() {
    let errno = Errno::last(); //   the interrupted call must keep its own
    while note_one() {} //          while ( (pid = waitpid(-1, &stat, WNOHANG)) > 0)
    errno.set();
}

/// Slide "Version of SIGCHLD Handler That Calls wait": one child per signal, which is not enough.
/// wait(2) has a second fault, which is left out here: SIGCHLD also comes when a child is only
/// stopped, and then wait(2) would block and the server handle no more signals, not even SIGTERM.
pub fn sig_chld_wait() {
    let errno = Errno::last();
    note_one();
    errno.set();
}

/// Reaps one ended child and notes it; returns false if there is none, or the table is full.
fn note_one() -> bool {
    let note = |noted: &Noted| {
        let free = noted.count.load(Relaxed);
        let Some(entry) = noted.table.get(free) else { return false };
        let mut status = 0;
        // SAFETY: `status` is live for the call and is all that waitpid writes to.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid > 0 {
            let word = u64::from(pid.cast_unsigned()) << 32 | u64::from(status.cast_unsigned());
            entry.store(word, Relaxed);
            noted.count.store(free + 1, Relaxed);
        }
        pid > 0
    };
    noted(note).unwrap_or(false)
}

/// Returns true when a reaper has noted a child that [`collect`] has not returned yet.
#[must_use]
pub fn is_noted() -> bool {
    noted(|noted| noted.count.load(Relaxed) > 0).unwrap_or(false)
}

/// Returns the children that a reaper has noted, and clears the table. If that was full there may
/// be more ended children, so the reaper has to run again.
#[must_use]
pub fn collect() -> Vec<Ended> {
    let take = |noted: &Noted| {
        let count = noted.count.load(Relaxed);
        if count > 0 {
            noted.count.store(0, Relaxed);
        }
        let words = noted.table.iter().take(count).map(|entry| entry.load(Relaxed));
        words.map(|word| Ended { pid: (word >> 32) as i32, status: word as u32 as i32 }).collect()
    };
    noted(take).unwrap_or_default()
}

/// Returns true if the table was full.
#[must_use]
pub fn may_be_more(collected: &[Ended]) -> bool {
    collected.len() == TABLE_SIZE
}

/// Returns true for a child of this process, alive or a zombie, that was not reaped: no other
/// process can have its id. Returns false for a number that is no process id.
#[must_use]
pub fn is_child(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.as_raw() > 0 && waitid(Id::Pid(pid), flags).is_ok()
}

/// Returns true for a child of this process that has not ended.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.as_raw() > 0 && waitid(Id::Pid(pid), flags) == Ok(WaitStatus::StillAlive)
}

/// Waits for one child to end, and reaps it.
///
/// # Errors
/// ECHILD if it is no child of this process.
pub fn wait_for(pid: Pid) -> nix::Result<()> {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            answer => return answer.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_child_shows_its_exit_code_or_signal() {
        let shown = |status| {
            let ended = Ended { pid: 2, status };
            (ended.to_string(), ended.code())
        };
        assert_eq!(shown(0), ("exit 0".into(), Some(0)));
        assert_eq!(shown(0x100), ("exit 1".into(), Some(1)));
        assert_eq!(shown(11), ("signal 11 (SIGSEGV)".into(), None));
        assert_eq!(shown(40), ("status 0x28".into(), None));
        let is_fault = |status| Ended { pid: 2, status }.is_fault();
        assert!(is_fault(11) && is_fault(0x86) && is_fault(31)); // with a core file, SIGABRT; SIGSYS
        assert!(!is_fault(15) && !is_fault(9) && !is_fault(0x100) && !is_fault(0));
    }

    #[test]
    fn a_number_that_is_no_process_id_is_no_child() {
        for pid in [-1, 0, 1, i32::MIN, std::process::id() as i32] {
            assert!(!is_child(Pid::from_raw(pid)) && !is_alive(Pid::from_raw(pid)), "{pid}");
        }
    }
}
