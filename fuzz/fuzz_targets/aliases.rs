//! Files of aliases(5), lists of `:include:` and `~/.forward`: what a name leads to is one of the kinds that the file
//! may name, and is read as the same when it is written down. A fault of one line changes no other one's names.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use forklore_fuzz::{option, scratch, write_private};
use libfuzzer_sys::fuzz_target;
use mailstore::{AliasTarget, Aliases, targets};

fuzz_target!(|data: &[u8]| {
    let (choice, text) = option(data);
    match choice % 2 {
        0 => list(text),
        _ => file(text, choice & 2 != 0),
    }
});

/// The items of a list, and each of them alone.
fn list(text: &[u8]) {
    let Ok(found) = targets(text) else { return };
    assert!(found.len() <= 1000, "a bounded list");
    for target in found {
        let written = match &target {
            AliasTarget::Address(address) => address.clone(),
            AliasTarget::Final(name) => [b"\\", &name[..]].concat(),
            AliasTarget::Program(command) => [b"|", &command[..]].concat(),
            AliasTarget::File(path) => path.as_os_str().as_bytes().to_vec(),
            AliasTarget::Include(path) => [b":include:", path.as_os_str().as_bytes()].concat(),
        };
        assert!(
            !written.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)),
            "{}",
            written.escape_ascii()
        );
        if let AliasTarget::File(path) | AliasTarget::Include(path) = &target {
            assert!(path.is_absolute(), "{}", path.display());
        }
        // A command keeps its own quotes, so it is written within quotes of the list's.
        if let AliasTarget::Program(command) = &target {
            if command.iter().any(|byte| b"\"\\(),\t".contains(byte)) {
                continue;
            }
        }
        let has_blanks = written.trim_ascii().len() < written.len();
        if has_blanks || written.iter().any(|byte| b"\"(),<>\\".contains(byte)) {
            continue; // it had quotes of its own
        }
        // Between < and > it was an address, whatever it looks like.
        let looks_else = [&b"|"[..], b"/", b":", b"\\"].iter().any(|it| written.starts_with(it));
        if looks_else && matches!(target, AliasTarget::Address(_)) {
            continue;
        }
        if written.starts_with(b"#") {
            continue; // a comment, where a line begins with it
        }
        assert_eq!(targets(&written), Ok(vec![target]), "{}", written.escape_ascii());
    }
}

/// A file: each plain line `name: …` is found, in whatever company.
fn file(text: &[u8], is_exact: bool) {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| scratch("aliases").join("aliases"));
    write_private(path, text);
    let aliases = Aliases::open(path, is_exact, <[u8]>::to_vec).expect("a private file");
    for problem in aliases.check() {
        let prefix = format!("aliases {}:", path.display());
        let rest = problem.strip_prefix(&prefix).expect("a problem names file and line");
        let (line, why) = rest.split_once(": ").expect("a line and a reason");
        let lines = text.split_inclusive(|&byte| byte == b'\n').count() as u64;
        assert!((1..=lines).contains(&line.parse().expect("a number")), "{problem}");
        assert!(!why.contains(char::is_control), "{problem}");
    }
    for line in text.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = &line[..colon];
        if !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric) {
            assert!(aliases.find(name, None).is_some(), "{} is gone", name.escape_ascii());
            if !is_exact {
                assert!(aliases.find(&name.to_ascii_uppercase(), None).is_some(), "case counts");
            }
        }
    }
    let _ = aliases.find(OsStr::new("postmaster").as_bytes(), None);
}
