//! The folders of a queue.

use nix::sys::stat::Mode;

use crate::folder::Folder;

/// Mode of all files: only the owner has access.
pub(super) const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// A queue's folder and those in it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) folder: Folder,
    pub(super) tmp: Folder,
    pub(super) letters: Folder,
    pub(super) state: Folder,
    pub(super) hold: Folder,
}
