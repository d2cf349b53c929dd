//! The accounts file: sections that begin with `account NAME`, in them one setting a line, as on the command
//! line without the dashes, and besides `host` and `password`. What stands before the first section, or
//! after a line `defaults`, is for every section that does not say otherwise.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use accounts::Secret;
use forknet::{FileLine, printable, reason};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::options::{COMMANDS, REMOVAL, Section, shown};
use super::rows::ROWS;
use super::status::{Failure, Result, Status};

/// Longest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The accounts, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct AccountsFile {
    sections: Vec<Section>,
}

impl AccountsFile {
    /// Reads a file; `None` where there is none.
    ///
    /// # Errors
    /// [`Status::Config`]: others may read or write it, or `FILE:LINE: what is wrong`.
    pub(crate) fn open(path: &Path) -> Result<Option<AccountsFile>> {
        let failed = |why: &str| Failure::new(Status::Config, format!("{}: {why}", shown(path)));
        let nonblock = OFlag::O_NONBLOCK | OFlag::O_NOCTTY; // a FIFO is not waited for
        let file = OpenOptions::new().read(true).custom_flags(nonblock.bits()).open(path);
        let file = match file {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| failed(&reason(&error)))?,
        };
        check_mode(&file).map_err(|why| failed(&why))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|error| failed(&reason(&error)))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(failed(&format!("longer than {MAX_FILE} bytes")));
        }
        let parsed = parse(&bytes, &shown(path));
        parsed.map(Some).map_err(|why| Failure::new(Status::Config, why))
    }

    /// Returns the names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().filter_map(|section| section.name.as_deref())
    }

    /// Removes an account from the list and returns it.
    pub(crate) fn take(&mut self, name: &str) -> Option<Section> {
        let at = self.sections.iter().position(|section| section.name.as_deref() == Some(name))?;
        Some(self.sections.remove(at))
    }

    /// Returns all accounts.
    pub(crate) fn all(self) -> Vec<Section> {
        self.sections
    }
}

/// Checks that the user alone may read and write the file: passwords are in it, and commands.
fn check_mode(file: &File) -> std::result::Result<(), String> {
    let meta = file.metadata().map_err(|error| reason(&error))?;
    if !meta.is_file() {
        return Err("not a regular file".into());
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(format!("belongs to user {}, not to you", meta.uid()));
    }
    match meta.mode() & 0o777 {
        mode if mode & 0o077 != 0 => {
            Err(format!("mode {mode:03o} lets others use it; chmod 600 makes it yours alone"))
        }
        _ => Ok(()),
    }
}

/// Reads the text of a file.
fn parse(bytes: &[u8], file: &str) -> std::result::Result<AccountsFile, String> {
    let (mut defaults, mut sections) = (Section::default(), Vec::<Section>::new());
    let mut in_defaults = true;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let place = format!("{file}:{number}");
        let wrong = |why: String| format!("{place}: {why}");
        let line = line.trim_ascii_start();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        match split(line) {
            (b"account", name) => {
                let name = account_name(name, &sections).map_err(wrong)?;
                sections.push(Section { name: Some(name), ..Section::default() });
                in_defaults = false;
            }
            (b"defaults", b"") => in_defaults = true,
            _ => {
                let section = sections.last_mut().filter(|_| !in_defaults);
                setting(section.unwrap_or(&mut defaults), line, &place).map_err(wrong)?;
            }
        }
    }
    sections.iter_mut().for_each(|section| fill(section, &defaults));
    match sections.iter().find(|section| section.host.is_none()) {
        Some(Section { name: Some(name), .. }) => {
            Err(format!("{file}: account {name} has no host"))
        }
        _ => Ok(AccountsFile { sections }),
    }
}

/// The first word of a line, and the text after it, whose blanks at the end are part of it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let at = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
    (word, rest.trim_ascii_start())
}

/// Checks the name of a new account: it becomes part of a file's name.
fn account_name(name: &[u8], others: &[Section]) -> std::result::Result<String, String> {
    let name = str::from_utf8(name.trim_ascii()).map_err(|_| "account: not UTF-8")?;
    let said = name.escape_debug();
    if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
        return Err(format!("account '{said}': not a name"));
    }
    if COMMANDS.contains(&name) {
        return Err(format!("account {said}: that is a command"));
    }
    if others.iter().any(|section| section.name.as_deref() == Some(name)) {
        return Err(format!("account {said}: given more than once"));
    }
    Ok(name.to_owned())
}

