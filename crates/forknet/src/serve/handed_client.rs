//! What front says of the client that it hands over: the last message of it in [`crate::serve::handover`]. It is read
//! with a user's rights, of a process that may have been taken over.
//!
//! ```text
//!  c | milliseconds used (8 bytes) | bytes used (8) | TLS (1) | length, facts | peer, as text
//! ```
//! The length is two bytes; all numbers have the high byte first.

use std::time::Duration;

use crate::net::peer::Peer;

/// First byte of the message.
const KIND: u8 = b'c';
/// Most bytes of the facts.
const MAX_FACTS: usize = 1024;

/// A client that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedClient {
    /// Time and bytes of its session that are used: time in milliseconds on the way.
    pub(crate) used: (Duration, u64),
    /// Whether it is under TLS.
    pub(crate) is_tls: bool,
    /// What the keeper has found for sessions, of which at most 1024 bytes are handed over.
    pub(crate) facts: Vec<u8>,
    /// Its address.
    pub(crate) peer: Peer,
}

impl HandedClient {
    /// Returns the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (time, bytes) = self.used;
        let facts = self.facts.get(..MAX_FACTS).unwrap_or(&self.facts);
        let mut message = vec![KIND];
        message.extend(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        message.extend(bytes.to_be_bytes());
        message.push(u8::from(self.is_tls));
        message.extend(u16::try_from(facts.len()).unwrap_or_default().to_be_bytes());
        message.extend(facts);
        message.extend(self.peer.record().into_bytes());
        message
    }

    /// Reads a message; `None` for one that is malformed.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<HandedClient> {
        let rest = message.strip_prefix(&[KIND])?;
        let (time, bytes) = two_numbers(rest)?;
        let (is_tls, rest) = rest.get(16..)?.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (facts, peer) = rest.split_at_checked(length).filter(|_| length <= MAX_FACTS)?;
        Some(HandedClient {
            used: (Duration::from_millis(time), bytes),
            is_tls: match is_tls {
                0 => false,
                1 => true,
                _ => return None,
            },
            facts: facts.to_vec(),
            peer: Peer::parse(peer)?,
        })
    }
}

/// Reads two numbers at the beginning of a message.
pub(crate) fn two_numbers(bytes: &[u8]) -> Option<(u64, u64)> {
    let (one, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*one), u64::from_be_bytes(*rest.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(facts: Vec<u8>) -> HandedClient {
        let used = (Duration::from_millis(7), u64::MAX);
        HandedClient { used, is_tls: true, facts, peer: Peer::Unix }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_of_long_facts_the_beginning() {
        for length in [0, 1, MAX_FACTS] {
            let client = client(vec![7; length]);
            assert_eq!(HandedClient::decode(&client.encode()), Some(client));
        }
        let long = client(vec![7; MAX_FACTS + 1]).encode();
        assert_eq!(HandedClient::decode(&long), Some(client(vec![7; MAX_FACTS])));
    }

    #[test]
    fn what_is_cut_off_or_malformed_is_refused() {
        let message = client(b"ab".to_vec()).encode();
        for cut in 0..message.len() {
            assert_eq!(HandedClient::decode(&message[..cut]), None, "{cut}");
        }
        for (at, byte) in [(0, b'g'), (17, 2), (18, 4), (19, 3), (message.len() - 1, b'z')] {
            let mut odd = message.clone();
            odd[at] = byte;
            assert_eq!(HandedClient::decode(&odd), None, "{at}");
        }
        assert_eq!(HandedClient::decode(&[&message[..], b" "].concat()), None);
    }
}
