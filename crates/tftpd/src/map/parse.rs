//! Parses the file of `--map`.

use regex::bytes::{Regex, RegexBuilder};

use super::rules::{Action, Names, Rule};
use super::template::Template;
use crate::wire::request::Direction;
use forknet::Network;

/// Most rules in a file. The limit bounds the time per request, because each request passes through
/// all rules.
const MAX_RULES: usize = 1000;
/// Largest compiled pattern in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// Parses all rules of a file, in order.
///
/// # Errors
/// `line 3: prefix: NEW is missing`.
pub(super) fn rules(text: &[u8]) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let text = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned());
        let rule = text.and_then(|text| rule(text, number));
        rules.extend(rule.map_err(|why| format!("line {number}: {why}"))?);
        if rules.len() > MAX_RULES {
            return Err(format!("line {number}: more than {MAX_RULES} rules"));
        }
    }
    Ok(rules)
}

/// Parses one line. Returns `None` if it is empty or a comment.
fn rule(line: &str, number: usize) -> Result<Option<Rule>, String> {
    let mut words = Words(line);
    let (mut direction, mut from) = (None, None);
    loop {
        let Some(word) = words.next()? else {
            return match (direction, from) {
                (None, None) => Ok(None),
                _ => Err("no rule after the condition".into()),
            };
        };
        match word {
            "get" | "put" if direction.is_some() => {
                return Err(format!("{word}: only one of get and put"));
            }
            "from" if from.is_some() => return Err("from: only one network".into()),
            "get" => direction = Some(Direction::Read),
            "put" => direction = Some(Direction::Write),
            "from" => {
                let network = words.argument("from", "NETWORK")?;
                let parsed = Network::parse(network);
                let shown = network.escape_debug();
                from = Some(parsed.ok_or(format!("from '{shown}': not an address or network"))?);
            }
            name => {
                let action = action(name, &mut words)?;
                return match words.next()? {
                    Some(more) => Err(format!("{name}: unexpected '{}'", more.escape_debug())),
                    None => {
                        let text = line.trim().to_owned();
                        Ok(Some(Rule { direction, from, action, line: number, text }))
                    }
                };
            }
        }
    }
}

fn action(name: &str, words: &mut Words<'_>) -> Result<Action, String> {
    let named = |why: String| format!("{name}: {why}");
    Ok(match name {
        "slash" => Action::Slash,
        "lower" => Action::Lower,
        "upper" => Action::Upper,
        "prefix" => {
            let old = words.argument(name, "OLD")?.into();
            let new = words.argument(name, "NEW")?;
            Action::Prefix { old, new: Template::parse(new, None).map_err(named)? }
        }
        "regex" | "regex-all" => {
            let pattern = pattern(words.argument(name, "PATTERN")?).map_err(named)?;
            let new = words.argument(name, "NEW")?;
            let new = Template::parse(new, Some(&pattern)).map_err(named)?;
            Action::Regex { pattern, new, all: name == "regex-all" }
        }
        "try" => {
            let new = words.argument(name, "NEW")?;
            Action::Try(Template::parse(new, None).map_err(named)?)
        }
        "stop" => Action::Stop(names(words, name)?),
        "deny" => Action::Deny(names(words, name)?),
        other => return Err(format!("no such rule '{}'", other.escape_debug())),
    })
}

/// Parses `PATTERN` or `not PATTERN`.
fn names(words: &mut Words<'_>, rule: &str) -> Result<Names, String> {
    let first = words.argument(rule, "PATTERN")?;
    let second = if first == "not" { words.next()? } else { None };
    let pattern = pattern(second.unwrap_or(first)).map_err(|why| format!("{rule}: {why}"))?;
    Ok(Names { pattern, is_inverse: second.is_some() })
}

/// Compiles a pattern over bytes: `.` matches any byte, and letters are ASCII letters.
fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| {
            // The regex crate's message shows the pattern first. The last line has the reason.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
        })
}

/// The words of a line, separated by blanks. A quoted word may contain blanks. `#` begins a
/// comment.
struct Words<'l>(&'l str);

impl<'l> Words<'l> {
    fn next(&mut self) -> Result<Option<&'l str>, String> {
        let rest = self.0.trim_ascii_start();
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(None);
        }
        let (word, after) = match rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            Some(quote) => rest
                .get(1..)
                .and_then(|rest| rest.split_once(quote))
                .filter(|(_, after)| after.is_empty() || after.starts_with([' ', '\t', '\r']))
                .ok_or_else(|| format!("{quote} is not closed"))?,
            None => {
                rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len()))
            }
        };
        self.0 = after;
        Ok(Some(word))
    }

    fn argument(&mut self, rule: &str, what: &str) -> Result<&'l str, String> {
        self.next()?.ok_or_else(|| format!("{rule}: {what} is missing"))
    }
}
