//! Codes of ERROR packets.

/// An error code of RFC 1350's appendix or of RFC 2347.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not defined, see the message.
    NotDefined = 0,
    /// File not found.
    NotFound = 1,
    /// Access violation.
    Access = 2,
    /// Disk full or allocation exceeded.
    DiskFull = 3,
    /// Illegal TFTP operation.
    Illegal = 4,
    /// Unknown transfer ID.
    UnknownTransfer = 5,
    /// File already exists.
    Exists = 6,
    /// Option negotiation failed (RFC 2347): the OACK grants an option that was not requested.
    Options = 8,
}
