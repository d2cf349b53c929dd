//! The right side of a line of aliases(5), the text of an `:include:` file, and a `~/.forward`: the places to
//! which a letter goes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Most targets of one text, a number.
pub const MAX_TARGETS: usize = 1000;
/// Longest target in bytes.
const MAX_TARGET: usize = 1024;

/// A place to which a letter goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AliasTarget {
    /// `name`, `name@domain`, `"quoted name"@domain`: to be looked up in its turn. As written, without `<` and `>`.
    Address(Vec<u8>),
    /// `\name`, without the backslash: the mailbox of that user, whatever aliases and the user's `~/.forward` say.
    Final(Vec<u8>),
    /// `|command`, without the bar.
    Program(Vec<u8>),
    /// `/file`.
    File(PathBuf),
    /// `:include:/file`: a file of targets.
    Include(PathBuf),
}

/// What is wrong with a text of targets.
pub type Fault = &'static str;

/// Reads targets that commas or line ends separate. A line that begins with `#` is a comment, and so is what stands
/// between parentheses; of `Full Name <address>` the address counts. An item in double quotes may have commas,
/// and `\"` for a quote: `"|command \"argument, too\""`.
///
/// # Errors
/// What is wrong with one of them; more than [`MAX_TARGETS`].
pub fn targets(text: &[u8]) -> Result<Vec<AliasTarget>, Fault> {
    let mut found = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if line.starts_with(b"#") {
            continue;
        }
        for item in items(line)? {
            let item = item.trim_ascii();
            if item.is_empty() {
                continue;
            }
            if found.len() == MAX_TARGETS {
                return Err("more than 1000 targets");
            }
            found.push(target(item)?);
        }
    }
    Ok(found)
}

/// Splits a line at the commas that are neither in quotes nor in a comment; comments are left out.
fn items(line: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut all, mut item) = (Vec::new(), Vec::new());
    let (mut is_quoted, mut comments) = (false, 0_u32);
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        // Parentheses of a command are its own.
        let is_command = item.trim_ascii_start().starts_with(b"|");
        match byte {
            b'\\' => {
                let pair = [Some(byte), bytes.next()];
                item.extend(pair.into_iter().flatten().filter(|_| comments == 0));
            }
            b'"' if comments == 0 => {
                is_quoted = !is_quoted;
                item.push(byte);
            }
            b'(' if !is_quoted && !is_command => comments += 1,
            b')' if !is_quoted && comments > 0 => comments -= 1,
            b',' if !is_quoted && comments == 0 => all.push(std::mem::take(&mut item)),
            _ if comments == 0 => item.push(byte),
            _ => {}
        }
    }
    if is_quoted || comments > 0 {
        return Err("quotes or parentheses without an end");
    }
    all.push(item);
    Ok(all)
}

/// Reads one target.
fn target(item: &[u8]) -> Result<AliasTarget, Fault> {
    if item.len() > MAX_TARGET {
        return Err("a target longer than 1024 bytes");
    }
    if item.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err("a control character");
    }
    if let Some(command) = item.strip_prefix(b"|") {
        return of_kind(&[b"|", &whole_unquoted(command.trim_ascii())[..]].concat());
    }
    if let Some(path) = item.strip_prefix(b":include:") {
        return of_kind(&[b":include:", &whole_unquoted(path.trim_ascii())[..]].concat());
    }
    match quoted(item) {
        Some((inner, b"")) => of_kind(&inner),
        _ => match item.strip_suffix(b">").and_then(|rest| after_last(rest, b'<')) {
            Some(address) => address_of(address),
            None if is_quoted_at_start(item) => address_of(item), // "quoted name"@domain
            None => of_kind(item),
        },
    }
}

fn is_quoted_at_start(item: &[u8]) -> bool {
    item.starts_with(b"\"")
}

/// Reads a target that has no quotes of its own any more.
fn of_kind(text: &[u8]) -> Result<AliasTarget, Fault> {
    if let Some(command) = text.strip_prefix(b"|") {
        let command = command.trim_ascii();
        let is_there = !command.is_empty();
        return is_there.then(|| AliasTarget::Program(command.to_vec())).ok_or("an empty command");
    }
    if let Some(path) = text.strip_prefix(b":include:") {
        let path = path.trim_ascii();
        let is_absolute = path.starts_with(b"/");
        let include = || AliasTarget::Include(path_of(path));
        return is_absolute.then(include).ok_or(":include: needs a path from /");
    }
    if text.starts_with(b"/") {
        return Ok(AliasTarget::File(path_of(text)));
    }
    if let Some(name) = text.strip_prefix(b"\\") {
        let is_name = !name.is_empty() && !name.contains(&b'\\');
        return is_name.then(|| AliasTarget::Final(name.to_vec())).ok_or("no name behind \\");
    }
    address_of(text)
}

