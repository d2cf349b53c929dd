//! The names of the supported options.

/// A supported option.
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
    /// All options, in the order of a request.
    pub(super) const ALL: [(&'static str, OptionName); 7] = [
        ("blksize", OptionName::Blksize),
        ("blksize2", OptionName::Blksize2),
        ("tsize", OptionName::Tsize),
        ("timeout", OptionName::Timeout),
        ("utimeout", OptionName::Utimeout),
        ("windowsize", OptionName::Windowsize),
        ("rollover", OptionName::Rollover),
    ];

    /// Parses a name, ignoring ASCII case (RFC 2347).
    pub(super) fn parse(name: &[u8]) -> Option<OptionName> {
        let matches = |(text, _): &&(&str, OptionName)| name.eq_ignore_ascii_case(text.as_bytes());
        OptionName::ALL.iter().find(matches).map(|(_, name)| *name)
    }

    /// Returns the option that represents a group of alternatives, of which only one may be
    /// granted: `blksize` and `blksize2`, `timeout` and `utimeout`.
    pub(super) fn group(self) -> OptionName {
        match self {
            OptionName::Blksize2 => OptionName::Blksize,
            OptionName::Utimeout => OptionName::Timeout,
            other => other,
        }
    }
}
