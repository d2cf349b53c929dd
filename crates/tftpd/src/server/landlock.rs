//! Landlock: confines a process that serves a transfer to files below the root.
//!
//! A second barrier behind [`crate::files::root`], where openat2(2) resolves names below the root.
//! If a bug in tftpd evaded that, the kernel would still deny access to any other file. Descriptors
//! that are open already, such as the log and the transcript, stay usable. Without Landlock in the
//! kernel only the first barrier holds; the log says which.

use log::{info, warn};
use sys::landlock::{Access, Landlock};

use crate::files::root::Root;

/// A ruleset that is created once and enforced by each process; `None` without Landlock in the
/// kernel.
#[derive(Debug)]
pub struct Confinement(Option<Landlock>);

impl Confinement {
    /// Creates rules that allow reading below `root`, writing if `writable`, and to make folders. Logs the kernel's
    /// Landlock version.
    #[must_use]
    pub fn prepare(root: &Root, writable: bool, makes_folders: bool) -> Confinement {
        let access = match (writable, makes_folders) {
            (false, _) => Access::Read,
            (true, false) => Access::Write,
            (true, true) => Access::WriteAndMakeFolders,
        };
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

    /// Creates no rules, for a process that needs files outside the root, and logs that.
    #[must_use]
    pub fn disabled() -> Confinement {
        info!(
            "no landlock with --single-port and --map, -p or --transcript: openat2 alone confines names"
        );
        Confinement(None)
    }

    /// Confines this process irrevocably. Logs a warning on failure.
    pub fn enter(&self) {
        if let Some(Err(errno)) = self.0.as_ref().map(Landlock::enter) {
            warn_unconfined(errno);
        }
    }
}

fn warn_unconfined(errno: nix::errno::Errno) {
    warn!("landlock: {}: openat2 alone confines names", forknet::reason(&errno.into()));
}
