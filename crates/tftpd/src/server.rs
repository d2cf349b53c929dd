//! tftpd's side: one request, answered from a port of its own (RFC 1350 §4; slide "Протокол TFTP").

use std::io;
use std::time::{Duration, Instant, SystemTime};

use forknet::in_title;
use log::Level;

use crate::channel::{Channel, Trace, Way};
use crate::content::{Assembly, Blocks};
use crate::draft::{Draft, Existing};
use crate::failure::Failure;
use crate::options::Config;
use crate::packet::{Code, Direction, Malformed, Mode, Packet, Request, describe};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::timer::Limits;
use crate::transfer::{Half, Transfer};

/// How often the first packet is sent while nothing proves that the request's address is not
/// forged: a server must not be a gun that shoots at others.
const UNPROVEN_SENDS: u32 = 3;
/// How long an upload's process stays after its last ACK (RFC 1350 §6): longer than the five
/// seconds after which the usual clients send their last block again.
const DALLY: Duration = Duration::from_millis(5500);

/// True for a datagram that gets an answer: an RRQ or a WRQ, though it be a malformed one.
/// Everything else is no business of the service's port and meets with silence.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    matches!(Packet::parse(datagram), Ok(Packet::Request(_)) | Err(Malformed::Request(_)))
}

/// One transfer, from its request to its end, with one line in the log.
///
/// # Errors
/// The process could not be prepared; what happens to the transfer is the client's and the
/// log's business.
pub fn answer(request: &mut forknet::Request, config: &Config) -> io::Result<()> {
    let forknet::Request { data, peer, socket, progress, transcript, title, .. } = request;
    if transcript.is_on() {
        transcript.client(describe(data).as_bytes());
    }
    let progress = *progress;
    let trace: Trace<'_> = Box::new(move |way, packet| {
        match way {
            Way::In => progress.received(packet.len()),
            Way::Out => progress.sent(packet.len()),
        }
        match way {
            _ if !transcript.is_on() => (),
            Way::In => transcript.client(describe(packet).as_bytes()),
            Way::Out => transcript.server(describe(packet).as_bytes()),
        }
    });
    let (idle, whole) = (request.timeout, request.deadline);
    let (retries, unproven_sends) = (config.retries, UNPROVEN_SENDS);
    let limits = Limits { retries, unproven_sends, idle, whole };
    let channel = Channel::to(socket, *peer, trace);
    let (since, what, title) = (Instant::now(), describe(data), *title);
    let service = Service { config, limits, since, what, progress, title };
    match Packet::parse(data) {
        Ok(Packet::Request(request)) => service.serve(&request, channel),
        Err(Malformed::Request(reason)) => service.refuse(channel, &Failure::illegal(reason)),
        _ => (),
    }
    Ok(())
}

/// What answering one request needs.
struct Service<'c> {
    config: &'c Config,
    limits: Limits,
    since: Instant,
    /// The request, as the log says it.
    what: String,
    progress: forknet::Progress,
    title: forknet::Title,
}

