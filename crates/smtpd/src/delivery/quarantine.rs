//! Letters that a filter keeps back: they go into the Maildir of `--quarantine`, and to no recipient.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use forknet::{Boxes, Line, become_user, confine_to, reason};
use mailstore::{Folder, Maildir, Synced};

use crate::delivery::text::Text;
use crate::delivery::trace::return_path;
use crate::options::Config;
use crate::protocol::origin::NamedRecipient;
use crate::protocol::question::Verdict;

/// Longest wait until the letter is safe: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const STORE_WAIT: Duration = Duration::from_secs(200);
/// Exit code of the process that stores it.
const ENDED: i32 = 0;

/// A letter that is kept back.
pub(super) struct Kept<'k> {
    /// Its sender, without brackets.
    pub(super) sender: &'k [u8],
    /// For the log: the client and the id.
    pub(super) shown: &'k str,
    /// The filter's reason.
    pub(super) why: &'k [u8],
    /// The recipients that it was for.
    pub(super) names: &'k [NamedRecipient],
}

/// Has a process of the folder's owner store the letter there, and waits until it is safe.
pub(super) fn keep(config: &Config, boxes: &mut Boxes, kept: &Kept<'_>, text: &Text) -> Verdict {
    let Some(folder) = &config.guards.milters.quarantine else {
        return Verdict::Unusable; // front asks for it only where there is one
    };
    let life = |line: &Line| {
        let verdict = match store(folder, kept, text) {
            Ok(()) => Verdict::Accepted,
            Err(why) => {
                log::error!("{}: quarantine {}: {why}", kept.shown, folder.display());
                Verdict::Unusable
            }
        };
        let _ = line.send_message(&verdict.encode()); // else its end is read
        ENDED
    };
    match boxes.fork("quarantine", life) {
        Ok(number) => {
            let answer = boxes.receive(number, Instant::now() + STORE_WAIT);
            boxes.end(number);
            answer.and_then(|answer| Verdict::decode(&answer)).unwrap_or(Verdict::Unusable)
        }
        Err(error) => {
            log::warn!("{}: fork: {}", kept.shown, reason(&error));
            Verdict::Unusable
        }
    }
}

/// Stores the letter after fields that say why it is there and which recipients it was for, and makes it safe, with the rights of
/// the folder's owner, which this process takes for good.
fn store(folder: &Path, kept: &Kept<'_>, text: &Text) -> Result<(), String> {
    let failed = |error: mailstore::Error| error.to_string();
    let owner = folder.symlink_metadata().map_err(|error| reason(&error))?;
    if !owner.is_dir() {
        return Err("not a folder".into());
    }
    become_user(owner.uid(), owner.gid()).map_err(|error| error.to_string())?;
    let walked = Folder::find(folder).map_err(failed)?;
    if !walked.missing.is_empty() {
        return Err("no such folder".into());
    }
    let maildir = Maildir::make(walked.folder).map_err(failed)?;
    confine_to([maildir.folder()], true).map_err(|error| error.to_string())?;
    let mut draft = maildir.draft().map_err(failed)?;
    let first = [fields(kept.why, &addresses(kept.names)), return_path(kept.sender)].concat();
    text.copy_behind(&first, &mut draft).map_err(|error| reason(&error))?;
    draft.sync().and_then(Synced::publish).map(drop).map_err(failed)
}

fn addresses(names: &[NamedRecipient]) -> Vec<String> {
    let address = |it: &NamedRecipient| {
        let parts = [&it.name.local, &it.name.domain].map(|it| String::from_utf8_lossy(it));
        parts.join("@")
    };
    names.iter().map(address).collect()
}

/// Returns the fields above the letter.
fn fields(why: &[u8], addresses: &[String]) -> Vec<u8> {
    let is_plain = |byte: &u8| matches!(byte, 32..=126);
    let mut fields = b"X-Quarantine: ".to_vec();
    fields.extend(why.iter().filter(|byte| is_plain(byte)));
    for address in addresses {
        fields.extend_from_slice(b"\nX-Envelope-To: <");
        fields.extend(address.bytes().filter(|byte| !byte.is_ascii_control()));
        fields.push(b'>');
    }
    fields.push(b'\n');
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_above_a_letter_are_fields_whatever_the_reason_is() {
        let made = fields(b"a\r\n\r\nb\xff", &["levy@red.test".into(), "a\nb@c".into()]);
        let expected = "X-Quarantine: ab\nX-Envelope-To: <levy@red.test>\nX-Envelope-To: <ab@c>\n";
        assert_eq!(String::from_utf8(made).unwrap(), expected);
    }
}
