//! What a transcript shows of a client's lines: nothing that is taken for a password, a digest or a response, and
//! no more than the beginning of the line.
#![no_main]

use accounts::Mechanisms;
use libfuzzer_sys::fuzz_target;
use maild::{Denied, Mechanism, Proof};
use pop3d::protocol::Protocol;
use pop3d::protocol::authorization::{Offers, Stls};
use pop3d::protocol::command::split;
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
    assert!(line.starts_with(begin), "{} for {}", shown.escape_ascii(), line.escape_ascii());
}

fn judge_secret(line: &[u8], shown: &[u8], attempt: &Attempt) {
    let begin = shown.strip_suffix(STARS).unwrap_or(shown);
    let hidden = line.get(begin.len()..).unwrap_or_default();
    let secret: &[u8] = match attempt {
        Attempt::By(credentials) => match &credentials.proof {
            Proof::Password(password) => password.as_bytes(),
            Proof::Digest { digest, .. } => digest,
        },
        Attempt::Auth(_, None) => return,
        Attempt::Auth(_, Some(_)) => split(split(line).1.unwrap_or_default()).1.unwrap_or_default(),
        Attempt::Response(_) => line,
    };
    assert!(shown.ends_with(STARS) || secret.is_empty(), "{}", shown.escape_ascii());
    let is_hidden = secret.is_empty() || hidden.windows(secret.len()).any(|part| part == secret);
    assert!(is_hidden, "{} shows a secret", shown.escape_ascii());
}
