//! The process that delivers a letter, forked by the keeper, with its rights: it takes the letter from the
//! one that talks to the client, finds the recipients again by their names, and forks a process for each
//! of their users, which has that user's rights alone and stores the letter.
//!
//! ```text
//!  this process                             the process of each user
//!   |                                        |  opens the mailboxes, writes, fsyncs
//!   | <------------------ written, or why not|
//!   | publish -----------------------------> |  renames, fsyncs the folder
//!   | <---------------- published, or why not|
//!   | send ------------------------------->  |  queue: renames, fsyncs the folder; only where there is one
//!   | <----------------------------- done    |
//!   | keep (or the end: take it back) -----> |
//! ```
//! Where all recipients are one user's, this process becomes that user itself.

use std::time::{Duration, Instant};

use accounts::{Account, Owner};
use forknet::{Boxes, Line, Peer, become_user, confine_to, in_title, reason};
use mailstore::QueueEnvelope;

use crate::delivery::mailbox;
use crate::delivery::queue::{self, Elsewhere};
use crate::delivery::route::{Router, Target};
use crate::delivery::store::{self, Failure, verdict};
use crate::delivery::text::{Incoming, Text};
use crate::delivery::trace::return_path;
use crate::options::Config;
use crate::protocol::origin::{NamedRecipient, ORIGIN, Origin, decode_recipients};
use crate::protocol::question::{ABORT, CLEAR, END, HEAD, RECIPIENTS, TEXT, Verdict};

/// Longest wait for a piece of a letter, which ends with the process that sends it.
const PIECE_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for all mailboxes to be written: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const WRITE_WAIT: Duration = Duration::from_secs(120);
/// Longest wait for the letter to be made visible in all of them.
const PUBLISH_WAIT: Duration = Duration::from_secs(60);
/// Longest wait until those that have it take a refused letter back.
const RETRACT_WAIT: Duration = Duration::from_secs(30);
/// Bytes that the text may have beyond `--max-size`: the trace lines.
const MAX_TRACE: u64 = 64 * 1024;
/// Most bytes of what stands before the text: a header that filters have changed.
const MAX_HEAD: usize = 1 << 20;
/// Most mailboxes of one process, because each holds three descriptors.
const MAX_MAILBOXES: usize = 100;
/// Exit code of a process that did not answer: the keeper closes the line.
const FAILED: i32 = 1;

/// Messages between the processes.
const DONE: &[u8] = b"+";
const PUBLISH: &[u8] = b"p";
const KEEP: &[u8] = b"k";
const SEND: &[u8] = b"s";

/// A letter, as the session names it.
pub(super) struct Letter {
    peer: Peer,
    id: Vec<u8>,
    sender: Vec<u8>,
    /// For the log.
    about: String,
}

impl Letter {
    pub(super) fn new(peer: Peer, id: Vec<u8>, sender: Vec<u8>) -> Letter {
        let about = format!("{peer}: letter {}", id.escape_ascii());
        Letter { peer, id, sender, about }
    }
}

/// Takes a letter, delivers it, and answers; returns the exit code.
pub(super) fn deliver(config: &Config, asked: forknet::Question, letter: &Letter) -> i32 {
    asked.show("a letter");
    let received = match receive(config, &asked, &letter.sender) {
        Ok(Some(received)) => received,
        Ok(None) => return asked.answer(&Verdict::Unusable.encode()),
        Err(why) => {
            log::debug!("{}: {why}", letter.about);
            return FAILED;
        }
    };
    let Received { origin, names, text } = received;
    let recipients = names.len();
    let may_relay = queue::may_relay(config, letter.peer, &origin.login);
    let groups = text.map_err(|failure| (failure.verdict, failure.why));
    let groups = groups.and_then(|text| Ok((group(config, &names, may_relay)?, text)));
    let about = (&letter.about[..], recipients);
    match groups {
        Ok(((groups, elsewhere), text)) => {
            let queued = elsewhere.envelopes((letter.peer, &letter.id, &letter.sender), &origin);
            match (groups.as_slice(), queued.as_slice()) {
                ([(owner, accounts)], []) => {
                    deliver_alone(config, asked, about, *owner, accounts, &text)
                }
                (groups, queued) => deliver_apart(config, asked, about, (groups, queued), &text),
            }
        }
        Err((verdict, why)) => {
            log::error!("{}: {why}", letter.about);
            asked.answer(&Verdict::encode_all(&vec![verdict; recipients]))
        }
    }
}

