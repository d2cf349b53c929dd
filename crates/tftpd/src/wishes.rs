//! The client's side of a negotiation (RFC 2347): what it wishes, and whether it can live with the
//! answer.

use crate::failure::Failure;
use crate::negotiation::{
    MIN_BLKSIZE, NAMES, Name, TransferOptions, kind, known, number, pairs, push,
};
use crate::packet::Code;

/// The options that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Octets of a block, 8 to 65464.
    pub blksize: Option<u16>,
    /// Octets of a block, a power of two from 8 to 32768.
    pub blksize2: Option<u16>,
    /// The file's size: 0 in an RRQ, to be told it; in a WRQ the size itself.
    pub tsize: Option<u64>,
    /// Seconds between two sends of one packet, 1 to 255.
    pub timeout: Option<u8>,
    /// The same in microseconds, 10,000 to 255,000,000.
    pub utimeout: Option<u32>,
    /// Blocks to an ACK.
    pub windowsize: Option<u16>,
    /// The block's number after 65535: 0 or 1.
    pub rollover: Option<u16>,
}

impl Wishes {
    fn values(&self) -> [(&'static str, Name, Option<u64>); 7] {
        NAMES.map(|(text, name)| {
            let value = match name {
                Name::Blksize => self.blksize.map(u64::from),
                Name::Blksize2 => self.blksize2.map(u64::from),
                Name::Tsize => self.tsize,
                Name::Timeout => self.timeout.map(u64::from),
                Name::Utimeout => self.utimeout.map(u64::from),
                Name::Windowsize => self.windowsize.map(u64::from),
                Name::Rollover => self.rollover.map(u64::from),
            };
            (text, name, value)
        })
    }

    /// The list for the end of a request; empty when nothing is wished.
    #[must_use]
    pub fn list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for (text, _, value) in self.values() {
            if let Some(value) = value {
                push(&mut list, text.as_bytes(), value);
            }
        }
        list
    }

    /// What is agreed upon, when this list came in an OACK.
    ///
    /// # Errors
    /// ERROR 8: the server grants what nobody asked for, or more than was asked for (RFC 2347,
    /// "Negotiation Protocol").
    pub fn agree(&self, list: &[u8]) -> Result<TransferOptions, Failure> {
        let mut options = TransferOptions::default();
        let mut seen = Vec::new();
        for (text, value) in pairs(list) {
            let shown = text.escape_ascii();
            let asked = known(text).and_then(|name| {
                let asked = self.values().into_iter().find(|(_, other, _)| *other == name);
                asked.and_then(|(_, _, value)| value).map(|asked| (name, asked))
            });
            let Some((name, asked)) = asked else {
                return Err(unacceptable(format!("Option {shown} was not asked for")));
            };
            let granted = number(value).filter(|granted| is_answer(name, asked, *granted));
            let Some(granted) = granted.filter(|_| !seen.contains(&kind(name))) else {
                let value = value.escape_ascii();
                return Err(unacceptable(format!("Option {shown}={value} is unacceptable")));
            };
            seen.push(kind(name));
            options.set(name, granted);
        }
        Ok(options)
    }
}

fn unacceptable(reason: String) -> Failure {
    Failure::denied(Code::Options, reason)
}

/// True where a server may answer `granted` to `asked`.
fn is_answer(name: Name, asked: u64, granted: u64) -> bool {
    match name {
        Name::Blksize => (MIN_BLKSIZE.into()..=asked).contains(&granted),
        Name::Blksize2 => {
            (MIN_BLKSIZE.into()..=asked).contains(&granted) && granted.is_power_of_two()
        }
        Name::Windowsize => (1..=asked).contains(&granted),
        Name::Timeout | Name::Utimeout | Name::Rollover => granted == asked,
        Name::Tsize => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<u8> {
        text.split_whitespace().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
    }

    #[test]
    fn a_client_agrees_to_what_it_asked_for_or_less() {
        let wishes = Wishes {
            blksize: Some(1468),
            windowsize: Some(16),
            tsize: Some(0),
            ..Wishes::default()
        };
        assert_eq!(wishes.list(), list("blksize 1468 tsize 0 windowsize 16"));
        let agreed = wishes.agree(&list("tsize 77 BLKSIZE 1024 windowsize 16")).unwrap();
        let expected = TransferOptions {
            blksize: 1024,
            windowsize: 16,
            tsize: Some(77),
            ..TransferOptions::default()
        };
        assert_eq!(agreed, expected);
        assert_eq!(wishes.agree(b"").unwrap(), TransferOptions::default());
    }

    #[test]
    fn a_client_refuses_what_it_did_not_ask_for() {
        let wishes = Wishes {
            blksize: Some(1468),
            windowsize: Some(4),
            timeout: Some(3),
            blksize2: Some(1024),
            ..Wishes::default()
        };
        for wrong in [
            "blksize 1469",
            "blksize 7",
            "blksize x",
            "windowsize 0",
            "windowsize 5",
            "timeout 4",
            "tsize 5",
            "rollover 0",
            "blksize2 1000",
            "new 1",
            "blksize 512 blksize 512",
        ] {
            let failure = wishes.agree(&list(wrong)).unwrap_err();
            assert!(failure.to_string().ends_with("(ERROR 8)"), "{wrong}: {failure}");
        }
    }
}
