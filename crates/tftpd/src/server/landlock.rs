//! Landlock: a process that serves a transfer can open nothing outside the root.
//!
//! A second barrier beside [`crate::files::root`], where openat2(2) resolves names below the root:
//! if a fault of ours ever evaded that, the kernel would still let this process neither read nor
//! write any other file. What is open already, such as the log and the transcript, stays open. A
//! kernel without Landlock serves as well, with the first barrier alone; the log says which.

use log::{info, warn};
use sys::landlock::{Access, Landlock};

use crate::files::root::Root;

/// Rules made once, which each process enters by itself; none where the kernel has no Landlock.
#[derive(Debug)]
pub struct Confinement(Option<Landlock>);

impl Confinement {
    /// Makes rules that allow what is below `root` to be read, and if it is `writable` to be
    /// written. Logs what this kernel can do.
    #[must_use]
    pub fn prepare(root: &Root, writable: bool) -> Confinement {
        let access = if writable { Access::Write } else { Access::Read };
        let prepared = Landlock::new().and_then(|rules| {
            rules.iter().try_for_each(|rules| rules.allow(root.folder(), access))?;
            Ok(rules)
        });
        match &prepared {
            Ok(Some(rules)) => {
                let version = rules.version();
                info!("landlock version {version}: transfers open nothing outside the root");
            }
            Ok(None) => info!("no landlock in this kernel: openat2 alone confines names"),
            Err(errno) => warn_unconfined(*errno),
        }
        Confinement(prepared.unwrap_or_default())
    }

    /// Makes no rules, for a process that needs files outside the root, and logs that.
    #[must_use]
    pub fn disabled() -> Confinement {
        info!(
            "no landlock with --single-port and --map, -p or --transcript: openat2 alone confines names"
        );
        Confinement(None)
    }

    /// Confines this process for good. Where that fails, the log says so.
    pub fn enter(&self) {
        if let Some(Err(errno)) = self.0.as_ref().map(Landlock::enter) {
            warn_unconfined(errno);
        }
    }
}

fn warn_unconfined(errno: nix::errno::Errno) {
    warn!("landlock: {}: openat2 alone confines names", forknet::reason(&errno.into()));
}
