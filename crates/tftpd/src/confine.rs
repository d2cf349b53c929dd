//! Landlock: a process that serves a transfer can open nothing outside the root.
//!
//! The second wall beside [`crate::root`]: openat2(2) resolves names below the root; if a fault of
//! ours ever went round it, the kernel would still let this process neither read nor write any
//! other file. What is open already, such as the log and the transcript, stays open. A kernel
//! without Landlock serves as well, with one wall; the log says which.

use forknet::{Access, Landlock};
use log::{info, warn};

use crate::root::Root;

/// Rules made once, which each process enters by itself; none where the kernel has no Landlock.
#[derive(Debug)]
pub struct Confinement(Option<Landlock>);

impl Confinement {
    /// Leaves what is below `root`, to be read, and if it is `writable` to be written. The log tells
    /// what this kernel can do.
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
            Err(errno) => complain(*errno),
        }
        Confinement(prepared.unwrap_or_default())
    }

    /// Of a process that needs files outside the root; the log tells so.
    #[must_use]
    pub fn none() -> Confinement {
        info!("no landlock with --single-port and --map or -p: openat2 alone confines names");
        Confinement(None)
    }

    /// This process goes in, and never comes out. Where it cannot, the log says so.
    pub fn enter(&self) {
        if let Some(Err(errno)) = self.0.as_ref().map(Landlock::enter) {
            complain(errno);
        }
    }
}

fn complain(errno: nix::errno::Errno) {
    warn!("landlock: {}: openat2 alone confines names", forknet::reason(&errno.into()));
}