/// Reads a name or an address, which is looked at more closely where it is looked up.
fn address_of(text: &[u8]) -> Result<AliasTarget, Fault> {
    let text = text.trim_ascii();
    let has_blank = !is_quoted_at_start(text) && text.iter().any(u8::is_ascii_whitespace);
    if text.is_empty() || has_blank {
        return Err("a blank in an address, or none");
    }
    if text.starts_with(b"@") || text.starts_with(b":") {
        return Err("neither an address nor a name");
    }
    Ok(AliasTarget::Address(text.to_vec()))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn after_last(text: &[u8], byte: u8) -> Option<&[u8]> {
    let at = text.iter().rposition(|&it| it == byte)?;
    text.get(at + 1..)
}

/// Returns the text between the quotes at the start of an item, and what follows them. A backslash stays, but before
/// a quote and another backslash.
pub(super) fn quoted(item: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = item.strip_prefix(b"\"")?;
    let mut inner = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match (byte, rest.first()) {
            (b'"', _) => return Some((inner, rest)),
            (b'\\', Some(&next @ (b'"' | b'\\'))) => {
                inner.push(next);
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => inner.push(byte),
        }
    }
}

/// Takes the quotes off a text that is in quotes as a whole.
fn whole_unquoted(text: &[u8]) -> Vec<u8> {
    match quoted(text) {
        Some((inner, b"")) => inner,
        _ => text.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AliasTarget::{Address, File, Final, Include, Program};

    fn address(text: &str) -> AliasTarget {
        Address(text.into())
    }

    #[test]
    fn every_kind_of_target_is_read() {
        for (text, expected) in [
            ("levy", address("levy")),
            (" levy@red.test ", address("levy@red.test")),
            ("<levy@red.test>", address("levy@red.test")),
            ("Levy Red <levy@red.test>", address("levy@red.test")),
            ("\"Red, Levy\" <levy@red.test>", address("levy@red.test")),
            ("levy (of the office, 2nd floor)", address("levy")),
            ("\"two words\"@red.test", address("\"two words\"@red.test")),
            ("\\levy", Final(b"levy".into())),
            ("\"\\levy\"", Final(b"levy".into())),
            ("\"|prog a, b\"", Program(b"prog a, b".into())),
            ("|prog (a)", Program(b"prog (a)".into())),
            ("|\"prog a, b\"", Program(b"prog a, b".into())),
            ("\"|sh -c \\\"echo, x\\\"\"", Program(b"sh -c \"echo, x\"".into())),
            ("/var/mail/old", File("/var/mail/old".into())),
            ("\"/var/mail/old one\"", File("/var/mail/old one".into())),
            (":include:/etc/list", Include("/etc/list".into())),
            ("\":include:/etc/my list\"", Include("/etc/my list".into())),
            (":include:\"/etc/my list\"", Include("/etc/my list".into())),
        ] {
            assert_eq!(targets(text.as_bytes()), Ok(vec![expected]), "{text}");
        }
    }

    #[test]
    fn commas_and_lines_separate_and_comments_are_left_out() {
        let text =
            b"a, b@c.test,\n# all of this, is none\n  # nor this\n\"d e\"@f.test,,\n(nothing)\n\\g";
        let all = targets(text).unwrap();
        let expected =
            [address("a"), address("b@c.test"), address("\"d e\"@f.test"), Final(b"g".into())];
        assert_eq!(all, expected);
        assert_eq!(targets(b""), Ok(vec![]));
        let many = "a,".repeat(MAX_TARGETS);
        assert_eq!(targets(many.as_bytes()).unwrap().len(), MAX_TARGETS);
        assert!(targets(format!("{many}b").as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "two words",
            "|",
            "\"|\"",
            ":include:",
            ":include:relative",
            "\\",
            "\"open",
            "a (open",
            "@red.test",
            ":fail:",
            "<>",
            "\\a\\b",
            "a\0b",
        ] {
            assert!(targets(text.as_bytes()).is_err(), "{text}");
        }
        assert!(targets(&[b'a'; MAX_TARGET + 1]).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut seed = 7_u32;
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..seed % 24)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"\"\\,<>()|/:@ a\n#\xff"[(seed >> 16) as usize % 16]
                })
                .collect();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let _ = targets(&text);
        }
    }
}
