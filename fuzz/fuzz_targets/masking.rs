//! What a transcript shows of a client's lines: nothing that is taken for a password, a digest or a response, and
//! no more than the beginning of the line.
#![no_main]

use accounts::Mechanisms;
use libfuzzer_sys::fuzz_target;
use maild::{Denied, Mechanism, Proof};
use pop3d::protocol::Protocol;
use pop3d::protocol::authorization::{Offers, Stls};
use pop3d::protocol::mask::STARS;
use pop3d::protocol::outcome::{Attempt, Outcome};

fuzz_target!(|data: &[u8]| {
    let offers = Offers {
        plaintext: true,
        timestamp: Some("<1.2@h.test>".to_owned()),
        mechanisms: Mechanisms::all(),
        stls: Stls::Offered,
        ..Offers::default()
    };
    let mut protocol = Protocol::new("192.0.2.1:7".to_owned(), "h.test".to_owned(), offers);
    for line in data.split(|&byte| byte == b'\n') {
        let shown = protocol.masked(line);
        judge(line, &shown);
        let attempt = match protocol.line(line) {
            Outcome::LogIn(attempt) => attempt,
            Outcome::Close(_) => return,
            _ => continue,
        };
        judge_secret(line, &shown, &attempt);
        match attempt {
            Attempt::Auth(..) => drop(protocol.challenge(b"<1.2@h.test>")),
            _ => {
                let last = ("levy".to_owned(), Mechanism::Pass);
                if matches!(protocol.denied(last, Denied::Rejected), Outcome::Close(_)) {
                    return;
                }
            }
        }
    }
});

fn judge(line: &[u8], shown: &[u8]) {
    if shown == line {
        return;
    }
    let begin = shown.strip_suffix(STARS).expect("what is not shown is masked");
    let is_of_line = squeezed(line).starts_with(&squeezed(begin));
    assert!(is_of_line, "{} for {}", shown.escape_ascii(), line.escape_ascii());
}

/// One blank in place of several.
fn squeezed(line: &[u8]) -> Vec<u8> {
    let mut out = line.to_vec();
    out.dedup_by(|one, other| *one == b' ' && *other == b' ');
    out
}

/// What is shown ends before the secret, which stands at the end of the line.
fn judge_secret(line: &[u8], shown: &[u8], attempt: &Attempt) {
    let trimmed = line.trim_ascii_end();
    let (line, secret): (&[u8], &[u8]) = match attempt {
        Attempt::By(credentials) => match &credentials.proof {
            Proof::Password(password) => (line, password.as_bytes()),
            Proof::Digest { digest, .. } => (trimmed, digest),
        },
        Attempt::Auth(_, None) => return,
        Attempt::Auth(_, Some(_)) => {
            (trimmed, trimmed.rsplit(|&byte| byte == b' ').next().unwrap_or_default())
        }
        Attempt::Response(_) => (line, line),
    };
    if secret.is_empty() {
        return;
    }
    let begin = shown.strip_suffix(STARS).expect("a secret is masked");
    let before = line.strip_suffix(secret).expect("the secret is at the end");
    let is_hidden = squeezed(before).starts_with(&squeezed(begin));
    assert!(is_hidden, "{} for {}", shown.escape_ascii(), line.escape_ascii());
}
