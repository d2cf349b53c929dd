//! The files of a running server.

use std::fs::File;
use std::io;

use crate::setup::cleanup::Cleanup;
use crate::setup::pidfile::PidFile;
use crate::setup::transcript_file::TranscriptFile;

/// The files that are removed at the end of the server, and the transcript, which SIGHUP reopens.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Before the cleanup helper, whose drop waits until all files are removed.
    _pid_file: Option<PidFile>,
    cleanup: Option<Cleanup>,
    transcript: Option<TranscriptFile>,
}

impl Files {
    pub(crate) fn new(
        pid_file: Option<PidFile>,
        cleanup: Option<Cleanup>,
        transcript: Option<TranscriptFile>,
    ) -> Files {
        let transcript = transcript.filter(TranscriptFile::can_change);
        Files { _pid_file: pid_file, cleanup, transcript }
    }

    /// Reopens the transcript, through the cleanup helper if there is one. `None` without a
    /// transcript.
    pub(crate) fn reopen_transcript(&self) -> Option<io::Result<File>> {
        let transcript = self.transcript.as_ref()?;
        Some(match &self.cleanup {
            Some(cleanup) => cleanup.open_transcript(),
            None => transcript.open().map_err(io::Error::other),
        })
    }

    /// Removes the files of UNIX-domain listeners, which are closed.
    pub(crate) fn listeners_closed(&self) {
        self.cleanup.iter().for_each(Cleanup::listeners_closed);
    }
}
