//! The command lines of programs that take more than an address: words, and options with a value.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::arguments::inet_pton;
use crate::error::{Failure, Result, err_quit, err_usage};

/// A parsed command line.
#[derive(Debug)]
pub struct Words<const N: usize> {
    /// The arguments that are no options, in their order.
    pub words: Vec<String>,
    options: [(&'static str, Option<String>); N],
    usage: String,
}

/// Parses the command line; each of the options has a value, as `--lose 3`.
///
/// # Errors
/// An unknown option, or one without its value: the failure's text is `usage`.
pub fn words<const N: usize>(options: [&'static str; N], usage: &str) -> Result<Words<N>> {
    parse(std::env::args().skip(1), options, usage)
}

fn parse<const N: usize>(
    mut arguments: impl Iterator<Item = String>,
    options: [&'static str; N],
    usage: &str,
) -> Result<Words<N>> {
    let options = options.map(|name| (name, None));
    let mut line = Words { words: Vec::new(), options, usage: usage.to_owned() };
    while let Some(argument) = arguments.next() {
        match line.options.iter_mut().find(|(name, _)| *name == argument) {
            Some((_, value)) => *value = Some(arguments.next().ok_or_else(|| err_usage(usage))?),
            None if argument.starts_with("--") => return Err(err_usage(usage)),
            None => line.words.push(argument),
        }
    }
    Ok(line)
}

impl<const N: usize> Words<N> {
    /// Returns the value of an option that was given.
    ///
    /// # Errors
    /// It cannot be read: the failure names option and value.
    pub fn value<V: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<V>> {
        let option = self.options.iter().find(|(option, _)| *option == name);
        let Some(text) = option.and_then(|(_, value)| value.as_ref()) else { return Ok(None) };
        text.parse().map(Some).map_err(|why| err_quit(format!("{name} '{text}': {why}")))
    }

    /// Returns the value of an option that is a time in seconds, with a fraction or without, from a
    /// millisecond to an hour; or `otherwise`.
    ///
    /// # Errors
    /// As [`Words::value`].
    pub fn seconds(&self, name: &str, otherwise: f64) -> Result<Duration> {
        match self.value(name)?.unwrap_or(otherwise) {
            seconds if (0.001..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            seconds => Err(err_quit(format!("{name} '{seconds}': not from 0.001 to 3600"))),
        }
    }

    /// Returns the only word, an address with or without a port; `None` where there is no word.
    ///
    /// # Errors
    /// It is no address, or not the only word: the failure's text is the usage.
    pub fn address(&self) -> Result<Option<SocketAddr>> {
        match self.words.as_slice() {
            [] => Ok(None),
            [word] => inet_pton(word, &self.usage).map(Some),
            _ => Err(self.wrong()),
        }
    }

    /// Makes the failure of a wrong command line, the usage.
    #[must_use]
    pub fn wrong(&self) -> Failure {
        err_usage(&self.usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Words<2>> {
        parse(arguments.iter().map(ToString::to_string), ["--lose", "--wait"], "usage: x")
    }

    #[test]
    fn options_have_values_and_what_is_left_are_words() {
        let line = parsed(&["127.0.0.1", "--lose", "3"]).unwrap();
        assert_eq!(line.value("--lose").unwrap(), Some(3));
        assert_eq!(line.value::<u8>("--wait").unwrap(), None);
        assert_eq!(line.address().unwrap(), "127.0.0.1:9877".parse().ok());
        assert_eq!(parsed(&[]).unwrap().address().unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(parsed(&["--lose"]).unwrap_err().to_string(), "usage: x");
        assert_eq!(parsed(&["--win", "3"]).unwrap_err().to_string(), "usage: x");
        assert_eq!(parsed(&["::1", "::2"]).unwrap().address().unwrap_err().to_string(), "usage: x");
        let error = parsed(&["--wait", "0"]).unwrap().seconds("--wait", 2.0).unwrap_err();
        assert_eq!(error.to_string(), "--wait '0': not from 0.001 to 3600");
        let error = parsed(&["--lose", "x"]).unwrap().value::<u8>("--lose").unwrap_err();
        assert_eq!(error.to_string(), "--lose 'x': invalid digit found in string");
    }
}
