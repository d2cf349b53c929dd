//! Takes a letter from the process that talks to the client, and has it stored in the places of its recipients:
//! `order.rs` has the picture.
//!
//! Under [`Commit::All`] all recipients get it or none: it is first safe everywhere, then visible everywhere, and taken
//! back where one fails. Commands run before that, because nothing takes back what they have done.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use forknet::{Boxes, LONGEST_MESSAGE, Peer, reason};

use crate::delivery::boxed::Kind;
use crate::delivery::order::{PUBLISH, Writing};
use crate::delivery::outgoing::Outgoing;
use crate::delivery::quarantine::{self, Kept};
use crate::delivery::queue::{self, Elsewhere};
use crate::delivery::store::verdict;
use crate::delivery::text::{Incoming, Text};
use crate::delivery::transaction::{Found, Transaction};
use crate::delivery::workers::At;
use crate::options::Config;
use crate::protocol::lookup::Commit;
use crate::protocol::origin::{NamedRecipient, ORIGIN, Origin, decode_recipients};
use crate::protocol::question::{
    ABORT, CLEAR, END, HEAD, QUARANTINE, RECIPIENTS, TEXT, Verdict, decode_verdicts,
};

/// Longest wait for a piece of a letter, which ends with the process that sends it.
const PIECE_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for all places to be written: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const WRITE_WAIT: Duration = Duration::from_secs(100);
/// Longest wait for commands, and for the letter to be made visible: as long each.
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
    let verdicts = match text {
        Ok(text) => match quarantine {
            Some(why) => keep_back(transaction, letter, (&why, &names), &text),
            None => store(transaction, letter, (&origin, &names), text),
        },
        Err(verdict) => {
            transaction.forget();
            vec![verdict; names.len()]
        }
    };
    Ok(Verdict::encode_all(&verdicts))
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
) -> Vec<Verdict> {
    transaction.forget();
    let boxes = &mut transaction.workers.boxes;
    let kept = Kept { sender: letter.sender, shown: letter.shown, why, names };
    let verdict = quarantine::keep(transaction.config, boxes, &kept, text);
    vec![verdict; names.len()]
}

/// A process, the numbers of the places in it that get the letter, and what has become of it there.
struct Share {
    worker: usize,
    places: Vec<usize>,
    verdicts: Vec<Verdict>,
}

impl Share {
    fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| *verdict == Verdict::Accepted)
    }
}

/// Stores a letter for these recipients; returns a verdict for each.
fn store(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (origin, names): (&Origin, &[NamedRecipient]),
    text: Text,
) -> Vec<Verdict> {
    // All were tried at RCPT; one that was not is tried now.
    let find = |it: &NamedRecipient| match transaction.tried(&it.name) {
        Some(found) => Ok(found),
        None => transaction.recipient(&it.name, 0, &origin.login),
    };
    let found: Vec<Result<Found, Verdict>> = names.iter().map(find).collect();
    let is_all = letter.commit == Commit::All;
    let refused = found.iter().find_map(|it| it.as_ref().err().copied());
    if let Some(verdict) = refused.filter(|_| is_all) {
        transaction.forget();
        return vec![verdict; names.len()];
    }
    transaction.workers.revive();
    let mut shares = shares(found.iter().flatten().flat_map(|it| &it.places));
    let queued =
        elsewhere(names, &found).envelopes((letter.peer, letter.id, letter.sender), origin);
    let (config, boxes) = (transaction.config, &mut transaction.workers.boxes);
    let mut outgoing = Outgoing::begin(config, boxes, letter.shown, &queued, &text);
    let is_written = write(transaction, letter, (&mut shares, &mut outgoing), text);
    let is_done = is_written && publish(transaction, letter.commit, (&mut shares, &mut outgoing));
    outgoing.end(&mut transaction.workers.boxes);
    if is_done {
        transaction.keep();
    } else {
        transaction.forget();
    }
    let of_recipient = |it: &Result<Found, Verdict>| match it {
        Ok(found) => verdict_of(found, &shares, outgoing.verdict),
        Err(verdict) => *verdict,
    };
    let each: Vec<Verdict> = found.iter().map(of_recipient).collect();
    match is_all {
        true => {
            let verdict = each.iter().copied().fold(Verdict::Accepted, worse);
            vec![verdict; names.len()]
        }
        false => each,
    }
}

