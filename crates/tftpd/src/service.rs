//! What a request is answered with, whoever sends it: a half of a transfer, or a refusal.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use log::Level;
use nix::errno::Errno;

use crate::content::{Assembly, Blocks, Room};
use crate::draft::{self, Draft, Existing};
use crate::failure::Failure;
use crate::negotiation::{Caps, Granted, TransferOptions, grant, size_in};
use crate::options::Config;
use crate::packet::{Code, Direction, Malformed, Mode, Packet, Request};
use crate::receiver::Receiver;
use crate::root::Place;
use crate::sender::Sender;
use crate::source::Source;
use crate::transfer::{Half, Stage};

/// Makes an upload durable and visible.
pub type Keep = Box<dyn FnOnce(Draft) -> io::Result<()>>;

/// True for a datagram that gets an answer: an RRQ or a WRQ, though it be a malformed one.
/// Everything else is no business of the service's port and meets with silence.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    matches!(Packet::parse(datagram), Ok(Packet::Request(_)) | Err(Malformed::Request(_)))
}

/// A request that can be answered, so far.
#[derive(Debug)]
pub struct Asked<'d> {
    /// As it came.
    pub request: Request<'d>,
    /// How the file is to travel.
    pub mode: Mode,
    /// The file's name below the root: the one that was asked for, or what `--map` makes of it.
    pub file: Cow<'d, [u8]>,
}

/// The request in a datagram of this peer's.
///
/// # Errors
/// ERROR 4: it is malformed, names no file or asks for a mode that nobody knows. ERROR 2: `--map`
/// denies it.
pub fn read<'d>(
    config: &Config,
    datagram: &'d [u8],
    peer: SocketAddr,
) -> Result<Asked<'d>, Failure> {
    let request = match Packet::parse(datagram) {
        Ok(Packet::Request(request)) => request,
        Err(Malformed::Request(reason)) => return Err(Failure::illegal(reason)),
        _ => return Err(Failure::illegal("Not a request")),
    };
    let Request { name, direction, .. } = request;
    if name.is_empty() {
        return Err(Failure::illegal("No file name"));
    }
    let mode = Mode::parse(request.mode).ok_or_else(|| Failure::illegal("Unknown mode"))?;
    let file = match &config.map {
        Some(map) => map.name(name, direction, peer, &config.root)?.into(),
        None => name.into(),
    };
    Ok(Asked { request, mode, file })
}

impl Asked<'_> {
    /// The same for the log, with these options in place of those that were asked for.
    #[must_use]
    pub fn shown(&self, options: &[u8]) -> String {
        let request = Request { options, ..self.request };
        if *self.file == *request.name {
            return request.to_string();
        }
        format!("{request} as \"{}\"", self.file.escape_ascii())
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(self.request.options))
    }
}

/// RRQ: opens the file; gives the options too that are granted.
///
/// # Errors
/// The file can't be had; an ERROR says why.
pub fn sender(
    config: &Config,
    asked: &Asked<'_>,
    caps: Caps,
) -> Result<(Sender<Source>, Vec<u8>), Failure> {
    let file = config.root.read(&asked.file)?;
    let size = file.size().and_then(|size| size_in(asked.mode, size));
    let granted = grant(asked.request.options, Direction::Read, caps, size);
    let file = Blocks::ahead(file, asked.mode).of_size(size);
    Ok((Sender::answering(file, granted.options, granted.oack())?, granted.list))
}

/// WRQ: begins the file. `room` is asked for the socket's receive buffer, and gives what there is;
/// `kept` is called when the file is safe.
///
/// # Errors
/// The file may not be written; an ERROR says why.
pub fn receiver(
    config: &Config,
    asked: &Asked<'_>,
    caps: Caps,
    room: impl FnOnce(usize) -> usize,
    kept: impl FnOnce() + 'static,
) -> Result<(Receiver<Draft, Keep>, Vec<u8>), Failure> {
    let granted = grant_upload(caps, &asked.request, room);
    let Begun { draft, name, existing, room } = begin(config, asked, &granted.options)?;
    let file = Assembly::new(draft, asked.mode, room);
    let quota = config.quota.clone();
    let keep = Box::new(move |draft: Draft| {
        let _turn = quota.map(|quota| quota.turn(&draft, &name)).transpose()?;
        draft.publish(&name, existing)?;
        kept();
        Ok(())
    });
    let oack = granted.oack();
    Ok((Receiver::answering(file, keep as Keep, granted.options, oack), granted.list))
}

