//! The settings of one account: from the command line, and from its lines in the accounts file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accounts::{Mechanism, Mechanisms, Secret};
use forknet::{Error, FileLine, HostPort, Values};

use super::rows::{ROWS, USAGE};
use super::status::Result;
use super::target::{Target, expanded};

/// The program's name.
pub(crate) const NAME: &str = "pop3c";
/// The port of POP3 (RFC 1939 §3).
const PORT: u16 = 110;
/// The port of POP3 under TLS from the first byte on (RFC 8314 §3.3).
const TLS_PORT: u16 = 995;
/// The words that are commands; no account has such a name.
pub(crate) const COMMANDS: [&str; 7] = ["stat", "list", "uidl", "get", "top", "dele", "fetch"];
/// The options that say what is removed; each excludes the others.
pub(crate) const REMOVAL: [&str; 3] = ["delete", "delete-after", "keep"];
/// Most days that an option takes: a century.
const MAX_DAYS: u32 = 36_525;

/// `--apop`: when APOP is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apop {
    /// If the greeting offers it.
    Auto,
    /// Always. If it is not offered the login fails.
    Always,
    Never,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not at all.
    Never,
    /// By STLS.
    Stls,
    /// With the first byte.
    Implicit,
}

/// Where the password comes from.
#[derive(Debug)]
pub(crate) enum PasswordSource {
    /// The accounts file.
    Given(Secret),
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a command prints.
    Command(String),
    /// The terminal, or standard input.
    Input,
}

/// What `fetch` removes from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Never,
    /// What is stored here.
    Stored,
    /// What was stored here this number of seconds ago.
    After(u64),
}

/// What `fetch` leaves on the server. Sizes are in bytes, ages in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    pub(crate) max_size: Option<u64>,
    pub(crate) min_size: Option<u64>,
    pub(crate) max_age: Option<u64>,
    pub(crate) min_age: Option<u64>,
    pub(crate) max_letters: Option<usize>,
}

/// The settings of `fetch`.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) target: Target,
    /// The sender for SMTP and LMTP.
    pub(crate) mail_from: String,
    /// The recipient for SMTP and LMTP.
    pub(crate) rcpt_to: String,
    pub(crate) removal: Removal,
    pub(crate) filters: Filters,
    /// The folder of the ids.
    pub(crate) ids: Option<PathBuf>,
    /// Whether new letters are counted only.
    pub(crate) check: bool,
}

/// The command to perform.
#[derive(Debug)]
pub(crate) enum Operation {
    Stat,
    List,
    Uidl,
    Get(u64),
    Top(u64, u64),
    Dele(u64),
    Fetch(Box<Fetch>),
}

/// What is known of an account from its section of the file, besides lines that are options.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Its name; `None` for the command line alone.
    pub(crate) name: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) lines: Vec<FileLine>,
}

/// The settings of an account.
#[derive(Debug)]
pub(crate) struct Options {
    /// Its name in the accounts file.
    pub(crate) name: Option<String>,
    pub(crate) user: String,
    pub(crate) password: PasswordSource,
    pub(crate) server: HostPort,
    pub(crate) apop: Apop,
    /// The mechanisms that `--sasl` allows; empty without it.
    pub(crate) sasl: Mechanisms,
    pub(crate) tls: Tls,
    /// The authorities that are trusted instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
    pub(crate) operation: Operation,
}

impl Options {
    /// Reads the settings: `args` is the command line, over whose options the section's lines lose; `words`
    /// are the command.
    ///
    /// # Errors
    /// The command line or a line of the file is wrong.
    pub(crate) fn read(args: Vec<OsString>, section: Section, words: &[&str]) -> Result<Options> {
        let Section { name, host, password, mut lines } = section;
        let given = forknet::parse(NAME, USAGE, ROWS, args.clone())?;
        if REMOVAL.iter().any(|name| given.is_given(name)) {
            lines.retain(|line| !REMOVAL.contains(&line.name()));
        }
        let values = forknet::parse_with_lines(NAME, USAGE, ROWS, args, lines)?;
        let tls = match (values.is_given("stls"), values.is_given("tls")) {
            (true, _) => Tls::Stls,
            (_, true) => Tls::Implicit,
            _ => Tls::Never,
        };
        let ca_file = file(&values, "ca-file")?;
        if ca_file.is_some() && tls == Tls::Never {
            return Err(usage("--ca-file goes with --stls or --tls").into());
        }
        let host = host.ok_or_else(|| usage("HOST is missing"))?;
        let server = HostPort::parse(&host, if tls == Tls::Implicit { TLS_PORT } else { PORT })?;
        let user = values.text("user").or_else(login_name);
        let user = user.ok_or_else(|| usage("-u is missing"))?;
        let operation = operation(&values, &user, words)?;
        check_flags(&values, &operation)?;
        Ok(Options {
            name,
            password: password_source(&values, password)?,
            server,
            apop: match values.choice("apop")? {
                "always" => Apop::Always,
                "never" => Apop::Never,
                _ => Apop::Auto,
            },
            sasl: sasl(&values)?,
            tls,
            ca_file,
            timeout: values.seconds("timeout")?,
            verbose: values.is_given("verbose"),
            quiet: values.is_given("quiet"),
            operation,
            user,
        })
    }
}

