//! The markup of manual texts, made into mdoc(7).
//!
//! | written | meant |
//! | --- | --- |
//! | `` `--over busy` ``, `` `queue` ``, `` `/dev/log` `` | an option, a word to type, a path |
//! | `<n>`, also within the above | a value |
//! | `"too many"`, `'nobody'` | quoted |
//! | `listen(2)`, `SIGHUP` | another page, a signal |
//! | `{Va net.core.somaxconn}` | a macro of mdoc(7) by its name |
//! | an empty line | a new paragraph |

use std::fmt::Write;

/// Longest line of a text in the source, in columns.
const COLUMNS: usize = 79;
/// What mdoc(7) sets without a space before it when it stands alone in a macro's line.
const CLOSING: &str = ".,:;)]?!";

/// A part of a word.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A macro and its arguments.
    Macro(String),
}
use Piece::{Macro, Text};

/// The source in mdoc(7) of a text, each line with its line end.
pub(crate) fn mdoc(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(paragraph);
    paragraphs.collect::<Vec<_>>().join(".Pp\n")
}

fn paragraph(text: &str) -> String {
    let (mut source, mut line) = (String::new(), String::new());
    for word in words(text) {
        if let [Text(text)] = word.as_slice() {
            if line.chars().count() + text.chars().count() + 1 > COLUMNS {
                end_line(&mut source, &mut line);
            }
            line.extend((!line.is_empty()).then_some(' '));
            line += &escaped(text);
            if text.trim_end_matches(')').ends_with(['.', '?', '!']) {
                end_line(&mut source, &mut line); // a sentence ends its line
            }
        } else {
            end_line(&mut source, &mut line);
            let _ = writeln!(source, ".{}", macro_line(&word)); // a String takes all
        }
    }
    end_line(&mut source, &mut line);
    source
}

fn end_line(source: &mut String, line: &mut String) {
    if !line.is_empty() {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(source, "{guard}{line}"); // a String takes all
        line.clear();
    }
}

/// The words of a text; what is marked may hold blanks.
fn words(text: &str) -> Vec<Vec<Piece>> {
    let mut all = Vec::new();
    let mut word: Vec<Piece> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        let is_start = matches!(word.as_slice(), [] | [Text(_)])
            && word.iter().all(|piece| matches!(piece, Text(text) if text == "("));
        let end = match c {
            '`' => Some('`'),
            '<' => Some('>'),
            '"' => Some('"'),
            '\'' if is_start => Some('\''),
            '{' => Some('}'),
            _ => None,
        };
        match end.and_then(|end| rest.split_once(end)) {
            Some((inner, after)) => {
                rest = after;
                word.extend(marked(c, inner));
            }
            None if c.is_whitespace() => all.extend(finished(std::mem::take(&mut word))),
            None => match word.last_mut() {
                Some(Text(text)) => text.push(c),
                _ => word.push(Text(c.into())),
            },
        }
    }
    all.extend(finished(word));
    all
}

/// A word that is complete; one that names a page or a signal is marked.
fn finished(word: Vec<Piece>) -> Option<Vec<Piece>> {
    let [Text(text)] = word.as_slice() else { return (!word.is_empty()).then_some(word) };
    let Some((made, end)) = signal(text).or_else(|| page(text)) else { return Some(word) };
    let end = Some(end).filter(|end| !end.is_empty());
    Some([Macro(made)].into_iter().chain(end.map(|end| Text(end.to_owned()))).collect())
}

/// `SIGHUP,` and what follows the name.
fn signal(text: &str) -> Option<(String, &str)> {
    let name = text.trim_end_matches(|c| CLOSING.contains(c));
    let is_name = name.len() > 3
        && name.starts_with("SIG")
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_name.then_some((format!("Dv {name}"), text.get(name.len()..).unwrap_or_default()))
}

/// `listen(2),` and what follows.
fn page(text: &str) -> Option<(String, &str)> {
    let (name, rest) = text.split_once('(')?;
    let (section, end) = rest.split_once(')')?;
    let is_page = section.len() == 1 && section.starts_with(|c: char| c.is_ascii_digit());
    (is_page && !name.is_empty()).then_some((format!("Xr {name} {section}"), end))
}

fn marked(mark: char, inner: &str) -> Vec<Piece> {
    let piece = match mark {
        '`' => typed(inner),
        '<' => format!("Ar {}", arguments(inner)),
        '"' => format!("Dq {}", arguments(inner)),
        '\'' => format!("Sq {}", arguments(inner)),
        _ => inner.to_owned(),
    };
    vec![Macro(piece)]
}

/// What is typed: options, paths, and other words.
fn typed(text: &str) -> String {
    let mut line: Vec<String> = Vec::new();
    let mut is_word = false;
    for word in text.split_whitespace() {
        let made = match word.strip_prefix('-') {
            Some(name) if !name.is_empty() => format!("Fl {}", escaped(name)),
            _ if word.starts_with('/') || word.starts_with("~/") => format!("Pa {}", escaped(word)),
            _ => with_values(word),
        };
        let bare = made.strip_prefix("Cm ").filter(|_| is_word).map(str::to_owned);
        is_word = made.starts_with("Cm ");
        line.push(bare.unwrap_or(made)); // words that follow each other are of one macro
    }
    line.join(" ")
}

