//! The exchange of AUTH (RFC 4954 §4): lines between the client and the keeper.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use accounts::sasl::{MAX_LINE, Terms, decode};
use accounts::{Mechanism, Secret, base64};
use forknet::{Line as KeeperLine, Peer};
use maild::{Asker, Auth, AuthFailure, AuthStep, Denied};
use netascii::line::Line;

use super::{End, Session};
use crate::protocol::auth::{failure, not_base64};
use crate::protocol::reply::Reply;

/// Failed logins that end the session.
const MAX_FAILED_LOGINS: u32 = 5;

/// What the logins of a session need.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) line: Option<KeeperLine>,
    pub(super) peer: Peer,
    pub(super) terms: Terms,
    pub(super) failed: u32,
}

impl<S: Read + Write> Session<'_, '_, S> {
    /// Runs the exchange; returns how the session ends, if it does.
    pub(super) fn auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<Secret>,
    ) -> io::Result<Option<End>> {
        let mut due = Instant::now() + self.config.mail.auth_delay;
        let mut asker = Asker::new(self.logins.line.clone(), self.logins.peer);
        let how = (&self.logins.terms, self.config.mail.is_relayed());
        let (mut auth, mut step) = Auth::start(how, mechanism, initial, &mut asker);
        loop {
            let failed = match step {
                AuthStep::Accepted(accepted) => {
                    let user = accepted.name.escape_ascii().to_string();
                    log::info!("{}: {user} logged in (AUTH {mechanism})", self.client());
                    self.protocol.logged_in(user);
                    self.queue(&Reply::new(235, "2.7.0", "Logged in"));
                    return Ok(None);
                }
                AuthStep::Failed(why) => why,
                AuthStep::Challenge(challenge) => {
                    let Some(response) = self.response(&challenge)? else { return Ok(None) };
                    due = Instant::now() + self.config.mail.auth_delay;
                    step = auth.step(response, &mut asker);
                    continue;
                }
            };
            if failed == AuthFailure::Denied(Denied::Rejected) {
                let (name, how) = asker.last();
                log::info!("{}: login of '{name}' failed ({how})", self.client());
                return self.rejected(due);
            }
            self.queue(&failure(failed));
            return Ok(None);
        }
    }

    /// Sends the reply to a wrong login at a fixed time after the command, so that guessing is slow and the
    /// time does not reveal whether the user exists. The last one allowed ends the session.
    fn rejected(&mut self, due: Instant) -> io::Result<Option<End>> {
        self.flush()?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()).max(Duration::ZERO));
        self.logins.failed += 1;
        if self.logins.failed >= MAX_FAILED_LOGINS {
            log::info!("{}: {MAX_FAILED_LOGINS} failed logins, session ended", self.client());
            self.queue(&Reply::new(421, "4.7.0", "Too many failed logins, closing"));
            return Ok(Some(End::Closed));
        }
        self.queue(&failure(AuthFailure::Denied(Denied::Rejected)));
        Ok(None)
    }

    /// Sends a challenge and reads the response; `None` where there is none, which was answered.
    fn response(&mut self, challenge: &[u8]) -> io::Result<Option<Secret>> {
        self.out.extend_from_slice(format!("334 {}\r\n", base64(challenge)).as_bytes());
        self.transcript.server(b"334 ***");
        self.flush()?;
        let (line, response) = match self.reader.read_line(MAX_LINE)? {
            Line::Eof => return Err(io::ErrorKind::UnexpectedEof.into()),
            Line::TooLong => {
                (&b"***"[..], Err(Reply::new(500, "5.5.6", "The response is too long")))
            }
            Line::Text(b"*") => (&b"*"[..], Err(Reply::new(501, "5.5.2", "AUTH cancelled"))),
            Line::Text(line) => (&b"***"[..], decode(line).ok_or_else(not_base64)),
        };
        self.transcript.client(line);
        match response {
            Ok(response) => Ok(Some(response)),
            Err(reply) => {
                self.queue(&reply);
                Ok(None)
            }
        }
    }
}
