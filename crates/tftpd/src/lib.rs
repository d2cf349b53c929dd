//! A server and a client of the Trivial File Transfer Protocol (RFC 1350, with the rules of
//! RFC 1123 §4.2), one process per transfer.
//!
//! The layers, from the bottom up. A module imports only from modules above it in this list:
//!
//! 1. [`wire`] — packets, options, block numbers; no I/O
//! 2. [`error`] — why a transfer failed, and which ERROR the peer gets
//! 3. [`files`] — files below the root, the quota
//! 4. [`transfer`] — sender, receiver, window and timer; the channel to the peer and its port
//! 5. [`map`] — `--map`, the rules for names
//! 6. [`options`] — tftpd's command line
//! 7. [`server`] — tftpd, with a process for each transfer or a single port for all
//! 8. [`report`] — who got what, from a log
//! 9. [`client`] — tftpc
//!
//! Decisions that RFC 1350 leaves open:
//!
//! - A file is served if the daemon's user may read it. As root, which may read everything, the
//!   daemon serves only files with read permission for others.
//! - An upload replaces a file in one step and keeps its permission bits. A file without write
//!   permission is not replaced. A symbolic link at the end of the name is followed, below the
//!   root, and its target replaced. Folders are created with `--mkdir` only.
//! - A datagram from the peer that does not belong in the transfer is dropped and counted, and ends
//!   nothing. Block 0 follows block 65535, unless `rollover` was agreed to be 1.

pub mod client;
pub mod error;
pub mod files;
pub mod map;
pub mod options;
pub mod report;
pub mod server;
pub mod transfer;
pub mod wire;
