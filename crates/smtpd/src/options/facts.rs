//! What the keeper has found for the processes that talk to clients, which have no files.

use maild::Offer;

/// What was found at the start, or after SIGHUP.
#[derive(Debug)]
pub struct Facts {
    /// How clients may log in.
    pub offer: Offer,
    /// The text of `--access`, which was checked.
    pub access: Vec<u8>,
}

impl Facts {
    /// Returns the text by which the keeper tells of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.offer.encode()[..], b"\n", &self.access].concat()
    }

    /// Reads the text.
    #[must_use]
    pub fn decode(text: &[u8]) -> Facts {
        let mut parts = text.splitn(2, |&byte| byte == b'\n');
        let offer = Offer::decode(parts.next().unwrap_or_default());
        Facts { offer, access: parts.next().unwrap_or_default().to_vec() }
    }
}
