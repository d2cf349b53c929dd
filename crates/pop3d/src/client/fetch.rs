//! `fetch DIR`: every message that was not stored before goes into the Maildir DIR.
//!
//! The order of things is what keeps mail safe: a message is received, written through to the disk
//! and made visible; its unique id is remembered; only then, and only with `--delete`, the server
//! is told to mark it; the ids are written through to the disk; then comes QUIT. Wherever this is
//! cut off, no message is lost, and none is stored twice unless the machine itself went down.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::path::Path;

use forknet::{Error, Result};
use mailstore::Maildir;

use super::dialogue::Dialogue;
use super::options::Options;
use super::progress::Progress;
use super::seen::Seen;

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    stored: usize,
    octets: u64,
    known: usize,
    deleted: usize,
    refused: Vec<String>,
}

/// Fetches what is new.
///
/// # Errors
/// What stopped it; what was stored before that stays stored and remembered.
pub(crate) fn fetch<S: Read + Write>(
    dialogue: &mut Dialogue<S>,
    options: &Options,
    folder: &Path,
) -> Result<()> {
    let maildir = Maildir::create(folder).map_err(refused)?;
    let Options { user, server, .. } = options;
    let account = format!("{user}@{}:{}", server.host, server.port);
    let mut seen = Seen::load(&maildir, &account)?;
    let list = unique_ids(dialogue)?;
    let mut tally = Tally::default();
    let done = fetch_all(dialogue, options, &maildir, &mut seen, &list, &mut tally);
    if done.is_ok() {
        seen.keep_only(&list.iter().map(|(_, id)| id.as_slice()).collect());
    }
    // Before QUIT: what QUIT removes from the server is remembered here already.
    seen.save().inspect_err(|_| dialogue.hang_up())?;
    done?;
    report(&tally)
}

fn fetch_all<S: Read + Write>(
    dialogue: &mut Dialogue<S>,
    options: &Options,
    maildir: &Maildir,
    seen: &mut Seen,
    list: &[(u64, Vec<u8>)],
    tally: &mut Tally,
) -> Result<()> {
    let before: HashSet<&[u8]> =
        list.iter().map(|(_, id)| id.as_slice()).filter(|id| seen.contains(id)).collect();
    let mut copies: HashMap<&[u8], usize> = HashMap::new();
    for (_, id) in list {
        *copies.entry(id.as_slice()).or_default() += 1;
    }
    let new = list.iter().filter(|(_, id)| !before.contains(id.as_slice())).count();
    let progress = Progress::of_letters(new);
    for (number, id) in list {
        // Two messages may have one id where they are equal (RFC 1939 §7).
        let alone = copies.get(id.as_slice()) == Some(&1);
        if before.contains(id.as_slice()) {
            tally.known += 1;
            // Which of them is stored nobody knows, so neither is removed.
            if !alone {
                continue;
            }
        } else {
            match fetch_one(dialogue, maildir, *number, alone.then_some((&mut *seen, id))) {
                Ok(octets) => {
                    (tally.stored, tally.octets) = (tally.stored + 1, tally.octets + octets);
                }
                Err(error) if dialogue.is_broken() => return Err(error),
                Err(error) => {
                    tally.refused.push(error.to_string());
                    continue;
                }
            }
            seen.remember(id);
            progress.advance(1);
        }
        if options.delete {
            dialogue.command(format!("DELE {number}"))?;
            tally.deleted += 1;
        }
    }
    Ok(())
}

/// One message into the Maildir; it is safe when this returns, and written down at once where its
/// id is its own. An id that others have too is remembered when all of them are here.
fn fetch_one<S: Read + Write>(
    dialogue: &mut Dialogue<S>,
    maildir: &Maildir,
    number: u64,
    mut seen: Option<(&mut Seen, &Vec<u8>)>,
) -> Result<u64> {
    let command = format!("RETR {number}");
    dialogue.command(&command)?;
    let mut draft = maildir.draft();
    // A draft that could not be made must not leave the message unread on the line.
    dialogue.message(&command, |piece| match &mut draft {
        Ok(draft) => draft
            .write_all(piece)
            .map_err(Error::io(format!("write to {}", maildir.path().display()))),
        Err(_) => Ok(()),
    })?;
    let synced = draft.and_then(mailstore::Draft::sync).map_err(refused)?;
    let octets = synced.octets();
    if let Some((seen, id)) = &mut seen {
        seen.storing(id, &synced.name())?;
    }
    synced.publish().map_err(refused)?;
    if let Some((seen, id)) = seen {
        seen.stored(id)?;
    }
    Ok(octets)
}

/// Number and unique id of every message; no number comes twice.
fn unique_ids<S: Read + Write>(dialogue: &mut Dialogue<S>) -> Result<Vec<(u64, Vec<u8>)>> {
    dialogue.command("UIDL")?;
    let rows = dialogue.listing("UIDL")?;
    let mut numbers = HashSet::new();
    let list = rows.iter().map(|row| {
        let at = row.iter().position(|&b| b == b' ')?;
        let number =
            crate::command::number(row.get(..at)?).filter(|number| numbers.insert(*number))?;
        let id = row.get(at + 1..)?;
        let fit = number > 0 && !id.is_empty() && id.iter().all(u8::is_ascii_graphic);
        fit.then(|| (number, id.to_vec()))
    });
    list.collect::<Option<Vec<_>>>().ok_or_else(|| dialogue.nonsense("UIDL"))
}

fn report(tally: &Tally) -> Result<()> {
    let Tally { stored, octets, known, deleted, refused } = tally;
    super::print(format_args!(
        "{stored} new ({octets} octets), {known} known, {deleted} deleted on the server\n"
    ))?;
    match refused.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::Refused(one.clone())),
        [first, rest @ ..] => Err(Error::Refused(format!("{first} (and {} more)", rest.len()))),
    }
}

#[expect(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn refused(error: mailstore::Error) -> Error {
    Error::Refused(error.to_string())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
