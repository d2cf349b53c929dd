//! The notification that a letter was delivered, for a sender who has asked for it with `NOTIFY=SUCCESS` (RFC 3461
//! §5.2.3).

use std::io::{Read, Write};
use std::rc::Rc;

use dsn::{About, Action, Report, Text};
use jiff::{Timestamp, Zoned};

use crate::delivery::letter::Received;
use crate::delivery::trace;
use crate::delivery::users::is_configured;
use crate::protocol::address::{Tolerance, path};
use crate::protocol::envelope::{Envelope, Recipient, Way};
use crate::protocol::lookup::Commit;
use crate::protocol::params::Body;
use crate::session::Session;

impl<S: Read + Write> Session<'_, '_, S> {
    /// Sends the sender a notification about the recipients who have the letter, if that was asked for. It goes where
    /// this client's own letters may go, so that a stranger cannot have it sent to another address.
    pub(super) fn notify(&self, envelope: &Envelope, received: &Received) {
        if !self.config.lmtp && received.for_all().is_err() {
            return; // the letter comes again
        }
        let answers = envelope.recipients.iter().zip(&received.delivered.answers);
        let asked = answers.filter(|(recipient, answer)| {
            let domain = &recipient.name.domain;
            // A letter for elsewhere is not delivered yet: the host that delivers it notifies.
            let is_here = domain.is_empty() || domain.starts_with(b"[");
            answer.is_ok()
                && (is_here || is_configured(self.config, domain))
                && recipient.params.notify.is_some_and(|notify| notify.success)
        });
        let recipients: Vec<&Recipient> = asked.map(|(recipient, _)| recipient).collect();
        if recipients.is_empty() || envelope.sender.is_empty() {
            return; // a notification of one would never end (RFC 3461 §5.2)
        }
        let now = Timestamp::now().to_zoned(self.config.zone.clone());
        let id = trace::new_id(&now);
        let text = notification(&self.config.hostname, envelope, &recipients, (&id, &now));
        let (client, sender) = (self.client(), envelope.sender.escape_debug());
        match self.send_to_sender(envelope, &id, &text) {
            Ok(()) => log::info!("{client}: notification id={id} to=<{sender}>"),
            Err(why) => log::info!("{client}: no notification to <{sender}>: {why}"),
        }
    }

    fn send_to_sender(&self, letter: &Envelope, id: &str, text: &Text) -> Result<(), String> {
        let sender = format!("<{}>", letter.sender);
        let (sender, _) =
            path(sender.as_bytes(), Tolerance::SENDER).map_err(|bad| bad.0.to_owned())?;
        let found = self.mailboxes.recipient(&sender, text.bytes.len() as u64, Way::Mail);
        let (recipient, _) = found.map_err(|reply| reply.lines().collect::<String>())?;
        let mut envelope = Envelope::default();
        envelope.params.body = text.is_eight_bit.then_some(Body::EightBitMime);
        envelope.params.utf8 = text.has_utf8_header;
        envelope.add(recipient);
        let mut delivery = self.mailboxes.letter(id, Rc::new(envelope), Commit::All);
        delivery.write(&text.bytes).map_err(|refusal| refusal.reason)?;
        let answers: Result<Vec<()>, _> = delivery.finish().answers.into_iter().collect();
        answers.map(drop).map_err(|refusal| refusal.reason)
    }
}

fn notification(
    hostname: &str,
    envelope: &Envelope,
    recipients: &[&Recipient],
    (id, now): (&str, &Zoned),
) -> Text {
    let report = Report {
        hostname,
        id,
        about: About::Delivery,
        now,
        to: envelope.sender.as_bytes(),
        envid: envelope.params.envid.as_deref().unwrap_or_default().as_bytes(),
        arrived: now,
        is_utf8: envelope.params.utf8,
        recipients: recipients.iter().map(|it| told(it)).collect(),
        returned: None,
    };
    report.text()
}

fn told(recipient: &Recipient) -> dsn::Recipient<'_> {
    dsn::Recipient {
        address: recipient.address.as_bytes(),
        orcpt: recipient.params.orcpt.as_deref().unwrap_or_default().as_bytes(),
        action: Action::Delivered,
        default_status: None,
        remote: b"",
        reply: b"",
        attempted: None,
        retried_until: None,
    }
}
