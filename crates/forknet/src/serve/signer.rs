//! The signer: a process that has the private keys of TLS, and does nothing but sign.
//!
//! The keeper forks it. It reads the keys with the keeper's rights, gives all rights up, and answers what
//! comes over its lines, one after the other. Each process that talks to clients has a line of its own. No
//! other process ever has a key in its memory, and so none that is forked later has.
//!
//! ```text
//!  parent               keeper                 signer
//!   | "s", control -----> | fork -------------> |  reads the files, gives up its rights
//!   | <------------------------- chains         |  or what is wrong with them
//!   | "l", line of a front ------------------>  |  what is to be signed, the signature
//! ```
//! SIGHUP: another one is made in the same way. The old one goes on with the lines that it has.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_dumpable;
use nix::sys::socket::{MsgFlags, recv};
use sys::capability;
use sys::scm_rights::{pair, receive, send_now};

use crate::error::{Error, Result, strerror};
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::line::{FINAL, LONGEST_MESSAGE, Line};
use crate::serve::question::Keeping;
use crate::setup::confinement::confine_to_nothing;

/// First byte of a message with a piece of what all may know; more follow.
const PIECE: u8 = b'+';
/// First byte of the last piece.
const LAST: u8 = b'.';
/// First byte of the only message where the keys cannot be used; what follows is why.
const FAILED: u8 = b'-';
/// Most bytes of what all may know: they fit into the socket, so that the signer need not wait.
const MAX_PUBLIC: usize = 96 * 1024;
/// Longest wait for a signer to read its files.
const START_WAIT: Duration = Duration::from_secs(10);
/// The message with which the parent gives a line.
const LINE: &[u8] = b"l";
/// Time between two calls of [`Identity::tick`].
const TICK: Duration = Duration::from_secs(60);

/// Answers each question with a signature; an empty answer refuses.
pub type Signatures = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// The identity of a server: private keys, and what all may know. Crate `tls` has one.
pub trait Identity: fmt::Debug + Send + Sync {
    /// Reads the keys and checks them; returns what signs with them, and what all may know, of up to 96 KiB. In
    /// a process that ends when it is not needed any more.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    fn read(&self) -> Result<(Signatures, Vec<u8>)>;

    /// Takes what all may know, for the sessions that begin from now on, in the parent.
    ///
    /// # Errors
    /// It is malformed.
    fn publish(&self, public: &[u8]) -> Result<()>;

    /// Changes, in the parent, what is to be changed in time, once a minute. Returns true where processes
    /// that live long should be replaced.
    fn tick(&self) -> bool;
}

/// The parent's way to the signer, which ends when this is dropped and the last line with it.
#[derive(Debug)]
pub(crate) struct Signer {
    identity: Arc<dyn Identity>,
    control: OwnedFd,
    ticked: Instant,
}

impl Signer {
    /// Takes the signer that the keeper forks for the other end of `control`, once it has read the keys.
    ///
    /// # Errors
    /// What is wrong with the keys; the signer has ended, or has not read them in time.
    pub(crate) fn new(identity: Arc<dyn Identity>, control: OwnedFd) -> Result<Signer> {
        identity.publish(&public(&control)?)?;
        Ok(Signer { identity, control, ticked: Instant::now() })
    }

    /// As [`Signer::new`], in place of this one, which goes on if that fails.
    ///
    /// # Errors
    /// As [`Signer::new`].
    pub(crate) fn renew(&mut self, control: OwnedFd) -> Result<()> {
        *self = Signer::new(Arc::clone(&self.identity), control)?;
        Ok(())
    }

    /// A line for a process that will talk to a client.
    ///
    /// # Errors
    /// EMFILE and the like; EPIPE when the signer has ended; EAGAIN when it does not read.
    pub(crate) fn line(&self) -> nix::Result<Line> {
        let (ours, theirs) = pair()?;
        send_now(&self.control, LINE, Some(theirs.as_fd()))?;
        Ok(Line::new(ours))
    }

    /// Changes what is to be changed in time. Returns true where processes that live long should be replaced.
    pub(crate) fn tick(&mut self) -> bool {
        if self.ticked.elapsed() < TICK {
            return false;
        }
        self.ticked = Instant::now();
        self.identity.tick()
    }
}

