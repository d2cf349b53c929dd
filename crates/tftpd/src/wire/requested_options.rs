//! The client's side of option negotiation (RFC 2347).

use super::option_list::{pairs, parse_number, push};
use super::option_name::OptionName;
use super::options::{MIN_BLKSIZE, TransferOptions};

/// The options in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestedOptions {
    /// Block size in bytes, 8 to 65464.
    pub blksize: Option<u16>,
    /// Block size in bytes, a power of two from 8 to 32768.
    pub blksize2: Option<u16>,
    /// File size in bytes. 0 in an RRQ, which asks the server for the size.
    pub tsize: Option<u64>,
    /// Retransmission timeout in seconds, 1 to 255.
    pub timeout: Option<u8>,
    /// The same in microseconds, 10,000 to 255,000,000.
    pub utimeout: Option<u32>,
    /// Blocks per ACK.
    pub windowsize: Option<u16>,
    /// Block number after 65535: 0 or 1.
    pub rollover: Option<u16>,
}

/// An OACK that grants options that were not requested (RFC 2347, "Negotiation Protocol"). It is
/// answered with ERROR 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacceptable {
    /// Why the OACK is unacceptable.
    pub reason: String,
}

impl RequestedOptions {
    fn values(&self) -> [(&'static str, OptionName, Option<u64>); 7] {
        OptionName::ALL.map(|(text, name)| {
            let value = match name {
                OptionName::Blksize => self.blksize.map(u64::from),
                OptionName::Blksize2 => self.blksize2.map(u64::from),
                OptionName::Tsize => self.tsize,
                OptionName::Timeout => self.timeout.map(u64::from),
                OptionName::Utimeout => self.utimeout.map(u64::from),
                OptionName::Windowsize => self.windowsize.map(u64::from),
                OptionName::Rollover => self.rollover.map(u64::from),
            };
            (text, name, value)
        })
    }

    /// Returns the list for the end of a request, empty if nothing is requested.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for (text, _, value) in self.values() {
            if let Some(value) = value {
                push(&mut list, text.as_bytes(), value);
            }
        }
        list
    }

    /// Returns the negotiated options for the list in an OACK.
    ///
    /// # Errors
    /// The server grants an option that was not requested, or a value that is not acceptable.
    pub fn accept(&self, list: &[u8]) -> Result<TransferOptions, Unacceptable> {
        let mut options = TransferOptions::default();
        let mut seen = Vec::new();
        for (text, value) in pairs(list) {
            let shown = text.escape_ascii();
            let requested = OptionName::parse(text).and_then(|name| {
                let requested = self.values().into_iter().find(|(_, other, _)| *other == name);
                requested.and_then(|(_, _, value)| value).map(|value| (name, value))
            });
            let Some((name, requested)) = requested else {
                return Err(Unacceptable { reason: format!("Option {shown} was not asked for") });
            };
            let granted =
                parse_number(value).filter(|granted| may_grant(name, requested, *granted));
            let Some(granted) = granted.filter(|_| !seen.contains(&name.group())) else {
                let value = value.escape_ascii();
                let reason = format!("Option {shown}={value} is unacceptable");
                return Err(Unacceptable { reason });
            };
            seen.push(name.group());
            options.set(name, granted);
        }
        Ok(options)
    }
}

/// Returns whether a server may grant `granted` for `requested`.
fn may_grant(name: OptionName, requested: u64, granted: u64) -> bool {
    let is_size = (MIN_BLKSIZE.into()..=requested).contains(&granted);
    match name {
        OptionName::Blksize => is_size,
        OptionName::Blksize2 => is_size && granted.is_power_of_two(),
        OptionName::Windowsize => (1..=requested).contains(&granted),
        OptionName::Timeout | OptionName::Utimeout | OptionName::Rollover => granted == requested,
        OptionName::Tsize => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<u8> {
        text.split_whitespace().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
    }

    #[test]
    fn a_client_accepts_the_requested_values_or_less() {
        let requested = RequestedOptions {
            blksize: Some(1468),
            windowsize: Some(16),
            tsize: Some(0),
            ..RequestedOptions::default()
        };
        assert_eq!(requested.encode(), list("blksize 1468 tsize 0 windowsize 16"));
        let agreed = requested.accept(&list("tsize 77 BLKSIZE 1024 windowsize 16")).unwrap();
        let expected = TransferOptions {
            blksize: 1024,
            windowsize: 16,
            tsize: Some(77),
            ..TransferOptions::default()
        };
        assert_eq!(agreed, expected);
        assert_eq!(requested.accept(b"").unwrap(), TransferOptions::default());
    }

    #[test]
    fn a_client_refuses_options_it_did_not_request() {
        let requested = RequestedOptions {
            blksize: Some(1468),
            windowsize: Some(4),
            timeout: Some(3),
            blksize2: Some(1024),
            ..RequestedOptions::default()
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
            let Unacceptable { reason } = requested.accept(&list(wrong)).unwrap_err();
            assert!(reason.starts_with("Option "), "{wrong}: {reason}");
        }
    }
}
