//! What a command is run with, and whether it can be run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use forknet::reason;
use nix::unistd::{AccessFlags, access};

use crate::delivery::order::Command;
use crate::delivery::store::Failure;
use crate::protocol::question::Verdict;

/// The shell of aliases and of `~/.forward`.
pub const SHELL: &str = "/bin/sh";

/// Returns the words of a command. Of `--mda`, each word is one argument, whatever a sender or a recipient is called.
///
/// # Errors
/// [`Verdict::Rejected`] where an address would be taken for an option, because it begins with `-`.
pub fn arguments(command: &Command, sender: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    if command.is_shell {
        return Ok(vec![SHELL.into(), b"-c".into(), command.text.clone()]);
    }
    let words = command.text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let argument = |word: &[u8]| {
        let argument = filled(word, command, sender);
        match argument.starts_with(b"-") && !word.starts_with(b"-") {
            false => Ok(argument),
            true => {
                let why = format!("'{}' would be an option of --mda", argument.escape_ascii());
                Err(Failure { verdict: Verdict::Rejected, why })
            }
        }
    };
    words.map(argument).collect()
}

/// Puts names in the place of `%u` and its like.
fn filled(word: &[u8], command: &Command, sender: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), word);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let value = match (byte, tail.first()) {
            (b'%', Some(b'u')) => &command.name,
            (b'%', Some(b'h')) => command.home.as_os_str().as_bytes(),
            (b'%', Some(b'f')) => sender,
            (b'%', Some(b'r')) => &command.recipient,
            (b'%', Some(b'e')) => &command.extension,
            (b'%', Some(b'%')) => b"%",
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(value);
        rest = tail.get(1..).unwrap_or_default();
    }
    out
}

/// Checks, with the rights of the user, that the program of a command can be run, where its first word is a path and
/// nothing else, and that the recipient's address is no option. What sh(1) makes of other lines is seen when it runs.
///
/// # Errors
/// Why not.
pub fn check(command: &Command) -> Result<(), Failure> {
    arguments(command, b"")?;
    let Some(path) = program(command) else { return Ok(()) };
    let failed = |why: &str| {
        let why = format!("command {}: {why}", path.display());
        Failure { verdict: Verdict::Unusable, why }
    };
    match path.metadata() {
        Ok(found) if !found.is_file() => Err(failed("is not a regular file")),
        Ok(_) => access(path, AccessFlags::X_OK).map_err(|errno| failed(errno.desc())),
        Err(error) => Err(failed(&reason(&error))),
    }
}

/// Returns the path that a command begins with; `None` where it may mean something else.
fn program(command: &Command) -> Option<&Path> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
    let word = command.text.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    (word.starts_with(b"/") && word.iter().all(is_plain))
        .then(|| Path::new(OsStr::from_bytes(word)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::delivery) fn command(text: &str, is_shell: bool) -> Command {
        Command {
            text: text.into(),
            is_shell,
            may_forward: false,
            name: b"levy".into(),
            home: "/h/levy".into(),
            recipient: b"levy+a@red.test".into(),
            extension: b"a; rm -r /".into(),
        }
    }

    #[test]
    fn a_word_stays_one_argument_whatever_is_put_into_it() {
        let mda = command("/bin/deliver  -d %u -a %e -f<%f> %%u %x%", false);
        let words = arguments(&mda, b"x y@b.test").unwrap();
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let expected =
            ["/bin/deliver", "-d", "levy", "-a", "a; rm -r /", "-f<x y@b.test>", "%u", "%x%"];
        assert_eq!(words, expected);
    }

    #[test]
    fn an_address_is_never_an_option() {
        let is_taken = |text: &str, sender: &[u8]| match arguments(&command(text, false), sender) {
            Ok(_) => true,
            Err(failure) => failure.verdict != Verdict::Rejected,
        };
        for text in ["/bin/deliver %f", "/bin/deliver -f %f", "/bin/deliver %f%r"] {
            assert!(!is_taken(text, b"-oX@b.test"), "{text}");
            assert!(is_taken(text, b"a-b@b.test") && is_taken(text, b""), "{text}");
        }
        assert!(is_taken("/bin/deliver -f%f --from=%f <%f>", b"-oX@b.test"));
        let odd = Command { extension: b"-x".into(), ..command("/bin/deliver -a %e", false) };
        assert!(check(&odd).is_err_and(|it| it.verdict == Verdict::Rejected));
    }

    #[test]
    fn a_command_whose_program_is_not_there_is_known_before_it_runs() {
        for (text, is_shell, is_good) in [
            ("/bin/sh -c true", true, true),
            ("/bin/sh", false, true),
            ("/no/such/program -d %u", false, false),
            (" /no/such/program", true, false),
            ("/etc/passwd", false, false),
            ("/etc", true, false),
            ("/no/such;true", true, true),
            ("/no/%u/such", false, true),
            ("cat >x", true, true),
            ("\"exec /no/such\"", true, true),
        ] {
            assert_eq!(check(&command(text, is_shell)).is_ok(), is_good, "{text}");
        }
    }
}
