//! Which messages were stored before: one file for each account, `.pop3c.seen.USER@HOST:PORT` in
//! the folder of `fetch`, one unique id a line.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forknet::{Error, Result};

/// The largest file that is read: a million ids of 70 characters.
const LIMIT: u64 = 72 << 20;

/// The unique ids of what is stored already.
#[derive(Debug)]
pub(crate) struct Seen {
    path: PathBuf,
    ids: HashSet<Vec<u8>>,
}

impl Seen {
    /// Reads the file of an account; one that is not there yet is empty.
    pub(crate) fn load(folder: &Path, account: &str) -> Result<Seen> {
        let path = folder.join(format!(".pop3c.seen.{}", file_name(account)));
        let mut ids = HashSet::new();
        match File::open(&path) {
            Ok(file) => {
                for line in BufReader::new(file.take(LIMIT)).split(b'\n') {
                    ids.insert(line.map_err(Error::io(path.display().to_string()))?);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(path.display().to_string())(error)),
        }
        Ok(Seen { path, ids })
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.ids.contains(id)
    }

    pub(crate) fn add(&mut self, id: &[u8]) {
        self.ids.insert(id.to_vec());
    }

    /// Forgets what the server has no more, so that the file does not grow for ever.
    pub(crate) fn keep_only(&mut self, on_server: &HashSet<&[u8]>) {
        self.ids.retain(|id| on_server.contains(id.as_slice()));
    }

    /// Puts a new file in the place of the old one, whole or not at all, and through to the disk.
    pub(crate) fn save(&self) -> Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let written = self.write(Path::new(&new)).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
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

/// An account as a part of a file's name.
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
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_again() {
        let folder = std::env::temp_dir().join(format!("pop3c-seen-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut seen = Seen::load(&folder, "../a b@h:110").unwrap();
        assert!(!seen.contains(b"1.a"));
        for id in [&b"1.a"[..], b"2.b", b"3.c"] {
            seen.add(id);
        }
        seen.keep_only(&HashSet::from([&b"1.a"[..], b"3.c", b"4.d"]));
        seen.save().unwrap();
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [".pop3c.seen...%2Fa%20b@h:110"]);
        let again = Seen::load(&folder, "../a b@h:110").unwrap();
        assert!(again.contains(b"1.a") && again.contains(b"3.c") && !again.contains(b"2.b"));
        assert!(!Seen::load(&folder, "b@h:110").unwrap().contains(b"1.a"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
