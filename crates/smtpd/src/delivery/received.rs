//! A letter as the process that talks to the client sends it: where it comes from, its recipients, and the text.

use std::time::Duration;

use forknet::{Boxes, reason};

use crate::delivery::store::verdict;
use crate::delivery::text::{Incoming, Text};
use crate::options::Config;
use crate::protocol::origin::{NamedRecipient, ORIGIN, Origin, decode_recipients};
use crate::protocol::question::{ABORT, CLEAR, END, HEAD, QUARANTINE, RECIPIENTS, TEXT, Verdict};
use crate::protocol::records::Records;

/// Longest wait for a piece of a letter, which ends with the process that sends it.
const PIECE_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes that the text may have beyond `--max-size`: the trace lines.
const MAX_TRACE: u64 = 64 * 1024;
/// Most bytes of what stands before the text: a header that filters have changed.
const MAX_HEAD: usize = 1 << 20;

/// What the session has sent.
pub(super) struct Received {
    pub(super) origin: Origin,
    pub(super) names: Vec<NamedRecipient>,
    pub(super) text: Result<Text, Verdict>,
    /// Why it is kept back, if it is.
    pub(super) quarantine: Option<Vec<u8>>,
}

/// Receives the names and the text to their end, of which the first records have come; `None` if the letter is not to be
/// delivered.
///
/// # Errors
/// What came is malformed, or the process that sends it has ended.
pub(super) fn receive(
    config: &Config,
    asked: &Boxes,
    mut records: Records,
) -> Result<Option<Received>, String> {
    let most = if config.max_size == 0 { u64::MAX } else { config.max_size + MAX_TRACE };
    let (mut names, mut text, mut failure) = (Vec::new(), Incoming::new(&config.spool), None);
    let (mut origin, mut head, mut quarantine) = (Origin::default(), Vec::new(), None);
    loop {
        let part = next_record(asked, &mut records)?;
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

/// Returns the next record, for which another message is waited for where this one has no more.
fn next_record<'r>(asked: &Boxes, records: &'r mut Records) -> Result<&'r [u8], String> {
    if records.is_empty() {
        let message = asked.next_part(PIECE_WAIT).map_err(|error| reason(&error))?;
        let message = message.ok_or("the session has ended")?;
        *records = Records::new(message).map_err(|_| "a message without records")?;
    }
    Ok(records.next_record().ok_or("a record that is cut")?)
}
