//! The values of options, checked: an error names the option, its value and what is wrong, and where the
//! value stands in a file.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use getopts::Matches;

use crate::error::{Error, Result, reason};
use crate::options::config_file::Line;
use crate::options::program::Program;
use crate::options::usage::REQUIRED;

/// No time-out is longer than a day: what is more is a slip of the keyboard.
pub(crate) const MAX_SECONDS: f64 = 86_400.0;

/// What a command line says, with the defaults of the rows and the lines of `--config`.
#[derive(Debug)]
pub struct Values {
    pub(crate) program: Program,
    pub(crate) matches: Matches,
    /// The lines of the file that hold.
    pub(crate) lines: Vec<Line>,
    /// Under `--check` a wrong command line ends like any other fault, with exit code 1.
    pub(crate) checks: bool,
}

impl Values {
    /// The name of the program.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program.name
    }

    /// Whether the program has an option of this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.program.row(name).is_some()
    }

    /// True where a flag, or an option with a value, is given.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.knows(name) && self.matches.opt_present(name)
    }

    /// True where an option is given, and not by a line of a file.
    #[must_use]
    pub fn is_on_command_line(&self, name: &str) -> bool {
        self.is_given(name) && !self.lines.iter().any(|line| line.name == name)
    }

    /// How many times an option is given.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        if self.knows(name) { self.matches.opt_count(name) } else { 0 }
    }

    /// The value of an option, or its default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let given = self.knows(name).then(|| self.matches.opt_str(name)).flatten();
        given.or_else(|| self.program.preset(name))
    }

    /// The values of an option that may be given several times, or its default alone.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let given = if self.knows(name) { self.matches.opt_strs(name) } else { Vec::new() };
        match given {
            none if none.is_empty() => self.program.preset(name).into_iter().collect(),
            some => some,
        }
    }

    /// The arguments that are no options.
    #[must_use]
    pub fn operands(&self) -> &[String] {
        &self.matches.free
    }

    /// The value of an option that takes one of the words of its row; the default where it is not given.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option, its value and the words.
    pub fn choice(&self, name: &str) -> Result<&'static str> {
        let text = self.text(name).ok_or_else(|| self.missing(name))?;
        let choices = self.program.row(name).map_or(&[][..], |row| row.choices);
        let chosen = choices.iter().find(|choice| **choice == text).copied();
        chosen.ok_or_else(|| self.wrong(name, &text, format!("not {}", listed(choices))))
    }

    /// The value of an option that has a form of its own, if it is given.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option, its value and what [`FromStr`] says.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|why: T::Err| self.wrong(name, &text, why))
    }

    /// The value of an option that takes a whole number within `range`, or its default.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option, its value and the range, or that it must be given.
    pub fn number<N>(&self, name: &str, range: RangeInclusive<N>) -> Result<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        self.number_if_given(name, range)?.ok_or_else(|| self.missing(name))
    }

    /// As [`Values::number`]; none where the option is not given and has no default.
    ///
    /// # Errors
    /// As [`Values::number`].
    pub fn number_if_given<N>(&self, name: &str, range: RangeInclusive<N>) -> Result<Option<N>>
    where
        N: FromStr + PartialOrd + Display,
    {
        self.within(name, range, "not a whole number")
    }

    /// The value of an option that takes a time in seconds, with a fraction or without, from a
    /// millisecond to a day; or its default.
    ///
    /// # Errors
    /// As [`Values::number`].
    pub fn seconds(&self, name: &str) -> Result<Duration> {
        self.seconds_if_given(name)?.ok_or_else(|| self.missing(name))
    }

    /// As [`Values::seconds`]; none where the option is not given and has no default.
    ///
    /// # Errors
    /// As [`Values::number`].
    pub fn seconds_if_given(&self, name: &str) -> Result<Option<Duration>> {
        self.seconds_within(name, 0.001..=MAX_SECONDS)
    }

    /// As [`Values::seconds_if_given`], within a range of seconds of its own.
    ///
    /// # Errors
    /// As [`Values::number`].
    pub fn seconds_within(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<Duration>> {
        Ok(self.within(name, range, "not a number of seconds")?.map(Duration::from_secs_f64))
    }

    /// A path, made absolute, because `--daemon` changes to `/` before it is used; or the default.
    ///
    /// # Errors
    /// The path is empty, or there is no current folder.
    pub fn path(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let path = std::path::absolute(Path::new(&text));
        path.map(Some).map_err(|error| self.wrong(name, &text, reason(&error)))
    }

    /// The error for an option whose value is wrong: `--name 'text': why`, after the place in the file
    /// where it stands.
    #[must_use]
    pub fn wrong(&self, name: &str, text: &str, why: impl Display) -> Error {
        self.at(name, text, format!("'{}': {why}", text.escape_debug()))
    }

    /// As [`Values::wrong`], for a complaint that names the value itself: `--name complaint`.
    #[must_use]
    pub fn at(&self, name: &str, text: &str, complaint: impl Display) -> Error {
        let given = self.lines.iter().find(|line| line.name == name && line.value == text);
        let place = given.map(|line| format!("{}: ", line.place)).unwrap_or_default();
        self.error(format!("{place}--{name} {complaint}"))
    }

    /// The error for options that do not go together, after the place in the file where the last of these stands.
    #[must_use]
    pub fn conflict(&self, names: &[&str], text: impl Display) -> Error {
        let line = self.lines.iter().rfind(|line| names.contains(&line.name));
        let place = line.map(|line| format!("{}: ", line.place)).unwrap_or_default();
        self.error(format!("{place}{text}"))
    }

    /// The error for a wrong command line.
    #[must_use]
    pub fn error(&self, text: impl Into<String>) -> Error {
        if self.checks { Error::Refused(text.into()) } else { Error::Usage(text.into()) }
    }

    fn missing(&self, name: &str) -> Error {
        self.error(format!("--{name}: {REQUIRED}"))
    }

    fn within<N>(&self, name: &str, range: RangeInclusive<N>, complaint: &str) -> Result<Option<N>>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().ok().filter(|value| range.contains(value)).map(Some).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            self.wrong(name, &text, format!("{complaint} from {low} to {high}"))
        })
    }
}

/// `busy, queue or silent`.
fn listed(words: &[&str]) -> String {
    match words {
        [some @ .., before, last] => {
            let some: String = some.iter().map(|word| format!("{word}, ")).collect();
            format!("{some}{before} or {last}")
        }
        few => few.concat(),
    }
}
