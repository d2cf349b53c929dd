//! The reaper of the slides: it takes ended children off the process table.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;

use crate::ledger::ledger;

/// The slides' three reapers. Only `waitpid` is right; the others are there to be seen with `ps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reaper {
    /// `while (waitpid(-1, &stat, WNOHANG) > 0)`: no zombie is left.
    #[default]
    Waitpid,
    /// One child for each signal, as `wait(&stat)` does: signals are not queued, some zombies stay.
    Wait,
    /// No handler: every child stays a zombie.
    None,
}

/// How many ended children the handler can note before the loop has read them.
const TABLE_SIZE: usize = 128;

/// On the slide the handler prints, which took long enough for the other children of a burst to end
/// meanwhile: their signals became one. Ours is too quick for that, so `--reap wait` takes its time
/// after each child, with the signal blocked as it is in a handler, and the slide's zombies appear
/// every time.
const SLOW_HANDLER: Duration = Duration::from_millis(5);

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    /// As wait(2) gives it.
    pub(crate) status: i32,
}

/// What the handler leaves for the loop. The handler runs only while the parent waits in ppoll and
/// the loop reads only outside of it, so the two never meet; atomics make that visible to the
/// compiler, not to another thread.
pub(crate) struct Noted {
    count: AtomicUsize,
    table: [AtomicU64; TABLE_SIZE],
}

impl Noted {
    /// An empty table.
    pub(crate) const fn nobody() -> Noted {
        Noted { count: AtomicUsize::new(0), table: [const { AtomicU64::new(0) }; TABLE_SIZE] }
    }
}

/// Slide "Final (correct) Version of sig_chld": signals are not queued, so one signal may stand
/// for many children; wait for all of them, without blocking.
pub(crate) fn reaper() {
    let errno = Errno::last(); //                           the interrupted call must keep its own
    while !table_is_full() && note_one() {}
    errno.set();
}

/// Slide "Version of SIGCHLD Handler That Calls wait": one child a signal, which is not enough.
/// That it may block is a second fault of wait(2), left out here: SIGCHLD also comes when a child
/// is only stopped, and then the server would hear nothing more, not even SIGTERM.
pub(crate) fn sig_chld_wait() {
    let errno = Errno::last();
    if !table_is_full() {
        note_one();
    }
    errno.set();
}

fn table_is_full() -> bool {
    ledger().ended.count.load(Relaxed) == TABLE_SIZE
}

/// Takes one ended child off the process table and notes it; false when there was none.
fn note_one() -> bool {
    let mut status = 0;
    // SAFETY: `status` is live for the call and is all that waitpid writes to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return false;
    }
    let free = ledger().ended.count.load(Relaxed);
    if let Some(entry) = ledger().ended.table.get(free) {
        entry.store(
            u64::from(pid.cast_unsigned()) << 32 | u64::from(status.cast_unsigned()),
            Relaxed,
        );
        ledger().ended.count.store(free + 1, Relaxed);
    }
    true
}

/// Hands every noted child to `each` and empties the table. When the table was full there may be
/// more children: the reaper runs again, here, until it finds room and nobody left.
pub(crate) fn collect(kind: Reaper, mut each: impl FnMut(Ended)) {
    if kind == Reaper::Wait && ledger().ended.count.load(Relaxed) > 0 {
        std::thread::sleep(SLOW_HANDLER);
    }
    loop {
        let noted = ledger().ended.count.swap(0, Relaxed);
        for entry in ledger().ended.table.iter().take(noted) {
            let entry = entry.load(Relaxed);
            each(Ended { pid: (entry >> 32) as i32, status: entry as u32 as i32 });
        }
        if noted < TABLE_SIZE || kind != Reaper::Waitpid {
            return;
        }
        reaper();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{Fork, exit_now, fork};

    #[test]
    fn more_children_than_the_table_holds_are_all_collected() {
        // The test harness has threads, so this test forks from a process of its own.
        let children = TABLE_SIZE + 50;
        let Ok(Fork::Parent(tester)) = fork_tester(children) else { unreachable!() };
        let status = nix::sys::wait::waitpid(tester, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(tester, 0));
    }

    fn fork_tester(children: usize) -> nix::Result<Fork> {
        let forked = crate::fork::fork_among_threads();
        if let Ok(Fork::Child) = forked {
            for _ in 0..children {
                if let Ok(Fork::Child) = fork() {
                    exit_now(0)
                }
            }
            let mut found = 0;
            while found < children {
                reaper();
                collect(Reaper::Waitpid, |_| found += 1);
            }
            exit_now(i32::from(found != children));
        }
        forked
    }
}
