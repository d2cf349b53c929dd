//! `--access`: rules by which clients, their names, senders and recipients are taken, refused or put off.
//!
//! ```text
//! # what    pattern         action   text
//! client    192.0.2.0/24    refuse   No mail from there
//! helo      .dyn.test       defer
//! from      @spam.test      refuse
//! to        staff@red.test  refuse   For members only
//! ```
//! At each step, the connection, HELO, MAIL and RCPT, the first line that matches decides.

use std::fs::OpenOptions;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dns::to_ascii;
use forknet::{Error, Network, Result, check_owned};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// Longest file in bytes: each client's process has it in its memory.
pub const MAX_FILE: usize = 256 * 1024;
/// Longest text of a reply in bytes.
const MAX_TEXT: usize = 200;

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The client's address, when it connects.
    Client,
    /// Its name in HELO or EHLO.
    Hello,
    /// The sender's address in MAIL.
    Sender,
    /// The recipient's address in RCPT.
    Recipient,
}

const STEPS: [(&str, Step); 4] = [
    ("client", Step::Client),
    ("helo", Step::Hello),
    ("from", Step::Sender),
    ("to", Step::Recipient),
];

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Take it; rules of later steps are not looked at.
    Permit,
    /// Refuse it for good, with this text.
    Refuse(String),
    /// Put it off, with this text.
    Defer(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    /// Clients of this network.
    Network(Network),
    /// Clients of UNIX-domain sockets.
    Unix,
    /// `<>`, the sender of notifications; HELO without a name.
    Null,
    /// All of it: a name, or an address.
    Whole(String),
    /// A domain and those below it, of a name or an address.
    Below(String),
    /// Addresses of this domain.
    Domain(String),
    /// This local part in any domain.
    Local(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    step: Step,
    pattern: Pattern,
    decision: Decision,
}

/// The rules of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    rules: Vec<Rule>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A client's address; `None` for one without, over a UNIX-domain socket.
    Client(Option<IpAddr>),
    /// A name in HELO or EHLO.
    Hello(&'a [u8]),
    /// The forms of an address without its brackets, empty for `<>`.
    Sender(&'a [String]),
    /// The forms of an address without its brackets.
    Recipient(&'a [String]),
}

impl Access {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The number of the line, and what is wrong with it.
    pub fn parse(text: &[u8]) -> std::result::Result<Access, (usize, String)> {
        let mut rules = Vec::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let rule = parse_line(line.trim_ascii()).map_err(|why| (at + 1, why))?;
            rules.extend(rule);
        }
        Ok(Access { rules })
    }

    /// Returns what the first rule says that matches.
    #[must_use]
    pub fn decide(&self, subject: Subject<'_>) -> Option<&Decision> {
        let step = match subject {
            Subject::Client(_) => Step::Client,
            Subject::Hello(_) => Step::Hello,
            Subject::Sender(_) => Step::Sender,
            Subject::Recipient(_) => Step::Recipient,
        };
        let mut rules = self.rules.iter().filter(|rule| rule.step == step);
        rules.find(|rule| rule.pattern.matches(subject)).map(|rule| &rule.decision)
    }
}

/// Reads and checks the file, which only root or our user may have written; returns its text.
///
/// # Errors
/// `access FILE: reason`, `access FILE:LINE: reason`.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let what = format!("access {}", path.display());
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(Error::io(&what))?;
    check_owned(&what, &file, None)?;
    let mut text = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text).map_err(Error::io(&what))?;
    if text.len() > MAX_FILE {
        return Err(Error::Refused(format!("{what}: longer than {MAX_FILE} bytes")));
    }
    match Access::parse(&text) {
        Ok(_) => Ok(text),
        Err((line, why)) => Err(Error::Refused(format!("{what}:{line}: {why}"))),
    }
}

