//! The command line that programs know since 1983: sendmail(8)'s letters, of which those that say something here are
//! obeyed, and the others are taken.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::client::is_flag;
use crate::protocol::params;
use crate::sendmail::failure::{Failure, Result};

/// Letters of options without a value that say nothing here.
const IGNORED: &[u8] = b"GUnmx";
/// Letters of options with a value that says nothing here.
const IGNORED_VALUES: &[u8] = b"ACDLMXhp";
/// Letters of options with a value that is obeyed.
const VALUES: &[u8] = b"BFNORVfrbeo";
/// Letters of options whose value stands in the same word, if there is one.
const OPTIONAL_VALUES: &[u8] = b"qd";

/// What is to be done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Take the letter on standard input.
    #[default]
    Letter,
    /// Speak SMTP on standard input and output (`-bs`).
    Smtp,
    /// List the queue (`-bp`).
    List,
    /// Have the queue tried (`-q`).
    Flush,
    /// Nothing: smtpd reads its aliases itself (`-bi`).
    Aliases,
}

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) mode: Mode,
    /// The sender (`-f`, `-r`), as it was written.
    pub(super) sender: Option<String>,
    /// The sender's name for `From:` (`-F`).
    pub(super) full_name: Option<String>,
    /// Whether the header names recipients (`-t`).
    pub(super) reads_header: bool,
    /// Whether a line of a dot is text (`-i`).
    pub(super) keeps_dots: bool,
    /// Whether a letter that is not taken is to be kept (`-oem`, `-oew`, `-oee`).
    pub(super) mails_errors: bool,
    /// Whether only the exit code tells what fails (`-oeq`).
    pub(super) is_quiet: bool,
    /// Whether the dialogue is shown (`-v`).
    pub(super) is_verbose: bool,
    /// `NOTIFY=`, as RCPT has it (`-N`).
    pub(super) notify: String,
    /// `RET=` (`-R`).
    pub(super) ret: String,
    /// `ENVID=` (`-V`).
    pub(super) envid: String,
    /// The addresses, as they were written.
    pub(super) recipients: Vec<String>,
    /// Options with a long name, which are smtpc's.
    pub(super) long: Vec<OsString>,
}

