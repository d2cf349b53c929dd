//! The file: names to the left of a colon, targets to its right.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sys::owned_file::{self, Fault as FileFault, Rules};

use crate::aliases::target::{AliasTarget, Fault, quoted, targets};
use crate::error::{Error, Result};

/// Largest file in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Most faults that one check names, a number.
const MAX_PROBLEMS: usize = 20;

/// What is wrong with the file, as `aliases FILE:LINE: reason`.
pub type Problem = String;

/// The file, read.
#[derive(Debug)]
pub struct Aliases {
    path: PathBuf,
    text: Vec<u8>,
    /// Capitals count in local parts.
    is_exact: bool,
    /// Line and targets of each name, in the form of [`Aliases::key`].
    entries: HashMap<Vec<u8>, (u64, Range<usize>)>,
    /// Lines with a fault, and names that are there again.
    problems: Vec<(u64, Fault)>,
}

/// A line that was looked up.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub line: u64,
    /// The name has a domain.
    pub has_domain: bool,
    /// Its targets, or what is wrong with them.
    pub targets: std::result::Result<Vec<AliasTarget>, Fault>,
}

impl Aliases {
    /// Reads the file. `is_exact` means that capitals count in local parts; in domains they never do.
    ///
    /// # Errors
    /// [`Error::Io`], `aliases FILE: reason`; [`Error::Temporary`] for what is no regular file with one link, where
    /// others than root and this process's user may have written it, and over 16 MiB.
    pub fn open(path: &Path, is_exact: bool) -> Result<Aliases> {
        let refused = |why: &dyn std::fmt::Display| {
            Error::Temporary(format!("aliases {}: {why}", path.display()))
        };
        let opened = owned_file::open(path, Rules::READ).map_err(|fault| match fault {
            FileFault::Os(errno) => Error::io("aliases", path)(errno),
            fault => refused(&fault),
        })?;
        let mut text = Vec::new();
        let read = opened.file.take(MAX_FILE + 1).read_to_end(&mut text);
        if read.map_err(Error::io("aliases", path))? as u64 > MAX_FILE {
            return Err(refused(&"is larger than 16 MiB"));
        }
        let (path, entries, problems) = (path.to_owned(), HashMap::new(), Vec::new());
        let mut aliases = Aliases { path, text, is_exact, entries, problems };
        aliases.index();
        Ok(aliases)
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds the line of a local part in a domain; without one, in all of them. An empty local part is that of
    /// `@domain`, for all names that the domain does not have. `postmaster` is found in any case of letters.
    #[must_use]
    pub fn find(&self, local: &[u8], domain: Option<&[u8]>) -> Option<Found> {
        let (line, value) = self.entries.get(&self.key(local, domain))?;
        let targets = match targets(self.text.get(value.clone()).unwrap_or_default()) {
            Ok(none) if none.is_empty() => Err("no target"),
            targets => targets,
        };
        Some(Found { line: *line, has_domain: domain.is_some(), targets })
    }

    /// Returns what is wrong with the file's lines, of many the first twenty.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut faults = self.problems.clone();
        for (line, value) in self.entries.values() {
            match targets(self.text.get(value.clone()).unwrap_or_default()) {
                Ok(none) if none.is_empty() => faults.push((*line, "no target")),
                Ok(_) => {}
                Err(fault) => faults.push((*line, fault)),
            }
        }
        faults.sort_unstable();
        let path = self.path.display();
        let text = |(line, fault): &(u64, Fault)| format!("aliases {path}:{line}: {fault}");
        faults.iter().take(MAX_PROBLEMS).map(text).collect()
    }

    /// Returns the form in which names are compared.
    fn key(&self, local: &[u8], domain: Option<&[u8]>) -> Vec<u8> {
        let is_exact = self.is_exact && !local.eq_ignore_ascii_case(b"postmaster");
        let mut key = if is_exact { local.to_vec() } else { local.to_ascii_lowercase() };
        if let Some(domain) = domain {
            key.push(0); // no byte of a name: "a@b" without a domain is not a in b
            key.extend(domain.to_ascii_lowercase());
        }
        key
    }

    /// Finds where the logical lines are: a line that begins with a blank continues the one before it.
    fn index(&mut self) {
        let text = std::mem::take(&mut self.text);
        let (mut at, mut number) = (0, 0);
        let mut current: Option<(u64, Range<usize>)> = None;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let place = at..at + line.len();
            (at, number) = (place.end, number + 1);
            let body = line.trim_ascii();
            if body.is_empty() || body.starts_with(b"#") {
                continue;
            }
            let is_continued = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
            match current.as_mut().filter(|_| is_continued) {
                Some((_, whole)) => whole.end = place.end,
                None if is_continued => self.problems.push((number, "continues no line")),
                None => {
                    self.add(&text, current.take());
                    current = Some((number, place));
                }
            }
        }
        self.add(&text, current);
        self.text = text;
    }

    /// Adds a logical line. The first of a name counts.
    fn add(&mut self, text: &[u8], line: Option<(u64, Range<usize>)>) {
        let Some((number, place)) = line else { return };
        let whole = text.get(place.clone()).unwrap_or_default();
        let Some((local, domain, length)) = left_side(whole) else {
            return self.problems.push((number, "no name and colon"));
        };
        let key = self.key(&local, domain.as_deref());
        match self.entries.entry(key) {
            Place::Occupied(_) => self.problems.push((number, "the name is there before")),
            Place::Vacant(free) => {
                free.insert((number, place.start + length..place.end));
            }
        }
    }
}

