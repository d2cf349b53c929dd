//! The users file, shaped like passwd(5): `name[@domain]:password:uid:gid:gecos:home:shell`.
//!
//! Fields at the end may be missing; blank lines and lines that start with `#` are skipped; a malformed
//! line is no account, and [`UsersFile::check`] tells of it. The file is read for each question, as a
//! stream: a hundred thousand users cost no memory, and nothing of them stays in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sys::owned_file::{self, Fault, Rules};

use crate::account::Entry;
use crate::error::{Error, Result};
use crate::lines::{Line, each_line};
use crate::names::Names;
use crate::password::{Password, Unusable};

/// Largest users file in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Faulty lines that are named of, in one check.
const MAX_PROBLEM_LINES: usize = 20;
/// The mode bit that lets every user read.
const READABLE_FLAG: u32 = 0o004;

/// What is wrong with the file, as `users FILE:LINE: reason`. A line's text is never shown.
pub type Problem = String;

/// An open users file. A file that was put in its place is seen after the next [`UsersFile::open`].
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    file: File,
}

impl UsersFile {
    /// Default path of the file.
    pub const DEFAULT: &str = "/etc/forklore/users";

    /// Opens the file.
    ///
    /// # Errors
    /// [`Error::Io`], `users FILE: reason`; [`Error::Refused`] for what is no regular file with one
    /// link, where users other than root and this process's may have written it, where every user may
    /// read it and there is a password in it (a hash is one: passwords can be tried against it), and
    /// for one over 64 MiB.
    pub fn open(path: &Path) -> Result<UsersFile> {
        let opened = owned_file::open(path, Rules::READ).map_err(|fault| match fault {
            Fault::Os(errno) => Error::io("users", path)(errno),
            fault => Error::Refused(format!("users {}: {fault}", path.display())),
        })?;
        let metadata = opened.file.metadata().map_err(Error::io("users", path))?;
        let users = UsersFile { path: path.to_owned(), file: opened.file };
        let refused = |why| Err(Error::Refused(format!("users {}: {why}", path.display())));
        if metadata.len() > MAX_FILE {
            return refused("is larger than 64 MiB");
        }
        let is_readable = metadata.permissions().mode() & READABLE_FLAG != 0;
        if is_readable && users.has_secret()? {
            return refused("has passwords and is readable by every user (chmod 640)");
        }
        Ok(users)
    }

    fn has_secret(&self) -> Result<bool> {
        let mut found = false;
        self.entries(|entry| {
            found = entry.has_secret();
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Calls `each` with every account, in the file's order, until it breaks.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub(crate) fn entries(&self, mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.lines(|_, parsed| match parsed {
            Ok(entry) => each(entry),
            Err(_) => ControlFlow::Continue(()),
        })
    }

    fn lines(
        &self,
        mut each: impl FnMut(u64, std::result::Result<Entry<'_>, &'static str>) -> ControlFlow<()>,
    ) -> Result<()> {
        let each = |number, line: Line<'_>| match line {
            Line::TooLong => each(number, Err("the line is longer than 4096 bytes")),
            Line::Text(text) if text.starts_with(b"#") => ControlFlow::Continue(()),
            Line::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {
                ControlFlow::Continue(())
            }
            Line::Text(text) => each(number, Entry::parse(text)),
        };
        each_line(&self.file, each).map_err(Error::io("users", &self.path))
    }

    /// Reads the whole file and returns what is wrong with its lines, of many the first twenty and how
    /// many there are. For the start, SIGHUP and `--check`; costs 16 bytes of memory a user.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn check(&self, names: Names) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let mut count = 0_u64;
        // Hashes in place of the names: a false alarm has a chance of one in millions of millions.
        let (hasher, mut seen) = (RandomState::new(), HashMap::new());
        self.lines(|line, parsed| {
            let why = match parsed {
                Err(why) => Some(why.to_owned()),
                Ok(entry) => fault(entry, names, |name| match seen.entry(hasher.hash_one(name)) {
                    Place::Occupied(first) => Some(*first.get()),
                    Place::Vacant(place) => {
                        place.insert(line);
                        None
                    }
                }),
            };
            if let Some(why) = why {
                count += 1;
                if problems.len() < MAX_PROBLEM_LINES {
                    problems.push(format!("users {}:{line}: {why}", self.path.display()));
                }
            }
            ControlFlow::Continue(())
        })?;
        if count > problems.len() as u64 {
            problems.push(format!("users {}: {count} faulty lines", self.path.display()));
        }
        Ok(problems)
    }
}