/// Refuses options that say something only with `fetch`, on the command line of another command.
fn check_flags(values: &Values, operation: &Operation) -> Result<()> {
    let of_fetch = ["delete", "delete-after", "check"];
    if !matches!(operation, Operation::Fetch(_)) {
        // Those of a section are for the account's letters, whatever is done with it now.
        if let Some(name) = of_fetch.iter().find(|name| values.is_on_command_line(name)) {
            return Err(usage(format!("--{name} goes with fetch")).into());
        }
    }
    Ok(())
}

fn password_source(values: &Values, given: Option<Secret>) -> Result<PasswordSource> {
    let in_args =
        ["password-file", "password-command"].iter().any(|it| values.is_on_command_line(it));
    let given = given.filter(|_| !in_args);
    match (given, file(values, "password-file")?, values.text("password-command")) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(usage("password and --password-file or --password-command: only one of them")
                .into())
        }
        (Some(password), None, None) => Ok(PasswordSource::Given(password)),
        (None, Some(path), _) => Ok(PasswordSource::File(path)),
        (None, None, Some(command)) => Ok(PasswordSource::Command(command)),
        (None, None, None) => Ok(PasswordSource::Input),
    }
}

/// The path of an option, with `~/` for the home.
fn file(values: &Values, name: &str) -> Result<Option<PathBuf>> {
    let Some(text) = values.text(name) else { return Ok(None) };
    let path = expanded(&text).and_then(|path| match path.as_os_str().is_empty() {
        true => Err("no path".to_owned()),
        false => Ok(path),
    });
    path.map(Some).map_err(|why| values.wrong(name, &text, why).into())
}

fn sasl(values: &Values) -> Result<Mechanisms> {
    let Some(text) = values.text("sasl") else { return Ok(Mechanisms::default()) };
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Mechanisms::all());
    }
    let mechanism = Mechanism::parse(text.as_bytes());
    let why =
        || values.wrong("sasl", &text, format_args!("not auto or one of {}", Mechanisms::all()));
    mechanism.map(|one| [one].into_iter().collect()).ok_or_else(|| why().into())
}

pub(crate) fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

fn operation(values: &Values, user: &str, words: &[&str]) -> Result<Operation> {
    match words {
        [] => fetch(values, user, None),
        ["stat"] => Ok(Operation::Stat),
        ["list"] => Ok(Operation::List),
        ["uidl"] => Ok(Operation::Uidl),
        ["get", n] => Ok(Operation::Get(message(n)?)),
        ["top", n, k] => Ok(Operation::Top(message(n)?, number(k)?)),
        ["dele", n] => Ok(Operation::Dele(message(n)?)),
        ["fetch"] => fetch(values, user, None),
        ["fetch", to] => fetch(values, user, Some(to)),
        [known, ..] if COMMANDS.contains(known) => {
            Err(usage(format!("{known}: wrong number of arguments")).into())
        }
        [other, ..] => Err(usage(format!("unknown command '{}'", other.escape_debug())).into()),
    }
}

