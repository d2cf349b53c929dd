//! Signals come in at one place only: while the parent waits in ppoll(2).
//!
//! A flag tested before a blocking accept loses the signal that arrives between the two. So the
//! signals are blocked from the start, and ppoll opens the mask for just as long as it waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::poll::{PollFd, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signal::{sigaction, sigprocmask};
use nix::sys::time::TimeSpec;
use signal_hook::low_level::register;

use crate::error::{Error, Result};
use crate::lines;
use crate::reaper::Reaper;
use crate::sigstack;

/// The signals that the parent knows; a child gets their default dispositions back.
const OURS: [Signal; 5] =
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// The mask that the program was started with.
static AT_START: OnceLock<SigSet> = OnceLock::new();
/// SIGUSR1 has its handler.
static REGISTRY: OnceLock<bool> = OnceLock::new();
static STOP: AtomicUsize = AtomicUsize::new(0);
static HANGUP: AtomicBool = AtomicBool::new(false);
static TABLE: AtomicBool = AtomicBool::new(false);

/// Rust's runtime looks into these for a stack overflow, to say so before the process dies of it. A
/// server gives that up before its first fork, which is two system calls less for each child; it
/// still logs by what signal a child died. The runtime also ignores SIGPIPE, and the children keep
/// it so: a log whose reader is gone is no reason to die (slide "SIGPIPE Signal": the write returns
/// EPIPE).
const THE_RUNTIMES: [Signal; 2] = [Signal::SIGSEGV, Signal::SIGBUS];

/// The parent's masks: what is blocked while it works, and what while it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signals {
    /// As it was when the program started: what a child gets back.
    old: SigSet,
    /// While waiting: the old mask without our signals.
    open: SigSet,
    /// SIG_DFL, made once for all children.
    default: SigAction,
}

impl Signals {
    /// Blocks our signals, first thing: one that comes while the server is being set up waits, and
    /// ends it in order once it serves. Called again, it is the same once more.
    pub(crate) fn block() -> Result<Signals> {
        let ours: SigSet = OURS.into_iter().collect();
        let mut old = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut old))
            .map_err(Error::os("sigprocmask"))?;
        let old = *AT_START.get_or_init(|| old);
        REGISTRY.get_or_init(|| register_first().is_ok());
        let mut open = old;
        OURS.into_iter().for_each(|signal| open.remove(signal));
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        Ok(Signals { old, open, default })
    }

    /// Registers the handlers; none can run before [`Signals::wait`].
    pub(crate) fn handle(&self, reaper: Reaper) -> Result<()> {
        for signal in THE_RUNTIMES {
            disposition(signal, SigHandler::SigDfl).map_err(Error::os("sigaction"))?;
        }
        handlers(reaper).map_err(Error::io("sigaction"))
    }

    /// Lets the handlers run on a stack that no child has to have a copy of.
    pub(crate) fn put_handlers_aside(&self) -> Result<()> {
        sigstack::put_aside(&OURS)
    }

    /// The old mask back, for a process that serves nobody or only one client.
    pub(crate) fn release(&self) -> nix::Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.old), None)
    }

    /// ppoll(2) with the mask open, for at most `timeout`. Returns false when signals came instead
    /// of a descriptor, or nothing did.
    ///
    /// A ppoll that finds a descriptor ready returns without letting a pending signal in. Under
    /// load the listener is always ready, and SIGTERM and SIGCHLD would wait for ever; so such a
    /// round ends with a ppoll on nothing, which lets them in.
    pub(crate) fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<TimeSpec>) -> Result<bool> {
        lines::write_out(); // before a wait that may be long
        match ppoll(fds, timeout, Some(self.open)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(Error::os("ppoll")(errno)),
            Ok(_) => {}
        }
        match ppoll(&mut [], Some(TimeSpec::new(0, 0)), Some(self.open)) {
            Ok(_) | Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(Error::os("ppoll")(errno)),
        }
    }

    /// How many times SIGTERM or SIGINT came.
    pub(crate) fn stops(&self) -> usize {
        STOP.load(Relaxed)
    }

    /// True when a signal has come that nobody has heeded yet; SIGTERM is never done with.
    pub(crate) fn came(&self) -> bool {
        self.stops() > 0 || HANGUP.load(Relaxed) || TABLE.load(Relaxed)
    }

    /// True once after a SIGHUP.
    pub(crate) fn hangup(&self) -> bool {
        taken(&HANGUP)
    }

    /// True once after a SIGUSR1.
    pub(crate) fn table_wanted(&self) -> bool {
        taken(&TABLE)
    }

    /// For the child: default dispositions, then the old mask. In this order a signal that is
    /// pending meets no handler of the parent's.
    pub(crate) fn restore(&self) -> nix::Result<()> {
        for signal in OURS {
            // SAFETY: the default runs no code of ours; the handler is never called again.
            unsafe { sigaction(signal, &self.default) }?;
        }
        self.release()
    }
}

