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

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionNames(u8);

impl OptionNames {
    /// Adds the option with this name; false if there is none.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let found = OptionName::parse(name);
        self.0 |= found.map_or(0, |name| 1 << name as u8);
        found.is_some()
    }

    pub(super) fn contains(self, name: OptionName) -> bool {
        self.0 & 1 << name as u8 != 0
    }
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
