//! One server design a file, each its slide.

pub(crate) mod datagram;
pub(crate) mod fork;
