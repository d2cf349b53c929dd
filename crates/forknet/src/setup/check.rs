//! `--check`: looks at what a start would make or open, and makes nothing.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;
use crate::net::unix_name::UnixName;
use crate::options::ServerOptions;
use crate::setup::transcript_file::TranscriptFile;

/// Checks that each file that a start would make has a folder to lie in, and that the transcript, where there
/// is one already, can be written.
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
        folder_of(&format!("pid file {}", path.display()), path)?;
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

fn folder_of(what: &str, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(folder).map_err(Error::io(what))? {
        folder if folder.is_dir() => Ok(()),
        _ => Err(Error::os(what)(Errno::ENOTDIR)),
    }
}
