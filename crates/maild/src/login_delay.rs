//! `--login-delay`: how often a user may log in (RFC 2449 §6.5).
//!
//! Looked at after the password, because it would tell strangers else who exists. The time counts from a login
//! that has led to an open mailbox; that is known only in the process that has become the user, so a note is kept for it
//! before ([`Question::keep_note`]).

use std::sync::PoisonError;
use std::time::Instant;

use accounts::LOGIN_BYTES;
use forknet::{Peer, Question, reason};
use log::{info, warn};

use crate::credentials::Denied;
use crate::options::MailOptions;

impl MailOptions {
    /// Lets a login that was proved in, or not yet, and closes the way of notes.
    ///
    /// # Errors
    /// It may not be now, which was answered; the exit code of this process.
    pub(crate) fn admit(
        &self,
        mut asked: Question,
        (peer, name): (Peer, &[u8]),
    ) -> Result<Question, i32> {
        let Some(times) = self.login_times() else {
            asked.end_notes();
            return Ok(asked);
        };
        let (age, note) = {
            let times = times.lock().unwrap_or_else(PoisonError::into_inner);
            (times.age(Instant::now(), name), times.login(name))
        };
        let shown = name.escape_ascii();
        if age.is_some_and(|age| age < self.login_delay) {
            info!("{peer}: login of '{shown}': too soon after the last one (--login-delay)");
            return Err(asked.answer(&Denied::TooSoon.encode()));
        }
        asked.keep_note(&note).map_err(|error| {
            warn!("{peer}: login of '{shown}': {}", reason(&error));
            FAILED
        })
    }

    /// Notes a login; in the keeper.
    pub(crate) fn noted_login(&self, login: [u8; LOGIN_BYTES]) {
        if let Some(times) = self.login_times() {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.logged_in(Instant::now(), login);
        }
    }
}

/// Exit code of a process that could not answer: the asker finds its line closed.
const FAILED: i32 = 1;
