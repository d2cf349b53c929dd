//! What front tells the process of the mailbox about the session so far: for CAPA and the log. Front may have been taken
//! over, so nothing depends on it but what its own client and the line of the log about it show.

use accounts::Mechanisms;

/// The session so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The mechanisms of AUTH that the client was offered.
    pub(super) mechanisms: Mechanisms,
    /// Whether the client has said UTF8.
    pub(super) is_utf8: bool,
    /// The version of TLS, one of [`VERSIONS`].
    pub(super) tls: &'static str,
}

/// The versions of TLS, and `none` without it.
const VERSIONS: [&str; 3] = ["none", "TLSv1.2", "TLSv1.3"];

impl Told {
    /// `description` is that of the handshake, empty without TLS.
    pub(super) fn new(mechanisms: Mechanisms, is_utf8: bool, description: &str) -> Told {
        Told { mechanisms, is_utf8, tls: version(description.as_bytes()) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Told { mechanisms, is_utf8, tls } = self;
        format!("{} {tls} {mechanisms}", if *is_utf8 { "UTF8" } else { "ASCII" }).into_bytes()
    }

    pub(super) fn decode(text: &[u8]) -> Told {
        let mut words = text.splitn(3, |byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (is_utf8, tls) = (word() == b"UTF8", version(word()));
        Told { mechanisms: Mechanisms::parse(word()), is_utf8, tls }
    }
}

/// Finds the version at the start of a text.
fn version(text: &[u8]) -> &'static str {
    VERSIONS.into_iter().find(|version| text.starts_with(version.as_bytes())).unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_odd_bytes_say_nothing() {
        for (is_utf8, description, tls) in [
            (true, "", "none"),
            (false, "TLSv1.3 TLS13_AES_128_GCM_SHA256, resumed", "TLSv1.3"),
            (true, "TLSv1.2 X", "TLSv1.2"),
        ] {
            let told = Told::new(Mechanisms::all(), is_utf8, description);
            assert_eq!((told.tls, Told::decode(&told.encode())), (tls, told));
        }
        let nothing = Told::new(Mechanisms::default(), false, "");
        for odd in [&b""[..], b"UTF", b"UTF8\nx", b" TLSv9", b"\xff \x1b[2J \n"] {
            assert_eq!(Told::decode(odd), nothing, "{}", odd.escape_ascii());
        }
    }
}
