//! Hands a letter in: its header completed, into the queue or to a server.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use dsn::date;
use forknet::Values;
use jiff::Zoned;
use mailstore::{QueueEnvelope, QueueRecipient};

use crate::client::{self, Outgoing, Recipient, temporary_file};
use crate::delivery::trace::new_id;
use crate::header::completion::Completion;
use crate::header::filter::HeaderFilter;
use crate::outbox::{self, Place};
use crate::sendmail::author::Author;
use crate::sendmail::failure::{Failure, Result};
use crate::sendmail::fields::Header;
use crate::sendmail::input::Letter;

/// The client in an envelope that came from a program on this machine.
const CLIENT: &[u8] = b"local";

/// Takes letters in, each with its envelope.
#[derive(Debug)]
pub(super) struct Submission<'a> {
    pub(super) values: &'a Values,
    pub(super) place: Place,
    pub(super) author: Author,
    pub(super) is_verbose: bool,
    /// Whether headers are completed, and Bcc is taken out.
    pub(super) completes: bool,
}

/// The envelope of a letter; all of it as SMTP has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The sender without brackets, empty for `<>`.
    pub(super) sender: String,
    pub(super) recipients: Vec<Recipient>,
    /// Their local parts and domains, these in lower case: a letter may have some ten thousand.
    pub(super) known: HashSet<(String, String)>,
    /// `RET=` and `ENVID=` of MAIL; empty without them.
    pub(super) ret: String,
    pub(super) envid: String,
}

impl Envelope {
    /// Adds a recipient, once for each address.
    pub(super) fn add(&mut self, recipient: Recipient) {
        let address = &recipient.address;
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        if self.known.insert((local.to_owned(), domain.to_ascii_lowercase())) {
            self.recipients.push(recipient);
        }
    }

    fn is_utf8(&self) -> bool {
        !self.sender.is_ascii() || self.recipients.iter().any(|it| !it.address.is_ascii())
    }
}

impl Submission<'_> {
    /// Hands a letter in. Returns its id in the queue, or what the server has said; then it will not be lost.
    ///
    /// # Errors
    /// It is not in the queue; the server has refused it, for one recipient at least.
    pub(super) fn take(&self, envelope: &Envelope, letter: &mut Letter) -> Result<String> {
        let now = Zoned::now();
        let id = new_id(&now);
        let composed = match self.completes {
            true => composed(letter, &self.author, &id, &now),
            false => (letter.header.clone(), None),
        };
        match &self.place {
            Place::Queue(queue) => {
                let (by, uid, date) = (&self.author.domain, self.author.uid, date(&now));
                let received = format!("Received: by {by} (uid {uid}) id {id};\n\t{date}\n");
                let received = if self.completes { received } else { String::new() };
                let queued = self.queued(envelope, &id, letter.is_eight_bit);
                let put = outbox::put(queue, &queued, |mut draft| {
                    draft.write_all(received.as_bytes())?;
                    write(letter, composed, &mut draft)
                });
                put.map(|name| format!("queued as {name}")).map_err(Failure::temporary)
            }
            Place::Server(why) => {
                let mut file = temporary_file().map_err(Failure::temporary)?;
                let written = write(letter, composed, &mut file);
                written.map_err(|error| Failure::io("temporary file", error))?;
                self.send(envelope, file).map_err(|failure| match why {
                    Some(why) if failure.is_temporary() => Failure {
                        error: forknet::Error::Refused(format!("{}; queue: {why}", failure.error)),
                        ..failure
                    },
                    _ => failure,
                })
            }
        }
    }

    fn send(&self, envelope: &Envelope, file: File) -> Result<String> {
        let Envelope { sender, recipients, ret, envid, .. } = envelope.clone();
        let is_verbose = self.is_verbose;
        let outgoing = Outgoing { from: sender, to: recipients, ret, envid, is_verbose };
        let sent = client::send_by_server(self.values, outgoing, file);
        sent.map(|()| "sent".to_owned()).map_err(|(code, error)| Failure { code, error })
    }

    fn queued(&self, envelope: &Envelope, id: &str, is_eight_bit: bool) -> QueueEnvelope {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let recipient = |it: &Recipient| QueueRecipient {
            address: it.address.clone().into_bytes(),
            notify: it.notify.clone().into_bytes(),
            orcpt: it.orcpt.clone().into_bytes(),
        };
        QueueEnvelope {
            id: id.as_bytes().to_vec(),
            arrived: now.as_secs(),
            client: CLIENT.to_vec(),
            user: self.author.user.clone().into_bytes(),
            sender: envelope.sender.clone().into_bytes(),
            body: if is_eight_bit { b"8BITMIME".to_vec() } else { Vec::new() },
            is_utf8: envelope.is_utf8(),
            ret: envelope.ret.clone().into_bytes(),
            envid: envelope.envid.clone().into_bytes(),
            recipients: envelope.recipients.iter().map(recipient).collect(),
        }
    }
}

