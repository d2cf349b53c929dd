//! The password: from the accounts file, a file, a command, the terminal, or standard input.

use std::io::{self, BufReader, IsTerminal, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use accounts::Secret;
use accounts::password::MAX_PASSWORD;
use forknet::Error;
use maild::client::{ask_password, not_empty, password_in};
use maild::hash::first_line;

use super::options::{NAME, Options, PasswordSource};
use super::status::{Failure, Result, Status};

/// Longest time of a command that prints a password: it may ask for a passphrase itself.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Reads the password of an account.
///
/// # Errors
/// There is none, or the file or the command fails.
pub(crate) fn password(options: &Options) -> Result<Secret> {
    let read = match &options.password {
        PasswordSource::Given(password) => not_empty(Secret::from(password.as_bytes())),
        PasswordSource::File(path) => password_in(path, NAME),
        PasswordSource::Command(command) => return from_command(command),
        PasswordSource::Input if io::stdin().is_terminal() => {
            ask_password(&options.user, &options.server)
        }
        PasswordSource::Input => first_line(io::stdin().lock()).and_then(not_empty),
    };
    read.map_err(Failure::because(Status::Config))
}

/// Runs a command and reads the first line of its standard output.
fn from_command(command: &str) -> Result<Secret> {
    let failed = |why: &str| Failure::new(Status::Unavailable, format!("password command: {why}"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::io("password command"))
        .map_err(Failure::because(Status::Unavailable))?;
    let line = first_of(&mut child).ok_or_else(|| failed("it has not ended in five minutes"));
    let line = line.inspect_err(|_| {
        let _ = child.kill(); // it may end by itself just now
    });
    let status = child.wait().map_err(|error| failed(&forknet::reason(&error)))?;
    let line = line?;
    if !status.success() {
        return Err(failed(&format!("{status}")));
    }
    not_empty(line).map_err(|error| failed(&error.to_string()))
}

/// Reads all that a command prints, up to its end; `None` where that takes too long. The first line counts.
fn first_of(child: &mut Child) -> Option<Secret> {
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output.take(4 * MAX_PASSWORD as u64));
        let line = first_line(&mut output).ok();
        let _ = io::copy(&mut output, &mut io::sink()); // so that its writes do not fail
        let _ = sender.send(line); // the other side may have given up
    });
    receiver.recv_timeout(COMMAND_TIMEOUT).ok().flatten()
}
