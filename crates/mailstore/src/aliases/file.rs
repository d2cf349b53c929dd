//! The file: names to the left of a colon, targets to its right.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::memchr_iter;
use sys::owned_file::{self, Fault as FileFault, Rules};

use crate::aliases::target::{AliasTarget, Fault, quoted, targets};
use crate::error::{Error, Result};
use crate::file_name::hash;

/// Largest file in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Most faults that one check names, a number.
const MAX_PROBLEMS: usize = 20;

/// What is wrong with a line that has no name.
const NO_NAME: Fault = "no name and colon";

/// What is wrong with the file, as `aliases FILE:LINE: reason`.
pub type Problem = String;

/// The file, read.
#[derive(Debug)]
pub struct Aliases {
    path: PathBuf,
    text: Vec<u8>,
    /// Capitals count in local parts.
    is_exact: bool,
    /// Returns a domain as DNS has it.
    to_ascii: fn(&[u8]) -> Vec<u8>,
    /// The lines that have a name, in the order of the names' hashes and then of the file.
    lines: Vec<Line>,
}

/// A line, with those that continue it.
#[derive(Debug)]
struct Line {
    /// The hash of its name in the form of [`Aliases::key`].
    hash: u64,
    number: u64,
    place: Range<usize>,
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
    /// Reads the file. `is_exact` means that capitals count in local parts; in domains they never do. `to_ascii` returns a
    /// domain in UTF-8 as DNS has it, in which form [`Aliases::find`] asks.
    ///
    /// # Errors
    /// [`Error::Io`], `aliases FILE: reason`; [`Error::Temporary`] for what is no regular file with one link, where
    /// others than root and this process's user may have written it, and over 16 MiB.
    pub fn open(path: &Path, is_exact: bool, to_ascii: fn(&[u8]) -> Vec<u8>) -> Result<Aliases> {
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
        let path = path.to_owned();
        let mut aliases = Aliases { path, text, is_exact, to_ascii, lines: Vec::new() };
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
        let mut key = Vec::new();
        self.key(local, domain, &mut key);
        let (line, length) = self.line(&key)?;
        let targets = self.targets(&line.place, length);
        Some(Found { line: line.number, has_domain: domain.is_some(), targets })
    }

    /// Finds the first line of a name, and where its targets begin.
    fn line(&self, key: &[u8]) -> Option<(&Line, usize)> {
        let hash = hash(key);
        let first = self.lines.partition_point(|line| line.hash < hash);
        let same = self.lines.get(first..)?.iter().take_while(|line| line.hash == hash);
        let mut found = Vec::new();
        same.filter_map(|line| {
            let (local, domain, length) = left_side(self.text.get(line.place.clone())?)?;
            self.key(&local, domain, &mut found);
            (found == key).then_some((line, length))
        })
        .next()
    }

    fn targets(
        &self,
        line: &Range<usize>,
        length: usize,
    ) -> std::result::Result<Vec<AliasTarget>, Fault> {
        match targets(self.text.get(line.start + length..line.end).unwrap_or_default()) {
            Ok(none) if none.is_empty() => Err("no target"),
            targets => targets,
        }
    }

