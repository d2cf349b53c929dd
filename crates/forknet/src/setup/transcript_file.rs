//! The file of `--transcript`, and a protocol's own log, opened at the start, and again on SIGHUP.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::Uid;
use sys::owned_file::{Access, Rules};

use crate::error::{Error, Result};
use crate::log::stderr_is_the_client;
use crate::options::ServerOptions;
use crate::setup::owned_file::open;
use crate::setup::privdrop;

/// Permissions of a new transcript, which holds mail.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The file to which dialogues are written, or another one to which lines are appended.
///
/// It must belong to root, to the user who starts the server or to that of `--user`, and only its
/// owner may write to it. A character device such as /dev/null or a terminal is accepted too,
/// because only root makes those. /dev/stdout and /dev/stderr are names of descriptors that the
/// process has open: a transcript there goes to the same file, pipe or socket as the log.
#[derive(Clone, Debug)]
pub(crate) struct TranscriptFile {
    /// What it is, for errors: `transcript`.
    what: &'static str,
    path: PathBuf,
    /// The user of `--user`.
    owner: Option<Uid>,
}

impl TranscriptFile {
    /// Opens the file of `--transcript`, if there is one.
    ///
    /// # Errors
    /// `transcript /tmp/x: is a symbolic link` and similar.
    pub(crate) fn from_options(options: &ServerOptions) -> Result<Option<(TranscriptFile, File)>> {
        let Some(path) = options.transcript.clone() else { return Ok(None) };
        TranscriptFile::opened("transcript", path, options).map(Some)
    }

    /// Opens another file by the same rules.
    ///
    /// # Errors
    /// As [`TranscriptFile::from_options`].
    pub(crate) fn opened(
        what: &'static str,
        path: PathBuf,
        options: &ServerOptions,
    ) -> Result<(TranscriptFile, File)> {
        let owner = options.user.as_deref().and_then(privdrop::find_uid);
        let named = TranscriptFile { what, path, owner };
        let file = match named.standard_stream() {
            Some(stream) => named.open_stream(stream, options)?,
            None => named.open()?,
        };
        Ok((named, file))
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> TranscriptFile {
        TranscriptFile { what: "transcript", path, owner: None }
    }

    /// Opens the file of that name.
    ///
    /// # Errors
    /// As [`TranscriptFile::from_options`].
    pub(crate) fn open(&self) -> Result<File> {
        let access = Access::Append;
        let rules = Rules { access, create: Some(MODE), owner: self.owner, devices: true };
        open(self.what, &self.path, rules).map(|opened| opened.file)
    }

    /// Returns true unless the name is a standard stream's.
    pub(crate) fn can_change(&self) -> bool {
        self.standard_stream().is_none()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn standard_stream(&self) -> Option<Stream> {
        match self.path.to_str()? {
            "/dev/stdout" => Some(Stream::Output),
            "/dev/stderr" => Some(Stream::Error),
            _ => None,
        }
    }

    /// Duplicates the descriptor, which may be a socket, and open(2) cannot open that.
    fn open_stream(&self, stream: Stream, options: &ServerOptions) -> Result<File> {
        let what = format!("{} {}", self.what, self.path.display());
        let is_the_client = match stream {
            Stream::Output => options.inetd,
            Stream::Error => options.inetd && stderr_is_the_client(),
        };
        if is_the_client {
            return Err(Error::Refused(format!("{what}: is the client under --inetd")));
        }
        if options.daemon {
            return Err(Error::Refused(format!("{what}: is given up under --daemon")));
        }
        let copy = match stream {
            Stream::Output => io::stdout().as_fd().try_clone_to_owned(),
            Stream::Error => io::stderr().as_fd().try_clone_to_owned(),
        };
        copy.map(|copy: OwnedFd| File::from(copy)).map_err(Error::io(what))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}
