//! The files of a server while it serves.

use std::fs::File;
use std::io;

use crate::setup::cleanup::Cleanup;
use crate::setup::pidfile::PidFile;
use crate::setup::transcript_file::TranscriptFile;

/// The files that go when the server does, and the one that SIGHUP opens again.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Before the helper, which waits until all are gone.
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

    /// Opens the transcript again, or has the helper do it where this process no longer may. `None`
    /// without one.
    pub(crate) fn reopen_transcript(&self) -> Option<io::Result<File>> {
        let transcript = self.transcript.as_ref()?;
        Some(match &self.cleanup {
            Some(cleanup) => cleanup.open_transcript(),
            None => transcript.open().map_err(io::Error::other),
        })
    }

    /// The listeners are closed: the files of the UNIX-domain ones can go.
    pub(crate) fn listeners_closed(&self) {
        self.cleanup.iter().for_each(Cleanup::listeners_closed);
    }
}