/// `unix:<path>`: values within a word.
fn with_values(word: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('<').filter(|_| word != "<>") {
        let (value, after) = after.split_once('>').unwrap_or((after, ""));
        parts.extend((!before.is_empty()).then(|| format!("Cm {}", argument(before))));
        parts.push(format!("Ar {value}"));
        rest = after;
    }
    parts.extend((!rest.is_empty()).then(|| format!("Cm {}", argument(rest))));
    parts.join(" Ns ")
}

/// The line of a word with marks: what is glued to them stays so.
fn macro_line(word: &[Piece]) -> String {
    let mut line = String::new();
    for (at, piece) in word.iter().enumerate() {
        let is_last = at + 1 == word.len();
        match piece {
            Macro(made) => {
                let glue = if line.is_empty() { "" } else { " Ns " };
                let _ = write!(line, "{glue}{made}"); // a String takes all
            }
            // Brackets follow the macro's name.
            Text(text) if at == 0 && (text == "(" || text == "[") => {
                if let Some(Macro(made)) = word.get(1) {
                    let (name, rest) = made.split_once(' ').unwrap_or((made, ""));
                    let _ = write!(line, "{name} {text} {rest}");
                    return line + &macro_end(word.get(2..).unwrap_or_default());
                }
            }
            Text(text) if is_last => line += &macro_end(&[Text(text.clone())]),
            Text(text) if at == 0 => line += &format!("No {}", argument(text)),
            Text(text) => line += &format!(" Ns {}", argument(text)),
        }
    }
    line
}

/// What follows the last macro: punctuation marks each for itself, anything else glued to it.
fn macro_end(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Text(text) if text.chars().all(|c| CLOSING.contains(c)) => {
                text.chars().map(|c| format!(" {c}")).collect()
            }
            Text(text) => format!(" Ns {}", argument(text)),
            Macro(made) => format!(" Ns {made}"),
        })
        .collect()
}

fn arguments(text: &str) -> String {
    text.split_whitespace().map(argument).collect::<Vec<_>>().join(" ")
}

/// A word in a macro's line: one that mdoc(7) would take for a macro or for punctuation is guarded.
fn argument(word: &str) -> String {
    let is_name = word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
    let is_mark = word.chars().all(|c| ".,:;()[]?!|".contains(c));
    let guard = if is_name || is_mark || word.ends_with(':') { "\\&" } else { "" };
    let word = escaped(word).replace('"', "\\(dq");
    if word.ends_with(':') && word.len() > 1 {
        format!("{word}{guard}")
    } else {
        guard.to_owned() + &word
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_becomes_its_macro() {
        for (text, source) in [
            ("Plain text.", "Plain text.\n"),
            ("the limit of `-c`, or", "the limit of\n.Fl c ,\nor\n"),
            ("as by `--over busy`.", "as by\n.Fl -over Cm busy .\n"),
            ("`-u root` insists", ".Fl u Cm root\ninsists\n"),
            ("say `unix:<path>` or `queue`;", "say\n.Cm unix:\\& Ns Ar path\nor\n.Cm queue ;\n"),
            ("`[<v6>]:<port>`", ".Cm \\&[ Ns Ar v6 Ns Cm ]:\\& Ns Ar port\n"),
            ("<n> clients", ".Ar n\nclients\n"),
            ("in <file>: who", "in\n.Ar file :\nwho\n"),
            ("see `/dev/log`,", "see\n.Pa /dev/log ,\n"),
            ("inetd's 'nowait', or", "inetd's\n.Sq nowait ,\nor\n"),
            ("hears \"421 too many\" then", "hears\n.Dq 421 too many\nthen\n"),
            ("the listen(2) queue", "the\n.Xr listen 2\nqueue\n"),
            ("After SIGHUP, again", "After\n.Dv SIGHUP ,\nagain\n"),
            ("{Va net.core.somaxconn} bounds", ".Va net.core.somaxconn\nbounds\n"),
            (
                "in the clear (`PASS`, `AUTH PLAIN`):",
                "in the clear\n.Cm ( PASS ,\n.Cm AUTH PLAIN ) :\n",
            ),
            ("One. Two.\n\nThree.", "One.\nTwo.\n.Pp\nThree.\n"),
            ("`<>` is", ".Cm <>\nis\n"),
            (".x a\\b", "\\&.x a\\eb\n"),
        ] {
            assert_eq!(mdoc(text), source, "{text}");
        }
    }

    #[test]
    fn no_line_is_longer_than_a_source_line() {
        let text = "word ".repeat(100);
        assert!(mdoc(&text).lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(mdoc(&text).split_whitespace().count(), 100);
    }
}
