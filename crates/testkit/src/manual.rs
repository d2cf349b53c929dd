//! Is the manual page of a program true to its `--help`?

use std::path::Path;
use std::process::Command;

use crate::daemon::run;

/// The sections that every page of a program has.
const SECTIONS: [&str; 11] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "ENVIRONMENT",
    "EXIT STATUS",
    "EXAMPLES",
    "DIAGNOSTICS",
    "SEE ALSO",
    "STANDARDS",
    "SECURITY CONSIDERATIONS",
];
/// Macros of mdoc(7) that stand within a sentence and are no words of it.
const INLINE: [&str; 22] = [
    "Ar", "Cm", "Dq", "Dv", "Em", "Er", "Ev", "Fl", "Ic", "Li", "Nm", "No", "Ns", "Op", "Pa", "Pq",
    "Ql", "Qq", "Sq", "Sy", "Va", "Xr",
];
/// How wide a terminal is taken to be.
const COLUMNS: usize = 80;

/// An option as `--help` or a page tells it; the argument's name in small letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Form {
    short: Option<String>,
    long: Option<String>,
    argument: Option<String>,
}

/// An option and its description.
#[derive(Clone, Debug)]
struct Told {
    form: Form,
    text: String,
}

/// A manual page, as its source in mdoc(7) is.
#[derive(Debug)]
struct Page {
    sections: Vec<String>,
    title: String,
    synopsis: Vec<Form>,
    options: Vec<Told>,
}

/// Compares a page of docs/man with what the program itself says: the options of `--help` with
/// their arguments, neither more nor fewer; each in the synopsis; the defaults that `--help` names;
/// the sections that a page has.
///
/// # Panics
/// They differ; the message says in what.
pub fn check_page(binary: &str, page: &str) {
    let faults = faults(&page_text(page), &help_of(binary), page);
    assert!(faults.is_empty(), "docs/man/{page} and --help differ:\n{}", faults.join("\n"));
}

/// `--help` fits a terminal of 80 columns and has no blanks at line ends.
///
/// # Panics
/// It does not.
pub fn check_help(binary: &str) {
    for line in help_of(binary).lines() {
        assert!(line.chars().count() < COLUMNS, "longer than {COLUMNS} columns: {line}");
        assert_eq!(line.trim_end(), line, "blanks at the end");
    }
}

/// A wrong command line ends with exit code 2, nothing on standard output, and two lines on
/// standard error: one names what is wrong, the other `--help`.
///
/// # Panics
/// It does not.
pub fn check_usage(binary: &str, args: &[&str], named: &str) {
    check_usage_code(binary, args, named, 2);
}

