//! SASL, both sides: a server that takes any messages accepts a client only where the accounts say so; a client that
//! takes any challenges trusts only a server that knows its password; both of them understand each other, and no
//! changed byte of SCRAM goes unseen.
#![no_main]

use std::sync::OnceLock;

use accounts::password::Keys;
use accounts::sasl::{
    Authority, Binding, Bindings, Client, Denial, Exchange, Failure, Server, Step, Terms,
    claimed_name, decode, decode_initial,
};
use accounts::{MAX_NAME, Mechanism, Mechanisms, Secret, base64, cram_md5_digest};
use forklore_fuzz::option;
use libfuzzer_sys::fuzz_target;

/// The one user of the accounts, with letters that SCRAM has to escape.
const NAME: &[u8] = b"le,v=y";
const PASSWORD: &[u8] = b"pen cil";
const SALT: &[u8] = b"salt";
const ROUNDS: u32 = 4096;
/// What the connection is bound by.
const EXPORTED: &[u8] = &[7; 32];
/// Most questions that one exchange may ask.
const MOST_QUESTIONS: u32 = 2;

fuzz_target!(|data: &[u8]| {
    let (choice, rest) = option(data);
    let mechanism = Mechanism::ALL[usize::from(choice >> 2) % Mechanism::ALL.len()];
    let is_bound = choice & 0x80 != 0;
    match choice & 3 {
        0 => server_of_strangers(mechanism, is_bound, rest),
        1 => client_of_strangers(mechanism, is_bound, rest),
        2 => both(mechanism, is_bound, rest),
        _ => encoding(rest),
    }
});

#[derive(Default)]
struct Users {
    questions: u32,
    accepted: Option<Vec<u8>>,
    server_first: Vec<u8>,
    asked: Vec<u8>,
}

impl Users {
    fn judge(&mut self, name: &[u8], is_right: bool) -> Result<(), Denial> {
        self.questions += 1;
        assert!(self.questions <= MOST_QUESTIONS);
        assert!((1..=MAX_NAME).contains(&name.len()), "a name that no account has");
        if !(is_right && name == NAME) {
            return Err(Denial::Rejected);
        }
        self.accepted = Some(name.to_vec());
        Ok(())
    }
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::derive(PASSWORD, SALT, ROUNDS))
}

impl Authority for Users {
    fn password(&mut self, name: &[u8], password: &Secret) -> Result<(), Denial> {
        self.judge(name, password.as_bytes() == PASSWORD)
    }

    fn cram_md5(&mut self, name: &[u8], challenge: &[u8], digest: &[u8; 16]) -> Result<(), Denial> {
        assert!(challenge.starts_with(b"<") && challenge.ends_with(b"@h.test>"));
        self.judge(name, *digest == cram_md5_digest(challenge, PASSWORD))
    }

