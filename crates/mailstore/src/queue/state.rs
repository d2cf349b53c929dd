//! What has become of the recipients of a letter in the queue: lines at the end of a file of its own.
//!
//! ```text
//! 1733000007 1 deferred 1733001807 451 4.3.0 try again later
//! 1733014500 1 warned 0 the sender was told of the delay
//! 1733014501 1 delivered 0 250 2.0.0 queued as 7
//! ```
//! The time in seconds since 1970, the number of the recipient in the envelope, from 1, what has become of it, when it is
//! to be tried again, and the reply. The last line of a recipient holds; one without a line waits for the first
//! attempt. `warned` is no such state: the sender was told of the delay, which is done once. A line that a crash has cut
//! has no end, and does not count.

use std::io::{self, BufRead, Read};

/// Longest file of lines in bytes that is read.
const MAX_STATE: u64 = 16 << 20;
/// Longest reply in bytes that is kept.
const MAX_REPLY: usize = 512;

/// What has become of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientState {
    /// No attempt was made yet.
    Waiting,
    /// The last attempt failed for now.
    Deferred {
        /// When the next one is due, in seconds since 1970.
        next: u64,
        /// The other server's reply, or what was in its way.
        reply: Vec<u8>,
    },
    /// The other server has taken the letter, with this reply.
    Delivered(Vec<u8>),
    /// It will not be tried again, because of this reply.
    Failed(Vec<u8>),
}

impl RecipientState {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, RecipientState::Delivered(_) | RecipientState::Failed(_))
    }

    /// Returns the line for a recipient, by its number from 0.
    pub(super) fn line(&self, now: u64, number: usize) -> Vec<u8> {
        let (word, next, reply): (_, _, &[u8]) = match self {
            RecipientState::Waiting => ("waiting", 0, b""),
            RecipientState::Deferred { next, reply } => ("deferred", *next, reply),
            RecipientState::Delivered(reply) => ("delivered", 0, reply),
            RecipientState::Failed(reply) => ("failed", 0, reply),
        };
        let mut line = format!("{now} {} {word} {next} ", number + 1).into_bytes();
        let reply = reply.get(..MAX_REPLY).unwrap_or(reply);
        let printable = |&byte: &u8| if byte.is_ascii_control() { b' ' } else { byte };
        line.extend(reply.iter().map(printable)); // a reply of several lines is one here
        line.push(b'\n');
        line
    }
}

/// Returns the line which says that a recipient's sender was warned, by the recipient's number from 0.
pub(super) fn warned_line(now: u64, number: usize) -> Vec<u8> {
    format!("{now} {} warned 0 the sender was told of the delay\n", number + 1).into_bytes()
}

/// Reads the states of this number of recipients, and for which of them the sender was warned of a delay.
///
/// # Errors
/// `InvalidData` for a complete line that is none; as read(2).
pub(super) fn read(
    file: &mut impl BufRead,
    recipients: usize,
) -> io::Result<(Vec<RecipientState>, Vec<bool>)> {
    let mut states = vec![RecipientState::Waiting; recipients];
    let mut warned = vec![false; recipients];
    let (mut file, mut line) = (file.take(MAX_STATE), Vec::new());
    loop {
        line.clear();
        file.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok((states, warned));
        }
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a line that is no state");
        let (number, state) = parse(&line).ok_or_else(bad)?;
        let at = number.checked_sub(1).filter(|at| *at < recipients).ok_or_else(bad)?;
        match state {
            Some(state) => *states.get_mut(at).ok_or_else(bad)? = state,
            None => *warned.get_mut(at).ok_or_else(bad)? = true,
        }
    }
}

/// Returns the number of a recipient, from 1, and its state; `None` for that is a warning.
fn parse(line: &[u8]) -> Option<(usize, Option<RecipientState>)> {
    let mut words = line.splitn(5, |&b| b == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (_time, number, state, next) = (word()?.parse::<u64>().ok()?, word()?, word()?, word()?);
    let (number, next, reply) = (number.parse().ok()?, next.parse().ok()?, words.next()?.to_vec());
    let state = match state {
        "warned" => return Some((number, None)),
        "waiting" => RecipientState::Waiting,
        "deferred" => RecipientState::Deferred { next, reply },
        "delivered" => RecipientState::Delivered(reply),
        "failed" => RecipientState::Failed(reply),
        _ => return None,
    };
    Some((number, Some(state)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecipientState::{Deferred, Delivered, Failed, Waiting};

    #[test]
    fn the_last_complete_line_of_a_recipient_holds() {
        let deferred = Deferred { next: 99, reply: b"451 4.3.0 later".to_vec() };
        let states = [deferred.clone(), Delivered(b"250 ok".to_vec()), Failed(b"550 no".to_vec())];
        let mut file = Vec::new();
        for (number, state) in [(0, &deferred), (0, &states[1]), (2, &states[2]), (1, &deferred)] {
            file.extend(state.line(7, number));
        }
        let expected = [states[1].clone(), deferred, states[2].clone(), Waiting];
        file.extend(warned_line(7, 1));
        let warned = [false, true, false, false];
        assert_eq!(read(&mut &file[..], 4).unwrap(), (expected.to_vec(), warned.to_vec()));
        file.extend(b"8 2 delivered 0 250 cu");
        assert_eq!(read(&mut &file[..], 4).unwrap().0, expected, "a line that was cut");
        assert_eq!(read(&mut &b""[..], 1).unwrap(), (vec![Waiting], vec![false]));
        assert!(expected[0].is_done() && expected[2].is_done() && !expected[1].is_done());
    }

    #[test]
    fn a_reply_of_several_lines_makes_one() {
        let line = Failed(b"550-no\r\n550 never\n9 1 delivered 0 250".to_vec()).line(7, 0);
        assert_eq!(line, b"7 1 failed 0 550-no  550 never 9 1 delivered 0 250\n");
        let long = Failed(vec![b'x'; 10_000]).line(7, 0);
        assert!(long.len() < 600);
    }

    #[test]
    fn a_line_that_is_none_is_an_error() {
        for bad in
            ["x\n", "7 3 warned 0 x\n", "7 0 failed 0 x\n", "7 3 failed 0 x\n", "7 1 gone 0 x\n", "7 1 failed 0\n"]
        {
            assert!(read(&mut bad.as_bytes(), 2).is_err(), "{bad}");
        }
    }
}
