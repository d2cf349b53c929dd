//! The names of the options that both ends know.

/// An option that both ends know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionName {
    Blksize,
    Blksize2,
    Tsize,
    Timeout,
    Utimeout,
    Windowsize,
    Rollover,
}

impl OptionName {
    /// All of them, in the order in which a request lists them.
    pub(super) const ALL: [(&'static str, OptionName); 7] = [
        ("blksize", OptionName::Blksize),
        ("blksize2", OptionName::Blksize2),
        ("tsize", OptionName::Tsize),
        ("timeout", OptionName::Timeout),
        ("utimeout", OptionName::Utimeout),
        ("windowsize", OptionName::Windowsize),
        ("rollover", OptionName::Rollover),
    ];

    /// Reads a name in upper or lower case (RFC 2347).
    pub(super) fn parse(name: &[u8]) -> Option<OptionName> {
        let matches = |(text, _): &&(&str, OptionName)| name.eq_ignore_ascii_case(text.as_bytes());
        OptionName::ALL.iter().find(matches).map(|(_, name)| *name)
    }

    /// Returns the option that stands for a group of which only one may be granted: `blksize` and
    /// `blksize2`, `timeout` and `utimeout`.
    pub(super) fn group(self) -> OptionName {
        match self {
            OptionName::Blksize2 => OptionName::Blksize,
            OptionName::Utimeout => OptionName::Timeout,
            other => other,
        }
    }
}
