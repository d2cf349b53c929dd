//! SIGTERM: stop listening at once, let sessions end, then end them.

use std::time::{Duration, Instant};

use log::info;
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use crate::error::Result;
use crate::server::Parent;

/// Between SIGTERM to the children and SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the children are looked at while draining: the slides' faulty reapers hear no signal.
const LOOK: Duration = Duration::from_millis(100);

/// Closes the listeners, then waits for the children for `--grace`, or until a second SIGTERM;
/// then SIGTERM and at last SIGKILL end them. None is left behind.
pub(crate) fn drain(mut parent: Parent) -> Result<()> {
    let longest = parent.grace + 2 * LAST_WORDS + LOOK;
    parent.notifier.stopping(parent.children.len(), longest);
    parent.stop_listening();
    parent.children.reap_properly();
    if !parent.children.is_empty() {
        info!("stopping: {} clients, {:?} to end", parent.children.len(), parent.grace);
    }
    parent.announce_shutdown();
    let stops = parent.signals.stops();
    let grace = parent.grace;
    await_children(&mut parent, grace, |parent| parent.signals.stops() > stops)?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if !parent.children.is_empty() {
            info!("stopping: {signal} to {} clients", parent.children.len());
            parent.children.signal(signal);
            await_children(&mut parent, LAST_WORDS, |_| false)?;
        }
    }
    info!("stopped");
    Ok(())
}

fn await_children(
    parent: &mut Parent,
    limit: Duration,
    hurry: impl Fn(&Parent) -> bool,
) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        parent.children.reap_properly();
        parent.children.end_lingering();
        parent.titles.stopping(parent.children.len());
        let left = until.saturating_duration_since(Instant::now());
        if parent.children.is_empty() || left.is_zero() || hurry(parent) {
            return Ok(());
        }
        let look = parent.notifier.beat().map_or(LOOK, |beat| beat.min(LOOK));
        parent.signals.wait(&mut [], Some(TimeSpec::from(left.min(look))))?;
    }
}