/// No window is larger than what our socket has room for: the rest would be lost each time.
fn grant_upload(
    mut caps: Caps,
    request: &Request<'_>,
    room: impl FnOnce(usize) -> usize,
) -> Granted {
    let granted = grant(request.options, Direction::Write, caps, None);
    if granted.options.windowsize == 1 {
        return granted;
    }
    let room = room(granted.options.room());
    caps.window = caps.window.min(granted.options.window_in(room));
    grant(request.options, Direction::Write, caps, None)
}

/// An upload that may begin.
struct Begun {
    draft: Draft,
    name: Vec<u8>,
    existing: Existing,
    room: Room,
}

/// Asks the options and the file system whether the file may be written.
fn begin(config: &Config, asked: &Asked<'_>, options: &TransferOptions) -> Result<Begun, Failure> {
    let Config { create, overwrite, read_only, max_size, .. } = *config;
    if read_only {
        return Err(Failure::denied(Code::Access, "Server is read-only"));
    }
    let Place { folder, name, existing } = config.root.place(&asked.file, overwrite)?;
    if existing.is_none() && !create {
        return Err(Failure::denied(Code::Access, "New files are not allowed"));
    }
    let mut room = Room::up_to(max_size);
    if let Some(quota) = &config.quota {
        room = room.within_quota(quota.room(&folder, &name)?);
    }
    // In netascii a file may have fewer octets than travel.
    if let Some(size) = options.tsize.filter(|_| asked.mode == Mode::Octet) {
        Room::take(&mut room.clone(), size)?;
        if size > draft::space(&folder)? {
            return Err(Errno::ENOSPC.into());
        }
    }
    let draft = Draft::begin(folder)?;
    if let Some(bits) = existing {
        draft.set_permissions(bits)?;
    }
    let existing = if overwrite { Existing::Replace } else { Existing::Keep };
    Ok(Begun { draft, name, existing, room })
}

/// The one line of a transfer.
pub struct Line<'a> {
    /// Whom it was with.
    pub peer: SocketAddr,
    /// The request, with the options that were granted.
    pub request: &'a str,
    /// Our half.
    pub half: &'a dyn Half,
    /// When the request came.
    pub since: Instant,
    /// What came of it.
    pub result: &'a Result<(), Failure>,
}

impl Line<'_> {
    /// Into the log.
    pub fn log(&self) {
        let Line { peer, request, half, since, result } = self;
        let (level, result) = outcome(*half, result);
        log::log!(
            level,
            "{peer} {request}: {} octets, {} blocks, {} retransmissions, {:.3} s: {result}",
            half.octets(),
            half.blocks(),
            half.resent(),
            since.elapsed().as_secs_f64(),
        );
    }
}

/// The one line of a request that was refused: like one of a transfer, in which nothing has travelled.
pub fn log_refusal(peer: SocketAddr, request: &str, since: Instant, failure: &Failure) {
    log::log!(
        level(failure),
        "{peer} {request}: 0 octets, 0 blocks, 0 retransmissions, {:.3} s: refused: {failure}",
        since.elapsed().as_secs_f64(),
    );
}

fn outcome(half: &dyn Half, result: &Result<(), Failure>) -> (Level, String) {
    match (result, half.stage()) {
        (Ok(()), _) => (Level::Info, "complete".into()),
        // The client has the file, or does not want it any more: nobody is left to ask.
        (Err(Failure::Silent | Failure::Gone), Stage::LastAck) => {
            (Level::Info, "complete, but for the last ACK".into())
        }
        // It wanted the file's size (RFC 2349), or does not agree (RFC 2347).
        (Err(failure @ Failure::Peer { .. }), Stage::Options) => {
            (Level::Info, format!("no more than the options: {failure}"))
        }
        (Err(failure), _) => (level(failure), format!("failed: {failure}")),
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
