//! Packets that are sent together.

/// Contiguous packets of one size. The last one may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets<'a> {
    /// Bytes of each packet but the last.
    pub size: usize,
    /// The packets, in two pieces if they wrap around the end of a ring. Only the very last packet
    /// may be short.
    pub pieces: [&'a [u8]; 2],
}

impl<'a> Packets<'a> {
    /// Creates the list of a single packet.
    #[must_use]
    pub fn single(packet: &'a [u8]) -> Packets<'a> {
        Packets { size: packet.len().max(1), pieces: [packet, &[]] }
    }

    /// Returns an iterator over the packets.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.size;
        self.pieces.into_iter().flat_map(move |piece| piece.chunks(size))
    }
}
