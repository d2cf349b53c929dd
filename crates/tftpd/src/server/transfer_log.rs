//! The log line of each request, and that of `--transfer-log` of each transfer.

use std::net::SocketAddr;
use std::time::Instant;

use forknet::LogFile;
use jiff::Timestamp;
use log::Level;

use crate::error::Error;
use crate::transfer::side::{Side, Stage};
use crate::wire::error_code::ErrorCode;
use crate::wire::request::{Direction, Mode};

/// The log line of a transfer.
pub(super) struct TransferLine<'a> {
    pub(super) peer: SocketAddr,
    /// The request, with the granted options.
    pub(super) request: &'a str,
    pub(super) side: &'a dyn Side,
    /// Datagrams of the client that were dropped.
    pub(super) unexpected: u64,
    /// When the request arrived.
    pub(super) started_at: Instant,
    pub(super) result: &'a Result<(), Error>,
}

impl TransferLine<'_> {
    /// Logs the line, and appends that of `--transfer-log`.
    pub(super) fn log(&self, also: Option<(&LogFile, Subject<'_>)>) {
        if let Some((file, subject)) = also
            && let Some(status) = status(self.side, self.result)
        {
            file.append(&self.xferlog(&subject, status));
        }
        let TransferLine { peer, request, side, unexpected, started_at, result } = self;
        let (level, result) = outcome(*side, result);
        let unexpected = match unexpected {
            0 => String::new(),
            count => format!(" {count} unexpected packets,"),
        };
        log::log!(
            level,
            "{peer} {request}: {} octets, {} blocks, {} retransmissions,{unexpected} {:.3} s: {result}",
            side.bytes(),
            side.blocks(),
            side.retransmissions(),
            started_at.elapsed().as_secs_f64(),
        );
    }
}

/// The file of a transfer.
pub(super) struct Subject<'a> {
    pub(super) direction: Direction,
    pub(super) mode: Mode,
    /// Its name below the root.
    pub(super) file: &'a [u8],
}

impl TransferLine<'_> {
    /// Returns the line of `--transfer-log`: that of wu-ftpd's xferlog(5), in UTC and with thousandths of a second.
    fn xferlog(&self, subject: &Subject<'_>, status: char) -> String {
        let now = Timestamp::now().strftime("%a %b %e %H:%M:%S %Y");
        let seconds = self.started_at.elapsed().as_secs_f64();
        let (client, bytes) = (self.peer.ip(), self.side.bytes());
        let file = subject.file.iter().skip_while(|byte| **byte == b'/');
        let file: String = file.map(|byte| shown(*byte)).collect();
        let mode = if subject.mode == Mode::Octet { 'b' } else { 'a' };
        let direction = if subject.direction == Direction::Read { 'o' } else { 'i' };
        format!(
            "{now} {seconds:.3} {client} {bytes} /{file} {mode} _ {direction} a - tftp 0 * {status}"
        )
    }
}

/// Returns a byte of a name as it stands in a line whose fields are separated by blanks.
fn shown(byte: u8) -> String {
    if byte == b' ' { "\\x20".into() } else { std::ascii::escape_default(byte).to_string() }
}

/// Returns how a transfer has ended for `--transfer-log`: complete or incomplete; `None` if the client wanted no file.
fn status(side: &dyn Side, result: &Result<(), Error>) -> Option<char> {
    match (result, side.stage()) {
        (Ok(()), _) | (Err(Error::TimedOut | Error::PortClosed), Stage::LastAck) => Some('c'),
        (Err(Error::Peer { .. }), Stage::Options) => None,
        (Err(_), _) => Some('i'),
    }
}

/// Logs the line of a refused request, in the format of a transfer without data.
pub(super) fn log_refusal(peer: SocketAddr, request: &str, started_at: Instant, error: &Error) {
    log::log!(
        level(error),
        "{peer} {request}: 0 octets, 0 blocks, 0 retransmissions, {:.3} s: refused: {error}",
        started_at.elapsed().as_secs_f64(),
    );
}

fn outcome(side: &dyn Side, result: &Result<(), Error>) -> (Level, String) {
    match (result, side.stage()) {
        (Ok(()), _) => (Level::Info, "complete".into()),
        // The client has the whole file, or has abandoned it.
        (Err(Error::TimedOut | Error::PortClosed), Stage::LastAck) => {
            (Level::Info, "complete, but for the last ACK".into())
        }
        // The client only wanted the file's size (RFC 2349), or rejects the options (RFC 2347).
        (Err(error @ Error::Peer { .. }), Stage::Options) => {
            (Level::Info, format!("no more than the options: {error}"))
        }
        (Err(error), _) => (level(error), format!("failed: {error}")),
    }
}

/// Returns a warning for faults that the administrator can fix, such as a full disk or an
/// unreadable file. Everything else is the client's fault.
fn level(error: &Error) -> Level {
    match error {
        Error::Denied { code: ErrorCode::DiskFull | ErrorCode::NotDefined, .. }
        | Error::Socket(_) => Level::Warn,
        _ => Level::Info,
    }
}