/// Reads the name at the start of a line: local part, domain, and the length up to and with the colon.
fn left_side(line: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>, usize)> {
    let (local, rest) = match quoted(line) {
        Some((local, rest)) => (local, rest),
        None => line
            .split_at_checked(line.iter().position(|byte| b":@".contains(byte))?)
            .map(|(local, rest)| (local.trim_ascii().to_vec(), rest))?,
    };
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let between = rest.get(..colon)?.trim_ascii();
    let domain = match between.split_first() {
        None => None,
        Some((b'@', domain)) => Some(domain.trim_ascii().to_vec()),
        Some(_) => return None,
    };
    let is_named = !local.is_empty() || domain.is_some();
    let has_blank = |text: &[u8]| text.iter().any(u8::is_ascii_whitespace);
    let is_good = is_named
        && domain.as_ref().is_none_or(|domain| !domain.is_empty() && !has_blank(domain))
        && (line.starts_with(b"\"") || !has_blank(&local))
        && !local.iter().any(u8::is_ascii_control);
    is_good.then_some((local, domain, line.len() - rest.len() + colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    fn aliases(text: &str) -> (TempDir, Aliases) {
        let dir = TempDir::new();
        let path = dir.file("aliases", text);
        let aliases = Aliases::open(&path, false).unwrap();
        (dir, aliases)
    }

    fn found(aliases: &Aliases, local: &str, domain: Option<&str>) -> Vec<String> {
        let found = aliases.find(local.as_bytes(), domain.map(str::as_bytes));
        let targets = found.unwrap().targets.unwrap();
        targets
            .iter()
            .map(|it| match it {
                AliasTarget::Address(text) => String::from_utf8(text.clone()).unwrap(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn lines_comments_and_continuations_are_read() {
        let (_dir, aliases) = aliases(
            "# a: comment\n\nStaff: levy,\n\t# within\n\n   bob@red.test,\n  mary\n\
             info@Blue.Test : bob\n@green.test: levy\n\"two words\": x\n  \nlast:y",
        );
        assert_eq!(found(&aliases, "STAFF", None), ["levy", "bob@red.test", "mary"]);
        assert_eq!(found(&aliases, "info", Some("blue.test")), ["bob"]);
        assert_eq!(found(&aliases, "", Some("GREEN.test")), ["levy"]);
        assert_eq!(found(&aliases, "two words", None), ["x"]);
        assert_eq!(found(&aliases, "last", None), ["y"]);
        for (local, domain) in
            [("info", None), ("staff", Some("blue.test")), ("", None), ("a", None)]
        {
            assert_eq!(aliases.find(local.as_bytes(), domain.map(str::as_bytes)), None);
        }
        assert_eq!(aliases.check(), [""; 0]);
    }

    #[test]
    fn the_case_of_local_parts_counts_on_wish_and_that_of_postmaster_never() {
        let dir = TempDir::new();
        let path = dir.file("aliases", "Levy@Red.test: a\nPostMaster: b\n");
        let exact = Aliases::open(&path, true).unwrap();
        assert!(exact.find(b"levy", Some(b"red.test")).is_none());
        assert!(exact.find(b"Levy", Some(b"RED.test")).is_some());
        assert!(exact.find(b"postmaster", None).is_some());
    }

    #[test]
    fn an_at_in_quotes_is_no_domain() {
        let (_dir, aliases) = aliases("a@b.test: x\n\"c@d.test\": y\n");
        assert!(aliases.find(b"a@b.test", None).is_none());
        assert!(aliases.find(b"c", Some(b"d.test")).is_none());
        assert!(aliases.find(b"c@d.test", None).is_some());
    }

    #[test]
    fn faults_name_the_line_and_make_no_name_disappear() {
        let (dir, aliases) =
            aliases("  x\nno colon\na: b c\nb:\nb: levy\n: x\na b: c\nx@: y\nd: \"|p\n@: z\n");
        let path = format!("aliases {}", dir.path().join("aliases").display());
        let problems = aliases.check();
        let lines: Vec<&str> = problems.iter().map(|it| it.strip_prefix(&path).unwrap()).collect();
        assert_eq!(
            lines,
            [
                ":1: continues no line",
                ":2: no name and colon",
                ":3: a blank in an address, or none",
                ":4: no target",
                ":5: the name is there before",
                ":6: no name and colon",
                ":7: no name and colon",
                ":8: no name and colon",
                ":9: quotes or parentheses without an end",
                ":10: no name and colon",
            ]
        );
        // A name with a fault is one, whose letters wait, and not an unknown one.
        assert!(aliases.find(b"a", None).unwrap().targets.is_err());
        assert!(aliases.find(b"b", None).unwrap().targets.is_err());
    }

    #[test]
    fn a_file_that_others_may_have_written_is_refused() {
        let dir = TempDir::new();
        let path = dir.file("aliases", "a: b\n");
        let set_mode = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        set_mode(0o666);
        let error = Aliases::open(&path, false).unwrap_err().to_string();
        assert_eq!(error, format!("aliases {}: is writable by others", path.display()));
        set_mode(0o644);
        assert!(Aliases::open(&path, false).is_ok());
        let error = Aliases::open(&dir.path().join("none"), false).unwrap_err().to_string();
        assert!(error.ends_with("none: No such file or directory"), "{error}");
    }
}
