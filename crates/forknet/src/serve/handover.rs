//! A client changes hands: from the process that has served it so far to the one that has answered the
//! question about it, with the rights of its user.
//!
//! ```text
//!  front                                     box
//!   | output, transcript, their descriptors > |   where there are any
//!   | replies that were not sent -----------> |   where there are any
//!   | what was read and not used -----------> |   where there is any
//!   | client, its descriptor ---------------> |   time and bytes used, TLS or not, peer
//!   | <------------------------ stream        |   under TLS
//!   |                                         |   serves the client
//!   | <------------------------- title        |   what front's title shows
//!   | ? ------------------------------------> |   from time to time, or when the client has hung up
//!   | <----------------------------- ?        |   box is there
//!   | stop ---------------------------------> |   the server ends: idle sessions do too
//!   | <------------------------- end          |   exit code, bytes in and out
//! ```
//!
//! A client under TLS stays with front, who is the TLS end for the whole session: box serves one end of a
//! stream, whose other end it sends to front.
//!
//! Front stays, so that all that its parent knows of the client remains true. If either ends, so does
//! the session. After its last reply box ends at once, and front waits for the client to close.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
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
use crate::net::interrupt::{Interrupts, Waited, Woken, shutting_down, wait};
use crate::net::tls::Tls;
use crate::serve::box_watch::BoxWatch;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_SERVED};
use crate::serve::handed_client::{HandedClient, two_numbers};
use crate::serve::line::{Line, MAX_TITLE, PING, TITLE};
use crate::serve::question::Question;
use crate::serve::session::{Client, run_service};
use crate::serve::title::Title;
use crate::serve::tls_end::TlsEnd;
use crate::text::in_title;

/// First bytes of the messages.
const OUTPUT: u8 = b'o';
const TRANSCRIPT: u8 = b't';
const UNSENT: u8 = b'r';
const UNREAD: u8 = b'i';
const STOP: u8 = b's';
const STREAM: u8 = b'p';
const END: u8 = b'e';
/// Longest wait of box for the client, who is sent at once.
const HANDOVER_WAIT: Duration = Duration::from_secs(10);
/// Longest wait of front for a client to take what is left, once box has ended.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// Most bytes that box may claim to have moved: what a session could in years.
const MAX_BYTES: u64 = 1 << 56;

/// What one process leaves to the next: of each at most what fits into a message of a line.
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
        let (used, is_tls) = (self.conn.used(), self.conn.is_under_tls());
        let client = HandedClient { used, is_tls, facts: self.facts.to_vec(), peer: self.peer };
        let (input, output) = match self.conn.descriptors() {
            _ if self.conn.is_under_tls() => (None, None),
            (input, output) => (Some(input), output),
        };
        for (kind, with) in [(OUTPUT, output), (TRANSCRIPT, self.transcript.descriptor())] {
            if with.is_some() {
                line.send(&[kind], with)?;
            }
        }
        for (kind, bytes) in [(UNSENT, &left.unsent), (UNREAD, &left.unread)] {
            if !bytes.is_empty() {
                line.send(&[&[kind], &bytes[..]].concat(), None)?;
            }
        }
        line.send(&client.encode(), input)?;
        self.outcome = Some(match self.conn.take_tls() {
            Some(tls) => self.serve_as_tls_end(line, tls)?,
            None => {
                let served = self.await_end(line);
                if served.is_err() {
                    self.conn.leave_to_other();
                }
                served?
            }
        });
        Ok(())
    }

    /// Waits for the end of the session; returns its exit code.
    fn await_end(&mut self, line: &Line) -> io::Result<i32> {
        let mut is_stopping = false;
        let mut watch = BoxWatch::new(self.conn.idle());
        loop {
            stderr::flush();
            let waited = (&[(line.as_fd(), PollFlags::POLLIN)][..], watch.events());
            match self.conn.wait_beside(waited, !is_stopping, watch.limit()) {
                Ok(_) => {}
                Err(error) if is_stopping => return Err(error),
                Err(_) => {
                    is_stopping = true;
                    line.send(&[STOP], None)?;
                    continue;
                }
            }
            if line.is_readable() {
                watch.answered();
                if let Some((code, received, sent)) = self.receive_from_box(line)? {
                    self.conn.count_others(received, sent);
                    return Ok(code);
                }
            }
            watch.check(line, self.conn.fd()).map_err(box_is_silent)?;
        }
    }

    /// As [`Client::await_end`], and moves the client's text meanwhile.
    fn serve_as_tls_end(&mut self, line: &Line, tls: Box<dyn Tls>) -> io::Result<i32> {
        let (message, stream) = line.receive(HANDOVER_WAIT)?.ok_or_else(box_has_ended)?;
        let stream = stream.filter(|_| message == [STREAM]).ok_or(Errno::EPROTO)?;
        let mut end = TlsEnd::new(tls, stream);
        let served = self.move_text(line, &mut end);
        end.run(&mut self.conn); // what was sent before the end
        self.conn.set_tls(end.into_tls());
        self.conn.set_idle(LAST_WAIT);
        let _ = self.conn.flush(); // the client may be gone
        served
    }

    fn move_text(&mut self, line: &Line, end: &mut TlsEnd) -> io::Result<i32> {
        let mut is_stopping = false;
        let mut watch = BoxWatch::new(self.conn.idle());
        loop {
            stderr::flush();
            let limit = if end.run(&mut self.conn) { Duration::ZERO } else { watch.limit() };
            let (at_stream, at_client) = end.events();
            let stream = end.stream();
            let others = [(line.as_fd(), PollFlags::POLLIN), (stream.as_fd(), at_stream)];
            match self.conn.wait_beside((&others, at_client), !is_stopping, limit) {
                Ok(_) => {}
                Err(error) if is_stopping => return Err(error),
                Err(_) => {
                    is_stopping = true;
                    line.send(&[STOP], None)?;
                }
            }
            if line.is_readable() {
                watch.answered();
                if let Some((code, ..)) = self.receive_from_box(line)? {
                    return Ok(code); // what the client has sent and got was counted here
                }
            }
            watch.check(line, self.conn.fd()).map_err(box_is_silent)?;
        }
    }

    /// Reads a message of box. Returns, at its end, its exit code and the bytes that it has received and sent.
    fn receive_from_box(&mut self, line: &Line) -> io::Result<Option<(i32, u64, u64)>> {
        let (message, _) = line.receive_ready()?.ok_or_else(box_has_ended)?;
        match message.split_first() {
            Some((&PING, [])) => Ok(None),
            Some((&TITLE, text)) => {
                let text = text.get(..MAX_TITLE).unwrap_or(text);
                self.title.set(in_title(text));
                Ok(None)
            }
            Some((&END, end)) => {
                let (code, rest) = end.split_first().ok_or(Errno::EPROTO)?;
                let (received, sent) = two_numbers(rest).ok_or(Errno::EPROTO)?;
                Ok(Some((i32::from(*code), received.min(MAX_BYTES), sent.min(MAX_BYTES))))
            }
            _ => Err(Errno::EPROTO.into()),
        }
    }
}

