//! Takes a letter from the process that talks to the client, and has it stored in the places of its recipients:
//! `order.rs` has the picture.
//!
//! What fails at one place keeps the letter from no other. Where it fails for a while the client sends the letter again,
//! and those who have it do not get it twice ([`Again`]).

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use forknet::{Boxes, LONGEST_MESSAGE, Peer, reason};

use crate::delivery::again::Again;
use crate::delivery::order::{PUBLISH, Writing};
use crate::delivery::outgoing::Outgoing;
use crate::delivery::quarantine::{self, Kept};
use crate::delivery::queue::{self, Elsewhere, Leaving};
use crate::delivery::store::verdict;
use crate::delivery::text::{Incoming, Text};
use crate::delivery::trace::delivered_to;
use crate::delivery::transaction::{Found, Transaction};
use crate::delivery::workers::At;
use crate::options::Config;
use crate::protocol::address::Mailbox;
use crate::protocol::lookup::Commit;
use crate::protocol::origin::{NamedRecipient, ORIGIN, Origin, decode_recipients};
use crate::protocol::question::{
    ABORT, CLEAR, END, HEAD, QUARANTINE, RECIPIENTS, TEXT, Verdict, decode_verdicts,
};
use crate::protocol::stored::{Stored, Where};

/// Longest wait for a piece of a letter, which ends with the process that sends it.
const PIECE_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for all places to be written: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const WRITE_WAIT: Duration = Duration::from_secs(100);
/// Longest wait for the letter to be made visible and for commands, and then for the queue: as long each.
const PUBLISH_WAIT: Duration = Duration::from_secs(110);
/// Bytes that the text may have beyond `--max-size`: the trace lines.
const MAX_TRACE: u64 = 64 * 1024;
/// Longest text that is sent in the message itself, in bytes.
const MAX_INLINE: usize = 12 * 1024;
/// Most bytes of what stands before the text: a header that filters have changed.
const MAX_HEAD: usize = 1 << 20;

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

/// Receives a letter and delivers it; returns the answer about each recipient, [`Verdict::Unusable`] alone for one that
/// is not to be delivered.
///
/// # Errors
/// What came is malformed, or the process that sends it has ended.
pub(super) fn deliver(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
) -> Result<Vec<u8>, String> {
    if letter.sender.iter().any(u8::is_ascii_control) {
        return Err("a malformed sender".into());
    }
    let received = receive(transaction.config, &transaction.workers.boxes)?;
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

/// What the session has sent.
struct Received {
    origin: Origin,
    names: Vec<NamedRecipient>,
    text: Result<Text, Verdict>,
    /// Why it is kept back, if it is.
    quarantine: Option<Vec<u8>>,
}

/// Receives the names and the text to their end; `None` if the letter is not to be delivered.
///
/// # Errors
/// As [`deliver`].
fn receive(config: &Config, asked: &Boxes) -> Result<Option<Received>, String> {
    let most = if config.max_size == 0 { u64::MAX } else { config.max_size + MAX_TRACE };
    let (mut names, mut text, mut failure) = (Vec::new(), Incoming::new(&config.spool), None);
    let (mut origin, mut head, mut quarantine) = (Origin::default(), Vec::new(), None);
    loop {
        let part = asked.next_part(PIECE_WAIT).map_err(|error| reason(&error))?;
        let part = part.ok_or("the session has ended")?;
        match part.split_first() {
            Some((&TEXT, piece)) if text.length() + piece.len() as u64 <= most => {
                if failure.is_none()
                    && let Err(error) = text.write(piece)
                {
                    log::error!("spool {}: {}", config.spool.display(), reason(&error));
                    failure = Some(verdict(mailstore::is_full(&error)));
                }
            }
            Some((&HEAD, piece)) if head.len() + piece.len() <= MAX_HEAD => {
                head.extend_from_slice(piece);
            }
            Some((&QUARANTINE, why)) => quarantine = Some(why.to_vec()),
            Some((&ORIGIN, record)) => {
                origin = Origin::decode(record).ok_or("a malformed origin")?;
            }
            Some((&RECIPIENTS, record)) => {
                names.extend(decode_recipients(record).ok_or("malformed names")?);
                if names.len() > config.max_recipients {
                    return Err("too many recipients".into());
                }
            }
            _ if part == CLEAR => text = Incoming::new(&config.spool),
            _ if part == END => break,
            _ if part == ABORT => return Ok(None),
            _ => return Err("a malformed piece".into()),
        }
    }
    if failure.is_none()
        && let Err(error) = text.insert(0, &head)
    {
        log::error!("spool {}: {}", config.spool.display(), reason(&error));
        failure = Some(verdict(mailstore::is_full(&error)));
    }
    let text = failure.map_or(Ok(text.finish()), Err);
    Ok(Some(Received { origin, names, text, quarantine }))
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
        false => transaction.keep(),
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
    write(transaction, letter, (&mut shares, &mut outgoing), text);
    publish(transaction, &mut shares);
    let boxes = &mut transaction.workers.boxes;
    outgoing.publish(boxes, Instant::now() + PUBLISH_WAIT);
    outgoing.end(boxes);
    Sent { shares, queued: outgoing.verdict }
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
    if found.places.is_empty() && found.elsewhere.is_empty() {
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

/// Has the letter written everywhere.
fn write(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (shares, outgoing): (&mut [Share], &mut Outgoing),
    text: &Text,
) {
    let nothing: &[u8] = b"";
    let (inline, file) = match text {
        Text::Memory(text) => (&text[..], None),
        Text::File(file, _) => (nothing, Some(file.as_fd())),
    };
    let until = Instant::now() + WRITE_WAIT;
    for share in shares.iter_mut() {
        let places = share.places.clone();
        let (id, sender) = (letter.id, letter.sender);
        let order = Writing { id, sender, places, text: inline }.encode();
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
    /// Returns whether the letter is good in one of its places so far.
    fn is_waited_for(&self) -> bool {
        self.verdicts.contains(&Verdict::Accepted)
    }
}
