//! What is done with a queue from outside of its runner: listed, held, released, deleted, flushed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use forknet::{Error, Result, become_user, printable};
use mailstore::{Folder, Queue, QueuedLetter, RecipientState};
use nix::unistd::{Uid, geteuid};

use crate::due::now;
use crate::options::Command;

/// What stands for all letters.
const ALL: &str = "ALL";

/// The name by which the program lists the queue.
const MAILQ: &str = "mailq";
/// Names the queue for mailq, where its command line names none.
const QUEUE: &str = "FORKLORE_QUEUE";

/// Returns the arguments; called as mailq, those of `--list`, with the queue of the environment where they name none.
#[must_use]
pub fn of_mailq(mut args: Vec<OsString>) -> Vec<OsString> {
    let first = std::env::args_os().next();
    let name = first.as_deref().map(Path::new).and_then(Path::file_name);
    if name != Some(OsStr::new(MAILQ)) {
        return args;
    }
    let is_queue = |arg: &OsString| arg.as_bytes().starts_with(b"--queue");
    let queue = std::env::var_os(QUEUE).filter(|_| !args.iter().any(is_queue));
    args.extend(queue.into_iter().flat_map(|queue| ["--queue".into(), queue]));
    args.push("--list".into());
    args
}

/// Opens a queue for a command. What is missing of it (an older smtpd has made no `hold`) is made for a command that
/// changes something, and is of no account for a list. Root becomes its owner.
///
/// # Errors
/// There is no queue, or it is another user's; what is missing cannot be made.
pub fn open(folder: &Path, command: &Command) -> Result<Queue> {
    let walked = Folder::find(folder).map_err(|error| refused(&error))?;
    if let Some(name) = walked.missing.first() {
        let what = walked.folder.path().join(name);
        return Err(Error::Refused(format!("queue {}: No such file or directory", what.display())));
    }
    let letters = walked.folder.enter(OsStr::new("letters")).map_err(|error| refused(&error))?;
    let (uid, gid) = letters.owner().map_err(|error| refused(&error))?;
    let owner = if geteuid().is_root() { uid } else { Uid::effective() };
    // With root's rights, because in a folder that only root can change root alone can make what is missing.
    let mut queue = Queue::open(walked.folder, owner).map_err(|error| refused(&error))?;
    if !queue.is_whole() && *command != Command::List {
        let again = Folder::find(folder).map_err(|error| refused(&error))?;
        queue = Queue::make(again.folder, owner, gid).map_err(|error| refused(&error))?;
    }
    if geteuid().is_root() && !uid.is_root() {
        become_user(uid.as_raw(), gid.as_raw())?;
    }
    Ok(queue)
}

fn refused(error: &mailstore::Error) -> Error {
    Error::Refused(format!("queue: {error}"))
}

/// Runs a command; returns the exit code. `None` for a flush where no runner is to be asked.
///
/// # Errors
/// The queue cannot be used; standard output cannot be written to.
pub fn run(queue: &Queue, command: &Command) -> Result<Option<u8>> {
    match command {
        Command::List => list(queue, &mut io::stdout().lock()).map(|()| Some(0)),
        Command::Flush => flush(queue),
        Command::Change { hold, release, delete } => {
            let mut code = 0;
            for (what, ids) in [("hold", hold), ("release", release), ("delete", delete)] {
                for name in names(queue, ids)? {
                    if !change(queue, what, &name)? {
                        code = 1;
                    }
                }
            }
            Ok(Some(code))
        }
    }
}

/// Asks the runner to try all letters.
fn flush(queue: &Queue) -> Result<Option<u8>> {
    if queue.lock_runner().map_err(|error| refused(&error))?.is_some() {
        return Ok(None);
    }
    queue.ask_flush().map_err(|error| refused(&error))?;
    say("the runner tries all letters now")?;
    Ok(Some(0))
}

/// Returns the names of letters, all for `ALL`.
fn names(queue: &Queue, ids: &[String]) -> Result<Vec<OsString>> {
    if ids.iter().any(|id| id == ALL) {
        return queue.list().map_err(|error| refused(&error));
    }
    Ok(ids.iter().map(OsString::from).collect())
}

