use super::*;
use crate::account::Owner;
use crate::names::{NameCase, NameDomain};
use crate::password::Cost;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::TempDir;

/// `tanstaaf`, as `openssl passwd -6` writes it.
const DEAR: &str = "$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.";

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.file(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn accounts(text: &str, names: Names) -> (TempDir, Accounts) {
    let folder = TempDir::new();
    let users = UsersFile::open(&file(&folder, "users", text)).unwrap();
    (folder, Accounts { source: Source::File(users), names })
}

fn system(passwd: &str, shadow: Option<&str>) -> (TempDir, Accounts) {
    let folder = TempDir::new();
    let passwd = file(&folder, "passwd", passwd);
    let shadow = match shadow {
        Some(shadow) => file(&folder, "shadow", shadow),
        None => folder.path().join("none"),
    };
    let source = Source::System(System::open_files(&passwd, &shadow).unwrap());
    (folder, Accounts { source, names: Names::default() })
}

fn login(accounts: &Accounts, name: &str, given: &str) -> std::result::Result<Account, Refusal> {
    match accounts.log_in(name.as_bytes(), &Secret::from(given.as_bytes())).unwrap() {
        Login::Accepted(account) => Ok(account),
        Login::Refused(why) => Err(why),
    }
}

#[test]
fn only_the_right_password_of_a_known_user_logs_in() {
    let text = format!(
        "a:{{PLAIN}}one:7:8\nb:*\na:{{PLAIN}}two\nc:{{PLAIN}}one\nroot:{{PLAIN}}one:0:0\nd:{DEAR}\ne:one\n"
    );
    let (_folder, accounts) = accounts(&text, Names::default());
    let account = login(&accounts, "A", "one").unwrap();
    assert_eq!((&account.name[..], account.owner), (&b"a"[..], Some(Owner { uid: 7, gid: 8 })));
    assert!(login(&accounts, "c", "one").unwrap().owner.is_none());
    assert!(login(&accounts, "d", "tanstaaf").is_ok());
    for (name, given, why) in [
        ("a", "two", Refusal::Wrong),
        ("d", "one", Refusal::Wrong),
        ("b", "*", Refusal::Field(Unusable::None)),
        ("b", "one", Refusal::Field(Unusable::None)),
        ("e", "one", Refusal::Field(Unusable::Unknown)),
        ("root", "one", Refusal::NoSuchUser),
        ("unknown", "one", Refusal::NoSuchUser),
        ("", "one", Refusal::NoSuchUser),
        ("a\0", "one", Refusal::NoSuchUser),
        ("a", "", Refusal::Wrong),
    ] {
        assert_eq!(login(&accounts, name, given).unwrap_err(), why, "{name} {given}");
    }
}

#[test]
fn names_are_compared_as_the_options_say() {
    let text = "Levy:{PLAIN}x\nmrose@example.test:{PLAIN}x\n";
    let is_known = |case, domain, name: &str| {
        let (_folder, accounts) = accounts(text, Names { case, domain });
        login(&accounts, name, "x").ok().map(|account| String::from_utf8(account.name).unwrap())
    };
    let (lower, as_is) = (NameCase::Lower, NameCase::AsIs);
    let (keep, cut) = (NameDomain::Keep, NameDomain::Cut);
    assert_eq!(is_known(lower, keep, "LEVY").as_deref(), Some("levy"));
    assert_eq!(is_known(lower, keep, "levy@example.test"), None);
    assert_eq!(is_known(lower, cut, "levy@example.test").as_deref(), Some("levy"));
    assert_eq!(is_known(lower, keep, "mrose@EXAMPLE.test").as_deref(), Some("mrose@example.test"));
    assert_eq!(is_known(lower, keep, "mrose"), None);
    assert_eq!(is_known(lower, cut, "mrose").as_deref(), Some("mrose"));
    assert_eq!(is_known(as_is, keep, "levy"), None);
    assert_eq!(is_known(as_is, keep, "Levy").as_deref(), Some("Levy"));
}

#[test]
fn a_failure_computes_the_same_for_every_name() {
    let text = format!("plain:{{PLAIN}}one\ndear:{DEAR}\nlocked:*\n");
    let (_folder, accounts) = accounts(&text, Names::default());
    let work = |name: &[u8]| {
        let found = accounts.find(name).unwrap();
        let own = found.password.as_ref().ok().map(Password::cost);
        own.into_iter().chain(found.dearest.beyond(own)).map(Cost::work).sum::<u64>()
    };
    for name in [&b"dear"[..], b"plain", b"locked", b"unknown", b"", b"a\0b"] {
        assert_eq!(work(name), 5000, "{}", name.escape_ascii());
    }
}

#[test]
fn what_is_offered_is_what_some_account_can_use() {
    for (text, expected, has_secret) in [
        ("", "", false),
        ("a:*\n", "", false),
        ("a:*\nb:{PLAIN}x\n", "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN", true),
        (&format!("a:{DEAR}\n"), "PLAIN LOGIN", false),
    ] {
        let (_folder, accounts) = accounts(text, Names::default());
        assert_eq!(accounts.mechanisms().unwrap().to_string(), expected);
        assert_eq!(accounts.has_secret().unwrap(), has_secret);
    }
}

#[test]
fn accounts_are_found_without_a_login_too() {
    let (_folder, accounts) = accounts("Levy:!:7:8:Levy:/h\n\nb:*\n", Names::default());
    assert_eq!(accounts.account(b"levy").unwrap().unwrap().home, Path::new("/h"));
    assert!(accounts.account(b"none").unwrap().is_none());
    let mut names = Vec::new();
    accounts
        .scan(|account| {
            names.push(account.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(names, [&b"levy"[..], b"b"]);
}

#[test]
fn accounts_of_the_system_need_an_open_line_in_shadow() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nlevy:x:7:8:Levy:/home/levy:/usr/sbin/nologin\n\
        old:x:9:9::/home/old:\nlocked:x:10:10:::\nempty::11:11:::\nbare:x:12:12:::\n+nis:{PLAIN}x:13:13:::\n\
        nis:x::::/h:\n";
    let shadow = format!(
        "root:{DEAR}:19000:0:99999:7:::\nlevy:{DEAR}:19000:0:99999:7:::\n\
         old:{DEAR}:19000:0:99999:7::19001:\nlocked:!{DEAR}:19000::::::\nempty::19000::::::\n"
    );
    let (_folder, accounts) = system(passwd, Some(&shadow));
    let account = login(&accounts, "Levy", "tanstaaf").unwrap();
    assert_eq!(
        (account.owner, account.home.as_path()),
        (Some(Owner { uid: 7, gid: 8 }), Path::new("/home/levy"))
    );
    for (name, given, why) in [
        ("levy", "wrong", Refusal::Wrong),
        ("root", "tanstaaf", Refusal::Closed(Closed::Root)),
        ("root", "wrong", Refusal::Wrong),
        ("old", "tanstaaf", Refusal::Closed(Closed::Expired)),
        ("locked", "tanstaaf", Refusal::Field(Unusable::None)),
        ("empty", "", Refusal::Field(Unusable::None)),
        ("bare", "x", Refusal::Field(Unusable::None)),
        ("+nis", "x", Refusal::NoSuchUser),
        ("nis", "x", Refusal::NoSuchUser),
        ("unknown", "x", Refusal::NoSuchUser),
    ] {
        assert_eq!(login(&accounts, name, given).unwrap_err(), why, "{name} {given}");
    }
    assert_eq!(accounts.mechanisms().unwrap().to_string(), "PLAIN LOGIN");
    assert!(accounts.account(b"old").unwrap().is_some());
    assert!(accounts.account(b"root").unwrap().is_none());
}

#[test]
fn a_system_without_shadow_has_its_hashes_in_passwd() {
    let (_folder, accounts) = system(&format!("levy:{DEAR}:7:8:::\n"), None);
    assert!(login(&accounts, "levy", "tanstaaf").is_ok());
    assert_eq!(login(&accounts, "levy", "x").unwrap_err(), Refusal::Wrong);
}

/// What another user's field is, and what of it must stand nowhere.
const OTHERS: [(&str, &[u8]); 5] = [
    ("{PLAIN}canary-in-the-clear", b"canary-in-the-clear"),
    (
        "$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.",
        b"JfDkfKepJJ8OUWRByLbPk38g",
    ),
    (
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        b"nf65EOgLrQMR/uIPnA4rEsF5",
    ),
    (
        "$y$j9T$hcAzOFbg1o0U5u5uYm3YV.$I1xFVHtrpdbsTX7O5NUsTtdTwqyQGBMy5O/Cbih46V5",
        b"I1xFVHtrpdbsTX7O5NUsTtdT",
    ),
    (
        "{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,ojYYB9+GKlblSnP+CUapIRVUh1cF3WAPPAemnwA2tsk=,e7JTbKXJsDl6SpkRj0Al8hUPpsPRiu8eMMVdqpN0Zdc=",
        b"ojYYB9+GKlblSnP+CUapIRVU",
    ),
];
/// Tells a copy of this test program which file to log in by.
const FILE: &str = "ACCOUNTS_TEST_FILE";

/// Logs in with the password from standard input, which it keeps, and waits.
fn log_in_and_wait(path: &str) {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).unwrap();
    let password = Secret::from(password.trim_end().as_bytes());
    let users = UsersFile::open(Path::new(path)).unwrap();
    let accounts = Accounts { source: Source::File(users), names: Names::default() };
    assert!(matches!(accounts.log_in(b"levy", &password).unwrap(), Login::Accepted(_)));
    println!("\nlogged in");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert!(!password.is_empty());
}

#[test]
fn of_other_users_nothing_stays_in_memory() {
    if let Ok(path) = std::env::var(FILE) {
        return log_in_and_wait(&path);
    }
    let folder = TempDir::new();
    let others: String = OTHERS
        .iter()
        .enumerate()
        .map(|(n, (field, _))| format!("user{n}:{field}:7:8::/h:\n"))
        .collect();
    let path = file(&folder, "users", &format!("{others}levy:{{PLAIN}}levys own\n{others}"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "accounts::tests::of_other_users_nothing_stays_in_memory", "--nocapture"])
        .env(FILE, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"levys own\n").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(std::io::Result::ok).any(|line| line == "logged in"));
    let pid = i32::try_from(child.id()).unwrap();
    if testkit::can_take_over(pid) {
        let image = testkit::Image::of(pid);
        assert!(!image.find(b"levys own").is_empty(), "it is looked for where it is");
        for (_, canary) in OTHERS {
            assert_eq!(image.find(canary), [], "{}", canary.escape_ascii());
        }
    }
    drop(stdin);
    assert!(lines.count() > 0, "its harness tells that the test has passed");
    assert!(child.wait().unwrap().success());
}
