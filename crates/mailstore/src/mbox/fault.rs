//! The instants at which a disk can fail or a process can be killed, for tests.

use nix::errno::Errno;

/// Stands before a system call that changes something on the disk; fails where a test wants that.
#[cfg(not(test))]
#[inline]
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn point(_what: &str) -> Result<(), Errno> {
    Ok(())
}

#[cfg(test)]
pub(crate) use by_test::{Fault, is_killed, point, set};

#[cfg(not(test))]
#[inline]
pub(crate) fn is_killed() -> bool {
    false
}

#[cfg(test)]
mod by_test {
    use std::cell::Cell;

    use super::Errno;

    /// What happens at an instant.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        None,
        /// The call with this number fails, as on a full disk; the process goes on.
        Full(u32),
        /// The process is killed before the call with this number: nothing else is done.
        Kill(u32),
    }

    thread_local! {
        static FAULT: Cell<(Fault, u32)> = const { Cell::new((Fault::None, 0)) };
    }

    /// Sets what happens in this thread; returns how many calls there were since the last time.
    pub(crate) fn set(fault: Fault) -> u32 {
        FAULT.replace((fault, 0)).1
    }

    pub(crate) fn is_killed() -> bool {
        let (fault, count) = FAULT.get();
        matches!(fault, Fault::Kill(at) if count >= at)
    }

    pub(crate) fn point(_what: &str) -> Result<(), Errno> {
        let (fault, count) = FAULT.get();
        if is_killed() {
            return Err(Errno::EINTR);
        }
        FAULT.set((fault, count + 1));
        match fault {
            Fault::Full(at) if count == at => Err(Errno::ENOSPC),
            Fault::Kill(at) if count + 1 >= at => Err(Errno::EINTR),
            _ => Ok(()),
        }
    }
}
