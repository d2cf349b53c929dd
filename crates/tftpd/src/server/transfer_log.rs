//! The log line of each request.

use std::net::SocketAddr;
use std::time::Instant;

use log::Level;

use crate::error::Error;
use crate::transfer::side::{Side, Stage};
use crate::wire::error_code::ErrorCode;

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
    /// Logs the line.
    pub(super) fn log(&self) {
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
