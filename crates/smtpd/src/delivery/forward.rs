//! A user's `~/.forward`, read with that user's rights.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use mailstore::Folder;

/// The name of the file in a home.
pub const NAME: &str = ".forward";
/// Longest text in bytes: what goes to the process that asked in one message.
pub const MAX_TEXT: usize = 8 * 1024;

/// Reads the file. `None` where there is none, or nothing in it.
///
/// # Errors
/// Why it cannot be followed: it cannot be read, is another user's, or others may write to it. A letter waits then,
/// because it may belong elsewhere.
pub fn read(home: &Path, uid: u32) -> Result<Option<Vec<u8>>, String> {
    if !home.is_absolute() {
        return Ok(None);
    }
    let walked = Folder::find(home).map_err(|error| error.to_string())?;
    if !walked.missing.is_empty() {
        return Ok(None); // whether mail needs a home, the mailbox tells
    }
    let path = home.join(NAME);
    let failed = |why: &str| format!("{}: {why}", path.display());
    let Some(file) = walked.folder.open_own(OsStr::new(NAME), uid).map_err(|e| e.to_string())?
    else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = File::from(file).take(MAX_TEXT as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| failed(&forknet::reason(&error)))?;
    if text.len() > MAX_TEXT {
        return Err(failed("longer than 8 KiB"));
    }
    Ok((!text.trim_ascii().is_empty()).then_some(text))
}

/// Returns whether there is such a file, where it may not be opened.
///
/// # Errors
/// It is not known.
pub fn is_there(home: &Path) -> Result<bool, String> {
    if !home.is_absolute() {
        return Ok(false);
    }
    match home.join(NAME).symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(format!("{}: {}", home.join(NAME).display(), forknet::reason(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_of_the_users_own_is_read_and_no_other_is_followed() {
        let dir = testkit::TempDir::new();
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(read(dir.path(), uid), Ok(None));
        assert_eq!(read(&dir.path().join("no"), uid), Ok(None));
        assert_eq!(read(Path::new(""), uid), Ok(None));
        let path = dir.file(NAME, "bob\n");
        assert_eq!(read(dir.path(), uid), Ok(Some(b"bob\n".to_vec())));
        assert!(read(dir.path(), uid + 1).is_err() || uid == 0);
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o620);
        assert!(read(dir.path(), uid).unwrap_err().contains("may write"));
        mode(0o600);
        std::fs::write(&path, "  \n").unwrap();
        assert_eq!(read(dir.path(), uid), Ok(None));
        std::fs::write(&path, "x".repeat(MAX_TEXT + 1)).unwrap();
        assert!(read(dir.path(), uid).is_err());
        std::fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(read(dir.path(), uid).is_err());
        assert_eq!(is_there(dir.path()), Ok(true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(is_there(dir.path()), Ok(false));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(dir.path(), uid).is_err());
    }
}
