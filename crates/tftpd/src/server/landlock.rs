//! Landlock: confines a process that serves a transfer to files below the root.
//!
//! A second barrier after [`crate::files::root`], where openat2(2) resolves names below the root.
//! If a bug in tftpd evaded that, the kernel would still deny access to any other file. Descriptors
//! that are open already, such as the log and the transcript, stay usable. Without Landlock in the
//! kernel only the first barrier holds; the log says which.

use log::{info, warn};
use sys::landlock::{Access, Landlock};

use crate::files::root::Root;
use crate::files::roots::Roots;

/// A ruleset that is created once and enforced by each process; `None` without Landlock in the
/// kernel.
#[derive(Debug)]
pub struct Confinement(Option<Landlock>);

impl Confinement {
    /// Creates rules that allow reading below the roots, writing if `writable`, and to make folders. Logs the kernel's
    /// Landlock version.
    #[must_use]
    pub fn prepare(roots: &Roots, writable: bool, makes_folders: bool) -> Confinement {
        let access = match (writable, makes_folders) {
            (false, _) => Access::Read,
            (true, false) => Access::Write,
            (true, true) => Access::WriteAndMakeFolders,
        };
        let prepared = Landlock::new().and_then(|rules| {
            for root in roots.iter() {
                rules.iter().try_for_each(|rules| rules.allow(root.folder(), access))?;
            }
            Ok(rules)
        });
        log_walk(roots);
        match &prepared {
            Ok(Some(rules)) => {
                let version = rules.version();
                info!("landlock version {version}: transfers open nothing outside the root");
            }
            Ok(None) => {
                info!("no landlock in this kernel: {} alone confines names", barrier(roots));
            }
            Err(errno) => warn_unconfined(*errno),
        }
        Confinement(prepared.unwrap_or_default())
    }

    /// Creates no rules, for a process that needs files outside the root, and logs that.
    #[must_use]
    pub fn disabled(roots: &Roots) -> Confinement {
        log_walk(roots);
        info!(
            "no landlock with --single-port and --map, -p, --transcript or --transfer-log: {} alone confines names",
            barrier(roots)
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
    warn!("landlock: {}: it does not confine transfers", forknet::reason(&errno.into()));
}

/// Logs that names are resolved without openat2(2), which the kernel does not have or a container forbids.
fn log_walk(roots: &Roots) {
    if !roots.iter().all(Root::has_openat2) {
        info!("openat2 does not work here: names are resolved folder by folder, with O_NOFOLLOW");
    }
}

/// What confines names without Landlock.
fn barrier(roots: &Roots) -> &'static str {
    match roots.iter().all(Root::has_openat2) {
        true => "openat2",
        false => "the walk through the folders",
    }
}
