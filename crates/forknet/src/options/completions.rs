//! Completions for bash and zsh.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::options::program::Program;
use crate::options::row::Row;

const MADE: &str = "made from the options' rows by `make options`";

/// What a value is, for a shell to complete it.
enum Kind {
    Words(&'static [&'static str]),
    File,
    Folder,
    User,
    Other,
}

fn kind(row: &Row) -> Kind {
    match row.word() {
        _ if !row.choices.is_empty() => Kind::Words(row.choices),
        "FILE" | "PATH" | "PROGRAM" => Kind::File,
        "DIR" => Kind::Folder,
        "USER" | "USER[:GROUP]" | "U[:G]" => Kind::User,
        _ => Kind::Other,
    }
}

/// A script for bash: values behind their options, also `--name=value`; else the names of options, and for
/// a client files.
pub(crate) fn bash(program: &Program) -> String {
    // The options by what compgen is asked for.
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in program.rows().filter(|row| !row.is_flag()) {
        let words = match kind(row) {
            Kind::Words(words) => format!("-W '{}'", words.join(" ")),
            Kind::File => "-f".to_owned(),
            Kind::Folder => "-d".to_owned(),
            Kind::User => "-u".to_owned(),
            Kind::Other => "-W ''".to_owned(),
        };
        let names = match row.short {
            "" => format!("--{}", row.name),
            letter => format!("-{letter}|--{}", row.name),
        };
        values.entry(words).or_default().push(names);
    }
    let values = values.iter().map(|(words, names)| {
        let names = names.join("|");
        format!("    {names}) mapfile -t COMPREPLY < <(compgen {words} -- \"$word\") ;;\n")
    });
    let names: Vec<String> = program.rows().map(|row| format!("--{}", row.name)).collect();
    BASH.replace("OPERANDS", if program.is_daemon { "" } else { "-o default " })
        .replace("PROGRAM", program.name)
        .replace("MADE", MADE)
        .replace("    VALUES\n", &values.collect::<String>())
        .replace("NAMES", &names.join(" "))
}

/// `--name=value` is three words.
const BASH: &str = r#"# bash completion of PROGRAM; MADE
_PROGRAM() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
    case $before in
    VALUES
    *) [[ $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W 'NAMES' -- "$word") ;;
    esac
}
complete OPERANDS-o filenames -F _PROGRAM PROGRAM
"#;

/// A function for zsh's `_arguments`.
pub(crate) fn zsh(program: &Program) -> String {
    let mut specs = String::new();
    for row in program.rows() {
        let (name, short) = (row.name, row.short);
        let help = escaped(&program.help(row));
        let value = match kind(row) {
            _ if row.is_flag() => String::new(),
            Kind::Words(words) => format!(":{}:({})", row.value, words.join(" ")),
            Kind::File => format!(":{}:_files", row.value),
            Kind::Folder => format!(":{}:_files -/", row.value),
            Kind::User => format!(":{}:_users", escaped(row.value)),
            Kind::Other => format!(":{}: ", escaped(row.value)),
        };
        let (equals, plus) = if row.is_flag() { ("", "") } else { ("=", "+") };
        let (once, many) = match (row.repeats, short) {
            (true, _) => (String::new(), "*"),
            (false, "") => (String::new(), ""),
            (false, letter) => (format!("(-{letter} --{name})"), ""),
        };
        let names = match short {
            "" => format!("'{many}--{name}{equals}[{help}]{value}'"),
            letter => {
                format!("'{once}{many}'{{-{letter}{plus},--{name}{equals}}}'[{help}]{value}'")
            }
        };
        let _ = write!(specs, " \\\n    {names}"); // a String takes all
    }
    let operands = if program.is_daemon { "" } else { " \\\n    '*:operand:_files'" };
    format!("#compdef {name}\n# {MADE}\n_arguments -s -S{specs}{operands}\n", name = program.name)
}

/// A text within the quotes and brackets of `_arguments`.
fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
    escaped.replace(':', "\\:").replace('\'', "'\\''")
}
