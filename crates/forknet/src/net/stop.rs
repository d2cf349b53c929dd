//! SIGINT and SIGTERM of a client that ends what it has begun.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sys::signal::{Action, handle, ignore};

use crate::error::{Error, Result};
use crate::net::connection::Connection;
use crate::net::interrupt::{Interrupts, POLL_INTERVAL, Waited, Woken, wait};

/// Number of SIGINTs and SIGTERMs.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The handlers are registered: twice would count each signal twice.
static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

/// The wish of the user that the program ends.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    grace: Duration,
}

impl Stop {
    /// Catches SIGINT and SIGTERM from here on. The first is a wish, and connections may go on for
    /// `grace`; the second ends the program at once. SIGXFSZ is ignored.
    ///
    /// # Errors
    /// As sigaction(2).
    pub fn catch(grace: Duration) -> Result<Stop> {
        if !IS_CAUGHT.swap(true, Relaxed) {
            [Signal::SIGINT, Signal::SIGTERM]
                .into_iter()
                .try_for_each(|signal| handle(signal, Action::CountOrEnd(&COUNT)))
                .map_err(Error::io("sigaction"))?;
            // A write beyond `ulimit -f` fails then, and does not kill the process.
            ignore(Signal::SIGXFSZ).map_err(Error::os("sigaction"))?;
        }
        Ok(Stop { grace })
    }

    /// Returns whether a signal has come.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        is_wanted()
    }

    /// As [`Stop::is_wanted`]; false where none is caught.
    #[must_use]
    pub fn is_wanted_by_now() -> bool {
        is_wanted()
    }

    /// Ends the waits of a connection, `grace` after a signal.
    pub fn watch(&self, conn: &mut Connection) {
        conn.set_interrupts(Some(Box::new(Watch { grace: self.grace, since: None })));
    }
}

/// Returns whether a signal has come; never without [`Stop::catch`].
pub(crate) fn is_wanted() -> bool {
    COUNT.load(Relaxed) > 0
}

/// The watch of one connection.
#[derive(Debug)]
struct Watch {
    grace: Duration,
    /// When the signal was noticed.
    since: Option<Instant>,
}

impl Interrupts for Watch {
    fn wait(&mut self, client: &[Waited<'_>], _is_idle: bool, limit: Duration) -> io::Result<bool> {
        self.poll_now()?;
        // poll(2) ends at a signal, unless it came just before.
        Ok(wait(client, [None, None], limit.min(POLL_INTERVAL))? == Woken::Client)
    }

    fn poll_now(&mut self) -> io::Result<()> {
        if is_wanted() && self.since.get_or_insert_with(Instant::now).elapsed() >= self.grace {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped by a signal"));
        }
        Ok(())
    }
}