/// What the session has sent.
struct Received {
    origin: Origin,
    names: Vec<NamedRecipient>,
    text: Result<Text, Failure>,
}

/// Receives the names and the text to their end; `None` if the letter is not to be delivered.
///
/// # Errors
/// What came is malformed, or the process that sends it has ended.
fn receive(
    config: &Config,
    asked: &forknet::Question,
    sender: &[u8],
) -> Result<Option<Received>, String> {
    let most = if config.max_size == 0 { u64::MAX } else { config.max_size + MAX_TRACE };
    let (mut names, mut text, mut failure) = (Vec::new(), Incoming::new(&config.spool), None);
    let mut origin = Origin::default();
    if sender.iter().any(u8::is_ascii_control) {
        return Err("a malformed sender".into());
    }
    text.write(&return_path(sender)).map_err(|error| reason(&error))?;
    let (begin, mut head) = (text.length(), Vec::new());
    loop {
        let part = asked.next_part(PIECE_WAIT).map_err(|error| reason(&error))?;
        let part = part.ok_or("the session has ended")?;
        match part.split_first() {
            Some((&TEXT, piece)) if text.length() + piece.len() as u64 <= most => {
                if failure.is_none()
                    && let Err(error) = text.write(piece)
                {
                    let why = format!("spool {}: {}", config.spool.display(), reason(&error));
                    failure = Some(Failure { verdict: verdict(mailstore::is_full(&error)), why });
                }
            }
            Some((&HEAD, piece)) if head.len() + piece.len() <= MAX_HEAD => {
                head.extend_from_slice(piece);
            }
            Some((&ORIGIN, record)) => {
                origin = Origin::decode(record).ok_or("a malformed origin")?;
            }
            Some((&RECIPIENTS, record)) => {
                names.extend(decode_recipients(record).ok_or("malformed names")?);
                if names.len() > config.max_recipients {
                    return Err("too many recipients".into());
                }
            }
            _ if part == CLEAR => {
                text = Incoming::new(&config.spool);
                text.write(&return_path(sender)).map_err(|error| reason(&error))?;
            }
            _ if part == END => break,
            _ if part == ABORT => return Ok(None),
            _ => return Err("a malformed piece".into()),
        }
    }
    if failure.is_none()
        && let Err(error) = text.insert(begin, &head)
    {
        let why = format!("spool {}: {}", config.spool.display(), reason(&error));
        failure = Some(Failure { verdict: verdict(mailstore::is_full(&error)), why });
    }
    let text = failure.map_or(Ok(text.finish()), Err);
    Ok(Some(Received { origin, names, text }))
}

type Group = (Owner, Vec<Account>);

/// Expands the recipients into accounts, and those that are elsewhere.
///
/// # Errors
/// One of them is no user any more; the accounts cannot be read.
fn expand(
    config: &Config,
    names: &[NamedRecipient],
    may_relay: bool,
) -> Result<(Vec<Account>, Elsewhere), (Verdict, String)> {
    let router = Router::open(config).map_err(|verdict| (verdict, "no accounts".to_owned()))?;
    let (mut accounts, mut elsewhere) = (Vec::new(), Elsewhere::default());
    for recipient in names {
        let name = &recipient.name;
        let local = name.local.escape_ascii();
        let routes = match router.expand(name) {
            Ok(routes) => routes.all,
            Err(Verdict::Elsewhere) if may_relay => {
                elsewhere.add(None, queue::recipient(recipient));
                continue;
            }
            Err(verdict) => {
                let is_unreadable = verdict == Verdict::Unreadable;
                let verdict = if is_unreadable { verdict } else { Verdict::Unusable };
                return Err((verdict, format!("recipient '{local}': no such user any more")));
            }
        };
        for route in routes {
            match route.target {
                Target::Mailbox { account, .. } => accounts.push(account),
                Target::Elsewhere(address) => {
                    let is_list = route.sender.is_some();
                    elsewhere.add(route.sender, queue::forwarded(recipient, &address, is_list));
                }
                Target::Program { .. } | Target::File { .. } => {
                    let why =
                        format!("recipient '{local}': commands and files are not for Maildirs");
                    return Err((Verdict::Unusable, why));
                }
            }
        }
    }
    Ok((accounts, elsewhere))
}

