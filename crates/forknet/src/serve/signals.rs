//! Signals are delivered at one place only: while the parent waits in ppoll(2).
//!
//! A flag tested before a blocking accept loses a signal that arrives between the two. So the
//! signals are blocked from the start, and ppoll unblocks them only while it waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::poll::PollFd;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::TimeSpec;
use sys::signal::{self, Action, handle, ppoll, restore_default};
use sys::wait;

use crate::error::{Error, Result, strerror};
use crate::log::stderr;
use crate::net::failures::PAUSE;
use crate::options::SIGNALS;
use crate::serve::reaper::Reaper;

/// Number of SIGTERMs and SIGINTs.
static STOP: AtomicUsize = AtomicUsize::new(0);
static HANGUP: AtomicBool = AtomicBool::new(false);
static TABLE: AtomicBool = AtomicBool::new(false);
/// The failure of ppoll was logged.
static HAS_WARNED: AtomicBool = AtomicBool::new(false);

/// The parent's signals, blocked while it works and delivered while it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signals {
    /// The mask of a wait: that of the program's start, without these signals.
    open: SigSet,
    reaper: Reaper,
}

impl Signals {
    /// Takes the mask. The signals were blocked when the command line was read
    /// ([`crate::options`]).
    pub(crate) fn new(reaper: Reaper) -> Result<Signals> {
        signal::block(&SIGNALS).map_err(Error::os("sigprocmask"))?;
        let mut open = signal::mask().map_err(Error::os("sigprocmask"))?;
        SIGNALS.into_iter().for_each(|signal| open.remove(signal));
        Ok(Signals { open, reaper })
    }

    /// Registers the handlers, on a stack that no child inherits. None can run before
    /// [`Signals::wait`].
    pub(crate) fn handle(&self) -> Result<()> {
        wait::prepare().map_err(Error::os("mmap of private memory"))?;
        let registered = handle(Signal::SIGTERM, Action::Count(&STOP))
            .and_then(|()| handle(Signal::SIGINT, Action::Count(&STOP)))
            .and_then(|()| handle(Signal::SIGHUP, Action::Set(&HANGUP)))
            .and_then(|()| handle(Signal::SIGUSR1, Action::Set(&TABLE)))
            .and_then(|()| self.reaper.register());
        registered.map_err(Error::io("sigaction"))?;
        signal::use_private_stack(&SIGNALS).map_err(Error::os("sigaltstack"))
    }

    pub(crate) fn reaper(&self) -> Reaper {
        self.reaper
    }

    /// ppoll(2) with the signals unblocked, for at most `timeout`. Returns true when a descriptor
    /// is ready, false after a signal or the timeout.
    ///
    /// A ppoll that finds a descriptor ready returns without delivering a pending signal. Under
    /// load the listener is always ready, and SIGTERM and SIGCHLD would wait for ever. So such a
    /// call ends with a ppoll on nothing, which delivers them.
    pub(crate) fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<TimeSpec>) -> Result<bool> {
        stderr::flush(); // before a wait that may be long
        let is_ready = match ppoll(fds, timeout, self.open) {
            Ok(is_ready) => is_ready,
            Err(errno) => return self.pause(errno),
        };
        if is_ready && ppoll(&mut [], Some(TimeSpec::new(0, 0)), self.open).is_err() {
            self.deliver_pending(Duration::ZERO)?;
        }
        Ok(is_ready)
    }

    /// Pauses after a ppoll that failed, without memory or with a lowered limit of open files.
    fn pause(&self, errno: Errno) -> Result<bool> {
        if !HAS_WARNED.swap(true, Relaxed) {
            warn!("ppoll: {}: tried again until it works", strerror(errno));
        }
        self.deliver_pending(PAUSE)?;
        Ok(false)
    }

    /// Delivers pending signals without ppoll.
    fn deliver_pending(&self, time: Duration) -> Result<()> {
        let failed = || Error::os("sigprocmask");
        signal::set_mask(&self.open).map_err(failed())?;
        std::thread::sleep(time);
        signal::block(&SIGNALS).map_err(failed())
    }

    /// Returns the number of SIGTERMs and SIGINTs.
    pub(crate) fn stops(&self) -> usize {
        STOP.load(Relaxed)
    }

    /// Returns true after a signal that was not handled yet; always after SIGTERM.
    pub(crate) fn is_pending(&self) -> bool {
        self.stops() > 0 || HANGUP.load(Relaxed) || TABLE.load(Relaxed)
    }

    /// Returns true once after a SIGHUP.
    pub(crate) fn hangup(&self) -> bool {
        take_flag(&HANGUP)
    }

    /// Returns true once after a SIGUSR1.
    pub(crate) fn table_wanted(&self) -> bool {
        take_flag(&TABLE)
    }
}

/// Clears the flag; returns its old value. A flag that is not set is only read, because a write
/// would copy its page.
fn take_flag(flag: &AtomicBool) -> bool {
    flag.load(Relaxed) && flag.swap(false, Relaxed)
}

/// Restores, in a child, the default dispositions and then an empty mask, so that a pending signal
/// runs no handler of the parent. SIGPIPE stays ignored, as Rust's runtime sets it, because a log
/// without a reader must not end a child (slide "SIGPIPE Signal": the write returns EPIPE).
pub(crate) fn restore() -> nix::Result<()> {
    restore_default(&SIGNALS)?;
    signal::set_mask(&SigSet::empty())
}

/// Ignores SIGXFSZ, in the children too, so that a write beyond `ulimit -f` fails, which the client
/// can be sent, and does not kill the process.
pub(crate) fn ignore_file_size_signal() -> Result<()> {
    signal::ignore(Signal::SIGXFSZ).map_err(Error::os("sigaction"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::PollFlags;
    use nix::sys::signal::raise;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_signal_is_delivered_though_a_descriptor_is_always_ready() {
        let signals = Signals::new(Reaper::None).unwrap();
        signals.handle().unwrap();
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
        let signals = Signals::new(Reaper::None).unwrap();
        signals.handle().unwrap();
        raise(Signal::SIGHUP).unwrap();
        assert!(!signals.wait(&mut [], None).unwrap()); // returns at once, or hangs for ever
        assert!(signals.hangup());
        assert!(!signals.hangup());
    }
}
