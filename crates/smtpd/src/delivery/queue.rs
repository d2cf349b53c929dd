//! Puts letters that go elsewhere into the queue, with the rights of its owner alone.

use std::ffi::OsString;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use accounts::Owner;
use forknet::{Peer, become_user, confine_to};
use log::warn;
use mailstore::{Folder, Queue, QueueDraft, QueueEnvelope, QueueRecipient, QueuedDraft, is_full};
use nix::unistd::{Gid, Uid};

use crate::delivery::store::{Failure, verdict};
use crate::delivery::text::Text;
use crate::header::filter::HeaderFilter;
use crate::options::{Config, QueueOptions};
use crate::protocol::address::{self, Mailbox};
use crate::protocol::envelope::Login;
use crate::protocol::origin::{NamedRecipient, Origin};
use crate::protocol::question::Verdict;

/// Bytes that are filtered at a time.
const CHUNK: usize = 64 * 1024;

/// Decides about an address that is not ours: whether there is a queue, with room for this many bytes, and the client may
/// send elsewhere.
#[must_use]
pub fn admit(config: &Config, peer: Peer, login: &Login, bytes: u64) -> Verdict {
    let Some(queue) = &config.relay.queue else { return Verdict::Elsewhere };
    if !may_relay(config, peer, login) {
        return Verdict::Elsewhere;
    }
    match open(queue).and_then(|queue| queue.free_bytes()) {
        Ok(free) if free >= bytes => Verdict::Accepted,
        Ok(_) => {
            warn!("{peer}: disk low: less than {bytes} bytes free for the queue");
            Verdict::NoRoom
        }
        Err(error) => {
            warn!("{peer}: queue: {error}");
            Verdict::Unusable
        }
    }
}

/// Returns whether a client may send letters elsewhere: by its address, or by a login that is proved.
#[must_use]
pub fn may_relay(config: &Config, peer: Peer, login: &Login) -> bool {
    config.relay.is_ours(peer) && !config.is_submission
        || config.mail.has_logged_in(&login.name, &login.token)
}

/// Opens the queue, which must belong to its owner.
fn open(options: &QueueOptions) -> mailstore::Result<Queue> {
    let walked = Folder::find(&options.folder)?;
    match walked.missing.first() {
        None => Queue::open(walked.folder, Uid::from_raw(options.owner.uid)),
        Some(name) => {
            let what = walked.folder.path().join(name);
            let why = format!("{}: No such file or directory", what.display());
            Err(mailstore::Error::Temporary(why))
        }
    }
}

/// Makes what is missing of the queue, with the rights of the keeper, at the start; makes nothing if that is only to be
/// checked.
///
/// # Errors
/// It cannot be used.
pub fn make(options: &QueueOptions, is_checked: bool) -> mailstore::Result<()> {
    let Owner { uid, gid } = options.owner;
    let uid = Uid::from_raw(uid);
    match is_checked {
        true => Queue::check_at(&options.folder, uid),
        false => Queue::make_at(&options.folder, uid, Gid::from_raw(gid)).map(drop),
    }
}

/// Opens the queue, becomes its owner for good, and gives up all but it.
///
/// # Errors
/// It cannot be used now.
pub fn enter(config: &Config) -> Result<Queue, Failure> {
    let options = config.relay.queue.as_ref().ok_or_else(|| Failure {
        verdict: Verdict::Unusable,
        why: "no --queue for a letter that goes elsewhere".into(),
    })?;
    let queue = open(options).map_err(|error| failed(&error))?;
    let refused = |error: forknet::Error| Failure {
        verdict: Verdict::Unusable,
        why: format!("queue: {error}"),
    };
    become_user(options.owner.uid, options.owner.gid).map_err(refused)?;
    confine_to(queue.folders(), true).map_err(refused)?;
    Ok(queue)
}

/// Writes a letter with each of these envelopes and lines above it; all are on the disk when this returns, and none is in the queue.
/// The text leaves without `Return-Path:` and `Bcc:`.
///
/// # Errors
/// One of them could not be written, and none is there.
pub fn write(queue: &Queue, letters: &[Leaving], text: &Text) -> Result<Vec<QueuedDraft>, Failure> {
    let write = |Leaving { envelope, trace }: &Leaving| {
        let mut out = Filtered {
            filter: HeaderFilter::new().without_bcc(),
            draft: queue.draft(envelope).map_err(|error| failed(&error))?,
            text: Vec::with_capacity(CHUNK),
        };
        text.copy_behind(trace, &mut out).and_then(|()| out.finish()).map_err(|error| Failure {
            verdict: verdict(is_full(&error)),
            why: format!("queue: write: {}", forknet::reason(&error)),
        })?;
        out.draft.sync().map_err(|error| failed(&error))
    };
    letters.iter().map(write).collect()
}

