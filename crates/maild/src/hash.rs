//! `--hash`: makes the users file's field for a password.

use std::io::{self, BufRead, IsTerminal};

use accounts::Secret;
use accounts::password::{self, MAX_PASSWORD, Scheme};
use forknet::{Error, Result, Values};

/// Returns the users file's field for a password from standard input. On a terminal, prompts for it
/// twice.
///
/// # Errors
/// [`Error::Refused`] if the password is empty, too long or has a NUL, or the two differ.
pub fn hash(values: &Values) -> Result<String> {
    let scheme = match values.choice("scheme")? {
        "argon2id" => Scheme::Argon2id,
        "yescrypt" => Scheme::Yescrypt,
        "scram" => Scheme::Scram,
        "plain" => Scheme::Plain,
        _ => Scheme::Sha512,
    };
    let given = if io::stdin().is_terminal() { ask()? } else { first_line(io::stdin().lock())? };
    let field = password::hash(scheme, given.as_bytes());
    let field = field.map_err(|error| Error::Refused(error.to_string()))?;
    Ok(String::from_utf8_lossy(field.as_bytes()).into_owned())
}

fn ask() -> Result<Secret> {
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(Error::io("terminal"));
    let (once, again) = (Secret::from(ask("Password: ")?), Secret::from(ask("Again: ")?));
    if once != again {
        return Err(Error::Refused("the two passwords differ".to_owned()));
    }
    Ok(once)
}

/// Reads the first line without its LF or CRLF, up to one byte over the limit.
///
/// # Errors
/// read(2) fails.
pub fn first_line(input: impl BufRead) -> Result<Secret> {
    let mut line = Vec::with_capacity(MAX_PASSWORD + 3);
    input
        .take(MAX_PASSWORD as u64 + 3)
        .read_until(b'\n', &mut line)
        .map_err(Error::io("standard input"))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (input, expected) in
            [("a b \nnext", "a b "), ("x\r\n", "x"), ("no end", "no end"), ("", ""), ("\n", "")]
        {
            assert_eq!(first_line(input.as_bytes()).unwrap().as_bytes(), expected.as_bytes());
        }
    }
}
