//! The guards of a session: the pause before the greeting, and the rules of `--access`.

use std::cell::Cell;
use std::io;

use forknet::Client;

use crate::options::Config;
use crate::options::access::{Access, Decision, Subject};
use crate::protocol::envelope::{ClientAddress, Envelope, Hello, Recipient};
use crate::protocol::policy::Policy;
use crate::protocol::reply::Reply;

/// The step up to which a rule has permitted all that follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Permitted {
    #[default]
    Nothing,
    /// This letter's recipients.
    Letter,
    /// What follows up to the next HELO.
    Hello,
    Session,
}

/// The guards of one session.
pub(super) struct Guards<'a> {
    config: &'a Config,
    access: Access,
    permitted: Cell<Permitted>,
}

impl<'a> Guards<'a> {
    /// Takes the text of `--access`, which the keeper has checked.
    pub(super) fn new(config: &'a Config, access: &[u8]) -> Guards<'a> {
        let access = Access::parse(access).unwrap_or_else(|(line, why)| {
            log::error!("access: line {line}: {why}");
            Access::default()
        });
        Guards { config, access, permitted: Cell::default() }
    }

    /// Looks at the client's address, and waits for the time before the greeting; returns the reply in its place for
    /// a client that is not served.
    ///
    /// # Errors
    /// What interrupts the session.
    pub(super) fn admit(&self, client: &mut Client) -> io::Result<Option<Reply>> {
        let host = &self.config.hostname;
        match self.access.decide(Subject::Client(client.peer.ip())) {
            Some(Decision::Permit) => {
                self.permitted.set(Permitted::Session);
                return Ok(None);
            }
            Some(Decision::Refuse(text)) => {
                return Ok(Some(Reply::new(554, "5.7.1", format!("{host} {}", refused(text)))));
            }
            Some(Decision::Defer(text)) => {
                return Ok(Some(Reply::new(421, "4.7.1", format!("{host} {}", deferred(text)))));
            }
            None => {}
        }
        let pause = self.config.guards.greet_pause;
        let speaks = !pause.is_zero() && client.conn.is_readable_within(pause)?;
        let text = || format!("{host} You have spoken before the greeting");
        Ok(speaks.then(|| Reply::new(554, "5.5.1", text())))
    }

    /// Applies the rules about `subject`; a rule that permits it sets `permitted`.
    fn check(&self, subject: Subject<'_>, permitted: Permitted) -> Result<(), Reply> {
        if self.permitted.get() >= permitted {
            return Ok(());
        }
        match self.access.decide(subject) {
            None => Ok(()),
            Some(Decision::Permit) => {
                self.permitted.set(permitted);
                Ok(())
            }
            Some(Decision::Refuse(text)) => Err(Reply::new(550, "5.7.1", refused(text))),
            Some(Decision::Defer(text)) => Err(Reply::new(450, "4.7.1", deferred(text))),
        }
    }
}

fn refused(text: &str) -> &str {
    if text.is_empty() { "Not taken here" } else { text }
}

fn deferred(text: &str) -> &str {
    if text.is_empty() { "Not taken now, try again later" } else { text }
}

impl Policy for Guards<'_> {
    fn hello(&self, _: &ClientAddress, hello: &Hello) -> Result<(), Reply> {
        if self.permitted.get() < Permitted::Session {
            self.permitted.set(Permitted::Nothing);
        }
        self.check(Subject::Hello(&hello.name), Permitted::Hello)
    }

    fn sender(&self, _: &ClientAddress, envelope: &Envelope) -> Result<(), Reply> {
        if self.permitted.get() == Permitted::Letter {
            self.permitted.set(Permitted::Nothing);
        }
        self.check(Subject::Sender(&envelope.sender), Permitted::Letter)
    }

    fn address(&self, address: &str) -> Result<(), Reply> {
        if self.permitted.get() >= Permitted::Letter {
            return Ok(());
        }
        match self.access.decide(Subject::Recipient(address)) {
            Some(Decision::Refuse(text)) => Err(Reply::new(550, "5.7.1", refused(text))),
            Some(Decision::Defer(text)) => Err(Reply::new(450, "4.7.1", deferred(text))),
            Some(Decision::Permit) | None => Ok(()),
        }
    }

    fn recipient(&self, _: &Recipient) -> Result<(), Reply> {
        Ok(())
    }
}
