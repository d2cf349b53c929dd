//! One option, told once: getopts, `--help`, the manual page, the guide and the completions of shells all
//! come from its row.

use getopts::Options;

/// An option of a program.
///
/// `help` and `manual` are texts without the default, which is added to both. `manual` is in the markup of
/// `options/markup.rs`: `` `--over busy` `` for what is typed, `<n>` for the value, `listen(2)` for
/// another page. A word in braces, such as `{port}`, is replaced by what the service says.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The long name, without its dashes.
    pub name: &'static str,
    /// The letter, or nothing.
    pub short: &'static str,
    /// What the value is called in `--help`, such as `FILE`; in brackets where it may be left out, such as `[DIR]`;
    /// nothing for a flag.
    pub value: &'static str,
    /// What holds when the option is not given.
    pub default: Preset,
    /// The words that the value may be, where these are few.
    pub choices: &'static [&'static str],
    /// May be given several times; each adds.
    pub repeats: bool,
    /// The name of another option that cannot stand beside this one.
    pub excludes: &'static str,
    /// Cannot stand in a file of `--config`.
    pub command_line_only: bool,
    /// One line for `--help`.
    pub help: &'static str,
    /// What the manual page says.
    pub manual: &'static str,
}

/// What holds when an option is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Nothing, or what the texts tell.
    Unset,
    /// This value, as it would stand on the command line.
    Value(&'static str),
    /// A rule, in the words of [`Row::manual`]'s markup.
    Rule(&'static str),
    /// The option must be given.
    Required,
}

/// The options of one daemon beside those that every daemon has.
#[derive(Clone, Copy, Debug)]
pub struct OwnOptions {
    /// Its own rows.
    pub rows: &'static [Row],
    /// What the manual page adds to common options: the name of the option, and what stands in place of
    /// `{own}` in its text.
    pub notes: &'static [(&'static str, &'static str)],
}

impl OwnOptions {
    /// No options of its own.
    pub const NONE: OwnOptions = OwnOptions { rows: &[], notes: &[] };
}

impl Row {
    /// What a row is where it says nothing.
    pub const EMPTY: Row = Row {
        name: "",
        short: "",
        value: "",
        default: Preset::Unset,
        choices: &[],
        repeats: false,
        excludes: "",
        command_line_only: false,
        help: "",
        manual: "",
    };

    /// True for an option without a value.
    pub(crate) fn is_flag(&self) -> bool {
        self.value.is_empty()
    }

    /// True for an option whose value may be left out.
    pub(crate) fn is_optional(&self) -> bool {
        self.value.starts_with('[')
    }

    /// What the value is called, without brackets.
    pub(crate) fn word(&self) -> &'static str {
        let inner = self.value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        inner.unwrap_or(self.value)
    }

    /// The shorter of the names, as `-l` or `--listen`.
    pub(crate) fn brief(&self) -> String {
        if self.short.is_empty() { format!("--{}", self.name) } else { format!("-{}", self.short) }
    }

    /// Tells getopts of the option.
    pub(crate) fn declare(&self, options: &mut Options, help: &str) {
        let (short, name, value) = (self.short, self.name, self.value);
        match (self.is_flag(), self.repeats) {
            _ if self.is_optional() => options.optflagopt(short, name, help, self.word()),
            (true, false) => options.optflag(short, name, help),
            (true, true) => options.optflagmulti(short, name, help),
            (false, false) => options.optopt(short, name, help, value),
            (false, true) => options.optmulti(short, name, help, value),
        };
    }
}