/// Returns the recipients that are elsewhere.
fn elsewhere(names: &[NamedRecipient], found: &[Result<Found, Verdict>]) -> Elsewhere {
    let mut elsewhere = Elsewhere::default();
    for (named, found) in names.iter().zip(found) {
        for (sender, address) in found.iter().flat_map(|it| &it.elsewhere) {
            let recipient = match address {
                Some(address) => queue::forwarded(named, address, sender.is_some()),
                None => queue::recipient(named),
            };
            elsewhere.add(sender.clone(), recipient);
        }
    }
    elsewhere
}

/// Returns what has become of a letter for one recipient.
fn verdict_of(found: &Found, shares: &[Share], queued: Verdict) -> Verdict {
    let of_place = |at: &At| {
        let share = shares.iter().find(|share| share.worker == at.worker)?;
        let number = share.places.iter().position(|place| *place == at.place)?;
        share.verdicts.get(number).copied()
    };
    let places = found.places.iter().map(|at| of_place(at).unwrap_or(Verdict::Unusable));
    let queued = found.elsewhere.first().map(|_| queued);
    if found.places.is_empty() && queued.is_none() {
        return Verdict::Unknown; // who has moved, and gets no letters by us
    }
    places.chain(queued).fold(Verdict::Accepted, worse)
}

/// Returns the verdict about both: a temporary one goes before a permanent one, because the letter comes again then.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Accepted => 0,
        verdict if verdict.reply().code() >= 500 => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
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

/// Has the letter written everywhere. Returns false where it cannot be handed on.
fn write(
    transaction: &mut Transaction<'_>,
    letter: &Letter<'_>,
    (shares, outgoing): (&mut [Share], &mut Outgoing),
    text: Text,
) -> bool {
    let fail = |shares: &mut [Share], verdict, why: &str| {
        log::error!("{}: {why}", letter.shown);
        for share in shares {
            share.verdicts = vec![verdict; share.places.len()];
        }
        false
    };
    let text = match text.into_file_over(MAX_INLINE) {
        Ok(text) => text,
        Err(error) => {
            return fail(shares, verdict(mailstore::is_full(&error)), &reason(&error));
        }
    };
    let nothing: &[u8] = b"";
    let (inline, file) = match &text {
        Text::Memory(text) => (&text[..], None),
        Text::File(file, _) => (nothing, Some(file.as_fd())),
    };
    let until = Instant::now() + WRITE_WAIT;
    for share in shares.iter() {
        let places = share.places.clone();
        let (id, sender) = (letter.id, letter.sender);
        let order = Writing { id, sender, places, text: inline }.encode();
        let order = order.filter(|order| order.len() <= LONGEST_MESSAGE);
        let Some(order) = order else {
            return fail(shares, Verdict::Unusable, "too many places of one user");
        };
        transaction.workers.send(share.worker, &order, file);
    }
    collect(transaction, shares, until);
    outgoing.receive(&mut transaction.workers.boxes, until);
    true
}

/// Has commands run and messages shown, then the letter made visible everywhere, and put into the queue. Returns whether
/// the places keep it.
fn publish(
    transaction: &mut Transaction<'_>,
    commit: Commit,
    (shares, outgoing): (&mut [Share], &mut Outgoing),
) -> bool {
    let is_failed = |shares: &[Share], outgoing: &Outgoing| {
        let is_good = outgoing.verdict == Verdict::Accepted && shares.iter().all(Share::is_good);
        commit == Commit::All && !is_good
    };
    if is_failed(shares, outgoing) {
        return false;
    }
    // Neither a command nor a message on a terminal can be taken back.
    let is_command = |it: &Share| transaction.workers.kind(it.worker) != Some(Kind::Files);
    shares.sort_by_key(|share| !is_command(share));
    let commands = shares.iter().take_while(|share| is_command(share)).count();
    let (commands, files) = shares.split_at_mut(commands);
    for shares in [commands, files] {
        let until = Instant::now() + PUBLISH_WAIT;
        shares.iter().for_each(|it| transaction.workers.send(it.worker, &[PUBLISH], None));
        collect(transaction, shares, until);
        if is_failed(shares, outgoing) {
            return false;
        }
    }
    outgoing.publish(&mut transaction.workers.boxes, Instant::now() + PUBLISH_WAIT);
    !is_failed(&[], outgoing)
}

/// Waits for the verdicts of all. A process that has ended or is late has failed in all its places.
fn collect(transaction: &mut Transaction<'_>, shares: &mut [Share], until: Instant) {
    for share in shares {
        let answer = transaction.workers.receive(share.worker, until);
        let verdicts = answer.and_then(|answer| decode_verdicts(&answer));
        let verdicts = verdicts.filter(|it| it.len() == share.places.len());
        let failed = || vec![Verdict::Unusable; share.places.len()];
        share.verdicts = verdicts.unwrap_or_else(failed);
    }
}
