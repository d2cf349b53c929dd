//! The one line that the log has of each request.

use std::net::SocketAddr;
use std::time::Instant;

use log::Level;

use crate::error::Error;
use crate::transfer::side::{Side, Stage};
use crate::wire::error_code::ErrorCode;

/// The line of a transfer.
pub(super) struct TransferLine<'a> {
    pub(super) peer: SocketAddr,
    /// The request, with the options that were granted.
    pub(super) request: &'a str,
    pub(super) side: &'a dyn Side,
    /// When the request came.
    pub(super) since: Instant,
    pub(super) result: &'a Result<(), Error>,
}

impl TransferLine<'_> {
    /// Writes the line.
    pub(super) fn log(&self) {
        let TransferLine { peer, request, side, since, result } = self;
        let (level, result) = outcome(*side, result);
        log::log!(
            level,
            "{peer} {request}: {} octets, {} blocks, {} retransmissions, {:.3} s: {result}",
            side.bytes(),
            side.blocks(),
            side.retransmissions(),
            since.elapsed().as_secs_f64(),
        );
    }
}

/// Writes the line of a request that was refused: like that of a transfer in which nothing has
/// travelled.
pub(super) fn log_refusal(peer: SocketAddr, request: &str, since: Instant, error: &Error) {
    log::log!(
        level(error),
        "{peer} {request}: 0 octets, 0 blocks, 0 retransmissions, {:.3} s: refused: {error}",
        since.elapsed().as_secs_f64(),
    );
}

fn outcome(side: &dyn Side, result: &Result<(), Error>) -> (Level, String) {
    match (result, side.stage()) {
        (Ok(()), _) => (Level::Info, "complete".into()),
        // The client has the file, or does not want it any more, and has ended.
        (Err(Error::TimedOut | Error::PortClosed), Stage::LastAck) => {
            (Level::Info, "complete, but for the last ACK".into())
        }
        // It wanted the file's size (RFC 2349), or does not agree (RFC 2347).
        (Err(error @ Error::Peer { .. }), Stage::Options) => {
            (Level::Info, format!("no more than the options: {error}"))
        }
        (Err(error), _) => (level(error), format!("failed: {error}")),
    }
}

/// Returns a warning where the administrator has something to mend: a full disk, a file that can't
/// be read. Everything else is the client's affair.
fn level(error: &Error) -> Level {
    match error {
        Error::Denied { code: ErrorCode::DiskFull | ErrorCode::NotDefined, .. }
        | Error::Socket(_) => Level::Warn,
        _ => Level::Info,
    }
}
