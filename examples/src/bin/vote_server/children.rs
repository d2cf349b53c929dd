//! The children that serve clients.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use unp::Result;

/// Children that have not been waited for.
#[derive(Default)]
pub struct Children(HashSet<Pid>);

impl Children {
    /// Adds a child.
    pub fn add(&mut self, pid: Pid) {
        self.0.insert(pid);
    }

    /// Returns the number of children.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Calls waitpid for all ended children, "Final (correct) Version of sig_chld Function".
    pub fn collect(&mut self) {
        while let Ok(Some(pid)) = waitpid(None, Some(WaitPidFlag::WNOHANG)).map(|s| s.pid()) {
            self.0.remove(&pid);
        }
    }

    /// Waits until all children have ended, after `grace` by SIGKILL. That cannot harm the ledger
    /// (ledger.rs), because a vote is acknowledged only after it is on disk.
    pub fn wait_for_all(mut self, signals: &SignalFd, grace: Duration) -> Result {
        let until = Instant::now() + grace;
        self.collect();
        while self.count() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                for pid in &self.0 {
                    let _ended_just_now = kill(*pid, Signal::SIGKILL);
                }
                while waitpid(None, None).is_ok() {}
                return Ok(());
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let _an_end_or_the_time =
                poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
            while let Ok(Some(_)) = signals.read_signal() {}
            self.collect();
        }
        Ok(())
    }
}