/// As [`check_usage`], for a program whose exit code is another.
///
/// # Panics
/// As [`check_usage`].
pub fn check_usage_code(binary: &str, args: &[&str], named: &str, code: i32) {
    let mut command = Command::new(binary);
    command.args(args);
    let output = run(command, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = file_name(binary);
    assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {said}");
    assert!(output.stdout.is_empty(), "{name} {args:?}");
    let lines: Vec<&str> = said.lines().collect();
    let [what, more] = lines.as_slice() else { panic!("{name} {args:?}: not two lines: {said}") };
    assert!(what.starts_with(&format!("{name}: ")) && what.contains(named), "{args:?}: {what}");
    assert_eq!(*more, format!("Try '{name} --help' for more."));
}

fn help_of(binary: &str) -> String {
    let mut command = Command::new(binary);
    command.arg("--help");
    let output = run(command, b"");
    assert!(output.status.success(), "{binary} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("a text")
}

fn page_text(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man").join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().expect("a name").to_string_lossy().into_owned()
}

/// Everything in which a page differs from `--help`.
fn faults(page: &str, help: &str, name: &str) -> Vec<String> {
    let (page, help) = (Page::parse(page), parse_help(help));
    let mut faults = Vec::new();
    let (stem, section) = name.split_once('.').expect("NAME.SECTION");
    if page.title != format!("{} {section}", stem.to_uppercase()) {
        faults.push(format!(".Dt says '{}'", page.title));
    }
    for section in SECTIONS.iter().filter(|s| !page.sections.iter().any(|have| have == *s)) {
        faults.push(format!("no section {section}"));
    }
    let forms = |told: &[Told]| told.iter().map(|told| told.form.clone()).collect::<Vec<_>>();
    let (in_help, in_page) = (forms(&help), forms(&page.options));
    let brief: Vec<Form> = in_help.iter().map(Form::brief).collect();
    for (left, right, what) in [
        (&in_help, &in_page, "OPTIONS lacks"),
        (&in_page, &in_help, "--help does not know"),
        (&brief, &page.synopsis, "SYNOPSIS lacks"),
        (&page.synopsis, &brief, "SYNOPSIS should not have"),
    ] {
        let missing = left.iter().filter(|form| !right.contains(form));
        faults.extend(missing.map(|form| format!("{what} {}", form.shown())));
    }
    for (list, place) in [(&in_page, "OPTIONS"), (&in_help, "--help")] {
        let later = |at: usize| list.iter().skip(at + 1);
        let twice = (0..).zip(list).filter(|(at, form)| later(*at).any(|other| other == *form));
        faults.extend(twice.map(|(_, form)| format!("{place} has twice {}", form.shown())));
    }
    for told in &help {
        let (Some(default), Some(item)) =
            (default(&told.text), page.options.iter().find(|item| item.form == told.form))
        else {
            continue;
        };
        let (default, text) = (default.to_lowercase(), item.text.to_lowercase());
        let said = words(&text);
        if let Some(word) = words(&default).iter().find(|word| !said.contains(word)) {
            let option = told.form.shown();
            faults.push(format!("{option}: the default '{default}' is not told: no '{word}'"));
        }
    }
    faults
}

impl Form {
    /// As it stands in a synopsis: the short form where there is one.
    fn brief(&self) -> Form {
        let long = if self.short.is_some() { None } else { self.long.clone() };
        Form { long, ..self.clone() }
    }

    fn shown(&self) -> String {
        let names = [self.short.as_ref().map(|s| format!("-{s}")), self.long.clone()];
        let names: Vec<String> = names.into_iter().flatten().collect();
        format!("{} {}", names.join(", "), self.argument.as_deref().unwrap_or_default())
    }

    /// What follows `.It` or stands in a synopsis, from the first `Fl` on.
    fn of_macros(line: &str) -> Form {
        let mut form = Form::default();
        let (mut is_option, mut brackets) = (false, 0);
        let mut argument = String::new();
        for word in line.split_whitespace() {
            match (word, is_option) {
                ("Fl", _) => is_option = true,
                (name, true) => {
                    is_option = false;
                    match name.strip_prefix('-') {
                        Some(long) => form.long = Some(format!("--{long}")),
                        None => form.short = Some(name.to_owned()),
                    }
                }
                ("Ar" | "Ns" | ",", _) => {}
                ("Op", _) => {
                    argument.push('[');
                    brackets += 1;
                }
                (text, _) => argument.push_str(&text.to_lowercase()),
            }
        }
        argument.extend(std::iter::repeat_n(']', brackets));
        form.argument = Some(argument).filter(|text| !text.is_empty());
        form
    }
}

impl Page {
    fn parse(source: &str) -> Page {
        let mut page = Page {
            sections: Vec::new(),
            title: String::new(),
            synopsis: Vec::new(),
            options: Vec::new(),
        };
        for line in source.lines() {
            let section = page.sections.last().map(String::as_str).unwrap_or_default();
            if let Some(title) = line.strip_prefix(".Dt ") {
                page.title = title.to_owned();
            } else if let Some(section) = line.strip_prefix(".Sh ") {
                page.sections.push(section.to_owned());
            } else if section == "SYNOPSIS" {
                page.synopsis.extend(synopsis(line));
            } else if section == "OPTIONS" {
                match line.strip_prefix(".It ").filter(|item| item.starts_with("Fl ")) {
                    Some(item) => {
                        let form = Form::of_macros(item);
                        page.options.push(Told { form, text: String::new() });
                    }
                    None => {
                        if let Some(told) = page.options.last_mut() {
                            told.text += &format!("{}\n", plain(line));
                        }
                    }
                }
            }
        }
        page
    }
}

/// The options of one line of a synopsis: `.Op Fl dhi` is three, `.Op Fl l Ar addr` one.
fn synopsis(line: &str) -> Vec<Form> {
    let line = line.strip_prefix(".Op ").or(line.strip_prefix('.')).unwrap_or_default();
    let Some(flags) = line.strip_prefix("Fl ") else { return Vec::new() };
    if !flags.starts_with('-') && !flags.contains(' ') {
        let short = |c: char| Form { short: Some(c.to_string()), ..Form::default() };
        return flags.chars().map(short).collect();
    }
    vec![Form::of_macros(line)]
}

/// A line of a page without its macros; an option keeps its dash, and `Ns` leaves no space.
fn plain(line: &str) -> String {
    let Some(line) = line.strip_prefix('.') else { return line.to_owned() };
    let line = line.replace("Fl ", "Fl -");
    let words = line.split_whitespace().map(|word| word.strip_prefix("Fl").unwrap_or(word));
    let mut text = String::new();
    let mut is_glued = true;
    for word in words {
        if word == "Ns" {
            is_glued = true;
        } else if !INLINE.contains(&word) {
            text.extend((!is_glued).then_some(' '));
            text.push_str(word);
            is_glued = false;
        }
    }
    text
}

/// The value in `(default VALUE)`, `(default: VALUE)` or `(default as root: VALUE)`.
fn default(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("(default")?;
    let value = rest.split_once(')')?.0;
    let value = value.strip_prefix(" as root").unwrap_or(value);
    let value = value.strip_prefix(':').unwrap_or(value).trim();
    Some(value).filter(|value| !value.is_empty())
}

/// The words of a text, without the marks around them.
fn words(text: &str) -> Vec<&str> {
    let marks = |c: char| ".,;:()[]'\"".contains(c);
    text.split_whitespace()
        .map(|word| word.trim_matches(marks))
        .filter(|word| !word.is_empty())
        .collect()
}

/// The options of `--help` as getopts lays them out: names from column 4, texts from column 24.
fn parse_help(help: &str) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let (_, list) = help.split_once("\nOptions:\n").expect("a list of options");
    for line in list.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('-') && line.len() - trimmed.len() < 24 {
            told.push(parse_option(trimmed));
        } else if let Some(last) = told.last_mut() {
            last.text += &format!(" {trimmed}");
        }
    }
    told
}