/// Receives what all may know.
fn public(control: &OwnedFd) -> Result<Vec<u8>> {
    let failed = |why: &str| Error::Refused(format!("signer: {why}"));
    let until = Instant::now() + START_WAIT;
    let mut public = Vec::new();
    let mut buffer = vec![0; LONGEST_MESSAGE];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left) {
            Ok(0) => return Err(failed("the keys are not read in time")),
            Err(Errno::EINTR) => continue,
            ready => ready.map_err(Error::os("signer: poll"))?,
        };
        let length = receive(control, &mut buffer).map_err(Error::os("signer: recvmsg"))?.0;
        match buffer.get(..length).and_then(<[u8]>::split_first) {
            Some((&kind @ (PIECE | LAST), piece)) if public.len() + piece.len() <= MAX_PUBLIC => {
                public.extend_from_slice(piece);
                if kind == LAST {
                    return Ok(public);
                }
            }
            Some((&FAILED, why)) => {
                return Err(Error::Refused(String::from_utf8_lossy(why).into_owned()));
            }
            Some(_) => return Err(failed("a message that is none")),
            None => return Err(failed("it has ended")),
        }
    }
}

/// Runs the signer; returns its exit code.
pub(super) fn run(identity: &dyn Identity, control: OwnedFd, keeping: Keeping) -> i32 {
    keeping.show("signer");
    // No other process of the same user may look at its memory, and no core is written.
    let hidden = set_dumpable(false).map_err(Error::os("prctl"));
    let read = hidden.and_then(|()| identity.read()).and_then(|keys| {
        capability::drop_all().map_err(Error::os("capset"))?;
        confine_to_nothing().map(|()| keys)
    });
    let said = match &read {
        Ok((_, public)) => say_public(&control, public),
        Err(error) => send_now(&control, &[&[FAILED], error.to_string().as_bytes()].concat(), None),
    };
    if let Err(errno) = said {
        debug!("signer: {}", strerror(errno)); // the parent has ended
    }
    match read {
        Ok((sign, _)) => Lines::new(control, keeping.lines()).answer(&sign),
        Err(_) => EXIT_FAILED,
    }
}

fn say_public(control: &OwnedFd, public: &[u8]) -> nix::Result<()> {
    let mut rest = public.get(..MAX_PUBLIC).unwrap_or(public);
    while let Some((piece, more)) = rest.split_at_checked(LONGEST_MESSAGE - 1) {
        send_now(control, &[&[PIECE], piece].concat(), None)?;
        rest = more;
    }
    send_now(control, &[&[LAST], rest].concat(), None)
}

/// The signer's side of all lines.
struct Lines {
    /// `None` once the parent has ended, or has another signer.
    control: Option<OwnedFd>,
    lines: Vec<OwnedFd>,
    most: usize,
}

impl Lines {
    fn new(control: OwnedFd, most: usize) -> Lines {
        Lines { control: Some(control), lines: Vec::new(), most }
    }

    /// Answers one question of each line in turn, until there is no line and none can come.
    fn answer(mut self, sign: &Signatures) -> i32 {
        while self.control.is_some() || !self.lines.is_empty() {
            let all = self.lines.iter().chain(&self.control);
            let fds = all.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            let mut fds: Vec<PollFd<'_>> = fds.collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    log::error!("signer: poll: {}", strerror(errno));
                    return EXIT_FAILED;
                }
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
            let count = self.lines.len();
            // From the last one: the numbers of those before stay.
            for number in (0..count).rev().filter(|number| ready.get(*number) == Some(&true)) {
                let line = self.lines.get(number);
                if line.is_some_and(|line| answer_one(line, sign).is_err()) {
                    self.lines.swap_remove(number); // its process has ended
                }
            }
            if ready.get(count) == Some(&true) {
                self.take_line();
            }
        }
        debug!("signer: not needed any more");
        EXIT_OK
    }

    /// Takes a line that the parent has made, or sees that none will come.
    fn take_line(&mut self) {
        let Some(control) = &self.control else { return };
        match receive(control, &mut [0]) {
            Ok((1.., Some(line))) if self.lines.len() < self.most => self.lines.push(line),
            Ok((1.., _)) => warn!("signer: too many lines"),
            Ok((0, _)) | Err(_) => self.control = None,
        }
    }
}

/// Answers a question. An error is the end of its line.
fn answer_one(line: &OwnedFd, sign: &Signatures) -> nix::Result<()> {
    let mut question = [0; LONGEST_MESSAGE];
    let length = match recv(line.as_raw_fd(), &mut question, MsgFlags::MSG_DONTWAIT) {
        Ok(0) => return Err(Errno::EPIPE),
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
        length => length?,
    };
    let signature = sign(question.get(..length).unwrap_or_default());
    send_now(line, &[&[FINAL], &signature[..]].concat(), None)
}
