//! tftpd's side: one request, answered from a port of its own (RFC 1350 §4; slide "Протокол TFTP").

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use forknet::in_title;
use log::Level;
use nix::errno::Errno;

use crate::channel::{Channel, Trace, Way};
use crate::content::{Assembly, Blocks};
use crate::conversation::Conversation;
use crate::draft::{Draft, Existing};
use crate::failure::Failure;
use crate::negotiation::{Granted, TransferOptions, grant, size_in};
use crate::options::Config;
use crate::packet::{Code, Direction, Malformed, Mode, Packet, Request, describe};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::timer::Limits;
use crate::transfer::Half;

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
    let alias = OnceCell::new();
    let service = Service { config, limits, since, what, alias, progress, title };
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
    /// What the log says of the file's name, where it is not the one that was asked for.
    alias: OnceCell<String>,
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
        let file = match self.file(request, &channel) {
            Ok(file) => file,
            Err(failure) => return self.refuse(channel, &failure),
        };
        match request.direction {
            Direction::Read => self.send(request, &file, mode, channel),
            Direction::Write => self.receive(request, &file, mode, channel),
        }
    }

    /// The file's name below the root: the one that was asked for, or what `--map` makes of it.
    fn file<'r>(
        &self,
        request: &Request<'r>,
        channel: &Channel<'_>,
    ) -> Result<Cow<'r, [u8]>, Failure> {
        let Request { name, direction, .. } = *request;
        let Some(map) = &self.config.map else { return Ok(name.into()) };
        let file = map.name(name, direction, channel.peer().ip(), &self.config.root)?;
        if file != name {
            self.alias.get_or_init(|| format!(" as \"{}\"", file.escape_ascii()));
        }
        Ok(file.into())
    }

    /// RRQ.
    fn send(&self, request: &Request<'_>, file: &[u8], mode: Mode, channel: Channel<'_>) {
        let (sender, agreed) = match self.sender(request, file, mode) {
            Ok(begun) => begun,
            Err(failure) => return self.refuse(channel, &failure),
        };
        let request = Request { options: &agreed, ..*request };
        let mut conversation = Conversation::new(sender, channel, self.limits);
        let result = conversation.run();
        let half = &conversation.transfer.half;
        match &result {
            // The client has the file, or does not want it any more: nobody is left to ask.
            Err(Failure::Silent | Failure::Gone) if half.waits_for_last_ack() => {
                self.log(&request, &conversation, Level::Info, "complete, but for the last ACK");
            }
            // It wanted the file's size (RFC 2349), or does not agree (RFC 2347).
            Err(failure @ Failure::Peer { .. }) if half.is_opening() => {
                let result = format!("no more than the options: {failure}");
                self.log(&request, &conversation, Level::Info, &result);
            }
            result => self.log_result(&request, &conversation, result),
        }
        self.done(&conversation, &result);
    }

    /// Opens the file; gives the options too that are granted.
    fn sender(
        &self,
        request: &Request<'_>,
        file: &[u8],
        mode: Mode,
    ) -> Result<(Sender<File>, Vec<u8>), Failure> {
        let file = self.config.root.read(file)?;
        let size = file.metadata().map_err(|error| Failure::io(&error))?.len();
        let size = size_in(mode, size);
        let granted = grant(request.options, request.direction, self.config.caps, size);
        let file = Blocks::ahead(file, mode);
        Ok((Sender::answering(file, granted.options, granted.oack())?, granted.list))
    }

    /// WRQ.
    fn receive(&self, request: &Request<'_>, file: &[u8], mode: Mode, channel: Channel<'_>) {
        let shown = in_title(request.name);
        let granted = self.grant_for_upload(request, &channel);
        let begun = self.begin(file, mode, &granted.options);
        let (draft, name, existing) = match begun {
            Ok(begun) => begun,
            Err(failure) => return self.refuse(channel, &failure),
        };
        let request = Request { options: &granted.list, ..*request };
        let file = Assembly::new(draft, mode, self.config.max_size);
        let progress = self.progress;
        let keep = move |draft: Draft| {
            draft.publish(&name, existing)?;
            progress.done(SystemTime::now()); // before the last ACK: who has that may ask anew at once
            Ok(())
        };
        let receiver = Receiver::answering(file, keep, granted.options, granted.oack());
        let mut conversation = Conversation::new(receiver, channel, self.limits);
        let result = conversation.run();
        self.log_result(&request, &conversation, &result);
        if result.is_ok() {
            self.progress.lingers();
            self.title.set(format_args!("{} {shown} complete", Direction::Write));
            conversation.dally(DALLY);
        } else {
            self.done(&conversation, &result);
        }
    }

    /// No window is larger than what our socket has room for: the rest would be lost each time.
    fn grant_for_upload(&self, request: &Request<'_>, channel: &Channel<'_>) -> Granted {
        let mut caps = self.config.caps;
        let granted = grant(request.options, request.direction, caps, None);
        if granted.options.windowsize == 1 {
            return granted;
        }
        let room = channel.expect_rows(granted.options.room());
        caps.window = caps.window.min(granted.options.window_in(room));
        grant(request.options, request.direction, caps, None)
    }

    /// What comes after the packet that ended the transfer is not part of it: the same request is
    /// a new one then. A peer that ended nothing may ask anew from now on.
    fn done<H: Half>(&self, conversation: &Conversation<'_, H>, result: &Result<(), Failure>) {
        self.progress.done(match result {
            Err(Failure::Silent | Failure::Gone | Failure::Socket(_)) => SystemTime::now(),
            _ => conversation.channel.heard(),
        });
    }

    /// Asks the options and the file system whether the file may be written.
    fn begin(
        &self,
        name: &[u8],
        mode: Mode,
        options: &TransferOptions,
    ) -> Result<(Draft, Vec<u8>, Existing), Failure> {
        let Config { create, overwrite, read_only, max_size, .. } = *self.config;
        if read_only {
            return Err(Failure::denied(Code::Access, "Server is read-only"));
        }
        let place = self.config.root.place(name, overwrite)?;
        if place.existing.is_none() && !create {
            return Err(Failure::denied(Code::Access, "New files are not allowed"));
        }
        // In netascii a file may have fewer octets than travel.
        let size = options.tsize.filter(|_| mode == Mode::Octet);
        if size > max_size.or(size) {
            return Err(Errno::EFBIG.into());
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
        let (what, alias) = (&self.what, self.alias());
        log::log!(level(failure), "{} {what}{alias}: {failure}", channel.peer());
    }

    fn alias(&self) -> &str {
        self.alias.get().map_or("", String::as_str)
    }

    fn log_result<H: Half>(
        &self,
        request: &Request<'_>,
        conversation: &Conversation<'_, H>,
        result: &Result<(), Failure>,
    ) {
        match result {
            Ok(()) => self.log(request, conversation, Level::Info, "complete"),
            Err(failure) => {
                let result = format!("failed: {failure}");
                self.log(request, conversation, level(failure), &result);
            }
        }
    }

    /// The one line of a transfer.
    fn log<H: Half>(
        &self,
        request: &Request<'_>,
        conversation: &Conversation<'_, H>,
        level: Level,
        result: &str,
    ) {
        let half = &conversation.transfer.half;
        log::log!(
            level,
            "{} {request}{}: {} octets, {} blocks, {} retransmissions, {:.3} s: {result}",
            conversation.channel.peer(),
            self.alias(),
            half.octets(),
            half.blocks(),
            half.resent(),
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
