//! The users file, which is read with the rights of root: its accounts against a second, slow reading of its lines;
//! no message shows a byte of a line.
#![no_main]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::OnceLock;

use accounts::password::{Password, Unusable};
use accounts::{Accounts, NameCase, NameDomain, Names, Source, UsersFile};
use forklore_fuzz::{option, scratch, write_private};
use libfuzzer_sys::fuzz_target;

/// Longest line in bytes.
const LONGEST: usize = 4096;

fuzz_target!(|data: &[u8]| {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| scratch("users").join("users"));
    let (option, text) = option(data);
    let names = Names {
        case: if option & 1 == 0 { NameCase::Lower } else { NameCase::AsIs },
        domain: if option & 2 == 0 { NameDomain::Keep } else { NameDomain::Cut },
    };
    write_private(path, text);
    let users = UsersFile::open(path).expect("a file of ours");
    let begin = format!("users {}", path.display());
    for problem in users.check(names).expect("it can be read") {
        let problem = problem.strip_prefix(&begin).expect("it names the file");
        assert!(is_known(problem), "{problem}");
    }
    let expected: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(entry).collect();
    let accounts = Accounts { source: Source::File(users), names };
    let mut found = Vec::new();
    accounts
        .scan(|account| {
            found.push(account);
            ControlFlow::Continue(())
        })
        .expect("it can be read");
    let known = expected.iter().filter_map(|it| Some((it.name, names.canonical(it.name)?, it.ids)));
    let known: Vec<_> = known.collect();
    let named: Vec<_> = known.iter().map(|(_, name, ids)| (name.clone(), *ids)).collect();
    let seen =
        found.iter().map(|it| (it.name.clone(), it.owner.map(|owner| (owner.uid, owner.gid))));
    assert_eq!(seen.collect::<Vec<_>>(), named);
    // The first line of a name counts.
    for (given, name, ids) in known.iter().take(4) {
        let account = accounts.account(given).expect("it can be read").expect("it is there");
        let first = named.iter().find(|(other, _)| other == name).map(|(_, ids)| *ids);
        assert_eq!(account.owner.map(|owner| (owner.uid, owner.gid)), first.unwrap_or(*ids));
        assert!(account.owner.is_none_or(|owner| owner.uid != 0), "root's");
    }
    assert!(accounts.account(b"").expect("it can be read").is_none());
    let _ = (accounts.mechanisms(), accounts.has_secret());
    expected.iter().for_each(|it| password(it.password));
});

/// Whether a problem is a text of ours: nothing of the file is in it.
fn is_known(problem: &str) -> bool {
    let texts = [
        "the line is longer than 4096 bytes",
        "no password field",
        "no name",
        "the user id is no number",
        "the group id is no number",
        "more than seven fields",
        "a control character in the name or a NUL in the home",
        "user id 0: no session has root's rights",
        "a user id without a group id",
        "a group id without a user id",
        "the name is empty or longer than 255 bytes",
        "the password is no $6$, $5$, $y$ or $argon2id$ hash, no {SCRAM-SHA-256} and no {PLAIN}",
        "the password's hash is malformed",
        "the password's hash would take too long or too much memory",
    ];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(count) = problem.strip_prefix(": ").and_then(|it| it.strip_suffix(" faulty lines"))
    {
        return digits(count);
    }
    let Some((line, why)) = problem.strip_prefix(':').and_then(|it| it.split_once(": ")) else {
        return false;
    };
    let other = why
        .strip_prefix("the name is that of line ")
        .and_then(|it| it.strip_suffix(", which counts"));
    digits(line) && (texts.contains(&why) || other.is_some_and(digits) || is_unusable(why))
}

/// The reasons of a password field.
fn is_unusable(why: &str) -> bool {
    [Unusable::Unknown, Unusable::Malformed, Unusable::TooDear]
        .iter()
        .any(|it| it.to_string() == why)
}

struct Entry<'a> {
    name: &'a [u8],
    password: &'a [u8],
    ids: Option<(u32, u32)>,
}

/// Reads a line as forklore-users(5) says.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    if line.len() > LONGEST || line.starts_with(b"#") || line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    if fields.get(1).is_some_and(|field| field.starts_with(b"SCRAM-SHA-256$")) {
        // Two colons are of the password (RFC 5803 §2).
        let start = fields[0].len() + 1;
        let length = fields[1..].iter().take(3).map(|field| field.len() + 1).sum::<usize>() - 1;
        let rest = fields.split_off(fields.len().min(4));
        fields.truncate(1);
        fields.push(&line[start..start + length]);
        fields.extend(rest);
    }
    let (name, password) = (*fields.first()?, *fields.get(1)?);
    let id = |at: usize| {
        let text = fields.get(at).copied().unwrap_or_default();
        if text.is_empty() {
            return Some(None);
        }
        let is_number = text.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(text).ok().filter(|_| is_number)?.parse::<u32>().ok()?;
        (number != u32::MAX).then_some(Some(number))
    };
    let ids = match (id(2)?, id(3)?) {
        (Some(0), _) | (Some(_), None) | (None, Some(_)) => return None,
        (Some(uid), Some(gid)) => Some((uid, gid)),
        (None, None) => None,
    };
    let home = fields.get(5).copied().unwrap_or_default();
    let is_sound = !name.is_empty() && !name.iter().any(u8::is_ascii_control) && !home.contains(&0);
    (is_sound && fields.len() <= 7).then_some(Entry { name, password, ids })
}

/// What costs something can be checked or is malformed; what cannot be paid for is never checked.
fn password(field: &[u8]) {
    match (Password::parse(field), Password::cost_of(field)) {
        (Ok(password), Ok(cost)) => {
            assert_eq!(password.cost(), cost);
            assert_eq!(password.secret().is_some(), field.starts_with(b"{PLAIN}"));
        }
        (Err(Unusable::Malformed), Ok(_)) | (Err(_), Err(_)) => {}
        (parsed, cost) => panic!("{:?}, {:?}", parsed.err(), cost.err()),
    }
}
