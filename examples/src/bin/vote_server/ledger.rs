//! The votes on disk: a file that only grows, with a line `voter TAB candidate LF` for each vote. A
//! line without its newline is not a vote.
//!
//! A vote is counted under flock(2), in this order: read the lines added by other processes, refuse
//! a second vote, write the line (O_APPEND), fsync, acknowledge. So an acknowledged vote is on
//! disk, and of two votes at the same time one process reads the other's line. The kernel releases
//! the lock of a killed process, which leaves at most a line without its newline. That vote was not
//! acknowledged, and the next write truncates the line.
//!
//! Each operation opens the file itself, because a lock of flock(2) belongs to the open file, not
//! to the process: children that inherited it from their parent would all hold the lock at once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::roll::Roll;

/// The votes read from the file so far.
pub struct Ledger {
    path: PathBuf,
    /// Each voter's candidate.
    votes: HashMap<Vec<u8>, usize>,
    /// Bytes read so far, always up to the end of a line.
    read: u64,
}

/// Why a vote is not in the file, or the votes cannot be counted.
#[derive(Debug)]
pub enum NotCounted {
    /// The voter has already voted.
    Already,
    /// A system call failed.
    System(io::Error),
    /// A line of the file, given here, is invalid. It must not be sent to clients, because it shows
    /// a voter's choice.
    Damaged(String),
}

impl Ledger {
    /// Reads the ledger of an election, or creates an empty one, and fsyncs it.
    pub fn open(folder: &Path, roll: &Roll) -> Result<Ledger, String> {
        let path = folder.join("ledger");
        let mut ledger = Ledger { path, votes: HashMap::new(), read: 0 };
        ledger.start(folder, roll).map_err(|why| format!("{}: {why}", ledger.path.display()))?;
        Ok(ledger)
    }

    fn start(&mut self, folder: &Path, roll: &Roll) -> Result<(), NotCounted> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = lock(options.open(&self.path)?, FlockArg::LockExclusive)?;
        self.catch_up(&mut file, roll)?;
        file.set_len(self.read)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?; // the file's name, too
        Ok(())
    }

    /// Adds a vote.
    pub fn vote(&mut self, roll: &Roll, voter: &[u8], candidate: usize) -> Result<(), NotCounted> {
        let mut file = self.open_and_lock(FlockArg::LockExclusive)?;
        self.catch_up(&mut file, roll)?;
        if self.votes.contains_key(voter) {
            file.sync_all()?; // its writer may have been killed before its fsync
            return Err(NotCounted::Already);
        }
        let line = [voter, b"\t", roll.name(candidate), b"\n"].concat();
        let added = file
            .set_len(self.read) // truncates the incomplete line of a killed process
            .and_then(|()| file.write_all(&line))
            .and_then(|()| file.sync_all());
        if let Err(e) = added {
            file.set_len(self.read)?; // disk full: removes the incomplete line
            return Err(e.into());
        }
        self.votes.insert(voter.to_owned(), candidate);
        self.read += line.len() as u64;
        Ok(())
    }

    /// Returns the votes for each candidate.
    pub fn result(&mut self, roll: &Roll) -> Result<Vec<usize>, NotCounted> {
        let mut file = self.open_and_lock(FlockArg::LockShared)?;
        self.catch_up(&mut file, roll)?;
        file.sync_all()?;
        let mut result = vec![0; roll.candidates().len()];
        for candidate in self.votes.values() {
            result.get_mut(*candidate).into_iter().for_each(|votes| *votes += 1);
        }
        Ok(result)
    }

    fn open_and_lock(&self, kind: FlockArg) -> io::Result<Flock<File>> {
        lock(OpenOptions::new().read(true).append(true).open(&self.path)?, kind)
    }

    /// Reads the complete lines added since. A power failure may also leave a last line of zeros
    /// with a newline, which is ignored.
    fn catch_up(&mut self, file: &mut File, roll: &Roll) -> Result<(), NotCounted> {
        let mut added = Vec::new();
        file.seek(SeekFrom::Start(self.read))?;
        let end = self.read + file.read_to_end(&mut added)? as u64;
        for line in added.split_inclusive(|byte| *byte == b'\n') {
            let Some(entry) = line.strip_suffix(b"\n") else { break };
            if entry.contains(&0) && self.read + line.len() as u64 == end {
                break;
            }
            self.enter(entry, roll).map_err(|why| {
                NotCounted::Damaged(format!(
                    "'{}' at octet {}: {why}",
                    entry.escape_ascii(),
                    self.read
                ))
            })?;
            self.read += line.len() as u64;
        }
        Ok(())
    }

    fn enter(&mut self, entry: &[u8], roll: &Roll) -> Result<(), &'static str> {
        let mut fields = entry.splitn(2, |byte| *byte == b'\t');
        let (voter, candidate) = (fields.next().unwrap_or_default(), fields.next());
        if !roll.has_voter(voter) {
            return Err("no such voter");
        }
        let candidate =
            candidate.and_then(|name| roll.candidate(name)).ok_or("no such candidate")?;
        match self.votes.insert(voter.to_owned(), candidate) {
            Some(_) => Err("a second vote"),
            None => Ok(()),
        }
    }
}

/// Waits for flock(2). The session's alarm bounds the wait.
fn lock(mut file: File, kind: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, kind) {
            Ok(locked) => return Ok(locked),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

impl From<io::Error> for NotCounted {
    fn from(e: io::Error) -> NotCounted {
        NotCounted::System(e)
    }
}

impl std::fmt::Display for NotCounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotCounted::Already => f.write_str("voted already"),
            NotCounted::System(e) => f.write_str(&unp::reason(e)),
            NotCounted::Damaged(line) => write!(f, "damaged: {line}"),
        }
    }
}