/// Changes a letter; returns whether there was something to change.
fn change(queue: &Queue, what: &str, name: &OsStr) -> Result<bool> {
    let shown = name.display();
    let done = match what {
        "hold" => {
            queue.hold(name).map_err(|error| refused(&error))?.then(|| format!("{shown}: held"))
        }
        "release" => queue
            .release(name)
            .map_err(|error| refused(&error))?
            .then(|| format!("{shown}: released")),
        _ => queue.delete(name).map_err(|error| refused(&error))?.map(|is_sent| match is_sent {
            false => format!("{shown}: deleted"),
            true => format!("{shown}: deleted; it is being sent, and may arrive"),
        }),
    };
    match &done {
        Some(text) => say(text)?,
        None if what == "release" => complain(&format!("{shown}: not held"))?,
        None => complain(&format!("{shown}: no such letter"))?,
    }
    Ok(done.is_some())
}

fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").map_err(Error::io("standard output"))
}

fn complain(text: &str) -> Result<()> {
    writeln!(io::stderr(), "smtpq: {text}").map_err(Error::io("standard error"))
}

/// Lists the letters as mailq(1) does, the oldest first. Each is read when its turn comes.
///
/// # Errors
/// The queue cannot be read, or `out` not written to.
pub fn list(queue: &Queue, out: &mut impl Write) -> Result<()> {
    let names = queue.list().map_err(|error| refused(&error))?;
    let (mut letters, mut bytes) = (0, 0);
    for name in &names {
        let (entry, length) = match queue.read(name) {
            Ok(Some(letter)) => (entry(queue, &letter), letter.text_length().unwrap_or_default()),
            Ok(None) => continue,
            Err(error) => (format!("{}  {error}\n", name.display()), 0),
        };
        if letters == 0 {
            put(out, "ID  size  age  sender; recipients, with the last reply\n")?;
        }
        (letters, bytes) = (letters + 1, bytes + length);
        put(out, &entry)?;
    }
    match letters {
        0 => put(out, "Mail queue is empty\n"),
        1 => put(out, &format!("-- {bytes} bytes in 1 letter\n")),
        _ => put(out, &format!("-- {bytes} bytes in {letters} letters\n")),
    }
}

fn put(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()) {
        // `--list | head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Error::Answer(String::new()))
        }
        written => written.map_err(Error::io("standard output")),
    }
}

/// Returns the lines of a letter.
fn entry(queue: &Queue, letter: &QueuedLetter) -> String {
    let (name, envelope) = (letter.name(), letter.envelope());
    let mark = match (queue.is_being_sent(name), queue.is_held(name)) {
        (true, _) => "*",
        (false, true) => "!",
        (false, false) => "",
    };
    let size = letter.text_length().unwrap_or_default();
    let (now, sender) = (now(), printable(&envelope.sender));
    let age = span(now.saturating_sub(envelope.arrived));
    let mut text = format!("{}{mark}  {size}  {age}  <{sender}>\n", name.display());
    for (recipient, state) in envelope.recipients.iter().zip(letter.states()) {
        text += &format!("    <{}>: {}\n", printable(&recipient.address), told(state, now));
    }
    text
}

/// `deferred, next in 28m: mx.blue.test: 451 4.3.0 later`
fn told(state: &RecipientState, now: u64) -> String {
    let mut text = state.stage.word().to_owned();
    if state.stage.is_open() && state.next > 0 {
        match state.next.saturating_sub(now) {
            0 => text += ", due",
            wait => text += &format!(", next in {}", span(wait)),
        }
    }
    for part in [&state.host, &state.reply] {
        if !part.is_empty() {
            text += &format!(": {}", printable(part));
        }
    }
    text
}

/// `7s`, `28m`, `3h05m`, `4d07h`
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailstore::Stage;

    #[test]
    fn an_age_has_two_units() {
        let spans = [0, 59, 60, 3599, 3600, 86_399, 86_400, 400_000].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "59m", "1h00m", "23h59m", "1d00h", "4d15h"]);
    }

    #[test]
    fn the_last_reply_is_listed_with_its_server() {
        let state = RecipientState {
            stage: Stage::Deferred,
            next: 1060,
            host: b"mx.test".into(),
            reply: b"451 later\x1b[2J".into(),
            ..RecipientState::default()
        };
        let text = "deferred, next in 1m: mx.test: 451 later\\u{1b}[2J";
        assert_eq!(told(&state, 1000), text);
        assert_eq!(told(&RecipientState::default(), 1000), "waiting");
    }
}
