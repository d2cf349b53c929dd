//! BDAT: a letter in chunks (RFC 3030 §2). The octets of a chunk follow its command, whatever the reply will be, so
//! those of a refused one are read too and never taken for commands.

use crate::protocol::auth::login_needed;
use crate::protocol::outcome::{Chunk, Outcome};
use crate::protocol::reply::Reply;
use crate::protocol::state::{Context, State};
use crate::protocol::transaction::no_recipients;

const SYNTAX: &str = "Syntax: BDAT octets [LAST]";

/// BDAT.
pub(super) fn bdat(context: &Context<'_>, argument: &[u8]) -> Outcome {
    let mut words = argument.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (octets, last, more) = (words.next().and_then(number), words.next(), words.next());
    let Some(octets) = octets else {
        return Outcome::Reply(Reply::new(501, "5.5.4", SYNTAX));
    };
    let is_last = last.is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
    let chunk = Chunk { octets, is_last };
    if last.is_some() && !is_last || more.is_some() {
        let reply = Reply::new(501, "5.5.4", SYNTAX);
        return Outcome::RefusedChunk(chunk, reply);
    }
    if let Some(refusal) = login_needed(context) {
        return Outcome::RefusedChunk(chunk, refusal);
    }
    match context.state {
        State::Rcpt => match context.policy.data() {
            Ok(()) => Outcome::Chunk(chunk),
            Err(refusal) => Outcome::RefusedChunk(chunk, refusal),
        },
        State::Chunks => Outcome::Chunk(chunk),
        State::Mail => Outcome::RefusedChunk(chunk, no_recipients(context)),
        state => Outcome::RefusedChunk(chunk, state.out_of_order(context.config)),
    }
}

/// Reads a number of bytes. One that is too large for us stays too large.
fn number(word: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(word).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
