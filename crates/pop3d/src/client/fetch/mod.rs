//! `fetch`: stores new messages.
//!
//! The order of the steps keeps mail safe. Messages are received, fsynced and made visible. Then their unique
//! ids are recorded. Only then, and only with `--delete`, they are marked by DELE. Finally the ids are fsynced
//! and QUIT is sent. An interruption never loses a message.

// The order of the modules; each imports from its left only:
//   summary fetcher | pipeline | (this file)

mod fetcher;
mod pipeline;
mod summary;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use super::capabilities::Capabilities;
use super::connection::ServerConnection;
use super::filters::chosen;
use super::listing::{Letter, Listing};
use super::options::Removal;
use super::progress::ProgressMeter;
use super::status::{Failure, Result, Status};
pub(crate) use fetcher::Fetcher;
use pipeline::Pipeline;
pub(crate) use summary::Summary;

impl Fetcher<'_> {
    /// Fetches the new messages. What was stored is in the summary, also where the result is an error.
    pub(crate) fn run<S: Read + Write>(
        &mut self,
        conn: &mut ServerConnection<S>,
        summary: &mut Summary,
    ) -> Result<()> {
        let pipelining = Capabilities::ask(conn)?.pipelining;
        let wants_sizes = self.fetch.filters.by_size() || self.fetch.check;
        let listing = Listing::read(conn, pipelining, wants_sizes)?;
        if !listing.has_ids && self.fetch.removal != Removal::Stored {
            let why = "the server has no UIDL: what is new is not known; --delete fetches all";
            return Err(Failure::refusal(Status::Unavailable, why));
        }
        let (known, new): (Vec<Letter>, Vec<Letter>) =
            listing.letters.iter().cloned().partition(|letter| self.is_known(letter));
        summary.known = known.len();
        let all = new.len();
        let new = chosen(conn, new, &self.fetch.filters, pipelining)?;
        summary.filtered = all - new.len();
        if self.fetch.check {
            summary.check(&new);
            return Ok(());
        }
        if !new.is_empty() {
            self.delivery.prepare()?;
        }
        let old = known.into_iter().filter(|letter| self.is_to_go(letter)).collect();
        let done = self.transfer(conn, (old, new), pipelining, summary);
        if done.is_ok() {
            let ids = listing.letters.iter().filter_map(|letter| letter.id.as_deref());
            self.seen.keep_only(&ids.collect());
        }
        // Saved before QUIT, so that every message that QUIT removes from the server is recorded.
        self.seen.save().inspect_err(|_| conn.abort())?;
        done
    }

    /// Fetches and removes.
    fn transfer<S: Read + Write>(
        &mut self,
        conn: &mut ServerConnection<S>,
        (old, new): (Vec<Letter>, Vec<Letter>),
        pipelining: bool,
        summary: &mut Summary,
    ) -> Result<()> {
        let shared = shared_ids(&new);
        let progress = ProgressMeter::for_letters(new.len(), self.shows_progress);
        let mut pipeline = Pipeline::new(conn, self, (old, new), pipelining, &progress);
        let done = pipeline.run();
        let stored = pipeline.finish(summary);
        // An id that several messages share is recorded once all of them are stored.
        for (id, numbers) in shared {
            if numbers.iter().all(|number| stored.contains(number)) {
                self.seen.insert(&id);
            }
        }
        done
    }
}

/// The ids that several of the messages share, with the numbers of those.
fn shared_ids(letters: &[Letter]) -> HashMap<Vec<u8>, HashSet<u64>> {
    let mut shared: HashMap<Vec<u8>, HashSet<u64>> = HashMap::new();
    for letter in letters.iter().filter(|letter| !letter.is_unique) {
        if let Some(id) = &letter.id {
            shared.entry(id.clone()).or_default().insert(letter.number);
        }
    }
    shared
}

#[cfg(test)]
mod tests;
