//! Handshakes over a socket pair.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dane;
mod handshakes;
