use super::*;
use crate::accounts::Source;
use crate::mechanism::{Mechanism, Mechanisms};
use crate::names::Names;
use crate::sasl::{Client, Exchange, Failure, Server, Step, Terms};
use crate::users_file::UsersFile;
use std::os::unix::fs::PermissionsExt;
use testkit::TempDir;

const SCRAM: &str = "{SCRAM-SHA-256}5000,MDEyMzQ1Njc4OWFiY2RlZg==";
const SHA256: &str = "$5$rounds=1000$ab$bevUYaVKT/eFotLrhXLgnj5yAii0LQUoEDRvyydlfe8";

fn accounts(text: &str) -> (TempDir, Accounts) {
    let folder = TempDir::new();
    let path = folder.file("users", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let source = Source::File(UsersFile::open(&path).unwrap());
    (folder, Accounts { source, names: Names::default() })
}

fn all() -> (TempDir, Accounts) {
    let keys = Keys::derive(b"tanstaaf", b"0123456789abcdef", 5000).to_field();
    assert!(keys.starts_with(SCRAM));
    accounts(&format!("plain:{{PLAIN}}tanstaaf:7:8\nscram:{keys}\nhash:{SHA256}\nlocked:*\n"))
}

/// Logs in by SASL; returns the name of the account, or why not.
fn log_in(
    accounts: &Accounts,
    mechanism: Mechanism,
    name: &str,
    password: &str,
) -> Result<String, Refusal> {
    let terms = Terms { offered: Mechanisms::all(), ..Terms::default() };
    let decoy = Decoy::new().unwrap();
    let mut checker = Checker::new(accounts, &decoy);
    let password = Secret::from(password.as_bytes());
    let mut client =
        Client::new(mechanism, name.as_bytes(), &password, &Server::default()).unwrap();
    let initial = client.initial();
    let (mut exchange, mut step) =
        Exchange::start(&terms, mechanism, initial.as_ref(), &mut checker);
    while let Step::Challenge(challenge) = &step {
        step = exchange.step(&client.respond(challenge).unwrap(), &mut checker);
    }
    let is_done = matches!(step, Step::Done(_));
    assert!(is_done || matches!(step, Step::Failed(Failure::Rejected)), "{step:?}");
    assert_eq!(checker.account().is_some(), is_done);
    match checker.into_result().unwrap() {
        Login::Accepted(account) => Ok(String::from_utf8(account.name).unwrap()),
        Login::Refused(why) => Err(why),
    }
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

#[test]
fn a_user_logs_in_by_what_the_field_allows() {
    use Mechanism::{CramMd5, Login, Plain, ScramSha256};
    let (_folder, accounts) = all();
    for (name, mechanisms) in [
        ("plain", &[Plain, Login, CramMd5, ScramSha256][..]),
        ("Scram", &[Plain, Login, ScramSha256]),
        ("hash", &[Plain, Login]),
        ("locked", &[]),
        ("unknown", &[]),
    ] {
        for mechanism in [Plain, Login, CramMd5, ScramSha256] {
            let result = log_in(&accounts, mechanism, name, "tanstaaf");
            let expected = match name {
                _ if mechanisms.contains(&mechanism) => Ok(name.to_ascii_lowercase()),
                "locked" => Err(Refusal::Field(crate::password::Unusable::None)),
                "unknown" => Err(Refusal::NoSuchUser),
                _ => Err(Refusal::Mechanism),
            };
            assert_eq!(result, expected, "{name} {mechanism}");
            if mechanisms.contains(&mechanism) {
                let wrong = log_in(&accounts, mechanism, name, "tanstaag");
                assert_eq!(wrong, Err(Refusal::Wrong), "{name} {mechanism}");
            }
        }
    }
}

#[test]
fn an_unknown_users_challenge_is_like_a_known_ones_and_stays() {
    let (_folder, accounts) = all();
    let id = |digit: &str| Decoy::of_machine(format!("{}\n", digit.repeat(32)).as_bytes()).unwrap();
    let (decoy, other) = (id("a"), id("b"));
    let first = |name: &str, decoy: &Decoy| {
        let mut checker = Checker::new(&accounts, decoy);
        let first = checker.scram_first(name.as_bytes(), b"abc").unwrap();
        let text = String::from_utf8(first).unwrap();
        let (nonce, rest) = text.split_once(',').unwrap();
        assert!(nonce.starts_with("r=abc") && nonce.len() == 5 + 2 * NONCE, "{nonce}");
        (nonce.to_owned(), rest.to_owned())
    };
    let real = first("scram", &decoy);
    assert_eq!(real.1, "s=MDEyMzQ1Njc4OWFiY2RlZg==,i=5000");
    for name in ["unknown", "plain", "hash", "locked"] {
        let (nonce, rest) = first(name, &decoy);
        assert_eq!(rest.len(), real.1.len(), "{name}");
        assert!(rest.ends_with(",i=5000"), "{name}: {rest}");
        let again = first(&name.to_uppercase(), &decoy);
        assert_eq!(again.1, rest, "{name}");
        assert_ne!(again.0, nonce, "{name}");
        assert_ne!(first(name, &other).1, rest, "{name}");
    }
    assert_ne!(first("unknown", &decoy).1, first("unknowm", &decoy).1);
    assert_eq!(first("unknown", &decoy).1, first("unknown", &id("a")).1, "after a restart");
    for odd in ["", "uninitialized\n", "0123"] {
        assert!(Decoy::of_machine(odd.as_bytes()).is_none());
    }
}

#[test]
fn only_a_plain_secret_serves_for_apop() {
    let (_folder, accounts) = all();
    let decoy = Decoy::new().unwrap();
    let login = |name: &str, secret: &[u8]| {
        let mut checker = Checker::new(&accounts, &decoy);
        let digest = apop_digest(b"<1.2@h.test>", secret);
        let answer = checker.apop(name.as_bytes(), b"<1.2@h.test>", &digest);
        assert_eq!(answer.is_ok(), checker.account().is_some());
        answer
    };
    assert_eq!(login("Plain", b"tanstaaf"), Ok(()));
    for (name, secret) in [
        ("plain", &b"tanstaag"[..]),
        ("hash", b"tanstaaf"),
        ("hash", SHA256.as_bytes()),
        ("hash", b"no secret"),
        ("locked", b"*"),
        ("unknown", b"no secret"),
        ("", b"no secret"),
    ] {
        assert_eq!(login(name, secret), Err(Denial::Rejected), "{name}");
    }
}

#[test]
fn a_proof_without_the_question_before_it_proves_nothing() {
    let (_folder, accounts) = all();
    let decoy = Decoy::new().unwrap();
    let mut checker = Checker::new(&accounts, &decoy);
    let answer = checker.scram_final(b"n=plain,r=a", b"c=biws,r=ab", &[0; 32]);
    assert_eq!(answer, Err(Denial::Unavailable));
    assert!(checker.into_result().is_err());
    let checker = Checker::new(&accounts, &decoy);
    assert!(matches!(checker.into_result(), Ok(Login::Refused(_))));
}