/// Returns the header with a domain after names that have none and what a letter that is sent on lacks above it; and
/// the filter that takes Bcc out and adds what another letter lacks.
fn composed(
    letter: &Letter,
    author: &Author,
    id: &str,
    now: &Zoned,
) -> (Vec<u8>, Option<HeaderFilter>) {
    let (header, domain) = (Header(&letter.header), &author.domain);
    let (date, id, from) = (date(now), format!("<{id}@{domain}>"), author.mailbox());
    let (mut head, mut filter) = (Vec::new(), HeaderFilter::new().without_bcc());
    if header.is_resent() {
        let fields = [("Resent-Date", date), ("Resent-From", from), ("Resent-Message-ID", id)];
        for (name, value) in fields.iter().filter(|(name, _)| !header.has(name)) {
            head.extend(format!("{name}: {value}\n").into_bytes());
        }
    } else {
        filter = filter.completed(Completion::new(date, id, from, domain));
    }
    head.extend(header.with_domains(domain));
    (head, Some(filter))
}

/// Writes a letter through the filter, if there is one.
fn write(
    letter: &mut Letter,
    (head, filter): (Vec<u8>, Option<HeaderFilter>),
    out: &mut impl Write,
) -> io::Result<()> {
    let Some(mut filter) = filter else {
        out.write_all(&head)?;
        return letter.each_piece(|piece| out.write_all(piece));
    };
    let mut text = Vec::new();
    filter.feed(&head, &mut text);
    letter.each_piece(|piece| {
        filter.feed(piece, &mut text);
        let written = out.write_all(&text);
        text.clear();
        written
    })?;
    filter.finish(&mut text);
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose(text: &str) -> String {
        let mut letter = Letter::read(&mut text.as_bytes(), true).unwrap();
        let author = Author::of_caller(Some("levy@red.test"), Some("Levy"), "red.test");
        let now: Zoned = "2026-11-02T09:05:07+02:00[+02:00]".parse().unwrap();
        let composed = composed(&letter, &author, "7", &now);
        let mut out = Vec::new();
        write(&mut letter, composed, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_header_lacks_is_added_and_bcc_is_taken_out() {
        let expected = "Subject: a\nDate: Mon, 02 Nov 2026 09:05:07 +0200\nMessage-ID: <7@red.test>\n\
                        From: Levy <levy@red.test>\n\nBcc: text\n";
        assert_eq!(compose("Subject: a\nBcc: x@y.test,\n z\n\nBcc: text\n"), expected);
        assert_eq!(compose("hello\n").rsplit_once("\n\n").unwrap().1, "hello\n");
        let whole = "Date: d\nMessage-ID: i\nFrom: ann@red.test\nTo: levy@red.test\n\nx\n";
        assert_eq!(compose(whole), whole);
        let bare = "Date: d\nMessage-ID: i\nFrom: root (Cron Daemon)\nTo: root\n\nx\n";
        let named =
            "Date: d\nMessage-ID: i\nFrom: root@red.test (Cron Daemon)\nTo: root@red.test\n\nx\n";
        assert_eq!(compose(bare), named);
    }

    #[test]
    fn a_letter_that_is_sent_on_keeps_its_header_below_the_new_block() {
        let expected = "Resent-Date: Mon, 02 Nov 2026 09:05:07 +0200\nResent-Message-ID: <7@red.test>\n\
                        Resent-From: ann@red.test\nResent-To: bob@red.test\nSubject: a\n\nx\n";
        let letter = "Resent-From: ann\nResent-To: bob\nResent-Bcc: c@d.test\nSubject: a\nBcc: e@f.test\n\nx\n";
        assert_eq!(compose(letter), expected);
    }

    #[test]
    fn an_address_is_a_recipient_once() {
        let mut envelope = Envelope::default();
        for address in ["a@B.test", "a@b.test", "A@b.test", "c"] {
            envelope.add(Recipient::new(address.into()));
        }
        let addresses: Vec<_> = envelope.recipients.iter().map(|it| &it.address[..]).collect();
        assert_eq!(addresses, ["a@B.test", "A@b.test", "c"]);
        assert!(!envelope.is_utf8());
    }
}
