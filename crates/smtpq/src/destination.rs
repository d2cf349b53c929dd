//! Where letters go: a destination is what one process is for at a time.

use std::borrow::Borrow;
use std::fmt;
use std::rc::Rc;

use forknet::in_title;

use crate::options::Config;

/// What the relay host is called among the destinations.
const RELAY: &[u8] = b"relay host";

/// A destination: the domain of recipients, in lower case; the relay host; or the author, who is notified of what has become of
/// a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(Rc<[u8]>);

impl Destination {
    /// Returns the destination of a recipient's address.
    #[must_use]
    pub fn of(address: &[u8], config: &Config) -> Destination {
        if config.relayhost.is_some() {
            return Destination(RELAY.into());
        }
        let at = address.iter().rposition(|&byte| byte == b'@').map_or(address.len(), |at| at + 1);
        let domain = address.get(at..).unwrap_or_default().to_ascii_lowercase();
        // An address without a domain goes to no host, and is found to be wrong there.
        Destination(if domain.is_empty() { b"@".as_slice().into() } else { domain.into() })
    }

    /// Returns the one that stands for the author.
    #[must_use]
    pub fn author() -> Destination {
        Destination(Rc::from([].as_slice()))
    }

    /// Whether it stands for the author.
    #[must_use]
    pub fn is_author(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the domain as it stands in addresses.
    #[must_use]
    pub fn domain(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Borrow<[u8]> for Destination {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_author() {
            true => f.write_str("the author"),
            false => f.write_str(&in_title(&self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::config;

    #[test]
    fn a_domain_is_one_destination_however_it_is_written() {
        let config = config(&[]).unwrap();
        let of = |address: &[u8]| Destination::of(address, &config);
        assert_eq!(of(b"levy@Red.TEST"), of(b"\"a@b\"@red.test"));
        assert_ne!(of(b"levy@red.test"), of(b"levy@blue.test"));
        assert_eq!(of(b"a@[192.0.2.7]").to_string(), "[192.0.2.7]");
        for odd in [&b""[..], b"levy", b"levy@"] {
            assert!(!of(odd).is_author(), "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn with_a_relay_host_there_is_one_destination() {
        let config = config(&["--relayhost", "mx.test"]).unwrap();
        assert_eq!(Destination::of(b"a@b.test", &config), Destination::of(b"c@d.test", &config));
    }
}
