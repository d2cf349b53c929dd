//! The ids of stored messages, in a file for each account: `.pop3c.seen.USER@HOST:PORT` in the
//! folder of `fetch`.
//!
//! A line with a unique id means that the message is stored. Before a letter becomes visible in the
//! Maildir, a line with its id and file name is appended, and afterwards a line with the id alone.
//! If pop3c is killed between the two, the next run looks for the file name in the Maildir. So a
//! killed fetch never stores a message twice. After a power failure it may.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forknet::{Error, Result};
use mailstore::Maildir;

/// Largest file accepted, in bytes: a million ids of 70 characters, each twice and with a name.
const MAX_FILE: u64 = 256 << 20;

/// The unique ids of stored messages.
#[derive(Debug)]
pub(crate) struct Seen {
    path: PathBuf,
    ids: HashSet<Vec<u8>>,
    /// The file opened for appending, `None` before the first line.
    journal: Option<File>,
}

impl Seen {
    /// Reads the file of an account. A missing file counts as empty.
    pub(crate) fn load(maildir: &Maildir, account: &str) -> Result<Seen> {
        let path = maildir.path().join(format!(".pop3c.seen.{}", file_name(account)));
        let mut seen = Seen { path, ids: HashSet::new(), journal: None };
        let pending = seen.read().map_err(Error::io(seen.path.display().to_string()))?;
        for (id, name) in pending {
            if maildir.contains(&name).map_err(|error| Error::Refused(error.to_string()))? {
                seen.ids.insert(id);
            }
        }
        Ok(seen)
    }

    /// Reads the lines. Returns the ids and names of letters that were about to become visible.
    fn read(&mut self) -> std::io::Result<HashMap<Vec<u8>, OsString>> {
        let mut pending = HashMap::new();
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(pending),
            file => file?,
        };
        let mut lines = BufReader::new(file.take(MAX_FILE));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            // Ignores a truncated last line.
            if let Some(text) = line.strip_suffix(b"\n") {
                let mut words = text.splitn(2, |&b| b == b' ');
                let id = words.next().unwrap_or_default().to_vec();
                match words.next() {
                    Some(name) => {
                        pending.insert(id, OsString::from_vec(name.to_vec()));
                    }
                    None => {
                        pending.remove(&id);
                        self.ids.insert(id);
                    }
                }
            }
            line.clear();
        }
        Ok(pending)
    }

    /// Records that a letter is about to become visible under this name.
    pub(crate) fn storing(&mut self, id: &[u8], name: &OsStr) -> Result<()> {
        self.append(&[id, b" ", name.as_bytes(), b"\n"].concat())
    }

    /// Records that the letter is visible and durable.
    pub(crate) fn stored(&mut self, id: &[u8]) -> Result<()> {
        self.insert(id);
        self.append(&[id, b"\n"].concat())
    }

    /// Adds an id, which [`Seen::save`] writes.
    pub(crate) fn insert(&mut self, id: &[u8]) {
        self.ids.insert(id.to_vec());
    }

    /// Appends a line to a complete file.
    fn append(&mut self, line: &[u8]) -> Result<()> {
        let mut journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                self.save()?;
                let opened = OpenOptions::new().append(true).open(&self.path);
                opened.map_err(Error::io(self.path.display().to_string()))?
            }
        };
        // After a failure there is no journal, so that the next line starts a new file.
        journal.write_all(line).map_err(Error::io(self.path.display().to_string()))?;
        self.journal = Some(journal);
        Ok(())
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.ids.contains(id)
    }

    /// Drops ids that the server no longer has, so that the file does not grow without bound.
    pub(crate) fn keep_only(&mut self, on_server: &HashSet<&[u8]>) {
        self.ids.retain(|id| on_server.contains(id.as_slice()));
    }

    /// Replaces the file atomically and fsyncs it.
    pub(crate) fn save(&self) -> Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let written = self.write(Path::new(&new)).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new); // best effort
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        written
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io(self.path.display().to_string()))
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut ids: Vec<&[u8]> = self.ids.iter().map(Vec::as_slice).collect();
        ids.sort_unstable();
        let mut text = ids.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// Escapes an account for a file name.
fn file_name(account: &str) -> String {
    let mut name = String::new();
    for b in account.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@' | b':' => {
                name.push(char::from(b));
            }
            _ => name.push_str(&format!("%{b:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use testkit::TempDir;

    use super::*;

    #[test]
    fn saved_ids_are_loaded_again() {
        let (folder, maildir) = maildir();
        let mut seen = Seen::load(&maildir, "../a b@h:110").unwrap();
        assert!(!seen.contains(b"1.a"));
        for id in [&b"1.a"[..], b"2.b", b"3.c"] {
            seen.stored(id).unwrap();
        }
        seen.keep_only(&HashSet::from([&b"1.a"[..], b"3.c", b"4.d"]));
        seen.save().unwrap();
        assert!(folder.path().join(".pop3c.seen...%2Fa%20b@h:110").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "the file, cur, new, tmp");
        let again = Seen::load(&maildir, "../a b@h:110").unwrap();
        assert!(again.contains(b"1.a") && again.contains(b"3.c") && !again.contains(b"2.b"));
        assert!(!Seen::load(&maildir, "b@h:110").unwrap().contains(b"1.a"));
    }

    #[test]
    fn after_a_kill_the_maildir_decides_whether_a_letter_was_stored() {
        let (folder, maildir) = maildir();
        let publish = |seen: &mut Seen, id: &[u8]| {
            let letter = maildir.draft().unwrap().sync().unwrap();
            seen.storing(id, &letter.name()).unwrap();
            letter.publish().unwrap()
        };
        let mut seen = Seen::load(&maildir, "a").unwrap();
        publish(&mut seen, b"new");
        let read = publish(&mut seen, b"read");
        publish(&mut seen, b"gone").retract().unwrap();
        publish(&mut seen, b"recorded").retract().unwrap();
        seen.stored(b"recorded").unwrap();
        seen.storing(b"never", OsStr::new("1.a.h")).unwrap();
        let path = read.path();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::rename(&path, folder.path().join(format!("cur/{name}:2,S"))).unwrap();
        // The process is killed here, in the middle of a line.
        seen.journal.as_mut().unwrap().write_all(b"ha").unwrap();
        let mut again = Seen::load(&maildir, "a").unwrap();
        let mut ids: Vec<_> = again.ids.iter().map(|id| id.escape_ascii().to_string()).collect();
        ids.sort();
        assert_eq!(ids, ["new", "read", "recorded"]);
        again.stored(b"lf").unwrap();
        assert_eq!(Seen::load(&maildir, "a").unwrap().ids, again.ids);
    }

    fn maildir() -> (TempDir, Maildir) {
        let folder = TempDir::new();
        let maildir = Maildir::create(folder.path()).unwrap();
        (folder, maildir)
    }
}
