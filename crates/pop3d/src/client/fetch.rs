//! `fetch DIR`: stores new messages in the Maildir DIR.
//!
//! The order of the steps keeps mail safe. A message is received, fsynced and made visible. Then
//! its unique id is recorded. Only then, and only with `--delete`, it is marked by DELE. Finally
//! the ids are fsynced and QUIT is sent. An interruption never loses a message. A message is stored
//! twice only after a system crash.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::path::Path;

use forknet::{Error, Result};
use mailstore::Maildir;

use super::connection::ServerConnection;
use super::options::Options;
use super::output::print;
use super::progress::ProgressMeter;
use super::seen::Seen;

/// Counts for the report.
#[derive(Debug, Default)]
struct FetchCount {
    stored: usize,
    octets: u64,
    known: usize,
    deleted: usize,
    refused: Vec<String>,
}

/// Fetches the new messages.
///
/// # Errors
/// The first fatal error. Messages stored before it stay stored and recorded.
pub(crate) fn fetch<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    folder: &Path,
) -> Result<()> {
    let maildir = Maildir::create(folder).map_err(refused)?;
    let Options { user, server, .. } = options;
    let account = format!("{user}@{}:{}", server.host, server.port);
    let mut seen = Seen::load(&maildir, &account)?;
    let list = unique_ids(conn)?;
    let mut count = FetchCount::default();
    let done = fetch_all(conn, options, &maildir, &mut seen, &list, &mut count);
    if done.is_ok() {
        seen.keep_only(&list.iter().map(|(_, id)| id.as_slice()).collect());
    }
    // Saved before QUIT, so that every message that QUIT removes from the server is recorded.
    seen.save().inspect_err(|_| conn.abort())?;
    done?;
    report(&count)
}

fn fetch_all<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    maildir: &Maildir,
    seen: &mut Seen,
    list: &[(u64, Vec<u8>)],
    count: &mut FetchCount,
) -> Result<()> {
    let before: HashSet<&[u8]> =
        list.iter().map(|(_, id)| id.as_slice()).filter(|id| seen.contains(id)).collect();
    let mut copies: HashMap<&[u8], usize> = HashMap::new();
    for (_, id) in list {
        *copies.entry(id.as_slice()).or_default() += 1;
    }
    let new = list.iter().filter(|(_, id)| !before.contains(id.as_slice())).count();
    let progress = ProgressMeter::for_letters(new);
    for (number, id) in list {
        // Identical messages may share an id (RFC 1939 §7).
        let is_unique = copies.get(id.as_slice()) == Some(&1);
        if before.contains(id.as_slice()) {
            count.known += 1;
            // It is unknown which of them is stored, so neither is removed.
            if !is_unique {
                continue;
            }
        } else {
            match fetch_one(conn, maildir, *number, is_unique.then_some((&mut *seen, id))) {
                Ok(octets) => {
                    (count.stored, count.octets) = (count.stored + 1, count.octets + octets);
                }
                Err(error) if conn.is_broken() => return Err(error),
                Err(error) => {
                    count.refused.push(error.to_string());
                    continue;
                }
            }
            seen.insert(id);
            progress.advance(1);
        }
        if options.delete {
            conn.command(format!("DELE {number}"))?;
            count.deleted += 1;
        }
    }
    Ok(())
}

/// Stores one message in the Maildir, fsynced. Records its id in the journal if it is unique
/// (`seen` is given). An id shared by several messages is recorded once all of them are stored.
fn fetch_one<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    maildir: &Maildir,
    number: u64,
    mut seen: Option<(&mut Seen, &Vec<u8>)>,
) -> Result<u64> {
    let command = format!("RETR {number}");
    conn.command(&command)?;
    let mut draft = maildir.draft();
    // Reads the message to its end even if the draft could not be created.
    conn.message(&command, |piece| match &mut draft {
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

/// Returns the number and unique id of every message. No number occurs twice.
fn unique_ids<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<Vec<(u64, Vec<u8>)>> {
    conn.command("UIDL")?;
    let rows = conn.listing("UIDL")?;
    let mut numbers = HashSet::new();
    let list = rows.iter().map(|row| {
        let at = row.iter().position(|&b| b == b' ')?;
        let number = crate::protocol::command::number(row.get(..at)?)
            .filter(|number| numbers.insert(*number))?;
        let id = row.get(at + 1..)?;
        let is_valid = number > 0 && !id.is_empty() && id.iter().all(u8::is_ascii_graphic);
        is_valid.then(|| (number, id.to_vec()))
    });
    list.collect::<Option<Vec<_>>>().ok_or_else(|| conn.bad_reply("UIDL"))
}

fn report(count: &FetchCount) -> Result<()> {
    let FetchCount { stored, octets, known, deleted, refused } = count;
    print(format_args!(
        "{stored} new ({octets} octets), {known} known, {deleted} deleted on the server\n"
    ))?;
    match refused.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::Refused(one.clone())),
        [first, rest @ ..] => Err(Error::Refused(format!("{first} (and {} more)", rest.len()))),
    }
}

#[expect(clippy::needless_pass_by_value)] // the signature that `map_err` needs
fn refused(error: mailstore::Error) -> Error {
    Error::Refused(error.to_string())
}

#[cfg(test)]
mod tests;
