//! Signals come in at one place only: while the parent waits in ppoll(2).
//!
//! A flag tested before a blocking accept loses the signal that arrives between the two. So the
//! signals are blocked from the start, and ppoll opens the mask for just as long as it waits.

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
use crate::options::SIGNALS;
use crate::serve::reaper::Reaper;

/// Times that SIGTERM or SIGINT came.
static STOP: AtomicUsize = AtomicUsize::new(0);
static HANGUP: AtomicBool = AtomicBool::new(false);
static TABLE: AtomicBool = AtomicBool::new(false);
/// It was said that ppoll fails.
static HAS_WARNED: AtomicBool = AtomicBool::new(false);

/// How long the parent rests where ppoll fails.
const REST: Duration = Duration::from_millis(200);

/// The parent's signals: blocked while it works, let in while it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signals {
    /// The mask of a wait: as the program was started, without our signals.
    open: SigSet,
    reaper: Reaper,
}

impl Signals {
    /// Our signals are blocked already, since the command line was read ([`crate::options`]).
    pub(crate) fn new(reaper: Reaper) -> Result<Signals> {
        signal::block(&SIGNALS).map_err(Error::os("sigprocmask"))?;
        let mut open = signal::mask().map_err(Error::os("sigprocmask"))?;
        SIGNALS.into_iter().for_each(|signal| open.remove(signal));
        Ok(Signals { open, reaper })
    }

    /// Registers the handlers, on a stack that no child has; none can run before [`Signals::wait`].
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

    /// ppoll(2) with the mask open, for at most `timeout`. Returns false when signals came instead
    /// of a descriptor, or nothing did.
    ///
    /// A ppoll that finds a descriptor ready returns without letting a pending signal in. Under
    /// load the listener is always ready, and SIGTERM and SIGCHLD would wait for ever; so such a
    /// round ends with a ppoll on nothing, which lets them in.
    pub(crate) fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<TimeSpec>) -> Result<bool> {
        stderr::flush(); // before a wait that may be long
        let is_ready = match ppoll(fds, timeout, self.open) {
            Ok(is_ready) => is_ready,
            Err(errno) => return self.rest(errno),
        };
        if is_ready && ppoll(&mut [], Some(TimeSpec::new(0, 0)), self.open).is_err() {
            self.deliver_pending(Duration::ZERO)?;
        }
        Ok(is_ready)
    }

    /// For a ppoll that fails: for want of memory, or because the limit of open files was lowered.
    fn rest(&self, errno: Errno) -> Result<bool> {
        if !HAS_WARNED.swap(true, Relaxed) {
            warn!("ppoll: {}: tried again until it works", strerror(errno));
        }
        self.deliver_pending(REST)?;
        Ok(false)
    }

    /// Lets signals in without ppoll.
    fn deliver_pending(&self, time: Duration) -> Result<()> {
        let failed = || Error::os("sigprocmask");
        signal::set_mask(&self.open).map_err(failed())?;
        std::thread::sleep(time);
        signal::block(&SIGNALS).map_err(failed())
    }

    /// How many times SIGTERM or SIGINT came.
    pub(crate) fn stops(&self) -> usize {
        STOP.load(Relaxed)
    }

    /// Returns true when a signal has come that was not attended to yet; SIGTERM is never done with.
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

/// Returns true once after the flag was set. One that is not set is only read: its page need not be copied then.
fn take_flag(flag: &AtomicBool) -> bool {
    flag.load(Relaxed) && flag.swap(false, Relaxed)
}

/// For the child: default dispositions, then an empty mask. In this order a signal that is
/// pending meets no handler of the parent's. Rust's runtime ignores SIGPIPE, and the children keep it so: a
/// log whose reader is gone is no reason to die (slide "SIGPIPE Signal": the write returns EPIPE).
pub(crate) fn restore() -> nix::Result<()> {
    restore_default(&SIGNALS)?;
    signal::set_mask(&SigSet::empty())
}

/// Makes a file that grows over `ulimit -f` an error of write(2), which the client is told, and no
/// death by SIGXFSZ. The children keep it so.
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
    fn a_signal_gets_in_though_a_descriptor_is_always_ready() {
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
