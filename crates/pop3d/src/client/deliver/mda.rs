//! Delivery by a command (a mail delivery agent), which reads the letter and says by its exit code, as
//! sysexits(3) has it, what has become of it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use forknet::Error;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::delivery::{Delivery, Told};
use super::spool::Spool;
use crate::client::status::{Failure, Result, Status};

/// Longest time of the command for one letter.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longest wait between two looks at the command.
const LOOK: Duration = Duration::from_millis(20);
/// Exit codes of sh(1) for a command that cannot be run, or is not found.
const CANNOT_RUN: [i32; 2] = [126, 127];

/// Runs the command once for each letter.
pub(crate) struct MdaDelivery {
    command: String,
    spool: Option<Spool>,
    waiting: Option<File>,
}

impl MdaDelivery {
    pub(crate) fn new(command: &str) -> MdaDelivery {
        MdaDelivery { command: command.to_owned(), spool: None, waiting: None }
    }
}

impl Delivery for MdaDelivery {
    fn batch(&self) -> usize {
        1
    }

    fn begin(&mut self) -> Result<()> {
        self.spool = Some(Spool::new()?);
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), |spool| spool.write(piece))
    }

    fn end(&mut self) -> Result<()> {
        self.waiting = self.spool.take().map(Spool::into_file).transpose()?;
        Ok(())
    }

    fn commit(&mut self, told: Told<'_>) -> Result<()> {
        let Some(letter) = self.waiting.take() else { return Ok(()) };
        let ended = run(&self.command, letter).map_err(Failure::because(Status::Unavailable))?;
        match ended.and_then(|status| status.code()) {
            Some(0) => told(0, Ok(())),
            Some(code) if CANNOT_RUN.contains(&code) => {
                Err(Failure::new(Status::Unavailable, format!("mda: exit code {code}: not run")))
            }
            Some(code) => {
                let is_temporary = code == i32::from(Status::Temporary as u8);
                let status = if is_temporary { Status::Temporary } else { Status::Unavailable };
                told(0, Err(Failure::new(status, format!("mda: exit code {code}"))))
            }
            None => {
                let why = ended.map_or("not done after five minutes".into(), |it| it.to_string());
                told(0, Err(Failure::new(Status::Temporary, format!("mda: {why}"))))
            }
        }
    }
}

/// Runs the command and waits for its end; `None` where that took too long. It is in a process group of its
/// own, so that Ctrl-C does not end it within a letter.
fn run(command: &str, letter: File) -> std::result::Result<Option<ExitStatus>, Error> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(letter)
        .process_group(0)
        .spawn()
        .map_err(Error::io("mda"))?;
    let ended = wait(&mut child, Instant::now() + TIMEOUT);
    if !matches!(ended, Ok(Some(_))) {
        let group = Pid::from_raw(child.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL); // it may end by itself just now
        let _ = child.wait();
    }
    ended.map_err(Error::io("mda"))
}

fn wait(child: &mut Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LOOK);
    }
}
