//! Packets that are sent together.

/// Packets one after the other in memory, of one size but for the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets<'a> {
    /// Bytes of each but the last.
    pub size: usize,
    /// The packets, in two pieces where they wrap around the end of a ring. Only the last packet of
    /// all may be short.
    pub pieces: [&'a [u8]; 2],
}

impl<'a> Packets<'a> {
    /// Makes the list of a single packet.
    #[must_use]
    pub fn single(packet: &'a [u8]) -> Packets<'a> {
        Packets { size: packet.len().max(1), pieces: [packet, &[]] }
    }

    /// Returns the packets one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.size;
        self.pieces.into_iter().flat_map(move |piece| piece.chunks(size))
    }
}
