//! Takes a letter from the process that talks to the client, and has it stored in the places of its recipients:
//! `order.rs` has the picture.
//!
//! What fails at one place keeps the letter from no other. Where it fails for a while the client sends the letter again,
//! and those who have it do not get it twice ([`Again`]).

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use forknet::{LONGEST_MESSAGE, Peer, reason};

use crate::delivery::again::Again;
use crate::delivery::order::{PUBLISH, Writing};
use crate::delivery::outgoing::Outgoing;
use crate::delivery::quarantine::{self, Kept};
use crate::delivery::queue::{self, Elsewhere, Leaving};
use crate::delivery::received::{Received, receive};
use crate::delivery::store::verdict;
use crate::delivery::text::Text;
use crate::delivery::trace::delivered_to;
use crate::delivery::transaction::{Found, Transaction};
use crate::delivery::workers::At;
use crate::protocol::address::Mailbox;
use crate::protocol::lookup::Commit;
use crate::protocol::origin::{NamedRecipient, Origin};
use crate::protocol::question::{Verdict, decode_verdicts};
use crate::protocol::records::Records;
use crate::protocol::stored::{Stored, Where};

/// Longest wait for all places to be written: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const WRITE_WAIT: Duration = Duration::from_secs(100);
/// Longest wait for the letter to be made visible and for commands, and then for the queue: as long each.
const PUBLISH_WAIT: Duration = Duration::from_secs(110);
/// Longest text that is sent in the message itself, in bytes.
const MAX_INLINE: usize = 12 * 1024;

/// A letter to be delivered.
pub(super) struct Letter<'l> {
    /// The client.
    pub(super) peer: Peer,
    /// Its name.
    pub(super) id: &'l [u8],
    /// Its sender, without brackets.
    pub(super) sender: &'l [u8],
    pub(super) commit: Commit,
    /// For the log: the client and the id.
    pub(super) shown: &'l str,
}

/// Receives a letter, of which the first records have come, and delivers it; returns the answer about each recipient, [`Verdict::Unusable`] alone for one that
/// is not to be delivered.
///
/// # Errors
/// What came is malformed, or the process that sends it has ended.
pub(super) fn deliver(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    first: Records,
) -> Result<Vec<u8>, String> {
    if letter.sender.iter().any(u8::is_ascii_control) {
        return Err("a malformed sender".into());
    }
    let received = receive(transaction.config, &transaction.workers.boxes, first)?;
    let Some(Received { origin, names, text, quarantine }) = received else {
        transaction.forget();
        return Ok(Verdict::Unusable.encode());
    };
    let text = text.and_then(|text| {
        let file = text.into_file_over(MAX_INLINE);
        file.map_err(|error| {
            log::error!("{}: {}", letter.shown, reason(&error));
            verdict(mailstore::is_full(&error))
        })
    });
    let (stored, verdicts) = match text {
        Ok(text) => match quarantine {
            Some(why) => keep_back(transaction, letter, (&why, &names), &text),
            None => store(transaction, letter, (&origin, &names), &text),
        },
        Err(verdict) => {
            transaction.forget();
            (Stored::default(), vec![verdict; names.len()])
        }
    };
    Ok([stored.encode(), Verdict::encode_all(&verdicts)].concat())
}

/// Has the letter kept back, and no recipient gets it; returns a verdict for each.
fn keep_back(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (why, names): (&[u8], &[NamedRecipient]),
    text: &Text,
) -> (Stored, Vec<Verdict>) {
    transaction.forget();
    let boxes = &mut transaction.workers.boxes;
    let kept = Kept { sender: letter.sender, shown: letter.shown, why, names };
    let verdict = quarantine::keep(transaction.config, boxes, &kept, text);
    let mut stored = Stored::default();
    stored.add(Where::Quarantine, usize::from(verdict == Verdict::Accepted));
    (stored, vec![verdict; names.len()])
}

/// A process, the numbers of the places in it that get the letter, and what has become of it there.
struct Share {
    worker: usize,
    places: Vec<usize>,
    verdicts: Vec<Verdict>,
}

/// What has become of a letter everywhere.
struct Sent {
    shares: Vec<Share>,
    /// In the queue, if it goes there.
    queued: Verdict,
    /// The process that has stored it alone.
    alone: Option<usize>,
}