/// `-l, --listen ADDR   HOST:PORT …`. An argument's name stands in capitals, in brackets where it may be left out.
fn parse_option(line: &str) -> Told {
    let (short, rest) = match line.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
        Some(rest) => {
            let (short, rest) = rest.split_once(", ").expect("a long name");
            (Some(short.to_owned()), rest)
        }
        None => (None, line),
    };
    let (long, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_argument = word.trim_start_matches('[').starts_with(|c: char| c.is_ascii_uppercase())
        && !word.contains(|c: char| c.is_ascii_lowercase());
    let (argument, text) =
        if is_argument { (Some(word.to_lowercase()), after) } else { (None, rest) };
    Told {
        form: Form { short, long: Some(long.to_owned()), argument },
        text: text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Usage: x [OPTION]...\nAn x.\n\nOptions:
    -l, --listen ADDR   HOST:PORT; repeatable (default
                        *:7)
    -c, --max-clients N clients at once (default 256)
    -u, --user USER[:GROUP]
                        become USER (default as root: nobody)
        --over HOW      what to do
    -h, --help          print this help
";

    fn page() -> String {
        let mut page = String::from(".Dd January 1, 2026\n.Dt X 8\n.Os\n");
        for section in SECTIONS {
            page += &format!(".Sh {section}\n");
            if section == "SYNOPSIS" {
                page += ".Nm x\n.Op Fl h\n.Op Fl c Ar n\n.Op Fl l Ar addr\n\
                         .Op Fl u Ar user Ns Op : Ns Ar group\n.Op Fl -over Ar how\n";
            } else if section == "OPTIONS" {
                page += ".Bl -tag\n.It Fl c , Fl -max-clients Ar n\nThe default is 256.\n\
                         .It Fl h , Fl -help\n.It Fl l , Fl -listen Ar addr\nThe default is\n\
                         .Sq *:7 .\n.It Fl -over Ar how\n\
                         .It Fl u , Fl -user Ar user Ns Op : Ns Ar group\n.Sq nobody\n.El\n";
            }
        }
        page
    }

    fn told(page: &str) -> String {
        faults(page, HELP, "x.8").join("\n")
    }

    #[test]
    fn a_true_page_is_without_fault() {
        assert_eq!(told(&page()), "");
    }

    #[test]
    fn an_option_that_help_has_twice_is_seen() {
        let help = format!("{HELP}        --over HOW      once more\n");
        assert_eq!(faults(&page(), &help, "x.8"), ["--help has twice --over how"]);
    }

    #[test]
    fn every_kind_of_difference_is_seen() {
        for (from, to, fault) in [
            (".It Fl -over Ar how\n", "", "OPTIONS lacks --over how"),
            (".Op Fl -over Ar how\n", "", "SYNOPSIS lacks --over how"),
            (".Op Fl h\n", ".Op Fl hv\n", "SYNOPSIS should not have -v"),
            ("Fl -max-clients Ar n", "Fl -max-clients Ar m", "OPTIONS lacks -c, --max-clients n"),
            (".It Fl h , Fl -help", ".It Fl h , Fl -halp", "--help does not know -h, --halp"),
            ("is 256.", "is 2560.", "the default '256' is not told"),
            (".Sq *:7 .", ".Sq *:8 .", "the default '*:7' is not told"),
            (".Sq nobody", ".Sq root", "the default 'nobody' is not told"),
            (".It Fl -over Ar how\n", ".It Fl -over Ar how\n.It Fl -over Ar how\n", "has twice"),
            (".Dt X 8", ".Dt Y 8", ".Dt says 'Y 8'"),
            (".Sh EXAMPLES", ".Sh SAMPLES", "no section EXAMPLES"),
        ] {
            let page = page().replacen(from, to, 1);
            assert!(told(&page).contains(fault), "{fault}: {}", told(&page));
        }
    }
}
