//! The keeper's first message, in pieces: what it has found for the server, or why it cannot keep.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use log::debug;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use sys::scm_rights::{receive, send};

use crate::error::{Error, Result, strerror};
use crate::net::interrupt::poll_timeout;

/// First byte of the keeper's first message: it keeps; what follows is for the server, or the last piece of it.
pub(super) const READY: u8 = b'+';
/// First byte of a piece of that, before the last one.
const PIECE: u8 = b'>';
/// First byte of the keeper's first message, if it cannot keep; what follows is why.
pub(super) const FAILED: u8 = b'-';
/// Longest piece in bytes.
const MAX_PIECE: usize = 16 * 1024;
/// Most bytes that are for the server.
const MAX_FACTS: usize = 512 * 1024;
/// Longest wait for the next piece.
pub(super) const PIECE_WAIT: Duration = Duration::from_secs(60);

/// Receives the first message, whose pieces come within `limit` each.
pub(super) fn first_message(control: &OwnedFd, limit: Duration) -> Result<Vec<u8>> {
    let refused = |why: &str| Error::Refused(format!("keeper: {why}"));
    let (mut facts, mut piece) = (Vec::new(), vec![0; MAX_PIECE]);
    loop {
        wait_for(control, Instant::now() + limit)?;
        let length = receive(control, &mut piece).map_err(Error::os("keeper: recvmsg"))?.0;
        match piece.get(..length).and_then(<[u8]>::split_first) {
            Some((&kind @ (READY | PIECE), more)) if facts.len() + more.len() <= MAX_FACTS => {
                facts.extend_from_slice(more);
                if kind == READY {
                    return Ok(facts);
                }
            }
            Some((&FAILED, why)) => {
                return Err(Error::Refused(String::from_utf8_lossy(why).into_owned()));
            }
            Some(_) => return Err(refused("a message that is none")),
            None => return Err(Error::Refused("the keeper has ended".into())),
        }
    }
}

/// Waits for a piece.
fn wait_for(control: &OwnedFd, until: Instant) -> Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(left)) {
            Ok(0) => return Err(Error::Refused("keeper: no answer in time".into())),
            Err(Errno::EINTR) => {}
            ready => return ready.map(drop).map_err(Error::os("keeper: poll")),
        }
    }
}

/// Sends the first message, in pieces, and waits for room: the server reads.
pub(super) fn say(control: &OwnedFd, kind: u8, text: &[u8]) {
    let mut rest = text.get(..MAX_FACTS).unwrap_or(text);
    let said = loop {
        let Some((piece, more)) = rest.split_at_checked(MAX_PIECE - 1).filter(|_| kind == READY)
        else {
            let last = rest.get(..MAX_PIECE - 1).unwrap_or(rest);
            break send(control, &[&[kind], last].concat(), None);
        };
        if let Err(errno) = send(control, &[&[PIECE], piece].concat(), None) {
            break Err(errno);
        }
        rest = more;
    };
    if let Err(errno) = said {
        debug!("keeper: {}", strerror(errno)); // the server has ended
    }
}
