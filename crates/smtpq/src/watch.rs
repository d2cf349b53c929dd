//! Watches what changes in the queue: new letters, held ones, that all are to be tried.

use std::os::fd::{AsFd, BorrowedFd};

use log::warn;
use mailstore::Queue;
use sys::inotify::{Change, Inotify, Watch};

/// Most reads of changes in a row; signals wait meanwhile.
const MAX_READS: usize = 16;

/// Watches the folders of a queue.
#[derive(Debug)]
pub struct Watcher {
    /// With the watches of `letters`, `hold` and the queue's folder; `None` where the kernel has none for us.
    inotify: Option<(Inotify, [Watch; 3])>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A letter of this name has come.
    Letter(Vec<u8>),
    /// It has gone.
    Gone(Vec<u8>),
    /// A letter is held now.
    Held(Vec<u8>),
    /// It is released.
    Released(Vec<u8>),
    /// Something has come that may be a request.
    Request,
    /// More than can be listed.
    Everything,
}

impl Watcher {
    /// Begins to watch. Where that is not possible, a warning says so, and the queue is looked at from time to time alone.
    #[must_use]
    pub fn of(queue: &Queue) -> Watcher {
        let watch = || {
            let inotify = Inotify::new()?;
            let [letters, hold, folder] = queue.watched();
            let watches = [inotify.watch(letters)?, inotify.watch(hold)?, inotify.watch(folder)?];
            Ok::<_, nix::errno::Errno>((inotify, watches))
        };
        let watched = watch();
        if let Err(errno) = &watched {
            warn!("inotify: {}: new letters are found a little later", errno.desc());
        }
        Watcher { inotify: watched.ok() }
    }

    /// Whether it works.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inotify.is_some()
    }

    /// Returns the descriptor that becomes readable with a change.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(|(inotify, _)| inotify.as_fd())
    }

    /// Returns what has changed since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let Some((inotify, [letters, hold, _])) = &self.inotify else { return events };
        let (letters, hold) = (*letters, *hold);
        let read = inotify.changes(MAX_READS, |change| {
            events.push(match change {
                Change::Come(watch, name) if watch == letters => Event::Letter(name.to_vec()),
                Change::Gone(watch, name) if watch == letters => Event::Gone(name.to_vec()),
                Change::Come(watch, name) if watch == hold => Event::Held(name.to_vec()),
                Change::Gone(watch, name) if watch == hold => Event::Released(name.to_vec()),
                Change::Come(..) => Event::Request,
                Change::Gone(..) => return,
                Change::Lost => Event::Everything,
            });
        });
        if let Err(errno) = read {
            warn!("inotify: {}: new letters are found a little later", errno.desc());
            self.inotify = None;
            events.push(Event::Everything); // from here on it is looked at more often
        }
        events
    }
}
