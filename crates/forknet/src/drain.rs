//! SIGTERM: stop listening at once, let sessions end, then end them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use crate::bell::Bell;
use crate::error::Result;
use crate::fork::{EXIT_OK, exit_now};
use crate::parent::Parent;

/// Between SIGTERM to the children and SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the children are looked at while draining: the slides' faulty reapers hear no signal.
const LOOK: Duration = Duration::from_millis(100);

/// Closes the listeners, then waits for the children and threads for `--grace`, or until a second
/// SIGTERM; then SIGTERM and at last SIGKILL end the children, and shutdown(2) the threads'
/// connections. None is left behind.
pub(crate) fn drain(mut parent: Parent) -> Result<()> {
    let longest = parent.options.grace + 2 * LAST_WORDS + LOOK;
    parent.notifier.stopping(parent.clients(), longest);
    parent.stop_listening();
    parent.children.reap_properly();
    if parent.clients() > 0 {
        info!("stopping: {} clients, {:?} to end", parent.clients(), parent.options.grace);
    }
    parent.threads.look_again(true);
    parent.announce_shutdown();
    let stops = parent.signals.stops();
    let grace = parent.options.grace;
    await_end(&mut parent, grace, |parent| parent.signals.stops() > stops)?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if !parent.is_alone() {
            info!("stopping: {signal} to {} clients", parent.clients());
            parent.children.signal(signal);
            parent.threads.shut_down();
            await_end(&mut parent, LAST_WORDS, |_| false)?;
        }
    }
    if !parent.is_alone() {
        warn!("stopped, with {} threads that do not end", parent.threads.len());
        drop(parent); // the pid file goes
        exit_now(EXIT_OK);
    }
    info!("stopped");
    Ok(())
}

fn await_end(parent: &mut Parent, limit: Duration, hurry: impl Fn(&Parent) -> bool) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        parent.children.reap_properly();
        parent.children.dismiss_lingering();
        parent.titles.stopping(parent.clients());
        let left = until.saturating_duration_since(Instant::now());
        if parent.is_alone() || left.is_zero() || hurry(parent) {
            return Ok(());
        }
        let look = parent.notifier.beat().map_or(LOOK, |beat| beat.min(LOOK));
        let bell = parent.bell.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = bell.collect();
        parent.signals.wait(&mut fds, Some(TimeSpec::from(left.min(look))))?;
        parent.bell.as_deref().map(Bell::heard);
    }
}
