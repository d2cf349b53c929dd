//! The reaper of the slides: waits for ended children. The handlers, [`sys::wait::reaper`] and
//! [`sys::wait::sig_chld_wait`], note the children, and the loop collects them.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use sys::signal::{Action, handle, restore_default};
use sys::wait::{self, Ended};

/// Time that the handler of `--reap wait` takes for each child. On the slide it prints, and the
/// other children of a burst end meanwhile, so that their signals become one. This pause, with the
/// signal blocked as in a handler, makes the slide's zombies appear every time.
const SLOW_HANDLER: Duration = Duration::from_millis(5);

/// The slides' three reapers. Only `waitpid` is right; the others are demonstrations for `ps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reaper {
    /// `while (waitpid(-1, &stat, WNOHANG) > 0)`, which leaves no zombie.
    #[default]
    Waitpid,
    /// One child for each signal, as `wait(&stat)` does. Some zombies stay, because signals are not
    /// queued.
    Wait,
    /// No handler; every child stays a zombie.
    None,
}

impl Reaper {
    /// Registers the handler of SIGCHLD.
    pub(crate) fn register(self) -> io::Result<()> {
        match self {
            Reaper::Waitpid => handle(Signal::SIGCHLD, Action::Reap),
            Reaper::Wait => handle(Signal::SIGCHLD, Action::ReapOne),
            // A parent that was started with SIGCHLD ignored would show no zombies.
            Reaper::None => restore_default(&[Signal::SIGCHLD]).map_err(Into::into),
        }
    }

    /// Returns the children that it has found since the last call.
    pub(crate) fn collect(self) -> Vec<Ended> {
        if self == Reaper::Wait && wait::is_noted() {
            std::thread::sleep(SLOW_HANDLER);
        }
        wait::collect()
    }
}
