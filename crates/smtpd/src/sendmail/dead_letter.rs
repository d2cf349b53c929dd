//! `~/dead.letter`: an mbox in which a letter is kept whose program will not try again, because it wants mail about what
//! fails (`-oem`), as cron does.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forknet::{Error, reason};
use jiff::Zoned;
use nix::fcntl::OFlag;

use crate::sendmail::failure::Failure;
use crate::sendmail::input::Letter;
use crate::sendmail::submission::Envelope;

const NAME: &str = "dead.letter";
/// Neither a link is followed nor a FIFO waited for.
const FLAGS: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);
/// A line that would begin another letter.
const FROM: &[u8] = b"From ";

/// Keeps a letter in the caller's home. Returns the failure, which says so, or why it is not kept.
pub(super) fn keep(envelope: &Envelope, letter: &mut Letter, failure: Failure) -> Failure {
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let Some(path) = home.map(|home| home.join(NAME)) else { return failure };
    let what = match append(&path, envelope, letter) {
        Ok(()) => format!("the letter is in {}", path.display()),
        Err(error) => format!("{}: {}", path.display(), reason(&error)),
    };
    Failure { error: Error::Refused(format!("{}; {what}", failure.error)), ..failure }
}

fn append(path: &Path, envelope: &Envelope, letter: &mut Letter) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file =
        options.append(true).create(true).mode(0o600).custom_flags(FLAGS.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = first_lines(envelope);
    text.extend_from_slice(&letter.header);
    file.write_all(&text)?;
    let mut is_start = true;
    letter.each_piece(|piece| {
        text.clear();
        for line in piece.split_inclusive(|&byte| byte == b'\n') {
            if is_start && line.starts_with(FROM) {
                text.push(b'>');
            }
            text.extend_from_slice(line);
            is_start = line.ends_with(b"\n");
        }
        file.write_all(&text)
    })?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Returns the line that begins a letter of an mbox, and the envelope.
fn first_lines(envelope: &Envelope) -> Vec<u8> {
    let sender = if envelope.sender.is_empty() { "MAILER-DAEMON" } else { &envelope.sender };
    let date = Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string();
    let to: Vec<&str> = envelope.recipients.iter().map(|it| &it.address[..]).collect();
    format!("From {sender} {date}\nX-Envelope-To: {}\n", to.join(",\n ")).into_bytes()
}