/// Finds whose mailboxes the recipients' are, each mailbox once; and those that are elsewhere.
///
/// # Errors
/// As [`expand`]; a recipient has no mailbox.
fn group(
    config: &Config,
    names: &[NamedRecipient],
    may_relay: bool,
) -> Result<(Vec<Group>, Elsewhere), (Verdict, String)> {
    let (accounts, elsewhere) = expand(config, names, may_relay)?;
    let mut seen = std::collections::HashSet::new();
    let mut groups: Vec<Group> = Vec::new();
    for account in accounts {
        let local = account.name.escape_ascii().to_string();
        let failed = |why: &dyn std::fmt::Display| {
            (Verdict::Unusable, format!("mailbox of '{local}': {why}"))
        };
        let path = config.mail.mail.path(&account.name, &account.home);
        if !seen.insert(path.map_err(|why| failed(&why))?) {
            continue;
        }
        let owner = config.mail.owner(&account).map_err(|trouble| failed(&trouble.why))?;
        let is_its =
            |(known, accounts): &&mut Group| *known == owner && accounts.len() < MAX_MAILBOXES;
        match groups.iter_mut().find(is_its) {
            Some((_, accounts)) => accounts.push(account),
            None => groups.push((owner, vec![account])),
        }
    }
    if groups.is_empty() && elsewhere.is_empty() {
        return Err((Verdict::Unusable, "a letter without a recipient".into()));
    }
    Ok((groups, elsewhere))
}

/// Delivers with one user's rights, for good.
fn deliver_alone(
    config: &Config,
    asked: forknet::Question,
    (letter, recipients): (&str, usize),
    owner: Owner,
    accounts: &[Account],
    text: &Text,
) -> i32 {
    make_folders(config, letter, &[(owner, accounts.to_vec())]);
    let asked = asked.move_away();
    asked.show(title(accounts));
    let stored = enter(config, owner, accounts)
        .and_then(|mailboxes| store::write(&mailboxes, text))
        .and_then(store::publish);
    let verdict = match stored {
        Ok(_) => Verdict::Accepted,
        Err(Failure { verdict, why }) => {
            log::warn!("{letter}: {why}");
            verdict
        }
    };
    asked.answer(&Verdict::encode_all(&vec![verdict; recipients]))
}

/// Delivers with a process for each group of mailboxes.
fn deliver_apart(
    config: &Config,
    asked: forknet::Question,
    (letter, recipients): (&str, usize),
    (groups, queued): (&[Group], &[QueueEnvelope]),
    text: &Text,
) -> i32 {
    make_folders(config, letter, groups);
    let mut boxes = Boxes::new(asked);
    let all = |verdict| Verdict::encode_all(&vec![verdict; recipients]);
    for (owner, accounts) in groups {
        let life = |line: &Line| {
            run_box(config, letter, line, (*owner, accounts), text);
            0
        };
        if let Err(error) = boxes.fork(title(accounts), life) {
            log::warn!("{letter}: fork: {}", reason(&error));
            return boxes.answer(&all(Verdict::Unusable));
        }
    }
    if !queued.is_empty() {
        let life = |line: &Line| {
            run_queue(config, letter, line, queued, text);
            0
        };
        if let Err(error) = boxes.fork("queue", life) {
            log::warn!("{letter}: fork: {}", reason(&error));
            return boxes.answer(&all(Verdict::Unusable));
        }
    }
    for (order, wait) in
        [(None, WRITE_WAIT), (Some(PUBLISH), PUBLISH_WAIT), (Some(SEND), PUBLISH_WAIT)]
    {
        if order == Some(SEND) && queued.is_empty() {
            break;
        }
        order.into_iter().for_each(|order| boxes.send(order));
        let answers = boxes.receive(Instant::now() + wait);
        if let Some(verdict) = worst(letter, groups, &answers) {
            boxes.end(Instant::now() + RETRACT_WAIT);
            return boxes.answer(&all(verdict));
        }
    }
    boxes.send(KEEP);
    boxes.answer(&all(Verdict::Accepted))
}

