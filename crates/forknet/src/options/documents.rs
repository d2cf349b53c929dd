//! The texts that are made from the rows: `PROGRAM --options FORM` prints them for `make options`, and for
//! the tests that compare what is committed.

use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::options::program::Program;
use crate::options::{completions, manual};

/// The option that asks for it; it is in no table, because it is for this repository's own tools.
const OPTION: &str = "--options";
/// What ends a part of a document that is made.
const END: &str = "end of options";

/// Answers `--options bash`, `--options zsh`, and `--options fill`, which copies a document from standard
/// input to standard output with the parts between marks made again:
///
/// - `options: synopsis` and `options: manual` of a manual page,
/// - `options: PROGRAM`, the table of a program's own options, and `options: daemons`, that of all
///   daemons, for Markdown,
///
/// each a comment on a line of its own, and at its end one with `end of options`.
///
/// # Errors
/// [`Error::Answer`] is the text; a mark without its end.
pub(crate) fn answer(program: &Program, args: &[std::ffi::OsString]) -> Result<()> {
    let [option, form] = args else { return Ok(()) };
    let text = match (option.to_str(), form.to_str()) {
        (Some(OPTION), Some("bash")) => completions::bash(program),
        (Some(OPTION), Some("zsh")) => completions::zsh(program),
        (Some(OPTION), Some("fill")) => {
            let mut document = String::new();
            let read = io::stdin().lock().read_to_string(&mut document);
            read.map_err(Error::io("standard input"))?;
            fill(&document, program)?
        }
        _ => return Ok(()),
    };
    Err(Error::Answer(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
}

/// Returns a document with this program's parts made again.
fn fill(document: &str, program: &Program) -> Result<String> {
    let mut filled = String::new();
    let mut lines = document.split_inclusive('\n');
    while let Some(line) = lines.next() {
        filled += line;
        let Some(made) = mark(line).and_then(|mark| part(mark, program)) else { continue };
        filled += &made;
        let Some(end) = lines.find(|line| comment(line) == Some(END)) else {
            return Err(Error::Refused(format!("'{}': without its '{END}'", line.trim())));
        };
        filled += end;
    }
    Ok(filled)
}

/// What a mark names; none where a line is no mark.
fn mark(line: &str) -> Option<&str> {
    comment(line)?.strip_prefix("options: ")
}

/// The text of a comment in mdoc(7) or Markdown that has its line for itself.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let markdown = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
    markdown.or_else(|| line.strip_prefix(".\\\" "))
}

fn part(mark: &str, program: &Program) -> Option<String> {
    match mark {
        "synopsis" => Some(manual::synopsis(program)),
        "manual" => Some(manual::options(program)),
        "daemons" if program.is_daemon => Some(table(&program.every_daemon())),
        name if name == program.name && program.is_daemon => {
            Some(table(&Program { common: Vec::new(), ..program.clone() }))
        }
        name if name == program.name => Some(table(program)),
        _ => None,
    }
}

/// A table in Markdown.
fn table(program: &Program) -> String {
    let rows = program.rows().map(|row| {
        let letter = match row.short {
            "" => String::new(),
            letter => format!("-{letter}, "),
        };
        let value = if row.is_flag() { String::new() } else { format!(" {}", row.value) };
        let help = program.filled(row, row.help);
        let default = program.default(row);
        let cells = [format!("`{letter}--{}{value}`", row.name), help, default];
        let [name, help, default] = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {name} | {help} | {default} |\n")
    });
    format!("\n| option | meaning | default |\n| --- | --- | --- |\n{}\n", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::transport::Transport;
    use crate::options::row::{OwnOptions, Preset, Row};
    use crate::options::service::{RootPolicy, Service};

    const ROWS: &[Row] = &[Row {
        name: "over",
        value: "HOW",
        default: Preset::Value("busy"),
        choices: &["busy", "queue"],
        help: "one | other",
        manual: "What it meets with.",
        ..Row::EMPTY
    }];

    fn program() -> Program {
        Program::client("x", "", ROWS)
    }

    #[test]
    fn a_part_between_marks_is_replaced_and_the_rest_stays() {
        let document =
            "a\n<!-- options: x -->\nold\n<!-- end of options -->\nb\n<!-- options: y -->\nc";
        let filled = fill(document, &program()).unwrap();
        let expected = "a\n<!-- options: x -->\n\n| option | meaning | default |\n| --- | --- | --- |\n\
                        | `--over HOW` | one \\| other | `busy` |\n";
        assert!(filled.starts_with(expected), "{filled}");
        assert!(
            filled.ends_with("\n<!-- end of options -->\nb\n<!-- options: y -->\nc"),
            "{filled}"
        );
        assert_eq!(fill(&filled, &program()).unwrap(), filled);
        let page = ".\\\" options: manual\n.\\\" end of options\n";
        let filled = fill(page, &program()).unwrap();
        assert!(
            filled.contains(
                "\n.It Fl -over Ar how\nWhat it meets with.\nThe default is\n.Cm busy .\n"
            )
        );
    }

    #[test]
    fn every_daemon_makes_the_same_table_of_what_all_have() {
        let mark = "<!-- options: daemons -->\n<!-- end of options -->\n";
        let of = |service: Service| {
            fill(mark, &Program::daemon(&service, &OwnOptions { rows: ROWS, notes: &[] })).unwrap()
        };
        let service = |port, transport| Service {
            name: "testd",
            about: "A service.",
            port,
            idle: std::time::Duration::from_secs(port.into()),
            root: RootPolicy::Nobody,
            facility: crate::log::syslog::Facility::Daemon,
            memory: 1 << 20,
            transport,
        };
        let table = of(service(7, Transport::StreamAndDatagram));
        assert!(
            table.contains("| `-l, --listen ADDR` | ") && table.contains("| `*:PORT` |"),
            "{table}"
        );
        assert!(table.contains("silent"), "{table}");
        assert_eq!(of(service(110, Transport::Stream)), table);
        assert_eq!(of(service(69, Transport::Datagram)), table);
    }

    #[test]
    fn a_mark_without_its_end_is_an_error() {
        let error = fill("<!-- options: x -->\n", &program()).unwrap_err().to_string();
        assert_eq!(error, "'<!-- options: x -->': without its 'end of options'");
    }
}