fn box_is_silent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => io::Error::other("the process of the mailbox does not answer"),
        _ => error,
    }
}

fn box_has_ended() -> io::Error {
    io::Error::other("the process of the mailbox has ended")
}

impl Question {
    /// Answers, takes the client over, and serves it in this process. Returns the exit code of this process; that
    /// of the session goes to front.
    #[must_use]
    pub fn serve(
        self,
        answer: &[u8],
        session: impl FnOnce(&mut Client, &Leftover) -> io::Result<()>,
    ) -> i32 {
        let timeouts = self.timeouts();
        let (line, stream) = match self.go_on(answer) {
            Ok(ways) => ways,
            Err(error) => {
                warn!("socketpair: {}", reason(&error));
                return EXIT_FAILED;
            }
        };
        let (mut client, left) = match take_over(&line, stream, timeouts) {
            Ok(taken) => taken,
            Err(error) => {
                debug!("no client came: {}", reason(&error)); // front has ended
                return EXIT_FAILED;
            }
        };
        let counters = Counters::private();
        client.conn.set_counters(counters);
        let code = contain(|| {
            run_service(&mut client, &[], |client| {
                let served = session(client, &left);
                if !client.is_tls {
                    client.conn.leave_to_other(); // front has it too
                }
                served
            })
        });
        stderr::flush();
        let (received, sent) = counters.bytes();
        let mut end = vec![END, u8::try_from(code).unwrap_or(u8::MAX)];
        end.extend(received.to_be_bytes());
        end.extend(sent.to_be_bytes());
        if let Err(error) = line.send(&end, None) {
            debug!("end of a session: {}", reason(&error)); // front has ended
        }
        EXIT_SERVED
    }
}

/// Receives the client and what comes with it.
fn take_over(
    line: &Line,
    stream: Option<(OwnedFd, OwnedFd)>,
    timeouts: Timeouts,
) -> io::Result<(Client, Leftover)> {
    let receive = || -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        Ok(line.receive(HANDOVER_WAIT)?.ok_or(Errno::EPIPE)?)
    };
    let (mut output, mut transcript) = (None, None);
    let (mut unsent, mut unread) = (Vec::new(), Vec::new());
    let (client, input) = loop {
        let (message, with) = receive()?;
        match message.split_first() {
            Some((&OUTPUT, _)) if output.is_none() => output = with,
            Some((&TRANSCRIPT, _)) if transcript.is_none() => transcript = with,
            Some((&UNSENT, bytes @ [_, ..])) if unsent.is_empty() => unsent = bytes.to_vec(),
            Some((&UNREAD, bytes @ [_, ..])) if unread.is_empty() => unread = bytes.to_vec(),
            _ => break (HandedClient::decode(&message).ok_or(Errno::EPROTO)?, with),
        }
    };
    let HandedClient { used, is_tls, facts, peer } = client;
    let input = match (is_tls, stream) {
        (false, _) => input.ok_or(Errno::EPROTO)?,
        (true, Some((ours, theirs))) => {
            line.send(&[STREAM], Some(theirs.as_fd()))?;
            ours
        }
        (true, None) => return Err(Errno::EPROTO.into()),
    };
    // A wait for a pipe's reader may block, and one for a socket must not.
    let is_socket =
        recv(input.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT) != Err(Errno::ENOTSOCK);
    let output = if is_socket { None } else { Some(output.ok_or(Errno::EPROTO)?) };
    let mut conn = Connection::taken_over(input, output, timeouts, used);
    conn.set_interrupts(Some(Box::new(FrontWatch::new(line.clone()))));
    let transcript = Transcript::new(transcript.map(|file| Arc::new(file.into())), peer);
    let title = Title::of_front(line.clone());
    let (keeper, signer, outcome, facts) = (None, None, None, facts.into());
    let client = Client { conn, peer, transcript, title, keeper, facts, signer, is_tls, outcome };
    Ok((client, Leftover { unread, unsent }))
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
    fn wait(&mut self, client: &[Waited<'_>], is_idle: bool, limit: Duration) -> io::Result<bool> {
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
                Some((message, _)) if message == [PING] => self.line.send(&[PING], None)?,
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