    /// Returns what is wrong with the file's lines, of many the first twenty.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let path = self.path.display();
        let mut key = Vec::new();
        logical_lines(&self.text, |number, line| {
            let fault = line.and_then(|place| {
                let whole = self.text.get(place.clone()).unwrap_or_default();
                let (local, domain, length) = left_side(whole).ok_or(NO_NAME)?;
                self.key(&local, domain, &mut key);
                match self.line(&key) {
                    Some((first, _)) if first.number != number => Err("the name is there before"),
                    _ => self.targets(&place, length),
                }
            });
            if let Err(fault) = fault
                && problems.len() < MAX_PROBLEMS
            {
                problems.push(format!("aliases {path}:{number}: {fault}"));
            }
        });
        problems
    }

    /// Writes the form in which names are compared to `key`.
    fn key(&self, local: &[u8], domain: Option<&[u8]>, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(local);
        if !self.is_exact || local.eq_ignore_ascii_case(b"postmaster") {
            key.make_ascii_lowercase();
        }
        if let Some(domain) = domain {
            key.push(0); // no byte of a name: "a@b" without a domain is not a in b
            let before = key.len();
            match domain.is_ascii() {
                true => key.extend_from_slice(domain),
                false => key.extend((self.to_ascii)(domain)),
            }
            key.iter_mut().skip(before).for_each(u8::make_ascii_lowercase);
        }
    }

    fn index(&mut self) {
        let (mut lines, mut key) = (Vec::new(), Vec::new());
        logical_lines(&self.text, |number, line| {
            let Ok(place) = line else { return };
            let whole = self.text.get(place.clone()).unwrap_or_default();
            if let Some((local, domain, _)) = left_side(whole) {
                self.key(&local, domain, &mut key);
                lines.push(Line { hash: hash(&key), number, place });
            }
        });
        lines.sort_unstable_by_key(|line| (line.hash, line.number));
        self.lines = lines;
    }
}

/// Calls `each` with the number of each logical line, and where it is: a line that begins with a blank continues the one
/// before it. Comments and empty lines are left out.
fn logical_lines(text: &[u8], mut each: impl FnMut(u64, std::result::Result<Range<usize>, Fault>)) {
    let mut current: Option<(u64, Range<usize>)> = None;
    let ends = memchr_iter(b'\n', text).map(|at| at + 1).chain([text.len()]);
    let (mut start, mut number) = (0, 0);
    for end in ends {
        let line = text.get(start..end).unwrap_or_default();
        let place = start..end;
        (start, number) = (end, number + 1);
        let body = line.trim_ascii_start();
        if body.is_empty() || body.starts_with(b"#") {
            continue;
        }
        let is_continued = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        match current.as_mut().filter(|_| is_continued) {
            Some((_, whole)) => whole.end = place.end,
            None if is_continued => each(number, Err("continues no line")),
            None => {
                if let Some((number, whole)) = current.replace((number, place)) {
                    each(number, Ok(whole));
                }
            }
        }
    }
    if let Some((number, whole)) = current {
        each(number, Ok(whole));
    }
}

/// The name at the start of a line: local part, domain, and the length up to and with the colon.
type LeftSide<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>, usize);

fn left_side(line: &[u8]) -> Option<LeftSide<'_>> {
    let (local, rest) = match quoted(line) {
        Some((local, rest)) => (Cow::Owned(local), rest),
        None => line
            .split_at_checked(line.iter().position(|byte| matches!(byte, b':' | b'@'))?)
            .map(|(local, rest)| (Cow::Borrowed(local.trim_ascii()), rest))?,
    };
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let between = rest.get(..colon)?.trim_ascii();
    let domain = match between.split_first() {
        None => None,
        Some((b'@', domain)) => Some(domain.trim_ascii()),
        Some(_) => return None,
    };
    let is_named = !local.is_empty() || domain.is_some();
    let has_blank = |text: &[u8]| text.iter().any(u8::is_ascii_whitespace);
    let is_good = is_named
        && domain.is_none_or(|domain| !domain.is_empty() && !has_blank(domain))
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
        let aliases = Aliases::open(&path, false, <[u8]>::to_vec).unwrap();
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
        let exact = Aliases::open(&path, true, <[u8]>::to_vec).unwrap();
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
        let error = Aliases::open(&path, false, <[u8]>::to_vec).unwrap_err().to_string();
        assert_eq!(error, format!("aliases {}: is writable by others", path.display()));
        set_mode(0o644);
        assert!(Aliases::open(&path, false, <[u8]>::to_vec).is_ok());
        let error =
            Aliases::open(&dir.path().join("none"), false, <[u8]>::to_vec).unwrap_err().to_string();
        assert!(error.ends_with("none: No such file or directory"), "{error}");
    }
}