/// Adds a line to a section.
fn setting(section: &mut Section, line: &[u8], place: &str) -> std::result::Result<(), String> {
    let twice = |name: &str| Err(format!("{name}: given more than once"));
    match split(line) {
        (word @ (b"host" | b"password"), b"") => {
            Err(format!("{}: its argument is missing", printable(word)))
        }
        (b"host", _) if section.host.is_some() => twice("host"),
        (b"host", host) => {
            let host = str::from_utf8(host.trim_ascii()).map_err(|_| "host: not UTF-8")?;
            forknet::HostPort::parse(host, 1).map_err(|why| format!("host {why}"))?;
            section.host = Some(host.to_owned());
            Ok(())
        }
        (b"password", _) if section.password.is_some() => twice("password"),
        (b"password", password) => {
            section.password = Some(Secret::from(password));
            Ok(())
        }
        _ => {
            let text = str::from_utf8(line).map_err(|_| "not UTF-8")?.trim_end();
            let line = FileLine::parse(ROWS, text, place)?;
            if section.lines.iter().any(|before| before.name() == line.name()) {
                return twice(line.name());
            }
            section.lines.push(line);
            Ok(())
        }
    }
}

/// Adds what the defaults say and the section does not.
fn fill(section: &mut Section, defaults: &Section) {
    let says = |section: &Section, name: &str| section.lines.iter().any(|line| line.name() == name);
    let has_password = section.password.is_some()
        || says(section, "password-file")
        || says(section, "password-command");
    for line in &defaults.lines {
        let opposites = opposites(line.name());
        let is_password = line.name().starts_with("password");
        let is_said =
            opposites.iter().any(|name| says(section, name)) || (is_password && has_password);
        if !is_said {
            section.lines.push(line.clone());
        }
    }
    if section.host.is_none() {
        section.host.clone_from(&defaults.host);
    }
    if let (false, Some(password)) = (has_password, &defaults.password) {
        section.password = Some(Secret::from(password.as_bytes()));
    }
}

/// The options that say otherwise than this one, itself among them.
fn opposites(name: &'static str) -> Vec<&'static str> {
    match name {
        name if REMOVAL.contains(&name) => REMOVAL.to_vec(),
        _ => {
            let excluded = ROWS.iter().find(|row| row.name == name).map(|row| row.excludes);
            [name].into_iter().chain(excluded.filter(|it| !it.is_empty())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<AccountsFile, String> {
        parse(text.as_bytes(), "f")
    }

    fn names(section: &Section) -> Vec<&'static str> {
        section.lines.iter().map(FileLine::name).collect()
    }

    #[test]
    fn sections_have_their_own_settings_and_those_of_the_defaults() {
        let text = "# mine\ntimeout 5\ndefaults\ndelete\ntls\n\naccount one\n  host h:1\n\tpassword a b \n\
            account two\nhost i\nkeep\nstls\nuser x\ndefaults\nquiet\n";
        let mut file = parsed(text).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["one", "two"]);
        let one = file.take("one").unwrap();
        assert_eq!(one.host.as_deref(), Some("h:1"));
        assert_eq!(one.password.as_ref().unwrap().as_bytes(), b"a b ");
        assert_eq!(names(&one), ["timeout", "delete", "tls", "quiet"]);
        let two = file.take("two").unwrap();
        assert_eq!(names(&two), ["keep", "stls", "user", "timeout", "quiet"]);
        assert!(two.password.is_none() && file.take("one").is_none());
    }

    #[test]
    fn an_account_has_one_way_to_its_password() {
        let text = "password p\naccount one\nhost h\npassword-file f\naccount two\nhost h\n";
        let all = parsed(text).unwrap().all();
        assert!(all[0].password.is_none() && all[1].password.is_some());
        let all = parsed("password-file f\naccount one\nhost h\npassword p\n").unwrap().all();
        assert!(names(&all[0]).is_empty() && all[0].password.is_some());
    }

    #[test]
    fn an_error_names_file_and_line() {
        for (text, said) in [
            ("account a\nfrob 1", "f:2: frob: no such option"),
            ("account a\nhost h\nhost i", "f:3: host: given more than once"),
            ("account a\nhost h:x", "f:2: host 'h:x': not HOST or HOST:PORT"),
            ("account a\npassword", "f:2: password: its argument is missing"),
            ("account a\nhost h\naccount a", "f:3: account a: given more than once"),
            ("account", "f:1: account '': not a name"),
            ("account a b", "f:1: account 'a b': not a name"),
            ("account -a", "f:1: account '-a': not a name"),
            ("account fetch", "f:1: account fetch: that is a command"),
            ("account a\n--tls", "f:2: --tls: no such option; names stand without dashes here"),
            ("account a\ntls yes", "f:2: tls: takes no argument"),
            ("account a\ntimeout", "f:2: timeout: its argument is missing"),
            ("account a\nkeep\nkeep", "f:3: keep: given more than once"),
            ("rc x", "f:1: rc: for the command line only"),
            ("account a\nuser x", "f: account a has no host"),
            ("\u{1b}x", "f:1: \\u{1b}x: no such option"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), said);
        }
    }
}
