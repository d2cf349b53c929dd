//! A command line and the table it is looked up in (RFC 1939 §3, RFC 2449 §3).

use crate::protocol::Outcome;
use crate::reply::err;

/// The longest command line, its CRLF included (RFC 2449 §4).
pub const LINE_LIMIT: usize = 255;

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
    /// All that follows the space, spaces included: a password (RFC 1939 §7, PASS).
    Verbatim,
}

/// What follows a keyword, in the shape that the table asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<'a> {
    /// The first word, or all of a verbatim argument.
    pub first: Option<&'a [u8]>,
    /// The second word.
    pub second: Option<&'a [u8]>,
}

impl<'a> Args<'a> {
    /// The first word of a command that has one; empty for one that has none.
    #[must_use]
    pub fn word(&self) -> &'a [u8] {
        self.first.unwrap_or_default()
    }
}

/// A line of a state's table.
pub struct Entry<S> {
    /// The keyword in capitals.
    pub keyword: &'static str,
    /// What may follow it.
    pub shape: Shape,
    /// What it does.
    pub run: fn(&mut S, Args<'_>) -> Outcome,
}

/// Looks a line up in a state's table and runs it. `elsewhere` are keywords of another state.
pub fn dispatch<S>(table: &[Entry<S>], elsewhere: &[&str], state: &mut S, line: &[u8]) -> Outcome {
    if line.contains(&0) {
        return Outcome::Bad(err("a NUL has no place in a command"));
    }
    let (keyword, rest) = split(line);
    let same = |known: &str| known.as_bytes().eq_ignore_ascii_case(keyword);
    let Some(entry) = table.iter().find(|entry| same(entry.keyword)) else {
        return Outcome::Bad(match elsewhere.iter().find(|known| same(known)) {
            Some(known) => err(format_args!("{known} is not valid in this state")),
            None => err("unknown command"),
        });
    };
    match arguments(entry.shape, rest) {
        Ok(args) => (entry.run)(state, args),
        Err(why) => Outcome::Bad(err(format_args!("{}: {why}", entry.keyword))),
    }
}

/// A keyword and what stands behind the space after it, if there is a space.
#[must_use]
pub fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|&b| b == b' ') {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    }
}

/// The arguments in their shape. Spaces at the end of a line are forgiven, except in a password.
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

/// A decimal number, digits only; none for anything else or for one beyond 64 bits.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// What stands in a transcript for a secret.
pub const STARS: &[u8] = b"********";

/// A line as it may stand in a transcript: without what only the client and the server may know.
/// Mistyped lines have their secret too, so that the keyword needs no right space around it.
#[must_use]
pub fn masked(line: &[u8]) -> Vec<u8> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = line.iter().position(|b| !blank(b)).unwrap_or(0);
    let text = line.get(start..).unwrap_or_default();
    let Some((keyword, rest)) = text.split_at_checked(4) else { return line.to_vec() };
    let is = |known: &[u8]| keyword.eq_ignore_ascii_case(known);
    if is(b"PASS") && !rest.is_empty() {
        return [keyword, STARS].join(&b' ');
    }
    if is(b"APOP") || is(b"AUTH") {
        let mut words = rest.split(blank).filter(|word| !word.is_empty());
        // The name, or the mechanism, may be seen.
        let mut shown: Vec<&[u8]> = [Some(keyword), words.next()].into_iter().flatten().collect();
        shown.extend(words.next().map(|_| STARS));
        return shown.join(&b' ');
    }
    line.to_vec()
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

    #[test]
    fn secrets_are_masked() {
        for (line, shown) in [
            ("PASS a b", "PASS ********"),
            ("pass x", "pass ********"),
            ("  PASS x", "PASS ********"),
            ("PASS", "PASS"),
            ("APOP bob 0123", "APOP bob ********"),
            ("APOP bob", "APOP bob"),
            ("PASS\tx", "PASS ********"),
            ("\tpAsS:x", "pAsS ********"),
            ("PASS  ", "PASS ********"),
            ("apop  bob\t0123 4", "apop bob ********"),
            ("APOP\tbob 0123", "APOP bob ********"),
            ("AUTH PLAIN AGJvYgB4", "AUTH PLAIN ********"),
            ("auth", "auth"),
            ("PAS", "PAS"),
            ("USER PASS", "USER PASS"),
            ("", ""),
        ] {
            assert_eq!(masked(line.as_bytes()), shown.as_bytes(), "{line}");
        }
    }
}
