//! The values of options, checked: an error names the option, its value and what is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use getopts::Matches;

use crate::error::{Error, Result};

/// No time-out is longer than a day: what is more is a slip of the keyboard.
pub(crate) const MAX_SECONDS: f64 = 86_400.0;

/// The value of an option that takes one of a few words, or a form of its own.
pub(crate) fn word<W: FromStr<Err = &'static str>>(
    matches: &Matches,
    name: &str,
) -> Result<Option<W>> {
    let Some(text) = matches.opt_str(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|why| Error::Usage(format!("--{name} '{text}': {why}")))
}

/// The value of an option that takes a whole number within `range`, if it is given.
///
/// # Errors
/// [`Error::Usage`] names the option, its value and the range.
pub fn number<N>(matches: &Matches, name: &str, range: RangeInclusive<N>) -> Result<Option<N>>
where
    N: FromStr + PartialOrd + Display,
{
    value(matches, name, range, "not a whole number")
}

/// The value of an option that takes a time-out in seconds, with a fraction or without, from a
/// millisecond to a day, if it is given.
///
/// # Errors
/// As [`number`].
pub fn seconds(matches: &Matches, name: &str) -> Result<Option<Duration>> {
    seconds_within(matches, name, 0.001..=MAX_SECONDS)
}

/// As [`seconds`], within a range of seconds of its own.
///
/// # Errors
/// As [`number`].
pub fn seconds_within(
    matches: &Matches,
    name: &str,
    range: RangeInclusive<f64>,
) -> Result<Option<Duration>> {
    Ok(value(matches, name, range, "not a number of seconds")?.map(Duration::from_secs_f64))
}

fn value<N>(
    matches: &Matches,
    name: &str,
    range: RangeInclusive<N>,
    complaint: &str,
) -> Result<Option<N>>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(text) = matches.opt_str(name) else { return Ok(None) };
    text.parse().ok().filter(|value| range.contains(value)).map(Some).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Error::Usage(format!("--{name} '{text}': {complaint} from {low} to {high}"))
    })
}

/// A path, made absolute: `--daemon` changes to `/` before it is used.
pub(crate) fn path(matches: &Matches, name: &str) -> Result<Option<PathBuf>> {
    let Some(text) = matches.opt_str(name) else { return Ok(None) };
    std::path::absolute(Path::new(&text)).map(Some).map_err(Error::io(format!("--{name} '{text}'")))
}
