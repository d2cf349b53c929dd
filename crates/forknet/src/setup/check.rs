//! `--check`: looks at what a start would make or open, and makes nothing.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::log;
use crate::net::endpoint::Endpoint;
use crate::net::unix_name::UnixName;
use crate::options::ServerOptions;
use crate::setup::pidfile;
use crate::setup::transcript_file::TranscriptFile;

/// Checks that each file that a start would make has a folder to lie in, and that pid file and transcript, where
/// they are there already, can be written.
///
/// # Errors
/// `pid file /run/x/y: No such file or directory`, and the like.
pub(crate) fn files(options: &ServerOptions) -> Result<()> {
    for endpoint in &options.listen {
        if let Endpoint::Unix(UnixName::Path(path)) | Endpoint::UnixDatagram(UnixName::Path(path)) =
            endpoint
        {
            folder_of(&endpoint.to_string(), path)?;
        }
    }
    if let Some(path) = &options.pid_file {
        match path.symlink_metadata().is_ok() {
            true => pidfile::check(path)?,
            false => folder_of(&format!("pid file {}", path.display()), path)?,
        }
    }
    options.transcript.iter().try_for_each(|path| appended("transcript", path, options))
}

/// Checks that a file to which lines are appended can be opened, or made.
///
/// # Errors
/// As [`files`].
pub(crate) fn appended(what: &'static str, path: &Path, options: &ServerOptions) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return TranscriptFile::opened(what, path.to_owned(), options).map(drop);
    }
    folder_of(&format!("{what} {}", path.display()), path)
}

/// Looks at what a start looks at. What a server would only warn of is a fault too, because it is seldom meant.
///
/// # Errors
/// Those of `look`; the number of warnings that it has logged.
pub(crate) fn without_warnings<T>(look: impl Fn() -> Result<T>) -> Result<()> {
    let before = log::warnings();
    look()?;
    match log::warnings().saturating_sub(before) {
        0 => Ok(()),
        1 => Err(Error::Refused("1 warning".into())),
        more => Err(Error::Refused(format!("{more} warnings"))),
    }
}

fn folder_of(what: &str, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(folder).map_err(Error::io(what))? {
        folder if folder.is_dir() => Ok(()),
        _ => Err(Error::os(what)(Errno::ENOTDIR)),
    }
}
