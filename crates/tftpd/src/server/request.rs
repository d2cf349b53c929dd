//! The answer to a request: a side of a transfer, or a refusal.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use nix::errno::Errno;

use super::route_mtu::largest_block;
use crate::error::Error;
use crate::files::atomic_file::{AtomicFile, IfExists};
use crate::files::block_reader::BlockReader;
use crate::files::block_writer::BlockWriter;
use crate::files::disk_space;
use crate::files::quota::Quota;
use crate::files::root::UploadTarget;
use crate::files::roots::RootsOf;
use crate::files::size_limit::SizeLimit;
use crate::files::source::Source;
use crate::options::Config;
use crate::transfer::receiver::Receiver;
use crate::transfer::sender::Sender;
use crate::wire::error_code::ErrorCode;
use crate::wire::negotiation::{Granted, MaxOptions, grant};
use crate::wire::options::TransferOptions;
use crate::wire::packet::{Malformed, Packet};
use crate::wire::request::{Direction, Mode, Request};

/// Makes an upload durable and visible under its name.
pub type Commit = Box<dyn FnOnce(AtomicFile) -> io::Result<()>>;

/// Returns whether the datagram is an RRQ or a WRQ, even a malformed one. Any other datagram at the
/// server's port is ignored.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    matches!(Packet::parse(datagram), Ok(Packet::Request(_)) | Err(Malformed::Request(_)))
}

/// Returns whether the datagram is an RRQ or a WRQ with a name and a mode.
#[must_use]
pub fn is_whole_request(datagram: &[u8]) -> bool {
    matches!(Packet::parse(datagram), Ok(Packet::Request(_)))
}

/// A request with a known mode and a file name that `--map` allows.
#[derive(Debug)]
pub struct ValidRequest<'d> {
    /// The request as received.
    pub raw: Request<'d>,
    /// The transfer mode.
    pub mode: Mode,
    /// The file's name below the roots, after `--map`.
    pub file: Cow<'d, [u8]>,
    /// The folders where it is looked for.
    pub roots: RootsOf<'d>,
    /// The client.
    pub peer: SocketAddr,
    /// `--mtu-blksize`: the largest block in bytes on the way to this client.
    pub max_blksize: u16,
}

impl<'d> ValidRequest<'d> {
    /// Parses a request datagram from `peer`, which was sent to our address `local`.
    ///
    /// # Errors
    /// ERROR 4 if the request is malformed, names no file or has an unknown mode. ERROR 2 if
    /// `--map` denies it.
    pub fn parse(
        config: &'d Config,
        datagram: &'d [u8],
        local: IpAddr,
        peer: SocketAddr,
    ) -> Result<ValidRequest<'d>, Error> {
        let request = match Packet::parse(datagram) {
            Ok(Packet::Request(request)) => request,
            Err(Malformed::Request(reason)) => return Err(Error::illegal(reason)),
            _ => return Err(Error::illegal("Not a request")),
        };
        let Request { name, direction, .. } = request;
        if name.is_empty() {
            return Err(Error::illegal("No file name"));
        }
        let mode = Mode::parse(request.mode).ok_or_else(|| Error::illegal("Unknown mode"))?;
        let roots = config.roots.of(local, peer.ip());
        let file = match &config.map {
            Some(map) => map.file_name(name, direction, peer, &roots)?.into(),
            None => name.into(),
        };
        let max_blksize =
            if config.mtu_blksize { largest_block(peer) } else { config.max_options.blksize };
        Ok(ValidRequest { raw: request, mode, file, roots, peer, max_blksize })
    }

    fn within_mtu(&self, max: MaxOptions) -> MaxOptions {
        MaxOptions { blksize: max.blksize.min(self.max_blksize), ..max }
    }

    /// Describes the request for the log, with `options` in place of the requested ones.
    #[must_use]
    pub fn describe(&self, options: &[u8]) -> String {
        let request = Request { options, ..self.raw };
        if *self.file == *request.name {
            return request.to_string();
        }
        format!("{request} as \"{}\"", self.file.escape_ascii())
    }
}

impl fmt::Display for ValidRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(self.raw.options))
    }
}

