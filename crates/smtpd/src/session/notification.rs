//! The notification that a letter was delivered, for a sender who has asked for it with `NOTIFY=SUCCESS` (RFC 3461
//! §5.2.3, RFC 3464, RFC 6522).

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::rc::Rc;

use jiff::{Timestamp, Zoned};

use crate::delivery::letter::Received;
use crate::delivery::trace;
use crate::delivery::users::is_configured;
use crate::protocol::address::{Tolerance, path};
use crate::protocol::envelope::{Envelope, Recipient, Way};
use crate::protocol::lookup::Commit;
use crate::protocol::params::decoded;
use crate::session::Session;

/// RFC 5322 §3.3.
const DATE: &str = "%a, %d %b %Y %H:%M:%S %z";

impl<S: Read + Write> Session<'_, '_, S> {
    /// Sends the sender a notification about the recipients who have the letter, if that was asked for. It goes where
    /// this client's own letters may go, so that a stranger cannot have it sent to another address.
    pub(super) fn notify(&self, envelope: &Envelope, received: &Received) {
        let answers = envelope.recipients.iter().zip(&received.answers);
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

    fn send_to_sender(&self, letter: &Envelope, id: &str, text: &str) -> Result<(), String> {
        let sender = format!("<{}>", letter.sender);
        let (sender, _) =
            path(sender.as_bytes(), Tolerance::SENDER).map_err(|bad| bad.0.to_owned())?;
        let found = self.mailboxes.recipient(&sender, text.len() as u64, Way::Mail);
        let (recipient, _) = found.map_err(|reply| reply.lines().collect::<String>())?;
        let mut envelope = Envelope { params: letter.params.clone(), ..Envelope::default() };
        (envelope.params.size, envelope.params.envid) = (None, None);
        envelope.add(recipient);
        let mut delivery = self.mailboxes.letter(id, Rc::new(envelope), Commit::All);
        delivery.write(text.as_bytes()).map_err(|refusal| refusal.reason)?;
        let answers: Result<Vec<()>, _> = delivery.finish().into_iter().collect();
        answers.map(drop).map_err(|refusal| refusal.reason)
    }
}

/// Returns the text. Its lines end in LF.
fn notification(
    hostname: &str,
    envelope: &Envelope,
    recipients: &[&Recipient],
    (id, now): (&str, &Zoned),
) -> String {
    let date = now.strftime(DATE);
    let (kind, address_type) = match envelope.params.utf8 {
        true => ("message/global-delivery-status", "utf-8"), // RFC 6533
        false => ("message/delivery-status", "rfc822"),
    };
    let boundary = format!("report-{id}");
    let mut text = format!(
        "From: Mail delivery <MAILER-DAEMON@{hostname}>\nTo: <{}>\nSubject: Your letter was delivered\n\
         Date: {date}\nMessage-ID: <{id}@{hostname}>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\n\
         --{boundary}\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\
         Your letter was delivered to:\n",
        envelope.sender
    );
    for recipient in recipients {
        let _ = writeln!(text, "  <{}>", recipient.address); // never fails
    }
    let _ = write!(
        text,
        "\n--{boundary}\nContent-Type: {kind}\nContent-Transfer-Encoding: 8bit\n\n\
         Reporting-MTA: dns; {hostname}\n"
    );
    if let Some(envid) = &envelope.params.envid {
        let _ = writeln!(text, "Original-Envelope-Id: {}", decoded(envid));
    }
    let _ = writeln!(text, "Arrival-Date: {date}");
    for recipient in recipients {
        text.push('\n');
        if let Some((kind, address)) =
            recipient.params.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';'))
        {
            let _ = writeln!(text, "Original-Recipient: {kind};{}", decoded(address));
        }
        let _ = write!(
            text,
            "Final-Recipient: {address_type};{}\nAction: delivered\nStatus: 2.0.0\n",
            recipient.address
        );
    }
    let _ = write!(text, "\n--{boundary}--\n");
    text
}