/// Stores a letter for these recipients; returns where it is, and a verdict for each.
fn store(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (origin, names): (&Origin, &[NamedRecipient]),
    text: &Text,
) -> (Stored, Vec<Verdict>) {
    // All were tried at RCPT; one that was not is tried now.
    let find = |it: &NamedRecipient| match transaction.tried(&it.name) {
        Some(found) => Ok(found),
        None => transaction.recipient(&it.name, 0, &origin.login),
    };
    let found: Vec<Result<Found, Verdict>> = names.iter().map(find).collect();
    let config = transaction.config;
    let mut again = Again::new(&config.duplicates, letter.sender, text);
    let mut left = found.clone();
    for (named, found) in names.iter().zip(&mut left) {
        let (workers, Ok(found)) = (&transaction.workers, found) else { continue };
        found.places.retain(|at| !again.has(|| workers.name(*at)));
        found.elsewhere.retain(|it| !again.has(|| Some(name_of(named, it))));
    }
    transaction.workers.revive();
    let elsewhere = elsewhere(transaction, names, &left);
    let queued = elsewhere.letters((letter.peer, letter.id, letter.sender), origin);
    let sent = send(transaction, letter, (&left, &queued), text);
    let each: Vec<Verdict> = found
        .iter()
        .zip(&left)
        .map(|it| match it {
            (Ok(found), Ok(left)) => verdict_of(found, left, &sent),
            (Err(verdict), _) | (_, Err(verdict)) => *verdict,
        })
        .collect();
    let mut stored = stored(transaction, &sent);
    if sent.queued == Verdict::Accepted {
        stored.add(Where::Queue, queued.iter().map(|it| it.envelope.recipients.len()).sum());
    }
    stored.add(Where::Before, again.count());
    let recipients: Vec<_> = names.iter().zip(&found).zip(each.iter().copied()).collect();
    remember(transaction, letter, &recipients, (again, &sent, text));
    match stored == Stored::default() {
        true => transaction.forget(),
        false => transaction.keep(sent.alone),
    }
    (stored, each)
}

/// Has the letter written everywhere, then made visible.
fn send(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (found, queued): (&[Result<Found, Verdict>], &[Leaving]),
    text: &Text,
) -> Sent {
    let mut shares = shares(found.iter().flatten().flat_map(|it| &it.places));
    let (config, boxes) = (transaction.config, &mut transaction.workers.boxes);
    let mut outgoing = Outgoing::begin(config, boxes, letter.shown, queued, text);
    let alone = alone(transaction, &shares).filter(|_| outgoing.has_nothing());
    write(transaction, letter, (&mut shares, &mut outgoing), (text, alone.is_some()));
    if alone.is_none() {
        publish(transaction, &mut shares);
    }
    let boxes = &mut transaction.workers.boxes;
    outgoing.publish(boxes, Instant::now() + PUBLISH_WAIT);
    outgoing.end(boxes);
    Sent { shares, queued: outgoing.verdict, alone }
}

/// Returns the process that stores the letter without a word of others, because it goes nowhere else.
fn alone(transaction: &Transaction<'_>, shares: &[Share]) -> Option<usize> {
    let [Share { worker, places, .. }] = shares else { return None };
    let at = At { worker: *worker, place: *places.first()? };
    (transaction.workers.stored_as(at) == Where::Maildir).then_some(*worker)
}

/// A recipient, where the letter goes, and what has become of it.
type Of<'a> = ((&'a NamedRecipient, &'a Result<Found, Verdict>), Verdict);

