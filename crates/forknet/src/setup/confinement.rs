//! What a process gives up that reads what strangers send, and one that serves a user's files.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use log::warn;
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use sys::landlock::{Access, Landlock};
use sys::seccomp::{Allowed, Filter};

use crate::error::{Error, Result};
use crate::options::model::Model;

/// The filter of [`confine_to`].
static FILES: OnceLock<Option<Filter>> = OnceLock::new();

/// What a process of front enters, made once for all of them.
#[derive(Debug)]
pub(crate) struct Confinement {
    /// Allows nothing; `None` on a kernel without Landlock.
    landlock: Option<Landlock>,
    /// `None` on a kernel without seccomp(2).
    filter: Option<Filter>,
    may_start_threads: bool,
}

impl Confinement {
    /// Makes it, and says what the kernel does not have.
    ///
    /// # Errors
    /// landlock_create_ruleset(2) failed.
    pub(crate) fn new(model: Model) -> Result<Confinement> {
        let allowed = match model {
            Model::Fork => Allowed::Streams,
            Model::Prefork | Model::Iterative => Allowed::Listeners,
            Model::Thread => Allowed::Threads,
        };
        set_no_new_privs().map_err(Error::os("prctl"))?;
        let landlock = Landlock::new().map_err(Error::os("landlock"))?;
        let filter = filter_of(allowed)?;
        if landlock.is_none() {
            warn!("no landlock in this kernel: one barrier less around clients' processes");
        }
        if filter.is_none() {
            warn!("no seccomp in this kernel: one barrier less around clients' processes");
        }
        let may_start_threads = allowed == Allowed::Threads;
        Ok(Confinement { landlock, filter, may_start_threads })
    }

    /// This process opens nothing any more, makes no socket, starts no process, signals none, for good.
    pub(crate) fn enter(&self) -> nix::Result<()> {
        if !self.may_start_threads {
            setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
        }
        self.landlock.as_ref().map_or(Ok(()), Landlock::enter)?;
        self.filter.as_ref().map_or(Ok(()), Filter::enter)
    }
}

/// The parent of processes that talk to clients starts no program any more and takes no other rights, for good;
/// they neither. Where it talks to clients itself, it enters its own [`Confinement`].
///
/// # Errors
/// seccomp(2) failed.
pub(crate) fn confine_parent(model: Model) -> Result<()> {
    let filter = match model {
        Model::Fork | Model::Prefork => filter_of(Allowed::Parent)?,
        Model::Thread | Model::Iterative => None,
    };
    filter.map_or(Ok(()), |filter| filter.enter()).map_err(Error::os("seccomp"))
}

/// This process opens nothing any more but what is below these folders, makes no socket, starts no process,
/// signals none, changes its rights no more, for good.
///
/// With `moves` it can rename files from one of the folders to another, which the first version of Landlock
/// forbids to all that it holds: there that barrier is left out.
///
/// # Errors
/// One of the kernel's barriers cannot be put up.
pub fn confine_to(folders: impl IntoIterator<Item = impl AsFd>, moves: bool) -> Result<()> {
    give_up_processes()?;
    give_up_other_folders(folders, moves)?;
    let filter = files_filter()?.as_ref();
    filter.map_or(Ok(()), Filter::enter).map_err(Error::os("seccomp"))
}

/// As [`confine_to`] one folder, but it can have record locks, and give its files their mode and group. Other
/// processes of its user cannot trace it: it may have a group that they have not.
///
/// # Errors
/// As [`confine_to`].
pub fn confine_to_spool(folder: impl AsFd) -> Result<()> {
    set_dumpable(false).map_err(Error::os("prctl"))?;
    give_up_processes()?;
    give_up_other_folders([folder], false)?;
    let filter = filter_of(Allowed::Spool)?;
    filter.map_or(Ok(()), |filter| filter.enter()).map_err(Error::os("seccomp"))
}

/// This process opens no file any more, connects by TCP to these ports alone, starts no process, signals none,
/// changes its rights no more, for good. What it has open it reads, and appends to.
///
/// # Errors
/// As [`confine_to`].
pub fn confine_to_ports(ports: &[u16]) -> Result<()> {
    give_up_processes()?;
    if let Some(landlock) = Landlock::new().map_err(Error::os("landlock"))? {
        let allowed = ports.iter().try_for_each(|port| landlock.allow_connect(*port));
        allowed.and_then(|()| landlock.enter()).map_err(Error::os("landlock"))?;
    }
    let filter = filter_of(Allowed::Client)?;
    filter.map_or(Ok(()), |filter| filter.enter()).map_err(Error::os("seccomp"))
}

fn give_up_other_folders(folders: impl IntoIterator<Item = impl AsFd>, moves: bool) -> Result<()> {
    let landlock = Landlock::new().map_err(Error::os("landlock"))?;
    if let Some(landlock) = landlock.filter(|landlock| !moves || landlock.version() >= 2) {
        let mut folders = folders.into_iter();
        let allowed = folders.try_for_each(|folder| landlock.allow(folder, Access::Write));
        allowed.and_then(|()| landlock.enter()).map_err(Error::os("landlock"))?;
    }
    Ok(())
}

/// This process does nothing any more but talk over what it has open, for good.
///
/// # Errors
/// As [`confine_to`].
pub(crate) fn confine_to_nothing() -> Result<()> {
    give_up_processes()?;
    if let Some(landlock) = Landlock::new().map_err(Error::os("landlock"))? {
        landlock.enter().map_err(Error::os("landlock"))?;
    }
    let filter = filter_of(Allowed::Streams)?;
    filter.map_or(Ok(()), |filter| filter.enter()).map_err(Error::os("seccomp"))
}

fn give_up_processes() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Error::os("setrlimit"))?;
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).map_err(Error::os("setrlimit"))?;
    set_no_new_privs().map_err(Error::os("prctl"))
}

/// Makes the filter of [`confine_to`], once for all children.
///
/// # Errors
/// It cannot be made.
pub(crate) fn files_filter() -> Result<&'static Option<Filter>> {
    if let Some(made) = FILES.get() {
        return Ok(made);
    }
    let filter = filter_of(Allowed::StreamsAndFiles)?;
    Ok(FILES.get_or_init(|| filter))
}

fn filter_of(allowed: Allowed) -> Result<Option<Filter>> {
    if Filter::is_supported() {
        Filter::new(allowed).map_err(Error::os("seccomp"))
    } else {
        Ok(None)
    }
}
