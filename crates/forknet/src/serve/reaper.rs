//! The reaper of the slides: it takes ended children off the process table. The handlers themselves,
//! [`sys::wait::reaper`] and [`sys::wait::sig_chld_wait`], note whom they have found; the loop collects.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use sys::signal::{Action, handle, restore_default};
use sys::wait::{self, Ended};

/// On the slide the handler prints, which took long enough for the other children of a burst to end
/// meanwhile: their signals became one. Ours is too quick for that, so `--reap wait` takes its time
/// after each child, with the signal blocked as it is in a handler, and the slide's zombies appear
/// every time.
const SLOW_HANDLER: Duration = Duration::from_millis(5);

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

impl Reaper {
    /// Registers the handler of SIGCHLD.
    pub(crate) fn register(self) -> io::Result<()> {
        match self {
            Reaper::Waitpid => handle(Signal::SIGCHLD, Action::Reap),
            Reaper::Wait => handle(Signal::SIGCHLD, Action::ReapOne),
            // A parent that was started with SIGCHLD ignored would have no zombies to show.
            Reaper::None => restore_default(&[Signal::SIGCHLD]).map_err(Into::into),
        }
    }

    /// The children that it has found since the last call.
    pub(crate) fn collect(self) -> Vec<Ended> {
        if self == Reaper::Wait && wait::is_noted() {
            std::thread::sleep(SLOW_HANDLER);
        }
        wait::collect()
    }
}