impl CommandLine {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// An option that is unknown, or whose value is missing or wrong.
    pub(super) fn parse(words: Vec<OsString>) -> Result<CommandLine> {
        let mut line = CommandLine::default();
        let mut words = words.into_iter();
        let (mut tries_queue, mut is_end) = (false, false);
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            match bytes {
                b"--" if !is_end => is_end = true,
                [b'-', ..] if !is_end && !line.recipients.is_empty() => {
                    let why = format!(
                        "{}: options stand before the addresses",
                        text(&word)?.escape_debug()
                    );
                    return Err(Failure::usage(why));
                }
                [b'-', b'-', ..] if !is_end => line.take_long(word, &mut words),
                [b'-', letters @ ..] if !is_end && !letters.is_empty() => {
                    line.take(letters, &mut words, &mut tries_queue)?;
                }
                _ => line.recipients.push(text(&word)?),
            }
        }
        if tries_queue
            && line.mode == Mode::Letter
            && line.recipients.is_empty()
            && !line.reads_header
        {
            line.mode = Mode::Flush;
        }
        Ok(line)
    }

    /// Keeps an option of smtpc's, and its value.
    fn take_long(&mut self, word: OsString, words: &mut impl Iterator<Item = OsString>) {
        let name = word.to_str().and_then(|word| word.strip_prefix("--")).unwrap_or_default();
        let has_value = !name.contains('=') && !is_flag(name);
        self.long.push(word);
        if has_value {
            self.long.extend(words.next());
        }
    }

    /// Takes the letters of one word; a value is the rest of it, or the next one.
    fn take(
        &mut self,
        letters: &[u8],
        words: &mut impl Iterator<Item = OsString>,
        tries_queue: &mut bool,
    ) -> Result<()> {
        let mut rest = letters;
        while let Some((&letter, after)) = rest.split_first() {
            rest = after;
            match letter {
                b't' => self.reads_header = true,
                b'i' => self.keeps_dots = true,
                b'v' => self.is_verbose = true,
                _ if IGNORED.contains(&letter) => {}
                _ if OPTIONAL_VALUES.contains(&letter) => {
                    *tries_queue |= letter == b'q';
                    return Ok(());
                }
                _ if VALUES.contains(&letter) || IGNORED_VALUES.contains(&letter) => {
                    let mut next = || words.next().map(|word| word.as_bytes().to_vec());
                    let value = if after.is_empty() { next() } else { Some(after.to_vec()) };
                    let why = || format!("-{}: its argument is missing", char::from(letter));
                    let value = value.ok_or_else(|| Failure::usage(why()))?;
                    return self.set(letter, &text(OsStr::from_bytes(&value))?);
                }
                _ => {
                    let letter = char::from(letter).escape_debug();
                    return Err(Failure::usage(format!("-{letter}: no such option")));
                }
            }
        }
        Ok(())
    }

    /// Obeys an option with a value.
    fn set(&mut self, letter: u8, value: &str) -> Result<()> {
        let option = char::from(letter);
        let wrong =
            |why: &str| Failure::usage(format!("-{option} '{}': {why}", value.escape_debug()));
        match letter {
            b'f' | b'r' => self.sender = Some(value.to_owned()),
            b'F' => self.full_name = Some(value.to_owned()),
            b'b' => {
                self.mode = match value {
                    "m" => Mode::Letter,
                    "s" => Mode::Smtp,
                    "p" => Mode::List,
                    "i" => Mode::Aliases,
                    "d" | "D" => return Err(wrong("the servers are smtpd(8) and smtpq(8)")),
                    _ => return Err(wrong("not m, s, p or i")),
                };
            }
            b'e' => self.errors(value),
            b'o' => self.old_option(value),
            b'O' => {
                if let Some(folder) = value.strip_prefix("QueueDirectory=") {
                    self.long.push(format!("--queue={folder}").into());
                }
            }
            b'N' => {
                let read = params::rcpt(format!("NOTIFY={value}").as_bytes(), false).ok();
                let notify = read.and_then(|read| read.notify);
                let why = "not never, or success, failure and delay with commas";
                self.notify = notify.ok_or_else(|| wrong(why))?.keywords();
            }
            b'R' => {
                let read = params::mail(format!("RET={value}").as_bytes()).ok();
                let ret = read.and_then(|read| read.ret);
                self.ret = ret.ok_or_else(|| wrong("not full or hdrs"))?.keyword().to_owned();
            }
            b'V' => {
                let read = params::mail(format!("ENVID={value}").as_bytes()).ok();
                let envid = read.and_then(|read| read.envid);
                self.envid =
                    envid.ok_or_else(|| wrong("not up to 100 bytes of xtext (RFC 3461)"))?;
            }
            b'B' if !["8BITMIME", "7BIT"].iter().any(|body| value.eq_ignore_ascii_case(body)) => {
                return Err(wrong("not 7BIT or 8BITMIME"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Obeys `-oX`, an option of sendmail's configuration.
    fn old_option(&mut self, option: &str) {
        match option.split_at_checked(1) {
            Some(("i", _)) => self.keeps_dots = true,
            Some(("e", how)) => self.errors(how),
            Some(("Q", folder)) => self.long.push(format!("--queue={folder}").into()),
            Some(("v", _)) => self.is_verbose = true,
            _ => {}
        }
    }

    /// Obeys `-eX`: where errors go.
    fn errors(&mut self, how: &str) {
        self.mails_errors = matches!(how, "m" | "w" | "e");
        self.is_quiet = how == "q";
    }
}

fn text(word: &OsStr) -> Result<String> {
    word.to_str().map(str::to_owned).ok_or_else(|| Failure::usage(format!("{word:?}: not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<CommandLine> {
        CommandLine::parse(words.iter().map(OsString::from).collect())
    }

    fn line(words: &[&str]) -> CommandLine {
        parse(words).unwrap_or_else(|failure| panic!("{words:?}: {}", failure.error))
    }

    #[test]
    fn the_call_forms_of_programs_are_understood() {
        let cron = line(&["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"]);
        assert!(cron.keeps_dots && cron.mails_errors && !cron.reads_header);
        assert_eq!(
            (cron.full_name.as_deref(), &cron.recipients[..]),
            (Some("CronDaemon"), &["root".to_owned()][..])
        );
        let vixie = line(&["-FCronDaemon", "-odi", "-oem", "-oi", "-or0s", "levy"]);
        assert_eq!((vixie.mode, &vixie.recipients[..]), (Mode::Letter, &["levy".to_owned()][..]));
        let mutt = line(&[
            "-oem",
            "-oi",
            "-f",
            "levy@red.test",
            "-B8BITMIME",
            "-N",
            "failure,delay",
            "-R",
            "hdrs",
            "--",
            "-a@b.test",
            "c@d.test",
        ]);
        assert_eq!(mutt.recipients, ["-a@b.test", "c@d.test"]);
        assert_eq!(
            (mutt.sender.as_deref(), &mutt.notify[..], &mutt.ret[..]),
            (Some("levy@red.test"), "FAILURE,DELAY", "HDRS")
        );
        let git = line(&["-i", "a@b.test", "c@d.test"]);
        assert!(git.keeps_dots && git.recipients.len() == 2);
        let php = line(&["-ti"]);
        assert!(php.keeps_dots && php.reads_header);
    }

    #[test]
    fn the_mode_is_that_of_the_last_option() {
        for (words, mode) in [
            (&["-bs"][..], Mode::Smtp),
            (&["-b", "s"], Mode::Smtp),
            (&["-bp"], Mode::List),
            (&["-bi"], Mode::Aliases),
            (&["-q"], Mode::Flush),
            (&["-q30m"], Mode::Flush),
            (&["-q30m", "-t"], Mode::Letter),
            (&["-q", "levy"], Mode::Letter),
            (&["-v", "-q"], Mode::Flush),
            (&[], Mode::Letter),
        ] {
            assert_eq!(line(words).mode, mode, "{words:?}");
        }
    }

    #[test]
    fn options_of_smtpc_are_kept_with_their_values() {
        let line =
            line(&["--queue", "/q", "-t", "--config=/c", "-OQueueDirectory=/r", "-oQ/s", "levy"]);
        assert_eq!(line.long, ["--queue", "/q", "--config=/c", "--queue=/r", "--queue=/s"]);
        assert_eq!(line.recipients, ["levy"]);
    }

    #[test]
    fn options_that_say_nothing_here_are_taken() {
        let ignored = [
            "-Am",
            "-C",
            "/etc/mail",
            "-d0.1",
            "-h5",
            "-Ltag",
            "-pSMTP:x",
            "-X/log",
            "-U",
            "-n",
            "-G",
            "-odb",
            "-O",
            "a=b",
            "x",
        ];
        assert_eq!(
            line(&ignored),
            CommandLine { recipients: vec!["x".into()], ..CommandLine::default() }
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for words in [
            &["-z"][..],
            &["-f"],
            &["-bd"],
            &["-bt"],
            &["-Nsometimes"],
            &["-Rall"],
            &["-Va b"],
            &["-Bx"],
            &["levy", "-f", "x"],
        ] {
            assert_eq!(parse(words).unwrap_err().code, 64, "{words:?}");
        }
    }
}
