//! What the command line asks for: a command for one account, or the mail of several.

use std::ffi::OsString;
use std::path::PathBuf;

use forknet::Error;

use super::accounts_file::AccountsFile;
use super::options::{COMMANDS, NAME, Options, Section, shown, usage};
use super::rows::{ROWS, USAGE};
use super::status::{Failure, Result, Status};
use super::target::home;

/// The accounts file, in the home.
const FILE: &str = ".pop3crc";

/// Reads the command line, and the accounts file where it may be meant. Returns the accounts.
///
/// # Errors
/// The command line is wrong, or the file, or a setting in it.
pub(crate) fn read(args: Vec<OsString>) -> Result<Vec<Options>> {
    let values = forknet::parse(NAME, USAGE, ROWS, args.clone())?;
    let words: Vec<&str> = values.operands().iter().map(String::as_str).collect();
    let (path, is_given) = (values.path("rc")?, values.is_given("rc"));
    let mut line = CommandLine::open(args, path, is_given)?;
    let knows = |name: &&str| line.file.names().any(|known| known == *name);
    let has_command = words.get(1).is_some_and(|word| COMMANDS.contains(word));
    match words.as_slice() {
        [] => line.every_account(),
        [name, command @ ..] if has_command && knows(name) => {
            let section = line.file.take(name).unwrap_or_default();
            Ok(vec![line.read(section, command)?])
        }
        [host, command @ ..] if has_command => Ok(vec![line.host(host, command)?]),
        names if is_given || names.iter().any(knows) => line.named_accounts(names),
        [host] => {
            let (host, place) = (host.escape_debug(), line.place);
            let why = format!("the command is missing, and '{host}' is no account in {place}");
            Err(usage(why).into())
        }
        [host, command @ ..] => Ok(vec![line.host(host, command)?]),
    }
}

/// The options of the command line, and the accounts.
struct CommandLine {
    args: Vec<OsString>,
    /// Without accounts where there is no file.
    file: AccountsFile,
    is_there: bool,
    /// The file, for messages.
    place: String,
}

impl CommandLine {
    fn open(args: Vec<OsString>, path: Option<PathBuf>, is_given: bool) -> Result<CommandLine> {
        let path = path.or_else(|| Some(home()?.join(FILE)));
        let place = path.as_deref().map_or(format!("~/{FILE}"), shown);
        let file = path.map_or(Ok(None), |path| AccountsFile::open(&path))?;
        if file.is_none() && is_given {
            return Err(Failure::new(
                Status::Config,
                format!("{place}: No such file or directory"),
            ));
        }
        let is_there = file.is_some();
        Ok(CommandLine { args, file: file.unwrap_or_default(), is_there, place })
    }

    fn every_account(mut self) -> Result<Vec<Options>> {
        if !self.is_there {
            return Err(usage(format!("HOST is missing, and there is no {}", self.place)).into());
        }
        let all = std::mem::take(&mut self.file).all();
        if all.is_empty() {
            return Err(Failure::new(Status::Config, format!("{}: no account", self.place)));
        }
        all.into_iter().map(|section| self.read(section, &[])).collect()
    }

    fn named_accounts(mut self, names: &[&str]) -> Result<Vec<Options>> {
        let mut sections = Vec::new();
        for name in names {
            let section = self.file.take(name);
            let no_such =
                || usage(format!("no account '{}' in {}", name.escape_debug(), self.place));
            sections.push(section.ok_or_else(no_such)?);
        }
        sections.into_iter().map(|section| self.read(section, &[])).collect()
    }

    /// The server of the command line, without the file.
    fn host(&self, host: &str, command: &[&str]) -> Result<Options> {
        self.read(Section { host: Some(host.to_owned()), ..Section::default() }, command)
    }

    fn read(&self, section: Section, command: &[&str]) -> Result<Options> {
        let name = section.name.clone();
        let read = Options::read(self.args.clone(), section, command);
        read.map_err(|failure| self.of_file(failure, name.as_deref(), command.is_empty()))
    }

    /// A wrong setting of the file is no fault of the command line. Without a command nearly all is the
    /// file's.
    fn of_file(&self, failure: Failure, name: Option<&str>, is_plain: bool) -> Failure {
        let place = &self.place;
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
}
