//! The files of a running server.

use std::fs::File;
use std::io;

use crate::log::log_file::LogFile;
use crate::setup::cleanup::Cleanup;
use crate::setup::pidfile::PidFile;
use crate::setup::transcript_file::TranscriptFile;

/// The files that are removed at the end of the server, and those that SIGHUP reopens: the transcript and the protocol's log.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Before the cleanup helper, whose drop waits until all files are removed.
    _pid_file: Option<PidFile>,
    cleanup: Option<Cleanup>,
    transcript: Option<TranscriptFile>,
    log: Option<(TranscriptFile, LogFile)>,
}

impl Files {
    pub(crate) fn new(
        pid_file: Option<PidFile>,
        cleanup: Option<Cleanup>,
        transcript: Option<TranscriptFile>,
        log: Option<(TranscriptFile, LogFile)>,
    ) -> Files {
        let transcript = transcript.filter(TranscriptFile::can_change);
        let log = log.filter(|(named, _)| named.can_change());
        Files { _pid_file: pid_file, cleanup, transcript, log }
    }

    /// Reopens the protocol's log, for lines of processes that begin from now on.
    ///
    /// # Errors
    /// As open(2) says; the old file goes on.
    pub(crate) fn reopen_log(&self) -> io::Result<()> {
        let Some((named, log)) = &self.log else { return Ok(()) };
        log.replace(match &self.cleanup {
            Some(cleanup) => cleanup.open_log()?,
            None => named.open().map_err(io::Error::other)?,
        });
        Ok(())
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
