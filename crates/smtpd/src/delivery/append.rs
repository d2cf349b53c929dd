//! Appends a letter to a file of the user's, an mbox.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mailstore::{Error, Folder, append_to_mbox, try_mbox};
use nix::unistd::{AccessFlags, access};

use crate::delivery::store::{Failure, verdict};
use crate::delivery::text::Text;
use crate::delivery::trace::return_path;
use crate::protocol::question::Verdict;

/// Longest wait for the locks of the file.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for them before the letter comes: a client has other recipients, and an mbox is locked for moments.
const TRY_WAIT: Duration = Duration::from_secs(5);

/// Checks, with the rights of the user, that letters of this many bytes can be appended to a file, whose locks are tried, or
/// that it can be made.
///
/// # Errors
/// Why not.
pub fn check(path: &Path, uid: u32, bytes: u64) -> Result<(), Failure> {
    let folder = folder(path)?;
    let free = folder.free_bytes()?;
    if free < bytes {
        let why = format!("{}: less than {bytes} bytes free", path.display());
        return Err(Failure { verdict: Verdict::NoRoom, why });
    }
    let unusable = |why: &str| {
        let why = format!("{}: {why}", path.display());
        Failure { verdict: Verdict::Unusable, why }
    };
    let may_write = |at: &Path, flags| access(at, flags).map_err(|errno| unusable(errno.desc()));
    match path.symlink_metadata() {
        Ok(it) if !it.is_file() => Err(unusable("is not a regular file")),
        Ok(it) if std::os::unix::fs::MetadataExt::uid(&it) != uid => {
            Err(unusable("belongs to another user"))
        }
        Ok(_) => {
            may_write(path, AccessFlags::W_OK | AccessFlags::R_OK)?;
            let name = path.file_name().unwrap_or_default();
            Ok(try_mbox(&folder.reopen()?, name, TRY_WAIT)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            may_write(folder.path(), AccessFlags::W_OK | AccessFlags::X_OK)
        }
        Err(error) => Err(unusable(&forknet::reason(&error))),
    }
}

/// Appends a letter; it is on the disk when this returns.
///
/// # Errors
/// Why not: the file is as it was before.
pub fn append(path: &Path, sender: &[u8], text: &Text) -> Result<(), Failure> {
    let folder = folder(path)?.reopen()?;
    let name = path.file_name().unwrap_or_default();
    let mut letter = [text.reader(return_path(sender))];
    Ok(append_to_mbox(&folder, name, &from_line(sender), &mut letter, LOCK_WAIT)?)
}

/// Walks to the folder of a file, which must be there: it may be a disk that is not mounted yet.
fn folder(path: &Path) -> Result<Folder, Failure> {
    let walked = Folder::find(path.parent().unwrap_or(path))?;
    match walked.missing.first() {
        None => Ok(walked.folder),
        Some(first) => {
            let what: PathBuf = walked.folder.path().join(first);
            let why = format!("{}: No such file or directory", what.display());
            Err(Failure { verdict: verdict(false), why: Error::Temporary(why).to_string() })
        }
    }
}

/// Returns the line that begins a letter: its sender, and the time, in UTC. A sender with a blank would be two words.
fn from_line(sender: &[u8]) -> Vec<u8> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let who = if sender.is_empty() { b"MAILER-DAEMON" } else { sender };
    let who: Vec<u8> = who.iter().map(|b| if b.is_ascii_graphic() { *b } else { b'-' }).collect();
    [b"From ", &who[..], b" ", now.strftime("%a %b %e %H:%M:%S %Y").to_string().as_bytes()].concat()
}