/// Notes which places have a letter that will come again.
fn remember(
    transaction: &Transaction<'_>,
    letter: &Letter<'_>,
    recipients: &[Of<'_>],
    (mut again, sent, text): (Again<'_>, &Sent, &Text),
) {
    let fails = recipients.iter().any(|(_, verdict)| is_temporary(*verdict));
    if fails {
        again.expect(letter.sender, text);
    }
    for ((named, found), verdict) in recipients {
        let Ok(found) = found else { continue };
        let comes_again = is_temporary(*verdict) || fails && letter.commit == Commit::All;
        let has = |at: &&At| place_verdict(**at, sent).is_none_or(|it| it == Verdict::Accepted);
        for at in found.places.iter().filter(has) {
            again.note(|| transaction.workers.name(*at), comes_again);
        }
        if sent.queued == Verdict::Accepted {
            for it in &found.elsewhere {
                again.note(|| Some(name_of(named, it)), comes_again);
            }
        }
    }
    again.write(letter.shown);
}

/// Returns what makes a recipient elsewhere the same in another session.
fn name_of(
    named: &NamedRecipient,
    (sender, address): &(Option<String>, Option<Mailbox>),
) -> Vec<u8> {
    let sender = sender.as_deref().unwrap_or_default().as_bytes();
    let address = match address {
        Some(address) => address.text.clone().into_bytes(),
        None => queue::recipient(named).address,
    };
    [b"queue <", sender, b"> ", &address].concat()
}

/// Counts the places that have got the letter.
fn stored(transaction: &Transaction<'_>, sent: &Sent) -> Stored {
    let mut stored = Stored::default();
    for share in &sent.shares {
        for (place, verdict) in share.places.iter().zip(&share.verdicts) {
            if *verdict == Verdict::Accepted {
                let at = At { worker: share.worker, place: *place };
                stored.add(transaction.workers.stored_as(at), 1);
            }
        }
    }
    stored
}

/// Returns the recipients that are elsewhere.
fn elsewhere(
    transaction: &Transaction<'_>,
    names: &[NamedRecipient],
    found: &[Result<Found, Verdict>],
) -> Elsewhere {
    let mut elsewhere = Elsewhere::default();
    for (named, found) in names.iter().zip(found) {
        for (sender, address) in found.iter().flat_map(|it| &it.elsewhere) {
            let (recipient, trace) = match address {
                Some(address) => (
                    queue::forwarded(named, address, sender.is_some()),
                    delivered_to(&transaction.address(&named.name)),
                ),
                None => (queue::recipient(named), Vec::new()),
            };
            elsewhere.add(sender.clone(), recipient, trace);
        }
    }
    elsewhere
}

/// Returns what has become of a letter at a place; `None` where it did not go, because it was there.
fn place_verdict(at: At, sent: &Sent) -> Option<Verdict> {
    let share = sent.shares.iter().find(|share| share.worker == at.worker)?;
    let number = share.places.iter().position(|place| *place == at.place)?;
    Some(share.verdicts.get(number).copied().unwrap_or(Verdict::Unusable))
}

/// Returns what has become of a letter for one recipient, at the places that did not have it.
fn verdict_of(found: &Found, left: &Found, sent: &Sent) -> Verdict {
    let places = left.places.iter().filter_map(|at| place_verdict(*at, sent));
    let queued = left.elsewhere.first().map(|_| sent.queued);
    if found.places.is_empty() && found.elsewhere.is_empty() && !found.goes_nowhere {
        return Verdict::Unknown; // who has moved, and gets no letters by us
    }
    places.chain(queued).fold(Verdict::Accepted, worse)
}

/// Returns the verdict about both: a temporary one goes before a permanent one, because the letter comes again then.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Accepted => 0,
        verdict if is_temporary(verdict) => 2,
        _ => 1,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn is_temporary(verdict: Verdict) -> bool {
    (400..500).contains(&verdict.reply().code())
}

/// Returns what each process has to do, each place once.
fn shares<'f>(places: impl Iterator<Item = &'f At>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for At { worker, place } in places {
        match shares.iter_mut().find(|share| share.worker == *worker) {
            Some(share) if share.places.contains(place) => {}
            Some(share) => share.places.push(*place),
            None => {
                let (places, verdicts) = (vec![*place], Vec::new());
                shares.push(Share { worker: *worker, places, verdicts });
            }
        }
    }
    shares
}

/// Has the letter written everywhere; by one that is alone, stored.
fn write(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (shares, outgoing): (&mut [Share], &mut Outgoing),
    (text, is_all): (&Text, bool),
) {
    let nothing: &[u8] = b"";
    let (inline, file) = match text {
        Text::Memory(text) => (&text[..], None),
        Text::File(file, _) => (nothing, Some(file.as_fd())),
    };
    let until = Instant::now() + if is_all { WRITE_WAIT + PUBLISH_WAIT } else { WRITE_WAIT };
    for share in shares.iter_mut() {
        let places = share.places.clone();
        let (id, sender) = (letter.id, letter.sender);
        let order = Writing { id, sender, places, text: inline, is_all }.encode();
        match order.filter(|order| order.len() <= LONGEST_MESSAGE) {
            Some(order) => {
                transaction.workers.send(share.worker, &order, file);
                share.verdicts = vec![Verdict::Accepted; share.places.len()]; // so far
            }
            None => {
                log::error!("{}: too many places of one user", letter.shown);
                share.verdicts = vec![Verdict::Unusable; share.places.len()];
            }
        }
    }
    collect(transaction, shares, until);
    outgoing.receive(&mut transaction.workers.boxes, until);
}

/// Has commands run, messages shown, and the letter made visible, where it is written.
fn publish(transaction: &mut Transaction<'_>, shares: &mut [Share]) {
    let until = Instant::now() + PUBLISH_WAIT;
    let written = shares.iter().filter(|it| it.is_waited_for());
    written.for_each(|it| transaction.workers.send(it.worker, &[PUBLISH], None));
    collect(transaction, shares, until);
}

/// Waits for the verdicts of all. A process that has ended or is late has failed in all its places; where it has failed
/// before, that verdict stays.
fn collect(transaction: &mut Transaction<'_>, shares: &mut [Share], until: Instant) {
    for share in shares.iter_mut().filter(|it| it.is_waited_for()) {
        let answer = transaction.workers.receive(share.worker, until);
        let verdicts = answer.and_then(|answer| decode_verdicts(&answer));
        let verdicts = verdicts.filter(|it| it.len() == share.places.len());
        let failed = || vec![Verdict::Unusable; share.places.len()];
        for (known, now) in share.verdicts.iter_mut().zip(verdicts.unwrap_or_else(failed)) {
            if *known == Verdict::Accepted {
                *known = now;
            }
        }
    }
}

impl Share {
    /// Returns whether one of its places has accepted the letter so far.
    fn is_waited_for(&self) -> bool {
        self.verdicts.contains(&Verdict::Accepted)
    }
}