fn parse_line(line: &[u8]) -> std::result::Result<Option<Rule>, String> {
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a control character".into());
    }
    let (what, rest) = word(line);
    let (pattern, rest) = word(rest);
    let (action, text) = word(rest);
    let Some((_, step)) = STEPS.iter().find(|(name, _)| *name == what) else {
        return Err(format!("'{}' is not client, helo, from or to", what.escape_debug()));
    };
    let decision = match action {
        "permit" if text.is_empty() => Decision::Permit,
        "permit" => return Err("text behind permit".into()),
        "refuse" => Decision::Refuse(checked(text)?),
        "defer" => Decision::Defer(checked(text)?),
        "" => return Err("needs a pattern, and permit, refuse or defer".into()),
        other => {
            return Err(format!("'{}' is not permit, refuse or defer", other.escape_debug()));
        }
    };
    let wrong = |why: &str| format!("'{}': {why}", pattern.escape_debug());
    let pattern = parse_pattern(*step, pattern).map_err(wrong)?;
    Ok(Some(Rule { step: *step, pattern, decision }))
}

/// Splits off the first word.
fn word(line: &str) -> (&str, &str) {
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    (word, rest.trim_matches([' ', '\t']))
}

/// Checks the text of a reply, which is ASCII (RFC 5321 §4.2).
fn checked(text: &str) -> std::result::Result<String, String> {
    match text.is_ascii() && text.len() <= MAX_TEXT {
        true => Ok(text.to_owned()),
        false => Err(format!("the text of a reply is ASCII, up to {MAX_TEXT} bytes")),
    }
}

fn parse_pattern(step: Step, text: &str) -> std::result::Result<Pattern, &'static str> {
    let lower = |text: &str| text.to_ascii_lowercase();
    // A domain in UTF-8 is compared as DNS has it.
    let ascii = |domain: &str| lower(&String::from_utf8_lossy(&to_ascii(domain.as_bytes())));
    if text == "*" {
        return Ok(Pattern::Any);
    }
    match (step, text) {
        (Step::Client, "unix") => Ok(Pattern::Unix),
        (Step::Client, _) => {
            let why = "not an address, ADDRESS/BITS, unix or *";
            Network::parse(text).map(Pattern::Network).ok_or(why)
        }
        (Step::Hello, "<>") | (Step::Sender, "<>") => Ok(Pattern::Null),
        (Step::Hello, _) => Ok(match text.strip_prefix('.') {
            Some(domain) => Pattern::Below(lower(domain)),
            None => Pattern::Whole(lower(text)),
        }),
        (Step::Sender | Step::Recipient, _) => match text.rsplit_once('@') {
            Some(("", "" | ".")) | None => Err("not an address, @DOMAIN, @.DOMAIN, NAME@ or *"),
            Some((local, "")) => Ok(Pattern::Local(lower(local))),
            Some(("", domain)) => Ok(match domain.strip_prefix('.') {
                Some(domain) => Pattern::Below(ascii(domain)),
                None => Pattern::Domain(ascii(domain)),
            }),
            Some((local, domain)) => {
                Ok(Pattern::Whole(format!("{}@{}", lower(local), ascii(domain))))
            }
        },
    }
}

impl Pattern {
    /// Returns whether it fits, in any case of letters: who is refused does not come in by capitals, nor by another form
    /// of the same address.
    fn matches(&self, subject: Subject<'_>) -> bool {
        match subject {
            Subject::Client(ip) => match (self, ip) {
                (Pattern::Any, _) | (Pattern::Unix, None) => true,
                (Pattern::Network(network), Some(ip)) => network.contains(ip.to_canonical()),
                _ => false,
            },
            Subject::Hello(name) => self.fits(&String::from_utf8_lossy(name), false),
            Subject::Sender(forms) | Subject::Recipient(forms) => {
                forms.iter().any(|address| self.fits(address, true))
            }
        }
    }

    fn fits(&self, text: &str, is_address: bool) -> bool {
        let text = text.to_ascii_lowercase();
        let at = text.rfind('@').filter(|_| is_address);
        let domain = at.and_then(|at| text.get(at + 1..));
        let name = domain.unwrap_or(&text);
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Pattern::Any => true,
            Pattern::Null => text.is_empty(),
            Pattern::Whole(whole) => whole == text.strip_suffix('.').unwrap_or(&text),
            Pattern::Below(top) => is_below(name, top),
            Pattern::Domain(whole) => domain.is_some() && name == whole,
            Pattern::Local(local) => {
                domain.is_some() && text.rsplit_once('@').is_some_and(|(it, _)| it == local)
            }
            Pattern::Network(_) | Pattern::Unix => false,
        }
    }
}

