//! Delivery to a server of SMTP (RFC 5321) or LMTP (RFC 2033), one transaction a letter. A letter counts as
//! stored when the server has said so after its end.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use forknet::{Error, Stop};
use smtpclient::{EightBit, Envelope, FileLetter, Protocol, Session, Settings, Target, Timeouts};

use super::delivery::{Delivery, Told};
use super::spool::Spool;
use crate::client::options::Fetch;
use crate::client::status::{Failure, Result, Status};
use crate::client::target::Place;

/// Shortest limit of the wait for the reply after a letter (RFC 5321 §4.5.3.2.6).
const END_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends letters over one connection.
pub(crate) struct SmtpDelivery {
    target: Target,
    settings: Arc<Settings>,
    mail_from: String,
    rcpt_to: String,
    session: Option<Session>,
    spool: Option<Spool>,
    waiting: Option<File>,
}

impl SmtpDelivery {
    pub(crate) fn new(
        place: &Place,
        protocol: Protocol,
        fetch: &Fetch,
        (stop, timeout): (Stop, Duration),
    ) -> SmtpDelivery {
        let helo = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let helo = helo.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into());
        let label = if protocol == Protocol::Smtp { "smtp" } else { "lmtp" };
        let settings = Settings {
            protocol,
            timeouts: Timeouts { end: END_TIMEOUT.max(timeout), ..Timeouts::all(timeout) },
            eight_bit: EightBit::Send,
            label: Some(label),
            stop: Some(stop),
            ..Settings::new(helo)
        };
        SmtpDelivery {
            target: Target::new(match place {
                Place::Tcp(server) => smtpclient::Place::Tcp(server.clone()),
                Place::Unix(name) => smtpclient::Place::Unix(name.clone()),
            }),
            settings: Arc::new(settings),
            mail_from: fetch.mail_from.clone(),
            rcpt_to: fetch.rcpt_to.clone(),
            session: None,
            spool: None,
            waiting: None,
        }
    }
}

impl Delivery for SmtpDelivery {
    fn batch(&self) -> usize {
        1
    }

    fn prepare(&mut self) -> Result<()> {
        self.session = Some(Session::open(&self.settings, &self.target).map_err(failure)?);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.spool = Some(Spool::new()?);
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), |spool| spool.write(piece))
    }

    fn end(&mut self) -> Result<()> {
        self.waiting = self.spool.take().map(Spool::into_file).transpose()?;
        Ok(())
    }

    fn commit(&mut self, told: Told<'_>) -> Result<()> {
        let (Some(session), Some(letter)) = (&mut self.session, self.waiting.take()) else {
            return Ok(());
        };
        let broken = |error| Failure::because(Status::Io)(Error::io("temporary file")(error));
        let mut letter = FileLetter::new(letter, 0).map_err(broken)?;
        let envelope = Envelope::new(self.mail_from.as_bytes(), [self.rcpt_to.as_bytes()]);
        for outcome in session.send(&envelope, &mut letter) {
            match outcome {
                Ok(_) => told(0, Ok(()))?,
                // No letter more can be sent.
                Err(lost) if lost.is_lost || !session.is_usable() => return Err(failure(lost)),
                Err(refused) => {
                    told(0, Err(Failure::refusal(status_of(&refused), refused.text)))?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for SmtpDelivery {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit(); // every letter is stored or refused already
        }
    }
}

fn failure(failure: smtpclient::Failure) -> Failure {
    Failure::new(status_of(&failure), failure.text)
}

/// Whatever a server of one's own refuses, it refuses this letter, now or for good.
fn status_of(failure: &smtpclient::Failure) -> Status {
    match failure.status {
        Status::Protocol | Status::Io => failure.status,
        _ if failure.is_temporary() => Status::Temporary,
        _ => Status::Unavailable,
    }
}
