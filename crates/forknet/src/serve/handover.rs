//! A client changes hands: from the process that has served it so far to the one that has answered the
//! question about it, with the rights of its user.
//!
//! ```text
//!  front                                     box
//!   | client, its descriptor ---------------> |   time and bytes used, peer
//!   | output, transcript, their descriptors > |   where there are any
//!   | replies that were not sent -----------> |   where there are any
//!   | go, what was read and not used -------> |
//!   |                                         |   serves the client
//!   | <------------------------- title        |   what front's title shows
//!   | stop ---------------------------------> |   the server ends: idle sessions do too
//!   | <------------------------- end          |   exit code, bytes in and out
//! ```
//!
//! Front stays, so that all that its parent knows of the client remains true. If either ends, so does
//! the session.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use log::debug;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv};
use sys::fork::contain;

use crate::error::reason;
use crate::log::stderr;
use crate::log::transcript::Transcript;
use crate::net::connection::Connection;
use crate::net::counters::Counters;
use crate::net::deadlines::Timeouts;
use crate::net::interrupt::{Interrupts, Woken, shutting_down, wait};
use crate::net::peer::Peer;
use crate::serve::line::{Line, MAX_TITLE, TITLE};
use crate::serve::question::Question;
use crate::serve::session::{Client, EXIT_FAILED, run_service};
use crate::serve::title::Title;
use crate::text::in_title;

/// First bytes of the messages.
const CLIENT: u8 = b'c';
const OUTPUT: u8 = b'o';
const TRANSCRIPT: u8 = b't';
const UNSENT: u8 = b'r';
const GO: u8 = b'g';
const STOP: u8 = b's';
const END: u8 = b'e';
/// Longest wait of box for the client, who is sent at once.
const HANDOVER_WAIT: Duration = Duration::from_secs(10);
/// Longest wait of front without a look at the server's end.
const FRONT_WAIT: Duration = Duration::from_secs(600);
/// Most bytes that box may claim to have moved: what a session could in years.
const MAX_BYTES: u64 = 1 << 56;

/// What one process leaves to the next: of each at most [`LONGEST_MESSAGE`] - 1 bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// What was read of the client and not used.
    pub unread: Vec<u8>,
    /// What was to be sent to the client, before anything else.
    pub unsent: Vec<u8>,
}

impl Client {
    /// Hands the client over to the process that has answered [`Answer::GoesOn`](crate::Answer::GoesOn),
    /// with what is left of the dialogue, and waits until that has served it. The session of this
    /// process then ends with that one's exit code, whatever it returns as success.
    ///
    /// # Errors
    /// That process has ended, or the server ends.
    pub fn hand_over(&mut self, line: &Line, left: &Leftover) -> io::Result<()> {
        let (used, bytes) = self.conn.used();
        let mut facts = vec![CLIENT];
        facts.extend(u64::try_from(used.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        facts.extend(bytes.to_be_bytes());
        facts.extend(self.peer.to_string().into_bytes());
        let (input, output) = self.conn.descriptors();
        line.send(&facts, Some(input))?;
        for (kind, with) in [(OUTPUT, output), (TRANSCRIPT, self.transcript.descriptor())] {
            if with.is_some() {
                line.send(&[kind], with)?;
            }
        }
        if !left.unsent.is_empty() {
            line.send(&[&[UNSENT], &left.unsent[..]].concat(), None)?;
        }
        line.send(&[&[GO], &left.unread[..]].concat(), None)?;
        let served = self.await_end(line);
        self.conn.leave_to_other();
        self.outcome = Some(served?);
        Ok(())
    }

    /// Waits for the end of the session; returns its exit code.
    fn await_end(&mut self, line: &Line) -> io::Result<i32> {
        let mut is_stopping = false;
        loop {
            stderr::flush();
            match self.conn.wait_beside(line.as_fd(), !is_stopping, FRONT_WAIT) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) if is_stopping => return Err(error),
                Err(_) => {
                    is_stopping = true;
                    line.send(&[STOP], None)?;
                    continue;
                }
            }
            let gone = || io::Error::other("the process of the mailbox has ended");
            let (message, _) = line.receive_ready()?.ok_or_else(gone)?;
            match message.split_first() {
                Some((&TITLE, text)) => {
                    let text = text.get(..MAX_TITLE).unwrap_or(text);
                    self.title.set(in_title(text));
                }
                Some((&END, end)) => {
                    let (code, rest) = end.split_first().ok_or(Errno::EPROTO)?;
                    let (received, sent) = two_numbers(rest).ok_or(Errno::EPROTO)?;
                    self.conn.count_others(received.min(MAX_BYTES), sent.min(MAX_BYTES));
                    return Ok(i32::from(*code));
                }
                _ => return Err(Errno::EPROTO.into()),
            }
        }
    }
}

