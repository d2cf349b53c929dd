//! A server and a client of the Trivial File Transfer Protocol (RFC 1350, with the rules of
//! RFC 1123 §4.2), one process per transfer.
//!
//! The rooms, from left to right. A room imports only from rooms to its left:
//!
//! 1. [`wire`] — packets, options, block numbers; bytes in, values out
//! 2. [`error`] — why a transfer failed, and what the peer is told
//! 3. [`files`] — files below the root, read whole or written whole; the quota
//! 4. [`transfer`] — sender, receiver, window and timer; the channel to the peer and its port
//! 5. [`map`] — `--map`, the rules for names
//! 6. [`options`] — tftpd's command line
//! 7. [`server`] — tftpd, with a process for each transfer or a single port for all
//! 8. [`client`] — tftpc
//!
//! What RFC 1350 leaves open is decided so:
//!
//! - A file is served when the daemon's user may read it. As root, which may read everything, the
//!   daemon serves only what everybody may read.
//! - An upload replaces a file in one step and keeps its permission bits; a file without any
//!   permission to write is not replaced. A symbolic link at the end of the name is followed, below
//!   the root, and the file behind it replaced. Folders are never made.
//! - A datagram from the peer that is no packet of the transfer ends it with ERROR 4; late and
//!   duplicate packets do not. Block 0 follows block 65535, unless `rollover` was agreed to be 1.

pub mod client;
pub mod error;
pub mod files;
pub mod map;
pub mod options;
pub mod server;
pub mod transfer;
pub mod wire;