fn fetch(values: &Values, user: &str, to: Option<&str>) -> Result<Operation> {
    let given = values.text("deliver");
    let to = to.map(str::to_owned).or_else(|| given.clone());
    let to = to.ok_or_else(|| usage("fetch: DIR is missing, and --deliver"))?;
    let target = Target::parse(&to).map_err(|why| match given.as_ref() == Some(&to) {
        true => values.wrong("deliver", &to, why),
        false => usage(format!("fetch '{}': {why}", to.escape_debug())),
    })?;
    let after = values.number_if_given("delete-after", 0..=MAX_DAYS)?;
    let removal = match (values.is_given("delete"), after) {
        (true, Some(_)) => {
            return Err(usage("--delete and --delete-after: only one of them").into());
        }
        (true, None) => Removal::Stored,
        (false, Some(days)) => Removal::After(seconds(days)),
        (false, None) => Removal::Never,
    };
    let address = |name: &str| -> Result<Option<String>> {
        let Some(text) = values.text(name) else { return Ok(None) };
        let is_wrong = text.chars().any(|c| c.is_control() || matches!(c, ' ' | '<' | '>'));
        if is_wrong {
            Err(values.wrong(name, &text, "not an address").into())
        } else {
            Ok(Some(text))
        }
    };
    Ok(Operation::Fetch(Box::new(Fetch {
        target,
        mail_from: address("mail-from")?.unwrap_or_default(),
        rcpt_to: address("rcpt-to")?.unwrap_or_else(|| user.to_owned()),
        removal,
        filters: filters(values)?,
        ids: file(values, "ids")?,
        check: values.is_given("check"),
    })))
}

fn filters(values: &Values) -> Result<Filters> {
    let days = |name| values.number_if_given(name, 0..=MAX_DAYS).map(|days| days.map(seconds));
    Ok(Filters {
        max_size: values.number_if_given("max-size", 0..=u64::MAX)?,
        min_size: values.number_if_given("min-size", 0..=u64::MAX)?,
        max_age: days("max-age")?,
        min_age: days("min-age")?,
        max_letters: values.number_if_given("max-letters", 1..=usize::MAX)?,
    })
}

fn seconds(days: u32) -> u64 {
    u64::from(days) * 86_400
}

fn number(text: &str) -> Result<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| usage(format!("'{}' is not a number", text.escape_debug())).into())
}

fn message(text: &str) -> Result<u64> {
    match number(text)? {
        0 => Err(usage("messages are counted from 1").into()),
        n => Ok(n),
    }
}

/// Returns the user's login name.
fn login_name() -> Option<String> {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).or_else(forknet::own_name)
}

/// Makes a path readable in messages.
pub(crate) fn shown(path: &Path) -> String {
    forknet::printable(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads the settings from the command line alone.
    pub(crate) fn options(args: &[&str]) -> Result<Options> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let values = forknet::parse(NAME, USAGE, ROWS, args.clone())?;
        let words: Vec<&str> = values.operands().iter().map(String::as_str).collect();
        let (host, words) = words.split_first().ok_or_else(|| usage("HOST is missing"))?;
        let section = Section { host: Some((*host).to_owned()), ..Section::default() };
        Options::read(args, section, words)
    }

    #[test]
    fn every_command_is_parsed() {
        for (words, expected) in [
            (&["stat"][..], "Stat"),
            (&["get", "3"], "Get(3)"),
            (&["top", "1", "0"], "Top(1, 0)"),
            (&["dele", "2"], "Dele(2)"),
            (&["fetch", "d"], "Fetch("),
        ] {
            let read = options(&[&["-u", "x", "h"], words].concat()).unwrap().operation;
            assert!(format!("{read:?}").starts_with(expected), "{read:?}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        for args in [
            &[][..],
            &["h", "frob"],
            &["h", "get"],
            &["h", "get", "0"],
            &["h", "get", "x"],
            &["h", "get", "+1"],
            &["h", "get", "1", "2"],
            &["h", "top", "1"],
            &["h", "fetch"],
            &["h", "fetch", ""],
            &["h", "fetch", "mda:"],
            &["h:x", "stat"],
            &["h:", "stat"],
            &[":110", "stat"],
            &["[::1", "stat"],
            &["--apop", "maybe", "h", "stat"],
            &["--delete", "h", "stat"],
            &["--check", "h", "stat"],
            &["--stls", "--tls", "h", "stat"],
            &["--ca-file", "f", "h", "stat"],
            &["--sasl", "x", "h", "stat"],
            &["--delete", "--keep", "h", "fetch", "d"],
            &["--delete", "--delete-after", "1", "h", "fetch", "d"],
            &["--delete-after", "-1", "h", "fetch", "d"],
            &["--max-letters", "0", "h", "fetch", "d"],
            &["--rcpt-to", "a> <b", "h", "fetch", "d"],
            &["--timeout", "0", "h", "stat"],
            &["-q", "-v", "h", "stat"],
        ] {
            let args = [&["-u", "x"], args].concat();
            let failed = options(&args).unwrap_err();
            assert!(matches!(failed.error, Error::Usage(_)), "{args:?}");
            assert_eq!(failed.code(), 64);
        }
    }
}