impl Question {
    /// Answers, takes the client over, and serves it in this process. Returns its exit code.
    #[must_use]
    pub fn serve(
        self,
        answer: &[u8],
        session: impl FnOnce(&mut Client, &Leftover) -> io::Result<()>,
    ) -> i32 {
        let timeouts = self.timeouts();
        let line = self.go_on(answer);
        let (mut client, left) = match take_over(&line, timeouts) {
            Ok(taken) => taken,
            Err(error) => {
                debug!("no client came: {}", reason(&error)); // front has ended
                return EXIT_FAILED;
            }
        };
        let counters = Counters::unshared();
        client.conn.set_counters(counters);
        let code = contain(|| run_service(&mut client, |client| session(client, &left)));
        stderr::flush();
        let (received, sent) = counters.bytes();
        let mut end = vec![END, u8::try_from(code).unwrap_or(u8::MAX)];
        end.extend(received.to_be_bytes());
        end.extend(sent.to_be_bytes());
        if let Err(error) = line.send(&end, None) {
            debug!("end of a session: {}", reason(&error)); // front has ended
        }
        code
    }
}

/// Receives the client and what comes with it.
fn take_over(line: &Line, timeouts: Timeouts) -> io::Result<(Client, Leftover)> {
    let receive = || -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        Ok(line.receive(HANDOVER_WAIT)?.ok_or(Errno::EPIPE)?)
    };
    let (facts, input) = receive()?;
    let input = input.ok_or(Errno::EPROTO)?;
    let facts = facts.strip_prefix(&[CLIENT]).ok_or(Errno::EPROTO)?;
    let (used, bytes) = two_numbers(facts).ok_or(Errno::EPROTO)?;
    let peer = facts.get(16..).and_then(Peer::parse).ok_or(Errno::EPROTO)?;
    let (mut output, mut transcript, mut unsent) = (None, None, Vec::new());
    let unread = loop {
        let (message, with) = receive()?;
        match message.split_first() {
            Some((&OUTPUT, _)) if output.is_none() => output = with,
            Some((&TRANSCRIPT, _)) if transcript.is_none() => transcript = with,
            Some((&UNSENT, replies)) if unsent.is_empty() => unsent = replies.to_vec(),
            Some((&GO, unread)) => break unread.to_vec(),
            _ => return Err(Errno::EPROTO.into()),
        }
    };
    // A wait for a pipe's reader may block, and one for a socket must not.
    let is_socket =
        recv(input.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT) != Err(Errno::ENOTSOCK);
    let output = if is_socket { None } else { Some(output.ok_or(Errno::EPROTO)?) };
    let used = (Duration::from_millis(used), bytes);
    let mut conn = Connection::taken_over(input, output, timeouts, used);
    conn.set_interrupts(Some(Box::new(FrontWatch::new(line.clone()))));
    let transcript = Transcript::new(transcript.map(|file| Arc::new(file.into())), peer);
    let title = Title::of_front(line.clone());
    let client = Client { conn, peer, transcript, title, keeper: None, outcome: None };
    Ok((client, Leftover { unread, unsent }))
}

fn two_numbers(bytes: &[u8]) -> Option<(u64, u64)> {
    let (one, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*one), u64::from_be_bytes(*rest.first_chunk()?)))
}

/// Watches front, in box: when it has ended, so has the session.
#[derive(Debug)]
struct FrontWatch {
    line: Line,
    is_stopping: bool,
    has_ended: bool,
}

impl FrontWatch {
    fn new(line: Line) -> FrontWatch {
        FrontWatch { line, is_stopping: false, has_ended: false }
    }
}

impl Interrupts for FrontWatch {
    fn wait(
        &mut self,
        client: (BorrowedFd<'_>, PollFlags),
        is_idle: bool,
        limit: Duration,
    ) -> io::Result<bool> {
        if is_idle && self.is_stopping {
            return Err(shutting_down());
        }
        let woken = wait(client, [Some(self.line.as_fd()), None], limit)?;
        if woken == Woken::Other {
            self.poll_now()?;
        }
        Ok(woken == Woken::Client)
    }

    fn poll_now(&mut self) -> io::Result<()> {
        if self.has_ended || self.line.is_readable() {
            match self.line.receive_ready()? {
                Some((message, _)) if message == [STOP] => self.is_stopping = true,
                _ => {
                    self.has_ended = true;
                    return Err(shutting_down());
                }
            }
        }
        Ok(())
    }

    fn must_end(&self) -> bool {
        self.has_ended
    }
}