fn is_below(name: &str, top: &str) -> bool {
    name.strip_suffix(top).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Access {
        Access::parse(text.as_bytes()).unwrap()
    }

    fn is_refused(text: &str, subject: Subject<'_>) -> bool {
        matches!(rules(text).decide(subject), Some(Decision::Refuse(_)))
    }

    #[test]
    fn the_first_line_that_matches_decides() {
        let access = rules(
            "# friends first\n\nclient 192.0.2.7 permit\n client\t192.0.2.0/24  refuse  No  mail \n\
             client unix defer Later\nclient * defer\n",
        );
        let decide = |ip: Option<&str>| {
            access.decide(Subject::Client(ip.map(|ip| ip.parse().unwrap()))).cloned().unwrap()
        };
        assert_eq!(decide(Some("192.0.2.7")), Decision::Permit);
        assert_eq!(decide(Some("192.0.2.8")), Decision::Refuse("No  mail".into()));
        assert_eq!(decide(Some("::ffff:192.0.2.8")), Decision::Refuse("No  mail".into()));
        assert_eq!(decide(Some("2001:db8::1")), Decision::Defer(String::new()));
        assert_eq!(decide(None), Decision::Defer("Later".into()));
        assert_eq!(access.decide(Subject::Hello(b"a.test")), None);
    }

    #[test]
    fn names_and_addresses_are_compared_in_any_case_with_and_without_a_final_dot() {
        for name in ["dyn.test", "a.DYN.test.", "x.y.dyn.test"] {
            assert!(is_refused("helo .dyn.test refuse", Subject::Hello(name.as_bytes())), "{name}");
        }
        assert!(!is_refused("helo .dyn.test refuse", Subject::Hello(b"notdyn.test")));
        assert!(is_refused("helo A.test refuse", Subject::Hello(b"a.TEST")));
        assert!(is_refused("helo <> refuse", Subject::Hello(b"")));
        for (pattern, address, fits) in [
            ("a@b.test", "A@B.test", true),
            ("a@b.test", "a@b.test.", true),
            ("a@b.test", "xa@b.test", false),
            ("@b.test", "anyone@B.TEST", true),
            ("@b.test", "anyone@sub.b.test", false),
            ("@.b.test", "anyone@sub.b.test", true),
            ("@.b.test", "anyone@b.test", true),
            ("@.b.test", "anyone@notb.test", false),
            ("root@", "Root@c.test", true),
            ("root@", "notroot@c.test", false),
            ("@b.test", "\"x@c.test\"@b.test", true),
            ("@c.test", "\"x@c.test\"@b.test", false),
            ("<>", "", true),
            ("<>", "a@b.test", false),
            ("*", "", true),
        ] {
            let text = format!("from {pattern} refuse");
            assert_eq!(
                is_refused(&text, Subject::Sender(&[address.to_owned()])),
                fits,
                "{pattern} {address}"
            );
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, number, why) in [
            ("\n#\nclients 1.2.3.4 permit", 3, "'clients' is not client, helo, from or to"),
            ("client 1.2.3.4", 1, "needs a pattern, and permit, refuse or defer"),
            ("client", 1, "needs a pattern, and permit, refuse or defer"),
            ("client 1.2.3 permit", 1, "'1.2.3': not an address, ADDRESS/BITS, unix or *"),
            ("client 1.2.3.4/33 permit", 1, "'1.2.3.4/33': not an address"),
            ("client 1.2.3.4 allow", 1, "'allow' is not permit, refuse or defer"),
            ("client 1.2.3.4 permit yes", 1, "text behind permit"),
            ("to levy refuse", 1, "'levy': not an address, @DOMAIN"),
            ("to <> refuse", 1, "'<>': not an address"),
            ("to @ refuse", 1, "'@': not an address"),
            ("from a@b.test refuse b\u{f6}se", 1, "the text of a reply is ASCII"),
            ("from a@b.test refuse a\u{1b}[2J", 1, "a control character"),
        ] {
            let (line, said) = Access::parse(text.as_bytes()).unwrap_err();
            assert_eq!(line, number, "{text:?}");
            assert!(said.starts_with(why), "{said}");
        }
        assert_eq!(Access::parse(b"to \xff@b.test refuse").unwrap_err().1, "not UTF-8");
        let long = format!("to a@b.test refuse {}", "x".repeat(MAX_TEXT + 1));
        assert!(Access::parse(long.as_bytes()).is_err());
    }
}
