//! The guards of a session: the pause before the greeting, the rules of `--access`, the filters of `--milter`.

use std::cell::{Cell, RefCell};
use std::io;

use forknet::{Client, Peer};

use crate::delivery::keeper::Keeper;
use crate::milter::filtered::{Filtered, Letter};
use crate::milter::filters::Filters;
use crate::options::Config;
use crate::options::access::{Access, Decision, Subject};
use crate::options::milters::MilterAddress;
use crate::protocol::envelope::{ClientAddress, Envelope, Hello, Recipient};
use crate::protocol::forms;
use crate::protocol::lookup::Delivery;
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
    filters: RefCell<Filters>,
}

impl<'a> Guards<'a> {
    /// Takes the text of `--access`, which the keeper has checked.
    pub(super) fn new(config: &'a Config, access: &[u8], peer: Peer) -> Guards<'a> {
        let access = Access::parse(access).unwrap_or_else(|(line, why)| {
            log::error!("access: line {line}: {why}");
            Access::default()
        });
        let filters = RefCell::new(Filters::new(config.guards.milters.on_failure, peer));
        Guards { config, access, permitted: Cell::default(), filters }
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

    /// Connects to the filters, and has them asked about the client.
    ///
    /// # Errors
    /// The reply in place of the greeting.
    pub(super) fn connect_filters(
        &self,
        keeper: &Keeper<'_>,
        client: &ClientAddress,
    ) -> Result<(), Reply> {
        let can_quarantine = self.config.guards.milters.quarantine.is_some();
        let mut filters = self.filters.borrow_mut();
        for (number, address) in (0..).zip(&self.config.guards.milters.all) {
            let made = keeper.connect_filter(number).map(MilterAddress::adopt);
            filters.add(address.to_string(), made, can_quarantine);
        }
        let host = &self.config.hostname;
        filters.connect(client, host).map_err(|reply| match reply.code() {
            500.. => Reply::new(554, "5.7.1", format!("{host} Not served: {}", reply.text())),
            _ => Reply::new(421, "4.7.1", format!("{host} Not served now: {}", reply.text())),
        })
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
    fn hello(&self, client: &ClientAddress, hello: &Hello) -> Result<(), Reply> {
        if self.permitted.get() < Permitted::Session {
            self.permitted.set(Permitted::Nothing);
        }
        self.check(Subject::Hello(&hello.name), Permitted::Hello)?;
        self.filters.borrow_mut().hello(client, hello)
    }

    fn sender(&self, client: &ClientAddress, envelope: &Envelope) -> Result<(), Reply> {
        if self.permitted.get() == Permitted::Letter {
            self.permitted.set(Permitted::Nothing);
        }
        self.check(Subject::Sender(&forms::of_sender(&envelope.sender)), Permitted::Letter)?;
        self.filters.borrow_mut().mail(client, envelope)
    }

    fn address(&self, forms: &[String]) -> Result<(), Reply> {
        if self.permitted.get() >= Permitted::Letter {
            return Ok(());
        }
        match self.access.decide(Subject::Recipient(forms)) {
            Some(Decision::Refuse(text)) => Err(Reply::new(550, "5.7.1", refused(text))),
            Some(Decision::Defer(text)) => Err(Reply::new(450, "4.7.1", deferred(text))),
            Some(Decision::Permit) | None => Ok(()),
        }
    }

    fn recipient(&self, recipient: &Recipient) -> Result<(), Reply> {
        self.filters.borrow_mut().recipient(recipient)
    }

    fn data(&self) -> Result<(), Reply> {
        self.filters.borrow_mut().data()
    }

    fn filtered<'a>(
        &'a self,
        delivery: Box<dyn Delivery + 'a>,
        id: &str,
        (trace, recipients): (usize, usize),
    ) -> Box<dyn Delivery + 'a> {
        if self.filters.borrow().is_empty() {
            return delivery;
        }
        let id = id.to_owned();
        Box::new(Filtered::new(&self.filters, delivery, Letter { id, trace, recipients }))
    }
}
