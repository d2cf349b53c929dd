//! The file of `--config`: one option a line, as on the command line without the dashes.

use std::io::Read;
use std::path::Path;

use sys::owned_file::{Rules, open};

use crate::error::reason;
use crate::options::program::Program;
use crate::options::row::Row;
use crate::options::usage::{IS_FLAG, NO_VALUE, TWICE, UNKNOWN};

/// Longest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An option in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub(crate) name: &'static str,
    /// Empty for a flag.
    pub(crate) value: String,
    /// Where it stands: `FILE:LINE`.
    pub(crate) place: String,
}

impl Line {
    /// Reads `name value`, as on the command line without the dashes; `place` is where it stands.
    ///
    /// # Errors
    /// What is wrong with it, without the place.
    pub fn parse(rows: &[Row], text: &str, place: &str) -> Result<Line, String> {
        parse_line(text, place, |name| rows.iter().find(|row| row.name == name))
    }

    /// Returns the name of the option.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As it would stand on the command line.
    pub(crate) fn argument(&self, row: &Row) -> String {
        match row.is_flag() || row.is_optional() && self.value.is_empty() {
            true => format!("--{}", self.name),
            false => format!("--{}={}", self.name, self.value),
        }
    }
}

/// Reads a file: a regular one that only root and the user who starts the server can write.
///
/// # Errors
/// `--config 'FILE': why` where it cannot be read; `FILE:LINE: what is wrong`.
pub(crate) fn read(file: &str, program: &Program) -> Result<Vec<Line>, String> {
    let failed = |why: String| format!("--config '{}': {why}", file.escape_debug());
    let opened = open(Path::new(file), Rules::READ).map_err(|fault| failed(fault.to_string()))?;
    let mut bytes = Vec::new();
    let read = opened.file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(reason(&error)))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(format!("longer than {MAX_FILE} bytes")));
    }
    parse(&bytes, file, program)
}

/// The options of a file's text, in its order.
fn parse(bytes: &[u8], file: &str, program: &Program) -> Result<Vec<Line>, String> {
    let mut lines: Vec<Line> = Vec::new();
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    for (number, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let place = format!("{}:{number}", file.escape_debug());
        let wrong = |why: String| format!("{place}: {why}");
        let text = str::from_utf8(bytes).map_err(|_| wrong("not UTF-8".into()))?.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = parse_line(text, &place, |name| program.row(name)).map_err(wrong)?;
        let repeats = program.row(line.name).is_some_and(|row| row.repeats);
        if !repeats && lines.iter().any(|before| before.name == line.name) {
            return Err(wrong(format!("{}: {TWICE}", line.name)));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Reads one line that is neither empty nor a comment. `row` looks an option up.
fn parse_line<'a>(
    text: &str,
    place: &str,
    row: impl Fn(&str) -> Option<&'a Row>,
) -> Result<Line, String> {
    let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let value = value.trim_start();
    let said = name.escape_debug();
    let Some(found) = row(name) else {
        let known = row(name.trim_start_matches('-')).is_some();
        let hint = if known { "; names stand without dashes here" } else { "" };
        return Err(format!("{said}: {UNKNOWN}{hint}"));
    };
    let why = match (found.command_line_only, found.is_flag(), value.is_empty()) {
        (true, ..) => "for the command line only",
        (_, true, false) => IS_FLAG,
        (_, false, true) if !found.is_optional() => NO_VALUE,
        _ => {
            let (value, place) = (value.to_owned(), place.to_owned());
            return Ok(Line { name: found.name, value, place });
        }
    };
    Err(format!("{said}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::row::Row;

    const ROWS: &[Row] = &[
        Row { name: "udp", ..Row::EMPTY },
        Row { name: "domain", value: "D", repeats: true, ..Row::EMPTY },
        Row { name: "reap", value: "HOW", ..Row::EMPTY },
        Row { name: "terminal", value: "[DIR]", ..Row::EMPTY },
        Row { name: "config", value: "FILE", command_line_only: true, ..Row::EMPTY },
    ];

    fn parsed(text: &[u8]) -> Result<Vec<(&'static str, String)>, String> {
        let lines = parse(text, "f", &Program::client("x", "", ROWS))?;
        Ok(lines.into_iter().map(|line| (line.name, line.value)).collect())
    }

    #[test]
    fn an_option_a_line_with_comments_and_blanks_around() {
        let text = b"\xef\xbb\xbf# all\n\n  domain  a b # c \r\n\tudp\ndomain\tb\nreap -1";
        let expected = [("domain", "a b # c"), ("udp", ""), ("domain", "b"), ("reap", "-1")];
        assert_eq!(parsed(text).unwrap(), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_value_in_brackets_may_be_left_out() {
        assert_eq!(parsed(b"terminal").unwrap(), [("terminal", String::new())]);
        assert_eq!(parsed(b"terminal /t").unwrap(), [("terminal", "/t".to_owned())]);
        let program = Program::client("x", "", ROWS);
        for (given, value) in [
            (&["--terminal", "/t"][..], Some("/t")),
            (&["--terminal=/t"], Some("/t")),
            (&["--terminal"], None),
            (&["--terminal", "--udp"], None),
        ] {
            let args = given.iter().map(std::ffi::OsString::from).collect();
            let values = crate::options::parse("x", "", ROWS, args).unwrap();
            assert!(values.is_given("terminal"), "{given:?}");
            assert_eq!(values.text("terminal").as_deref(), value, "{given:?}");
        }
        let line = Line { name: "terminal", value: String::new(), place: String::new() };
        assert_eq!(line.argument(program.row("terminal").unwrap()), "--terminal");
    }

    #[test]
    fn an_error_names_file_and_line() {
        for (text, said) in [
            (&b"udp\nfrob 1"[..], "f:2: frob: no such option"),
            (b"--udp", "f:1: --udp: no such option; names stand without dashes here"),
            (b"domain=x", "f:1: domain=x: no such option"),
            (b"udp yes", "f:1: udp: takes no argument"),
            (b"#\n\nreap ", "f:3: reap: its argument is missing"),
            (b"reap a\nreap b", "f:2: reap: given more than once"),
            (b"config g", "f:1: config: for the command line only"),
            (b"domain \xff", "f:1: not UTF-8"),
            (b"a\x1bb", "f:1: a\\u{1b}b: no such option"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), said);
        }
    }
}
