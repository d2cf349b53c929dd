//! What the command line asks for: a command for one account, or the mail of several.

use std::ffi::OsString;

use forknet::Error;

use super::accounts_file::AccountsFile;
use super::deliver::target::home;
use super::options::{COMMANDS, NAME, Options, Section, shown, usage};
use super::rows::{ROWS, USAGE};
use super::status::{Failure, Result, Status};

/// The accounts file, in the home.
const FILE: &str = ".pop3crc";

/// Reads the command line, and the accounts file where it may be meant. Returns the accounts.
///
/// # Errors
/// The command line is wrong, or the file, or a setting in it.
pub(crate) fn read(args: Vec<OsString>) -> Result<Vec<Options>> {
    let values = forknet::parse(NAME, USAGE, ROWS, args.clone())?;
    let words: Vec<&str> = values.operands().iter().map(String::as_str).collect();
    let path = values.path("rc")?.or_else(|| Some(home()?.join(FILE)));
    let mut file = match &path {
        Some(path) => AccountsFile::open(path)?,
        None => None,
    };
    if let (None, Some(path), true) = (&file, &path, values.is_given("rc")) {
        let why = format!("{}: No such file or directory", shown(path));
        return Err(Failure::new(Status::Config, why));
    }
    let place = path.as_deref().map_or("the accounts file".into(), shown);
    let read = |section: Section, words: &[&str]| {
        let name = section.name.clone();
        let read = Options::read(args.clone(), section, words);
        read.map_err(|failure| of_file(failure, name.as_deref(), (&place, words.is_empty())))
    };
    let known = |name: &&str| file.as_ref().is_some_and(|file| file.names().any(|it| it == *name));
    match words.as_slice() {
        [] => match file {
            None => Err(usage(format!("HOST is missing, and there is no {place}")).into()),
            Some(file) => {
                let all = file.all();
                if all.is_empty() {
                    return Err(Failure::new(Status::Config, format!("{place}: no account")));
                }
                all.into_iter().map(|section| read(section, &[])).collect()
            }
        },
        [name, rest @ ..] if known(name) && rest.first().is_some_and(is_command) => {
            let section = file.as_mut().and_then(|file| file.take(name)).unwrap_or_default();
            Ok(vec![read(section, rest)?])
        }
        names if names.iter().any(known) || is_path_given(&words, values.is_given("rc")) => {
            let sections = names.iter().map(|name| {
                let section = file.as_mut().and_then(|file| file.take(name));
                section.ok_or_else(|| {
                    usage(format!("no account '{}' in {place}", name.escape_debug()))
                })
            });
            let sections = sections.collect::<std::result::Result<Vec<_>, Error>>()?;
            sections.into_iter().map(|section| read(section, &[])).collect()
        }
        [host] => {
            let host = host.escape_debug();
            Err(usage(format!("the command is missing, and '{host}' is no account in {place}"))
                .into())
        }
        [host, rest @ ..] => {
            let section = Section { host: Some((*host).to_owned()), ..Section::default() };
            Ok(vec![read(section, rest)?])
        }
    }
}

fn is_command(word: &&str) -> bool {
    COMMANDS.contains(word)
}

/// Whether words without a command among them stand beside `--rc`: they are meant as accounts.
fn is_path_given(words: &[&str], is_given: bool) -> bool {
    is_given && !words.get(1).is_some_and(is_command)
}

/// A wrong setting of the file is no fault of the command line. Without a command nearly all is the file's.
fn of_file(failure: Failure, name: Option<&str>, (place, is_plain): (&str, bool)) -> Failure {
    match (name, failure.error) {
        (Some(_), Error::Usage(text)) if text.starts_with(&format!("{place}:")) => {
            Failure::new(Status::Config, text)
        }
        (Some(name), Error::Usage(text)) if is_plain => {
            Failure::new(Status::Config, format!("{place}: account {name}: {text}"))
        }
        (_, error) => Failure::because(failure.status)(error),
    }
}
