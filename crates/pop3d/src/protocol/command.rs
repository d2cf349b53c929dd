//! A command line, and the table of commands in which it is looked up (RFC 1939 §3, RFC 2449 §3).

use crate::protocol::outcome::Outcome;
use crate::protocol::reply::err;

/// Longest command line in bytes, its CRLF included (RFC 2449 §4).
pub const MAX_COMMAND: usize = 255;

/// What may follow a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    None,
    /// A word or nothing.
    Optional,
    /// One word.
    One,
    /// Two words.
    Two,
    /// Nothing, one word or two.
    UpToTwo,
    /// All that follows the first space, spaces included: a password (RFC 1939 §7, PASS).
    Verbatim,
}

/// The arguments of a command, in the shape that the table requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<'a> {
    /// The first word, or all of a verbatim argument.
    pub first: Option<&'a [u8]>,
    /// The second word.
    pub second: Option<&'a [u8]>,
}

impl<'a> Args<'a> {
    /// Returns the first word, empty where there is none.
    #[must_use]
    pub fn word(&self) -> &'a [u8] {
        self.first.unwrap_or_default()
    }
}

/// A command of a state `S`.
pub struct Command<S> {
    /// The keyword in capitals.
    pub keyword: &'static str,
    /// What may follow it.
    pub shape: Shape,
    /// Runs it.
    pub handler: fn(&mut S, Args<'_>) -> Outcome,
}

impl<S> Command<S> {
    /// Returns a row of the table.
    pub const fn new(
        keyword: &'static str,
        shape: Shape,
        handler: fn(&mut S, Args<'_>) -> Outcome,
    ) -> Command<S> {
        Command { keyword, shape, handler }
    }
}

/// Looks a line up in the table of a state and runs its handler. `others` are the commands of the
/// other state, whose refusal says so.
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
    match arguments(command.shape, rest) {
        Ok(args) => (command.handler)(state, args),
        Err(why) => Outcome::BadCommand(err(format_args!("{}: {why}", command.keyword))),
    }
}

fn find<'t, S>(commands: &'t [Command<S>], keyword: &[u8]) -> Option<&'t Command<S>> {
    commands.iter().find(|command| command.keyword.as_bytes().eq_ignore_ascii_case(keyword))
}

/// Splits a line into the keyword and what follows the first space, if there is one.
#[must_use]
pub fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|&b| b == b' ') {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    }
}

/// Parses arguments of a shape. Accepts spaces at the end of a line, except in a password.
fn arguments(shape: Shape, rest: Option<&[u8]>) -> Result<Args<'_>, &'static str> {
    let nothing = Args { first: None, second: None };
    if shape == Shape::Verbatim {
        let text = rest.filter(|text| !text.is_empty()).ok_or("an argument is missing")?;
        return Ok(Args { first: Some(text), second: None });
    }
    let rest = rest.unwrap_or_default();
    let end = rest.iter().rposition(|&b| b != b' ').map_or(0, |last| last + 1);
    let rest = rest.get(..end).unwrap_or_default();
    if rest.iter().any(u8::is_ascii_control) {
        return Err("a control character has no place here");
    }
    let mut words = rest.split(|&b| b == b' ').filter(|_| !rest.is_empty());
    let args = Args { first: words.next(), second: words.next() };
    if args.first.is_some_and(<[u8]>::is_empty) || args.second.is_some_and(<[u8]>::is_empty) {
        return Err("one space separates arguments");
    }
    let few = "an argument is missing";
    let many = "too many arguments";
    match (shape, args.first, args.second, words.next()) {
        (_, _, _, Some(_)) => Err(many),
        (Shape::None | Shape::Optional | Shape::UpToTwo, None, _, _) => Ok(nothing),
        (Shape::None, Some(_), _, _) => Err("takes no argument"),
        (Shape::Optional | Shape::One | Shape::UpToTwo, Some(_), None, _) => Ok(args),
        (Shape::Optional | Shape::One, Some(_), Some(_), _) => Err(many),
        (Shape::Two | Shape::UpToTwo, Some(_), Some(_), _) => Ok(args),
        _ => Err(few),
    }
}

/// Parses a decimal number, digits only; `None` for anything else and for more than 64 bits.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments joined by `|`, or `!` for a line that is refused.
    fn args(shape: Shape, rest: Option<&str>) -> String {
        match arguments(shape, rest.map(str::as_bytes)) {
            Err(_) => "!".to_owned(),
            Ok(args) => {
                let words: Vec<&[u8]> = [args.first, args.second].into_iter().flatten().collect();
                words.join(&b'|').escape_ascii().to_string()
            }
        }
    }

    #[test]
    fn arguments_come_in_the_shape_of_the_table() {
        for (shape, rest, expected) in [
            (Shape::None, None, ""),
            (Shape::None, Some(""), ""),
            (Shape::None, Some("  "), ""),
            (Shape::None, Some("x"), "!"),
            (Shape::Optional, None, ""),
            (Shape::Optional, Some("1"), "1"),
            (Shape::Optional, Some("1 "), "1"),
            (Shape::Optional, Some(" 1"), "!"),
            (Shape::Optional, Some("1 2"), "!"),
            (Shape::One, None, "!"),
            (Shape::One, Some(""), "!"),
            (Shape::One, Some("a"), "a"),
            (Shape::One, Some("a b"), "!"),
            (Shape::One, Some("a\tb"), "!"),
            (Shape::Two, Some("a"), "!"),
            (Shape::Two, Some("a b"), "a|b"),
            (Shape::Two, Some("a  b"), "!"),
            (Shape::Two, Some("a b c"), "!"),
            (Shape::Verbatim, None, "!"),
            (Shape::Verbatim, Some(""), "!"),
            (Shape::Verbatim, Some(" a  b "), " a  b "),
        ] {
            assert_eq!(args(shape, rest), expected, "{shape:?} {rest:?}");
        }
    }
}