impl Service<'_> {
    fn serve(&self, request: &Request<'_>, channel: Channel<'_>) {
        if request.name.is_empty() {
            return self.refuse(channel, &Failure::illegal("No file name"));
        }
        let Some(mode) = Mode::parse(request.mode) else {
            return self.refuse(channel, &Failure::illegal("Unknown mode"));
        };
        self.title.set(format_args!("{} {}", request.direction, in_title(request.name)));
        match request.direction {
            Direction::Read => self.send(request.name, mode, channel),
            Direction::Write => self.receive(request.name, mode, channel),
        }
    }

    /// RRQ.
    fn send(&self, name: &[u8], mode: Mode, channel: Channel<'_>) {
        let file = self.config.root.read(name);
        let sender = match file.and_then(|file| Sender::answering(Blocks::new(file, mode))) {
            Ok(sender) => sender,
            Err(failure) => return self.refuse(channel, &failure),
        };
        let mut transfer = Transfer::new(sender, channel);
        let result = transfer.run(self.limits);
        match result {
            // The client has the file, or does not want it any more: nobody is left to ask.
            Err(Failure::Silent | Failure::Gone) if transfer.half.waits_for_last_ack() => {
                self.log(&transfer, Level::Info, "complete, but for the last ACK");
            }
            ref result => self.log_result(&transfer, result),
        }
        self.done(&transfer, &result);
    }

    /// WRQ.
    fn receive(&self, name: &[u8], mode: Mode, channel: Channel<'_>) {
        let shown = in_title(name);
        let (draft, name, existing) = match self.begin(name) {
            Ok(begun) => begun,
            Err(failure) => return self.refuse(channel, &failure),
        };
        let file = Assembly::new(draft, mode, self.config.max_size);
        let progress = self.progress;
        let keep = move |draft: Draft| {
            draft.publish(&name, existing)?;
            progress.done(SystemTime::now()); // before the last ACK: who has that may ask anew at once
            Ok(())
        };
        let mut transfer = Transfer::new(Receiver::answering(file, keep), channel);
        let result = transfer.run(self.limits);
        self.log_result(&transfer, &result);
        if result.is_ok() {
            self.progress.lingers();
            self.title.set(format_args!("{} {shown} complete", Direction::Write));
            transfer.dally(DALLY);
        } else {
            self.done(&transfer, &result);
        }
    }

    /// What comes after the packet that ended the transfer is not part of it: the same request is
    /// a new one then. A peer that ended nothing may ask anew from now on.
    fn done<H: Half>(&self, transfer: &Transfer<'_, H>, result: &Result<(), Failure>) {
        self.progress.done(match result {
            Err(Failure::Silent | Failure::Gone | Failure::Socket(_)) => SystemTime::now(),
            _ => transfer.channel.heard(),
        });
    }

    /// Asks the options and the file system whether the file may be written.
    fn begin(&self, name: &[u8]) -> Result<(Draft, Vec<u8>, Existing), Failure> {
        let Config { create, overwrite, read_only, .. } = *self.config;
        if read_only {
            return Err(Failure::denied(Code::Access, "Server is read-only"));
        }
        let place = self.config.root.place(name, overwrite)?;
        if place.existing.is_none() && !create {
            return Err(Failure::denied(Code::Access, "New files are not allowed"));
        }
        let draft = Draft::begin(place.folder)?;
        if let Some(bits) = place.existing {
            draft.set_permissions(bits)?;
        }
        let existing = if overwrite { Existing::Replace } else { Existing::Keep };
        Ok((draft, place.name, existing))
    }

    fn refuse(&self, mut channel: Channel<'_>, failure: &Failure) {
        self.progress.done(SystemTime::now()); // before the ERROR: who has that may ask anew at once
        if let Failure::Denied { code, reason } = failure {
            channel.send_error(*code, reason);
        }
        log::log!(level(failure), "{} {}: {failure}", channel.peer(), self.what);
    }

    fn log_result<H: Half>(&self, transfer: &Transfer<'_, H>, result: &Result<(), Failure>) {
        match result {
            Ok(()) => self.log(transfer, Level::Info, "complete"),
            Err(failure) => self.log(transfer, level(failure), &format!("failed: {failure}")),
        }
    }

    /// The one line of a transfer.
    fn log<H: Half>(&self, transfer: &Transfer<'_, H>, level: Level, result: &str) {
        log::log!(
            level,
            "{} {}: {} octets, {} blocks, {} retransmissions, {:.3} s: {result}",
            transfer.channel.peer(),
            self.what,
            transfer.half.octets(),
            transfer.half.blocks(),
            transfer.resent,
            self.since.elapsed().as_secs_f64(),
        );
    }
}

/// A warning where the administrator has something to mend: a full disk, a file that can't be read.
/// The rest is the client's affair.
fn level(failure: &Failure) -> Level {
    match failure {
        Failure::Denied { code: Code::DiskFull | Code::NotDefined, .. } | Failure::Socket(_) => {
            Level::Warn
        }
        _ => Level::Info,
    }
}