    fn scram_first(&mut self, name: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Denial> {
        self.questions += 1;
        assert!(
            (1..=MAX_NAME).contains(&name.len()) && !nonce.is_empty() && !nonce.contains(&b',')
        );
        self.asked = name.to_vec();
        let rest = format!("server,s={},i={ROUNDS}", base64(SALT));
        self.server_first = [b"r=", nonce, rest.as_bytes()].concat();
        Ok(self.server_first.clone())
    }

    fn scram_final(
        &mut self,
        first: &[u8],
        without_proof: &[u8],
        proof: &[u8; 32],
    ) -> Result<[u8; 32], Denial> {
        // RFC 5802 §3: AuthMessage
        let message = [first, &self.server_first, without_proof].join(&b',');
        let signature = keys().check(&message, proof);
        let name = self.asked.clone();
        self.judge(&name, signature.is_some())?;
        Ok(signature.expect("it was right"))
    }
}

fn bindings(is_bound: bool) -> Bindings {
    let none = Bindings::default();
    if is_bound { none.with(Binding::Exporter, EXPORTED) } else { none }
}

fn terms(is_bound: bool) -> Terms {
    Terms { offered: Mechanisms::all(), bindings: bindings(is_bound), host: "h.test".to_owned() }
}

/// Messages of a stranger, a line each; the first goes with the command where the line begins with `i`.
fn server_of_strangers(mechanism: Mechanism, is_bound: bool, data: &[u8]) {
    let mut users = Users::default();
    let mut messages = data.split(|&byte| byte == b'\n');
    let initial =
        messages.clone().next().and_then(|first| first.strip_prefix(b"i")).map(Secret::from);
    if initial.is_some() {
        messages.next();
    }
    let (mut exchange, mut step) =
        Exchange::start(&terms(is_bound), mechanism, initial.as_ref(), &mut users);
    let mut has_ended = false;
    for message in messages.take(8) {
        has_ended |= judge_step(&step, &users);
        let _ = claimed_name(mechanism, message);
        step = exchange.step(&Secret::from(message), &mut users);
        if has_ended {
            assert!(matches!(step, Step::Failed(Failure::Malformed(_) | Failure::NotOffered)));
        }
    }
    judge_step(&step, &users);
}

/// Returns whether the exchange is over.
fn judge_step(step: &Step, users: &Users) -> bool {
    match step {
        Step::Challenge(challenge) => {
            assert!(base64(challenge).len() <= 2048);
            false
        }
        Step::Done(identity) => {
            assert_eq!(
                users.accepted.as_ref(),
                Some(&identity.name),
                "only the accounts say who it is"
            );
            true
        }
        Step::Failed(_) => true,
    }
}

/// Challenges of a stranger, a line each.
fn client_of_strangers(mechanism: Mechanism, is_bound: bool, data: &[u8]) {
    let server = Server { offered: Mechanisms::all(), bindings: bindings(is_bound) };
    let Ok(mut client) = Client::new(mechanism, NAME, &Secret::from(PASSWORD), &server) else {
        assert!(mechanism == Mechanism::ScramSha256Plus && !is_bound);
        return;
    };
    let is_scram = matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
    let first = client.initial();
    let nonce = first.as_ref().and_then(|first| {
        let at = first.as_bytes().windows(3).position(|three| three == b",r=")?;
        Some(first.as_bytes()[at + 3..].to_vec())
    });
    for challenge in data.split(|&byte| byte == b'\n').take(4) {
        // The client's nonce is random; `@` stands for it.
        let text = match (&nonce, challenge.strip_prefix(b"r=@")) {
            (Some(nonce), Some(rest)) => [b"r=", &nonce[..], rest].concat(),
            _ => challenge.to_vec(),
        };
        if is_dear(&text) || client.respond(&text).is_err() {
            break;
        }
    }
    // No stranger knows the key.
    assert!(!is_scram || client.finish().is_err());
}

/// More iterations than a fuzzer can wait for.
fn is_dear(challenge: &[u8]) -> bool {
    let count =
        challenge.windows(3).position(|three| three == b",i=").map(|at| &challenge[at + 3..]);
    let digits = count.map(|text| text.iter().take_while(|byte| byte.is_ascii_digit()).count());
    digits.is_some_and(|digits| (5..8).contains(&digits))
}

/// A client and a server, with a byte changed on the way: number of the message, place, bits.
fn both(mechanism: Mechanism, is_bound: bool, data: &[u8]) {
    let [number, place, bits] = *data.first_chunk().unwrap_or(&[0; 3]);
    let rest = data.get(3..).unwrap_or_default();
    // Any name and password, where no keys have to be computed for them.
    let is_scram = matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
    let mut parts = rest.splitn(2, |&byte| byte == b'\n');
    let (name, password) = match (is_scram, parts.next(), parts.next()) {
        (false, Some(name), Some(password)) => (name, password),
        _ => (NAME, PASSWORD),
    };
    let server = Server { offered: Mechanisms::all(), bindings: bindings(is_bound) };
    let Ok(mut client) = Client::new(mechanism, name, &Secret::from(password), &server) else {
        return;
    };
    let (mut sent, mut is_changed) = (0, false);
    let mut change = |message: &[u8]| {
        let mut message = message.to_vec();
        if sent == number
            && let Some(byte) = message.get_mut(usize::from(place))
        {
            *byte ^= bits;
            is_changed |= bits != 0;
        }
        sent = sent.saturating_add(1);
        message
    };
    let mut users = Users::default();
    let initial = client.initial().map(|first| Secret::new(change(first.as_bytes())));
    let (mut exchange, mut step) =
        Exchange::start(&terms(is_bound), mechanism, initial.as_ref(), &mut users);
    while let Step::Challenge(challenge) = &step {
        let challenge = change(challenge);
        if is_dear(&challenge) {
            return;
        }
        let Ok(response) = client.respond(&challenge) else { break };
        let response = Secret::new(change(response.as_bytes()));
        step = exchange.step(&response, &mut users);
    }
    judge_step(&step, &users);
    let both_trust = matches!(step, Step::Done(_)) && client.finish().is_ok();
    let is_right = name == NAME && password == PASSWORD;
    if !is_changed {
        let has_binding = is_bound || mechanism != Mechanism::ScramSha256Plus;
        assert_eq!(both_trust, is_right && has_binding, "{mechanism} {step:?}");
    } else if is_scram {
        assert!(!both_trust, "a changed byte of SCRAM: message {number}, byte {place}");
    }
}

fn encoding(text: &[u8]) {
    for decoded in [decode(text), decode_initial(text)].into_iter().flatten() {
        let again = base64(decoded.as_bytes());
        assert!(again.as_bytes() == text || text == b"=", "a second form of the same bytes");
    }
    assert_eq!(
        decode(base64(text).as_bytes())
            .filter(|_| text.len() <= 1024)
            .as_ref()
            .map(Secret::as_bytes),
        Some(text).filter(|text| text.len() <= 1024)
    );
}