/// True once after the flag was set. A flag that is not is only read: see `ledger.rs`.
fn taken(flag: &AtomicBool) -> bool {
    flag.load(Relaxed) && flag.swap(false, Relaxed)
}

/// Makes a file that grows over `ulimit -f` an error of write(2), which the client is told, and no
/// death by SIGXFSZ. The children keep it so.
pub(crate) fn ignore_file_size_signal() -> Result<()> {
    disposition(Signal::SIGXFSZ, SigHandler::SigIgn).map_err(Error::os("sigaction"))
}

/// SIG_DFL or SIG_IGN; never a handler.
fn disposition(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    debug_assert!(matches!(handler, SigHandler::SigDfl | SigHandler::SigIgn));
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither runs code of ours; the handler it replaces is never called again.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// Registers the first handler, and so makes signal-hook's registry. Every handler writes to that, and
/// the page it is on is copied after each fork: made this early it lies on the heap's first page, where
/// libc's thread-local data are, which is copied anyway.
fn register_first() -> std::io::Result<()> {
    // SAFETY: the action only touches a lock-free atomic, which is async-signal-safe.
    unsafe { register(libc::SIGUSR1, || TABLE.store(true, Relaxed)) }.map(drop)
}

fn handlers(reaper: Reaper) -> std::io::Result<()> {
    let stop = || {
        STOP.fetch_add(1, Relaxed);
    };
    // SAFETY: each action only touches lock-free atomics, which is async-signal-safe.
    unsafe {
        register(libc::SIGTERM, stop)?;
        register(libc::SIGINT, stop)?;
        register(libc::SIGHUP, || HANGUP.store(true, Relaxed))?;
    }
    match reaper {
        // A parent that was started with SIGCHLD ignored would have no zombies to show.
        Reaper::None => disposition(Signal::SIGCHLD, SigHandler::SigDfl).map_err(Into::into),
        // SAFETY: the handlers call waitpid and touch lock-free atomics; waitpid is on the list of
        // signal-safety(7), and errno is kept.
        Reaper::Wait => unsafe { register(libc::SIGCHLD, crate::reaper::sig_chld_wait).map(drop) },
        // SAFETY: as above.
        Reaper::Waitpid => unsafe { register(libc::SIGCHLD, crate::reaper::reaper).map(drop) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::PollFlags;
    use nix::sys::signal::raise;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_signal_gets_in_though_a_descriptor_is_always_ready() {
        let signals = Signals::block().unwrap();
        signals.handle(Reaper::Waitpid).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"ready").unwrap();
        raise(Signal::SIGUSR1).unwrap(); // pending for this thread, which has it blocked
        assert!(!signals.table_wanted());
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        assert!(signals.wait(&mut fds, None).unwrap());
        assert!(signals.table_wanted());
    }

    #[test]
    fn a_signal_that_came_before_the_wait_is_not_lost() {
        let signals = Signals::block().unwrap();
        signals.handle(Reaper::Waitpid).unwrap();
        raise(Signal::SIGHUP).unwrap();
        assert!(!signals.wait(&mut [], None).unwrap()); // returns at once, or hangs for ever
        assert!(signals.hangup());
        assert!(!signals.hangup());
    }
}
