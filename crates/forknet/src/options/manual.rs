//! The options in a manual page: SYNOPSIS and OPTIONS in mdoc(7).

use std::fmt::Write;

use crate::options::markup::mdoc;
use crate::options::program::Program;
use crate::options::row::{Preset, Row};

/// The lines of SYNOPSIS: the flags in one, then the options with letters, then the others.
pub(crate) fn synopsis(program: &Program) -> String {
    let rows = sorted(program.rows());
    let (lettered, long): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| !row.short.is_empty());
    let (flags, with_value): (Vec<&Row>, Vec<&Row>) =
        lettered.into_iter().partition(|row| row.is_flag());
    let flags: String = flags.iter().map(|row| row.short).collect();
    let (required, optional): (Vec<&Row>, Vec<&Row>) =
        with_value.into_iter().chain(long).partition(|row| row.default == Preset::Required);
    let mut lines = format!(".Op Fl {flags}\n");
    for (rows, macros) in [(required, "."), (optional, ".Op ")] {
        for row in rows {
            let name = match row.short {
                "" => format!("-{}", row.name),
                letter => letter.to_owned(),
            };
            let _ = writeln!(lines, "{macros}Fl {name}{}", value(row)); // a String takes all
        }
    }
    lines
}

/// The lists of OPTIONS; of a daemon its own come first.
pub(crate) fn options(program: &Program) -> String {
    if !program.is_daemon {
        return list(program, program.rows());
    }
    let own = match program.own {
        [] => String::new(),
        own => format!("Of\n.Nm\nalone:\n{}.Pp\n", list(program, own.iter())),
    };
    let common = list(program, program.common.iter());
    format!(
        "{own}Of every daemon of forklore:\n{common}.Pp\nA number of seconds may have a fraction.\n"
    )
}

fn list<'a>(program: &Program, rows: impl Iterator<Item = &'a Row>) -> String {
    let items: String = sorted(rows).into_iter().map(|row| item(program, row)).collect();
    format!(".Bl -tag -width Ds\n{items}.El\n")
}

fn item(program: &Program, row: &Row) -> String {
    let letter = match row.short {
        "" => String::new(),
        letter => format!("Fl {letter} , "),
    };
    let mut text = program.filled(row, row.manual);
    if let Some(other) = program.row(row.excludes) {
        let _ = write!(text, " Excludes `{}`.", other.brief()); // a String takes all
    }
    match row.default {
        Preset::Value(value) => {
            let value = program.filled(row, value);
            let is_word = row.choices.contains(&value.as_str()) || value.starts_with(['/', '~']);
            let is_number = value.parse::<f64>().is_ok();
            let quote = match (is_word, is_number) {
                (true, _) => "`",
                (_, true) => "",
                _ => "'",
            };
            let _ = write!(text, " The default is {quote}{value}{quote}."); // a String takes all
        }
        Preset::Rule(rule) => {
            let _ = write!(text, " The default is {rule}."); // a String takes all
        }
        Preset::Required => text += " This option must be given.",
        Preset::Unset => {}
    }
    format!(".It {letter}Fl -{}{}\n{}", row.name, value(row), mdoc(&text))
}

/// ` Ar user Ns Op : Ns Ar group` of `USER[:GROUP]`.
fn value(row: &Row) -> String {
    if row.is_flag() {
        return String::new();
    }
    if row.is_optional() {
        return format!(" Op Ar {}", row.word().to_lowercase());
    }
    let value = row.value.to_lowercase();
    match value.strip_suffix(']').and_then(|value| value.split_once("[:")) {
        Some((first, second)) => format!(" Ar {first} Ns Op : Ns Ar {second}"),
        None => format!(" Ar {value}"),
    }
}

/// By the letter or else the name, capitals before small letters.
fn sorted<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a Row> {
    let mut rows: Vec<&Row> = rows.collect();
    rows.sort_by_key(|row| {
        let first = if row.short.is_empty() { row.name } else { row.short };
        (first.to_lowercase(), first)
    });
    rows
}
