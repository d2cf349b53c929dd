//! smtpc under its old name: `sendmail`, by which cron, mutt, git and other programs hand a letter in, `mailq` and
//! `newaliases`. The letter goes into the queue where that is the caller's own, or else to a server; the exit code is 0
//! once it is on the disk there, or the server has taken it.

// The order of the modules; each imports from its left only:
//   failure | addresses | fields author command_line mailbox queue_program | input | submission | dead_letter dialogue |
//   (this file)

mod addresses;
mod author;
mod command_line;
mod dead_letter;
mod dialogue;
mod failure;
mod fields;
mod input;
mod mailbox;
mod queue_program;
mod submission;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path as FilePath;
use std::process::ExitCode;

use forknet::{Error, Values};

use crate::client::{self, Outgoing, Recipient};
use crate::outbox::{self, Place};
use author::Author;
use command_line::{CommandLine, Mode};
use dialogue::Dialogue;
use failure::{Failure, Result};
use fields::Header;
use input::Letter;
use mailbox::{mailbox, mailboxes, sender};
use submission::{Envelope, Submission};

const SENDMAIL: &str = "sendmail";
/// The names that this program has besides its own.
const NAMES: [&str; 3] = [SENDMAIL, "mailq", "newaliases"];

const USAGE: &str = "Usage: sendmail [OPTION]... [ADDRESS]...
Takes the letter on standard input for the addresses.
  -t         for those of To, Cc and Bcc in its header too
  -i, -oi    a line of a dot does not end it
  -f, -r A   the sender; '' is none
  -F NAME    the sender's name in From
  -N WHEN    notify of: never, or success,failure,delay
  -R full|hdrs, -V ID   what a notification has
  -bs        SMTP on standard input and output
  -bp        list the queue, as mailq does
  -q         have the queue tried
  -oem -oeq  keep what fails in ~/dead.letter; tell it by the exit status alone
  -v         show the dialogue
  --queue DIR, --config FILE, and all of smtpc's options with long names
Other options of sendmail are taken, and say nothing.
Exit status: 0 when the letter is on the disk in the queue, or the server has
taken it; else as sysexits(3) has it.";

/// Returns the name that this program was called by, if that is not its own.
#[must_use]
pub fn called_as() -> Option<&'static str> {
    let first = std::env::args_os().next()?;
    let name = FilePath::new(&first).file_name().and_then(OsStr::to_str)?;
    NAMES.into_iter().find(|known| *known == name)
}

/// Runs the program under this name. Its exit codes are those of sysexits(3).
#[must_use]
pub fn main(name: &'static str) -> ExitCode {
    forknet::main_with_codes(name, |args| {
        let line = CommandLine::parse(args).map_err(of_failure)?;
        let is_quiet = line.is_quiet;
        match run(name, line) {
            Ok(()) => Ok(0),
            Err(failure) if is_quiet => Ok(failure.code),
            Err(failure) => Err(of_failure(failure)),
        }
    })
}

fn of_failure(failure: Failure) -> (u8, Error) {
    (failure.code, failure.error)
}

/// Puts the letter on standard input into the queue, as smtpc `--queue` does: its header stays as it is.
///
/// # Errors
/// The exit code, and what it is; it is not in the queue.
pub fn put_in(values: &Values, outgoing: Outgoing) -> std::result::Result<(), (u8, Error)> {
    let Outgoing { from: sender, to, ret, envid, is_verbose } = outgoing;
    let line = CommandLine { is_verbose, ..CommandLine::default() };
    let mut envelope = Envelope { sender, ret, envid, ..Envelope::default() };
    to.into_iter().for_each(|recipient| envelope.add(recipient));
    let taken = submission(&line, values, None).and_then(|submission| {
        let mut letter = Letter::read(&mut io::stdin().lock(), false)?;
        let submission = Submission { completes: false, ..submission };
        told(is_verbose, client::NAME, &submission.take(&envelope, &mut letter)?);
        Ok(())
    });
    taken.map_err(of_failure)
}

/// Tells what has become of a letter, with `-v`.
fn told(is_verbose: bool, name: &str, what: &str) {
    if is_verbose {
        let _ = writeln!(io::stderr(), "{name}: {what}"); // best effort
    }
}

fn run(name: &str, mut line: CommandLine) -> Result<()> {
    if line.long.iter().any(|word| word == "--help") {
        return Err(Error::Answer(USAGE.to_owned()).into());
    }
    match name {
        "mailq" => line.mode = Mode::List,
        "newaliases" => line.mode = Mode::Aliases,
        _ => {}
    }
    let values = client::settings(std::mem::take(&mut line.long))?;
    match line.mode {
        Mode::Letter => letter(&line, &values),
        Mode::Smtp => {
            let submission = submission(&line, &values, None)?;
            Dialogue::new(submission, io::stdin().lock(), io::stdout().lock()).run()
        }
        Mode::List => queue_program::run("--list", outbox::named(&values)?),
        Mode::Flush => queue_program::run("--flush", outbox::named(&values)?),
        Mode::Aliases => Ok(()),
    }
}

/// Takes the letter on standard input.
fn letter(line: &CommandLine, values: &Values) -> Result<()> {
    if line.recipients.is_empty() && !line.reads_header {
        return Err(Failure::usage("an address is missing, or -t"));
    }
    let domain = client::our_name(values)?;
    let sender = line.sender.as_deref().map(|text| sender(text, &domain)).transpose()?;
    let mut envelope =
        Envelope { ret: line.ret.clone(), envid: line.envid.clone(), ..Envelope::default() };
    let recipient =
        |address| Recipient { address, notify: line.notify.clone(), orcpt: String::new() };
    for text in &line.recipients {
        let found = mailboxes(text, &domain).map_err(Failure::usage)?;
        found.into_iter().for_each(|address| envelope.add(recipient(address)));
    }
    let submission = submission(line, values, sender.as_deref())?;
    envelope.sender = sender.unwrap_or_else(|| submission.author.address().to_owned());
    let mut letter = Letter::read(&mut io::stdin().lock(), !line.keeps_dots)?;
    if line.reads_header {
        let found = Header(&letter.header).recipients();
        let found = found.map_err(|(field, bad)| Failure::data(format!("{field}: {}", bad.0)))?;
        for text in found {
            envelope.add(recipient(mailbox(&text, &domain).map_err(Failure::data)?));
        }
    }
    let taken = match envelope.recipients.is_empty() {
        true => Err(Failure::data("no recipient in the header, and none on the command line")),
        false => submission.take(&envelope, &mut letter),
    };
    match taken {
        Ok(id) => {
            told(line.is_verbose, SENDMAIL, &id);
            Ok(())
        }
        Err(failure) if line.mails_errors => {
            Err(dead_letter::keep(&envelope, &mut letter, failure))
        }
        Err(failure) => Err(failure),
    }
}

/// Opens the place for letters. This process may be another user afterwards.
fn submission<'a>(
    line: &CommandLine,
    values: &'a Values,
    sender: Option<&str>,
) -> Result<Submission<'a>> {
    let author = Author::of_caller(sender, line.full_name.as_deref(), &client::our_name(values)?);
    let place = outbox::open(outbox::named(values)?).map_err(Failure::temporary)?;
    if let Place::Server(Some(why)) = &place {
        told(line.is_verbose, SENDMAIL, &format!("queue: {why}"));
    }
    Ok(Submission { values, place, author, is_verbose: line.is_verbose, completes: true })
}