/// Returns the answer for the first that has failed; `None` if none has.
fn worst(letter: &str, groups: &[Group], answers: &[Option<Vec<u8>>]) -> Option<Verdict> {
    let titles = groups.iter().map(|(_, accounts)| title(accounts)).chain(["queue".to_owned()]);
    let failed = |(title, answer): (String, &Option<Vec<u8>>)| match answer.as_deref() {
        Some(DONE) => None,
        Some(answer) => Verdict::decode(answer).or(Some(Verdict::Unusable)),
        None => {
            log::warn!("{letter}: the process of the {title} has ended or is late");
            Some(Verdict::Unusable)
        }
    };
    let verdicts: Vec<Verdict> = titles.zip(answers).filter_map(failed).collect();
    verdicts.first().copied()
}

/// The life of a process of [`deliver_apart`].
fn run_box(
    config: &Config,
    letter: &str,
    line: &Line,
    (owner, accounts): (Owner, &[Account]),
    text: &Text,
) {
    let tell = |failure: Failure| {
        log::warn!("{letter}: {}", failure.why);
        let _ = line.send_message(&failure.verdict.encode()); // else its end is read
    };
    let is_told = |wanted: &[u8], wait| matches!(line.receive_message(wait), Ok(Some(order)) if order == wanted);
    let written =
        enter(config, owner, accounts).and_then(|mailboxes| store::write(&mailboxes, text));
    let letters = match written {
        Ok(letters) => letters,
        Err(failure) => return tell(failure),
    };
    if line.send_message(DONE).is_err() || !is_told(PUBLISH, WRITE_WAIT) {
        return;
    }
    let published = match store::publish(letters) {
        Ok(published) => published,
        Err(failure) => return tell(failure),
    };
    if line.send_message(DONE).is_err() {
        return store::retract(published);
    }
    loop {
        match line.receive_message(PUBLISH_WAIT * 2) {
            Ok(Some(order)) if order == SEND && line.send_message(DONE).is_ok() => {}
            Ok(Some(order)) if order == KEEP => return,
            _ => return store::retract(published),
        }
    }
}

/// The life of the process of [`deliver_apart`] that puts letters into the queue, when all mailboxes have theirs.
fn run_queue(config: &Config, letter: &str, line: &Line, queued: &[QueueEnvelope], text: &Text) {
    let tell = |failure: Failure| {
        log::warn!("{letter}: {}", failure.why);
        let _ = line.send_message(&failure.verdict.encode()); // else its end is read
    };
    let is_told = |wanted: &[u8], wait| matches!(line.receive_message(wait), Ok(Some(order)) if order == wanted);
    let written = queue::enter(config).and_then(|queue| queue::write(&queue, queued, text));
    let letters = match written {
        Ok(letters) => letters,
        Err(failure) => return tell(failure),
    };
    for order in [PUBLISH, SEND] {
        if line.send_message(DONE).is_err() || !is_told(order, WRITE_WAIT) {
            return;
        }
    }
    match queue::publish(letter, letters) {
        Ok(()) => drop(line.send_message(DONE)),
        Err(failure) => tell(failure),
    }
}

/// Becomes the user for good, opens the mailboxes, and gives up all but them.
fn enter<'a>(
    config: &Config,
    owner: Owner,
    accounts: &'a [Account],
) -> Result<Vec<(&'a Account, mailstore::Maildir)>, Failure> {
    let failed = |error: forknet::Error| Failure {
        verdict: Verdict::Unusable,
        why: format!("{}: {error}", title(accounts)),
    };
    become_user(owner.uid, owner.gid).map_err(failed)?;
    let mailboxes = store::open(&config.mail, accounts, owner)?;
    confine_to(mailboxes.iter().map(|(_, maildir)| maildir.folder()), true).map_err(failed)?;
    Ok(mailboxes)
}

/// Makes, with the rights of root, the mailboxes that their users cannot make.
fn make_folders(config: &Config, letter: &str, groups: &[Group]) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for (owner, account) in
        groups.iter().flat_map(|(owner, all)| all.iter().map(move |it| (owner, it)))
    {
        if let Err(trouble) = mailbox::make_for(&config.mail, account, *owner) {
            log::debug!("{letter}: {}", trouble.why); // the user's process meets it too
        }
    }
}

/// Returns what `ps` shows.
fn title(accounts: &[Account]) -> String {
    match accounts {
        [one] => {
            let name = one.name.escape_ascii().to_string();
            format!("mailbox of {}", in_title(name.as_bytes()))
        }
        several => format!("mailboxes of {} users", several.len()),
    }
}
