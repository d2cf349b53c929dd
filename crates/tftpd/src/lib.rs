//! A server and a client of the Trivial File Transfer Protocol (RFC 1350, with the rules of
//! RFC 1123 §4.2), one process per transfer.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`packet`] | the packets |
//! | [`negotiation`], [`wishes`] | the options of RFC 2347 and its kin: what is granted and what is asked for |
//! | [`numbers`] | the blocks' numbers, which wrap |
//! | [`timer`] | when to send again and when to give up |
//! | [`content`] | a file's octets into blocks and out of them |
//! | [`window`] | the packets that are sent together |
//! | [`sender`], [`receiver`] | the two halves of a transfer, without socket or clock |
//! | [`transfer`] | a half and a clock: one transfer |
//! | [`channel`] | the socket and the peer at its other end |
//! | [`conversation`] | a transfer over a channel |
//! | [`failure`] | why one ended before its time, and what the peer is told |
//! | [`root`], [`source`], [`draft`] | names below the root; files that are served whole; files that appear whole |
//! | [`quota`] | how much may be written |
//! | [`map`] | `--map`: rules for names |
//! | [`confine`] | Landlock |
//! | [`service`] | a request is granted or refused |
//! | [`server`] | tftpd: one request answered by a process of its own |
//! | [`desk`] | tftpd: many transfers over one port, by one process |
//! | [`options`] | tftpd's options |
//! | [`client`], [`commandline`], [`url`] | tftpc: one file fetched or sent; its options |
//! | [`input`] | where a file comes from that is sent |
//! | [`output`], [`progress`] | where a fetched file goes; how much of it is there |
//! | [`interrupt`] | what a signal takes along that ends tftpc |
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
#![forbid(unsafe_code)]

pub mod channel;
pub mod client;
pub mod commandline;
pub mod confine;
pub mod content;
pub mod conversation;
pub mod desk;
pub mod draft;
pub mod failure;
pub mod input;
pub mod interrupt;
pub mod map;
pub mod negotiation;
pub mod numbers;
pub mod options;
pub mod output;
pub mod packet;
pub mod progress;
pub mod quota;
pub mod receiver;
pub mod root;
pub mod sender;
mod served;
pub mod server;
pub mod service;
pub mod source;
pub mod timer;
pub mod transfer;
pub mod url;
pub mod window;
pub mod wishes;