/// Opens the file of an RRQ. Returns the sender and the list of granted options.
///
/// # Errors
/// [`Error::Denied`] if the file can't be served.
pub fn open_sender(
    request: &ValidRequest<'_>,
    max: MaxOptions,
) -> Result<(Sender<Source>, Vec<u8>), Error> {
    let file = request.roots.open_source(&request.file)?;
    let size = file.size().and_then(|size| request.mode.size_on_wire(size));
    let granted = grant(request.raw.options, Direction::Read, request.within_mtu(max), size);
    let file = BlockReader::regular_file(file, request.mode).with_size(size);
    Ok((Sender::for_server(file, granted.options, granted.oack())?, granted.list))
}

/// Creates the file of a WRQ. Returns the receiver and the list of granted options.
/// `receive_buffer` is called with the desired size of the socket's receive buffer in bytes, and
/// returns the actual size. `committed` is called when the file is durable and visible.
///
/// # Errors
/// [`Error::Denied`] if the file may not be written.
pub fn open_receiver(
    config: &Config,
    request: &ValidRequest<'_>,
    max: MaxOptions,
    receive_buffer: impl FnOnce(usize) -> usize,
    committed: impl FnOnce() + 'static,
) -> Result<(Receiver<AtomicFile, Commit>, Vec<u8>), Error> {
    let granted = grant_upload(request.within_mtu(max), &request.raw, receive_buffer);
    let upload = Upload::begin(config, request, &granted.options)?;
    let Upload { file, name, if_exists, limit, quota } = upload;
    let file = BlockWriter::new(file, request.mode, limit);
    let peer = request.peer;
    let commit: Commit = Box::new(move |file: AtomicFile| {
        let _lock = quota.map(|quota| quota.lock(&file, &name)).transpose()?;
        let stored = file.publish(&name, if_exists)?;
        if stored != name {
            log::info!("{peer} upload: stored as {}", stored.escape_ascii());
        }
        committed();
        Ok(())
    });
    let oack = granted.oack();
    Ok((Receiver::for_server(file, commit, granted.options, oack), granted.list))
}

/// Grants the options of a WRQ, with a window that fits the socket's buffer, because the rest of a
/// larger one would be lost each time.
fn grant_upload(
    mut max: MaxOptions,
    request: &Request<'_>,
    receive_buffer: impl FnOnce(usize) -> usize,
) -> Granted {
    let granted = grant(request.options, Direction::Write, max, None);
    if granted.options.windowsize == 1 {
        return granted;
    }
    let receive_buffer = receive_buffer(granted.options.receive_buffer());
    max.window_bytes = max.window_bytes.min(granted.options.window_in_buffer(receive_buffer));
    grant(request.options, Direction::Write, max, None)
}

/// An upload that was permitted.
struct Upload {
    file: AtomicFile,
    name: Vec<u8>,
    if_exists: IfExists,
    limit: SizeLimit,
    quota: Option<Rc<Quota>>,
}

impl Upload {
    /// Creates the file, if the server's options and the file system permit it.
    fn begin(
        config: &Config,
        request: &ValidRequest<'_>,
        options: &TransferOptions,
    ) -> Result<Upload, Error> {
        let Config { create, if_exists, makes_folders, read_only, max_size, .. } = *config;
        if read_only {
            return Err(Error::denied(ErrorCode::Access, "Server is read-only"));
        }
        // In netascii the file may have fewer bytes than are sent.
        let size = options.tsize.filter(|_| request.mode == Mode::Octet);
        let mut limit = SizeLimit::new(max_size);
        size.map_or(Ok(()), |size| limit.check(size))?; // before a folder is made
        let target = request.roots.upload_target(&request.file, if_exists, makes_folders && create);
        let (UploadTarget { folder, name, existing }, quota) = target?;
        if existing.is_none() && !create {
            return Err(Error::denied(ErrorCode::Access, "New files are not allowed"));
        }
        if let Some(quota) = &quota {
            limit = limit.within_quota(quota.left_for(&folder, &name)?);
        }
        if let Some(size) = size {
            limit.check(size)?;
            if size > disk_space::available(&folder)? {
                return Err(Errno::ENOSPC.into());
            }
        }
        let file = AtomicFile::create(folder)?;
        if let Some(mode) = existing {
            file.copy_permissions(mode)?;
        }
        Ok(Upload { file, name, if_exists, limit, quota })
    }
}
