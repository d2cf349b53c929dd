//! A descriptor kept in reserve for the moment when there are no others.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::accept::accept;
use crate::error::strerror;
use crate::rw::refuse;

/// How long the listeners are left alone when not even the reserve helped.
const REST: Duration = Duration::from_millis(200);

/// Lives through EMFILE, ENFILE, ENOBUFS and ENOMEM without spinning: a connection that cannot be
/// accepted keeps its listener readable, so each round must either take it or rest.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Any descriptor would do; this one needs no path, of which a chroot(2) may have none.
    file: Option<EventFd>,
    warned: bool,
    rest_until: Option<Instant>,
}

impl Reserve {
    pub(crate) fn new() -> Reserve {
        Reserve { file: descriptor(), warned: false, rest_until: None }
    }

    /// accept failed for want of descriptors or memory: gives up the reserve, takes one client with
    /// it, tells it `words` and closes it.
    pub(crate) fn answer(&mut self, listener: &impl AsFd, words: &[u8], errno: Errno) {
        if !self.warned {
            warn!("accept: {}: clients are turned away until this is over", strerror(errno));
            self.warned = true;
        }
        let had_reserve = self.file.take().is_some();
        let answered =
            had_reserve && accept(listener).map(|(conn, _)| refuse(&conn, words)).is_ok();
        self.file = descriptor();
        if !answered {
            self.rest_a_while();
        }
    }

    /// Leaves the listeners alone for a moment: what cannot be received would keep them readable.
    pub(crate) fn rest_a_while(&mut self) {
        self.rest_until = Some(Instant::now() + REST);
    }

    /// For a child, which needs none.
    pub(crate) fn give_up(&mut self) {
        self.file = None;
    }

    /// accept works again.
    pub(crate) fn recovered(&mut self) {
        if self.warned {
            info!("accept: works again");
            self.warned = false;
        }
        self.rest_until = None;
    }

    /// How long to rest still before the listeners are looked at again.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.rest_until?.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
    }
}

fn descriptor() -> Option<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC).ok()
}
