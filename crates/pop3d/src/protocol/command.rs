//! Parses command lines and looks them up in a table of commands (RFC 1939 §3, RFC 2449 §3).

use crate::protocol::outcome::Outcome;
use crate::protocol::reply::err;

/// Longest command line in bytes, its CRLF included (RFC 2449 §4).
pub const MAX_COMMAND: usize = 255;

/// The syntax of a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// No argument.
    None,
    /// One word or none.
    Optional,
    /// One word.
    One,
    /// Two words.
    Two,
    /// Up to two words.
    UpToTwo,
    /// The text after the first space, with its spaces: a password (RFC 1939 §7, PASS).
    Verbatim,
}

/// The arguments of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<'a> {
    /// The first word, or the whole of a verbatim argument.
    pub first: Option<&'a [u8]>,
    /// The second word.
    pub second: Option<&'a [u8]>,
}

impl<'a> Args<'a> {
    /// Returns the first word, empty if there is none.
    #[must_use]
    pub fn word(&self) -> &'a [u8] {
        self.first.unwrap_or_default()
    }
}

/// A command of a state `S`.
pub struct Command<S> {
    /// The keyword in capitals.
    pub keyword: &'static str,
    /// The syntax of the arguments.
    pub syntax: Syntax,
    /// The function that executes the command.
    pub handler: fn(&mut S, Args<'_>) -> Outcome,
}

impl<S> Command<S> {
    /// Returns a row of the table.
    pub const fn new(
        keyword: &'static str,
        syntax: Syntax,
        handler: fn(&mut S, Args<'_>) -> Outcome,
    ) -> Command<S> {
        Command { keyword, syntax, handler }
    }
}

/// Looks up a line in the table of a state and runs its handler. `others` are the commands of the
/// other state, which are refused as not valid in this state.
pub fn dispatch<S, O>(
    commands: &[Command<S>],
    others: &[Command<O>],
    state: &mut S,
    line: &[u8],
) -> Outcome {
    if line.contains(&0) {
        return Outcome::BadCommand(err("a NUL has no place in a command"));
    }
    let (keyword, rest) = split(line);
    let Some(command) = find(commands, keyword) else {
        return Outcome::BadCommand(match find(others, keyword) {
            Some(known) => err(format_args!("{} is not valid in this state", known.keyword)),
            None => err("unknown command"),
        });
    };
    match arguments(command.syntax, rest) {
        Ok(args) => (command.handler)(state, args),
        Err(why) => Outcome::BadCommand(err(format_args!("{}: {why}", command.keyword))),
    }
}

fn find<'t, S>(commands: &'t [Command<S>], keyword: &[u8]) -> Option<&'t Command<S>> {
    commands.iter().find(|command| command.keyword.as_bytes().eq_ignore_ascii_case(keyword))
}

/// Splits a line into the keyword and the text after the first space, if there is one.
#[must_use]
pub fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|&b| b == b' ') {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    }
}

/// Parses the arguments. RFC 1939 §3 has one space between them; more, and those at the end of a line, are
/// taken too, except in a password, where each space counts.
fn arguments(syntax: Syntax, rest: Option<&[u8]>) -> Result<Args<'_>, &'static str> {
    let nothing = Args { first: None, second: None };
    if syntax == Syntax::Verbatim {
        let text = rest.filter(|text| !text.is_empty()).ok_or("an argument is missing")?;
        return Ok(Args { first: Some(text), second: None });
    }
    let rest = rest.unwrap_or_default();
    if rest.iter().any(u8::is_ascii_control) {
        return Err("a control character has no place here");
    }
    let mut words = rest.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let args = Args { first: words.next(), second: words.next() };
    let too_few = "an argument is missing";
    let too_many = "too many arguments";
    match (syntax, args.first, args.second, words.next()) {
        (_, _, _, Some(_)) => Err(too_many),
        (Syntax::None | Syntax::Optional | Syntax::UpToTwo, None, _, _) => Ok(nothing),
        (Syntax::None, Some(_), _, _) => Err("takes no argument"),
        (Syntax::Optional | Syntax::One | Syntax::UpToTwo, Some(_), None, _) => Ok(args),
        (Syntax::Optional | Syntax::One, Some(_), Some(_), _) => Err(too_many),
        (Syntax::Two | Syntax::UpToTwo, Some(_), Some(_), _) => Ok(args),
        _ => Err(too_few),
    }
}

/// Parses a decimal number of digits only. `None` for other text and for more than 64 bits.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the arguments joined by `|`, or `!` for a refused line.
    fn args(syntax: Syntax, rest: Option<&str>) -> String {
        match arguments(syntax, rest.map(str::as_bytes)) {
            Err(_) => "!".to_owned(),
            Ok(args) => {
                let words: Vec<&[u8]> = [args.first, args.second].into_iter().flatten().collect();
                words.join(&b'|').escape_ascii().to_string()
            }
        }
    }

    #[test]
    fn the_number_of_arguments_is_checked() {
        for (syntax, rest, expected) in [
            (Syntax::None, None, ""),
            (Syntax::None, Some(""), ""),
            (Syntax::None, Some("  "), ""),
            (Syntax::None, Some("x"), "!"),
            (Syntax::Optional, None, ""),
            (Syntax::Optional, Some("1"), "1"),
            (Syntax::Optional, Some("1 "), "1"),
            (Syntax::Optional, Some("  1  "), "1"),
            (Syntax::Optional, Some("1 2"), "!"),
            (Syntax::One, None, "!"),
            (Syntax::One, Some(""), "!"),
            (Syntax::One, Some("a"), "a"),
            (Syntax::One, Some("a b"), "!"),
            (Syntax::One, Some("a\tb"), "!"),
            (Syntax::Two, Some("a"), "!"),
            (Syntax::Two, Some("a b"), "a|b"),
            (Syntax::Two, Some("  a   b "), "a|b"),
            (Syntax::Two, Some("a\tb"), "!"),
            (Syntax::Two, Some("a b c"), "!"),
            (Syntax::Verbatim, None, "!"),
            (Syntax::Verbatim, Some(""), "!"),
            (Syntax::Verbatim, Some(" a  b "), " a  b "),
        ] {
            assert_eq!(args(syntax, rest), expected, "{syntax:?} {rest:?}");
        }
    }
}