/// What is wrong with a line that can be read; `first` returns the line that has the name already.
fn fault(
    entry: Entry<'_>,
    names: Names,
    first: impl FnOnce(&[u8]) -> Option<u64>,
) -> Option<String> {
    let Some(name) = names.canonical(entry.name) else {
        return Some("the name is empty or longer than 255 bytes".to_owned());
    };
    if let Some(first) = first(&name) {
        return Some(format!("the name is that of line {first}, which counts"));
    }
    match Password::parse(entry.password) {
        Ok(_) | Err(Unusable::None) => None,
        Err(why) => Some(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{NameCase, NameDomain};
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use testkit::TempDir;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn users(text: &[u8]) -> (TempDir, UsersFile) {
        let folder = TempDir::new();
        let path = folder.path().join("users");
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        let users = UsersFile::open(&path).unwrap();
        (folder, users)
    }

    fn problems(text: &[u8], names: Names) -> Vec<String> {
        let (folder, users) = users(text);
        let path = format!("users {}", folder.path().join("users").display());
        let problems = users.check(names).unwrap();
        problems.iter().map(|problem| problem.strip_prefix(&path).unwrap().to_owned()).collect()
    }

    #[test]
    fn comments_blank_lines_and_bad_lines_are_no_accounts() {
        let (_folder, users) = users(b"# a:b\n\n  \t\na:b\nbad\nroot:x:0:0\nb:c\n#\nlast:x");
        let mut names = Vec::new();
        users
            .entries(|entry| {
                names.push(entry.name.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(names, [&b"a"[..], b"b", b"last"]);
    }

    #[test]
    fn a_fault_names_file_and_line() {
        let text = b"a:*\n\nroot:x:0:0\nA:*\nbad\nb:secret\nc:$6$\nd:!\n";
        let names = Names::default();
        assert_eq!(
            problems(text, names),
            [
                ":3: user id 0: no session has root's rights",
                ":4: the name is that of line 1, which counts",
                ":5: no password field",
                ":6: the password is no $6$, $5$, $y$ or $argon2id$ hash, no {SCRAM-SHA-256} and no {PLAIN}",
                ":7: the password's hash is malformed",
            ]
        );
        let as_is = Names { case: NameCase::AsIs, ..names };
        assert_eq!(problems(b"a:*\nA:*\n", as_is), [""; 0]);
        let cut = Names { domain: NameDomain::Cut, ..names };
        let two = b"a@x.test:*\na@y.test:*\n";
        assert_eq!(problems(two, names), [""; 0]);
        assert_eq!(problems(two, cut), [":2: the name is that of line 1, which counts"]);
        assert_eq!(problems(b"@x.test:*\n", cut).len(), 1);
    }

    #[test]
    fn of_many_faults_the_first_are_named_and_the_rest_are_counted() {
        let problems = problems(&b"bad\n".repeat(50), Names::default());
        assert_eq!(problems.len(), MAX_PROBLEM_LINES + 1);
        assert_eq!(problems.last().unwrap(), ": 50 faulty lines");
    }

    #[test]
    fn a_missing_file_and_a_folder_are_errors_that_say_so() {
        let folder = TempDir::new();
        let path = folder.path().join("none");
        let error = UsersFile::open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("users {}: No such file or directory", path.display()));
        let error = UsersFile::open(folder.path()).unwrap_err().to_string();
        assert_eq!(error, format!("users {}: Is a directory", folder.path().display()));
    }

    #[test]
    fn a_file_that_others_may_have_written_is_refused() {
        let folder = TempDir::new();
        let path = folder.file("users", "levy:{PLAIN}secret\n");
        set_mode(&path, 0o640);
        assert!(UsersFile::open(&path).is_ok());
        let refused = |path: &Path, why: &str| {
            let error = UsersFile::open(path).unwrap_err().to_string();
            assert_eq!(error, format!("users {}: {why}", path.display()));
        };
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        refused(&link, "is a symbolic link");
        for mode in [0o660, 0o662] {
            set_mode(&path, mode);
            refused(&path, "is writable by others");
        }
        set_mode(&path, 0o640);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        refused(&path, "is larger than 64 MiB");
        if nix::unistd::geteuid().is_root() {
            chown(&path, Some(4242), None).unwrap();
            refused(&path, "belongs to user 4242");
        }
    }

    #[test]
    fn a_file_that_all_users_may_read_is_refused_where_it_has_a_password() {
        let folder = TempDir::new();
        for (text, is_refused) in [
            ("a:{PLAIN}x\n", true),
            ("a:*\nb:$6$a$b\n", true),
            ("a:secret\n", true),
            ("a:*\nb:x\nc:!\nd:\n#e:{PLAIN}x\n", false),
            ("", false),
        ] {
            let path = folder.file("users", text);
            set_mode(&path, 0o644);
            let opened = UsersFile::open(&path);
            assert_eq!(opened.is_err(), is_refused, "{text}");
            if let Err(error) = opened {
                let why = "has passwords and is readable by every user (chmod 640)";
                assert_eq!(error.to_string(), format!("users {}: {why}", path.display()));
            }
        }
    }
}
