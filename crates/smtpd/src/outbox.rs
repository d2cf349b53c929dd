//! The way of smtpc and `sendmail` into the queue: where it is the caller's own, or the caller is root. Nothing here needs
//! a program with its set-user-ID bit; letters of other users go to a server.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use forknet::{Error, Result, Values, become_user};
use mailstore::{Folder, Queue, QueueEnvelope, QueuedDraft};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid};

/// Names the queue, for a caller whose command line names none.
const VARIABLE: &str = "FORKLORE_QUEUE";

/// Where letters go.
#[derive(Debug)]
pub(crate) enum Place {
    Queue(Queue),
    /// The server of the configuration, because of this about the queue, if one was named.
    Server(Option<String>),
}

/// A queue that was named.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) folder: PathBuf,
    /// On the command line: no other place will do.
    is_only: bool,
}

/// Why a queue is not used.
enum Unusable {
    /// It is not the caller's.
    Foreign(String),
    Broken(Error),
}

impl From<mailstore::Error> for Unusable {
    fn from(error: mailstore::Error) -> Unusable {
        match error.kind() {
            Some(
                ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem,
            ) => Unusable::Foreign(error.to_string()),
            _ => Unusable::Broken(of_queue(&error)),
        }
    }
}

/// Returns the queue that the command line names, or the environment, or the configuration.
///
/// # Errors
/// The path is wrong.
pub(crate) fn named(values: &Values) -> Result<Option<Named>> {
    let is_only = values.is_on_command_line("queue");
    let variable = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty() && !is_only);
    let folder = match variable {
        Some(folder) => Some(std::path::absolute(folder).map_err(Error::io(VARIABLE))?),
        None => values.path("queue")?,
    };
    Ok(folder.map(|folder| Named { folder, is_only }))
}

/// Opens the place. With root's rights this process becomes the queue's owner for good, before it reads a letter.
///
/// # Errors
/// The queue of the command line is not the caller's; one of the caller's own cannot be used.
pub(crate) fn open(named: Option<Named>) -> Result<Place> {
    let Some(Named { folder, is_only }) = named else { return Ok(Place::Server(None)) };
    // Of the caller's umask a letter could get a mode with which its owner cannot read it.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    match enter(&folder) {
        Ok(queue) => Ok(Place::Queue(queue)),
        Err(Unusable::Broken(error)) => Err(error),
        Err(Unusable::Foreign(why)) if is_only => Err(Error::Refused(format!("queue: {why}"))),
        Err(Unusable::Foreign(why)) => Ok(Place::Server(Some(why))),
    }
}

fn enter(path: &Path) -> std::result::Result<Queue, Unusable> {
    let me = geteuid();
    let opened = match me.is_root() {
        true => Folder::find(path).and_then(|walked| match walked.missing.first() {
            None => walked.folder.reopen(),
            Some(_) => made(path),
        }),
        false => Folder::open(path).or_else(|error| match error.kind() {
            Some(ErrorKind::NotFound) => made(path),
            _ => Err(error),
        }),
    };
    let folder = opened?;
    let (uid, gid) = Queue::owner_of(&folder)?;
    if uid != me && !me.is_root() {
        return Err(Unusable::Foreign(format!("{}: belongs to uid {uid}", path.display())));
    }
    // In a folder that only root can change, root alone can make what is missing.
    let queue = opened_or_made(folder, uid, gid)?;
    if me.is_root() && !uid.is_root() {
        become_user(uid.as_raw(), gid.as_raw()).map_err(Unusable::Broken)?;
    }
    Ok(queue)
}

/// Makes the folder of a queue, for its caller alone; on the disk when this returns.
fn made(path: &Path) -> mailstore::Result<Folder> {
    let io =
        |error| mailstore::Error::Io { what: format!("mkdir {}", path.display()), source: error };
    DirBuilder::new().mode(0o700).create(path).map_err(io)?;
    if let Some(parent) = path.parent() {
        Folder::open(parent)?.sync()?;
    }
    Folder::open(path)
}

fn opened_or_made(folder: Folder, uid: Uid, gid: Gid) -> mailstore::Result<Queue> {
    match Queue::open(folder.reopen()?, uid) {
        Ok(queue) if !queue.is_whole() => Queue::make(folder, uid, gid),
        Err(error) if error.kind() == Some(ErrorKind::NotFound) => Queue::make(folder, uid, gid),
        opened => opened,
    }
}

/// Puts a letter into the queue; it is on the disk when this returns. Returns its name there.
///
/// # Errors
/// It could not be written, and is not there.
pub(crate) fn put(
    queue: &Queue,
    envelope: &QueueEnvelope,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<String> {
    let mut draft = queue.draft(envelope).map_err(|error| of_queue(&error))?;
    write(&mut draft).map_err(Error::io("queue: write"))?;
    let synced = draft.sync().map_err(|error| of_queue(&error))?;
    let name = synced.name().display().to_string();
    QueuedDraft::publish_all(vec![synced]).map_err(|error| of_queue(&error))?;
    Ok(name)
}

fn of_queue(error: &mailstore::Error) -> Error {
    Error::Refused(format!("queue: {error}"))
}