/// Puts letters into the queue, all or none. They may be sent from then on, so this comes last, when nothing else can
/// fail. `about` is the letter for the log.
///
/// # Errors
/// None of them is in the queue.
pub fn publish(about: &str, letters: Vec<QueuedDraft>) -> Result<(), Failure> {
    let names: Vec<OsString> = letters.iter().map(|letter| letter.name().to_owned()).collect();
    QueuedDraft::publish_all(letters).map_err(|error| failed(&error))?;
    names.iter().for_each(|name| log::info!("{about}: queued as {}", name.display()));
    Ok(())
}

/// A letter for the queue.
#[derive(Debug)]
pub struct Leaving {
    /// Its envelope.
    pub envelope: QueueEnvelope,
    /// What stands above its text: `Delivered-To:` of one that is forwarded.
    pub trace: Vec<u8>,
}

/// What letters differ in.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    /// The sender there; `None` is the letter's own.
    sender: Option<String>,
    trace: Vec<u8>,
}

/// The recipients that are elsewhere.
#[derive(Default)]
pub struct Elsewhere(Vec<(Way, Vec<QueueRecipient>)>);

impl Elsewhere {
    /// Adds a recipient, once for each address. `trace` stands above the text for it, `sender` is its own where it has
    /// one.
    pub fn add(&mut self, sender: Option<String>, recipient: QueueRecipient, trace: Vec<u8>) {
        let way = Way { sender, trace };
        let known = self.0.iter_mut().find(|(known, _)| *known == way);
        match known {
            Some((_, all)) if all.iter().any(|it| it.address == recipient.address) => {}
            Some((_, all)) => all.push(recipient),
            None => self.0.push((way, vec![recipient])),
        }
    }

    /// Returns what goes into the queue of a letter with this id and sender. One from `<>` keeps that.
    #[must_use]
    pub fn letters(
        self,
        (peer, id, sender): (Peer, &[u8], &[u8]),
        origin: &Origin,
    ) -> Vec<Leaving> {
        let leaving = |(way, recipients): (Way, Vec<QueueRecipient>)| {
            let other = way.sender.filter(|_| !sender.is_empty()).map(String::into_bytes);
            let sender = other.unwrap_or_else(|| sender.to_vec());
            let mut envelope = QueueEnvelope { recipients, ..envelope(peer, id, &sender, origin) };
            // An alias may lead to an address that the client has not named.
            envelope.is_utf8 |= envelope.recipients.iter().any(|it| !it.address.is_ascii());
            Leaving { envelope, trace: way.trace }
        };
        self.0.into_iter().map(leaving).collect()
    }
}

/// Returns the envelope in the queue of a letter, without recipients.
fn envelope(peer: Peer, id: &[u8], sender: &[u8], origin: &Origin) -> QueueEnvelope {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    QueueEnvelope {
        id: id.to_vec(),
        arrived: now.as_secs(),
        client: peer.to_string().into_bytes(),
        user: origin.login.name.clone(),
        sender: sender.to_vec(),
        body: origin.body.clone(),
        is_utf8: origin.is_utf8,
        ret: origin.ret.clone(),
        envid: origin.envid.clone(),
        recipients: Vec::new(),
    }
}

/// Returns a recipient whose address is the one of its RCPT.
#[must_use]
pub fn recipient(named: &NamedRecipient) -> QueueRecipient {
    let local = address::local_part_utf8(&named.name.local);
    QueueRecipient {
        address: [local.as_bytes(), b"@", &named.name.domain].concat(),
        notify: named.notify.clone(),
        orcpt: named.orcpt.clone(),
    }
}

/// Returns a recipient at another address than that of its RCPT. A list does not pass on which notifications the sender
/// wants, because its owner receives those of failures (RFC 3461 §5.2.7).
#[must_use]
pub fn forwarded(named: &NamedRecipient, address: &Mailbox, is_list: bool) -> QueueRecipient {
    let known = if is_list { QueueRecipient::default() } else { recipient(named) };
    QueueRecipient { address: address.text.clone().into_bytes(), ..known }
}

/// Writes a text to a letter of the queue without what does not leave.
struct Filtered {
    filter: HeaderFilter,
    draft: QueueDraft,
    text: Vec<u8>,
}

impl Filtered {
    fn finish(&mut self) -> std::io::Result<()> {
        self.text.clear();
        self.filter.finish(&mut self.text);
        self.draft.write_all(&self.text)
    }
}

impl Write for Filtered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.clear();
        self.filter.feed(bytes, &mut self.text);
        self.draft.write_all(&self.text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(error: &mailstore::Error) -> Failure {
    Failure { verdict: verdict(error.is_full()), why: format!("queue: {error}") }
}
