//! What a server says to clients that it does not serve, in the words of its protocol; and the protocol's own log.

use std::path::PathBuf;

use crate::error::Result;
use crate::log::log_file::LogFile;
use crate::serve::server::Server;
use crate::setup::check;
use crate::setup::transcript_file::TranscriptFile;

impl Server {
    /// Sets the replies to clients over a limit (`busy`), and to clients without a process or
    /// descriptor.
    pub fn refuse_with(&mut self, busy: impl Into<Vec<u8>>, unavailable: impl Into<Vec<u8>>) {
        self.replies.busy = busy.into();
        self.replies.unavailable = unavailable.into();
    }

    /// Sets the reply to clients that say PROXY and may not, or must and do not (`--proxy-from`). Without one,
    /// PROXY is an ordinary word where there are no proxies.
    pub fn refuse_proxy_with(&mut self, denied: impl Into<Vec<u8>>) {
        self.replies.denied = denied.into();
    }

    /// What a command with `--daemon` says at its end: where the log goes.
    pub(super) fn farewell(&self) -> String {
        let log = match self.options.syslog {
            true => "the log goes to syslog",
            false => "there is no log from now on, for --syslog is not given",
        };
        format!("{}: detached: {log}", self.service.name)
    }

    /// Opens a log of the protocol's own, by the rules of `--transcript`: SIGHUP opens it again, with the rights of the
    /// start. `what` names it in errors.
    ///
    /// # Errors
    /// It cannot be opened, or others may write to it.
    pub fn open_log(&mut self, what: &'static str, path: PathBuf) -> Result<Option<LogFile>> {
        if self.options.check {
            return check::appended(what, &path, &self.options).map(|()| None);
        }
        let (named, file) = TranscriptFile::opened(what, path, &self.options)?;
        let log = LogFile::new(what, file);
        self.log = Some((named, log.clone()));
        Ok(Some(log))
    }
}
