use super::*;
use crate::challenge::{MD5, cram_md5_digest};
use crate::mechanism::{Mechanism, Mechanisms};
use crate::password::Keys;
use std::sync::LazyLock;

/// Knows one user, and has a nonce of RFC 7677 §3.
struct One {
    keys: Keys,
    first: Vec<u8>,
    is_known: bool,
    asked: Vec<Vec<u8>>,
}

const NAME: &[u8] = b"user";
const PASSWORD: &[u8] = b"pencil";

fn one() -> One {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| {
        let salt = from_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Keys::derive(PASSWORD, salt.as_bytes(), 4096)
    });
    One { keys: KEYS.clone(), first: Vec::new(), is_known: false, asked: Vec::new() }
}

impl Authority for One {
    fn password(&mut self, name: &[u8], password: &Secret) -> Result<(), Denial> {
        self.asked.push(name.to_vec());
        let is_right = name == NAME && password.as_bytes() == PASSWORD;
        if is_right { Ok(()) } else { Err(Denial::Rejected) }
    }

    fn cram_md5(&mut self, name: &[u8], challenge: &[u8], given: &[u8; MD5]) -> Result<(), Denial> {
        let is_right = name == NAME && cram_md5_digest(challenge, PASSWORD) == *given;
        if is_right { Ok(()) } else { Err(Denial::Rejected) }
    }

    fn scram_first(&mut self, name: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Denial> {
        if name == b"down" {
            return Err(Denial::Unavailable);
        }
        self.is_known = name == NAME;
        let nonce = [nonce, b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"];
        self.first = server_first(nonce, &self.keys.salt, self.keys.iterations);
        Ok(self.first.clone())
    }

    fn scram_final(
        &mut self,
        bare: &[u8],
        rest: &[u8],
        proof: &[u8; 32],
    ) -> Result<[u8; 32], Denial> {
        let message = auth_message(bare, &self.first, rest);
        self.keys.check(&message, proof).filter(|_| self.is_known).ok_or(Denial::Rejected)
    }
}

fn terms(bindings: Bindings) -> Terms {
    let offered = Mechanisms::all();
    let offered =
        if bindings.is_empty() { offered.without(Mechanism::ScramSha256Plus) } else { offered };
    Terms { offered, bindings, host: "h.test".into() }
}

fn exporter(data: &[u8]) -> Bindings {
    Bindings::default().with(Binding::Exporter, data)
}

/// Lets a client and a server talk; returns the last step and whether the client trusts the server.
fn talk(client: &mut Client, terms: &Terms, mechanism: Mechanism) -> (Step, bool) {
    let mut authority = one();
    let initial = client.initial();
    let (mut exchange, mut step) =
        Exchange::start(terms, mechanism, initial.as_ref(), &mut authority);
    for _ in 0..4 {
        let Step::Challenge(challenge) = &step else { break };
        let Ok(response) = client.respond(challenge) else { return (step, false) };
        step = exchange.step(&response, &mut authority);
    }
    (step, client.finish().is_ok())
}

fn client(mechanism: Mechanism, name: &[u8], password: &[u8], terms: &Terms) -> Client {
    let server = Server { offered: terms.offered, bindings: terms.bindings.clone() };
    Client::new(mechanism, name, &Secret::from(password), &server).unwrap()
}

fn is_done(step: &Step, mechanism: Mechanism) -> bool {
    matches!(step, Step::Done(who) if who.name == NAME && who.mechanism == mechanism)
}

#[test]
fn client_and_server_agree_by_every_mechanism() {
    let terms = terms(exporter(b"0123456789abcdef0123456789abcdef"));
    for mechanism in Mechanism::ALL {
        let (step, is_trusted) =
            talk(&mut client(mechanism, NAME, PASSWORD, &terms), &terms, mechanism);
        assert!(is_done(&step, mechanism) && is_trusted, "{mechanism}: {step:?}");
        for (name, password) in [(NAME, &b"pencils"[..]), (b"users", PASSWORD)] {
            let mut client = client(mechanism, name, password, &terms);
            let (step, is_trusted) = talk(&mut client, &terms, mechanism);
            assert!(matches!(step, Step::Failed(Failure::Rejected)), "{mechanism}: {step:?}");
            assert!(!is_trusted || mechanism > Mechanism::ScramSha256, "{mechanism}");
        }
    }
}

#[test]
fn the_exchange_of_rfc_7677_is_spoken_by_both_sides() {
    let all = [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ];
    let [first, second, third, fourth] = all.map(str::as_bytes);
    let (terms, mechanism) = (terms(Bindings::default()), Mechanism::ScramSha256);
    let (server, password) = (Server::default(), Secret::from(PASSWORD));
    let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
    let mut client = Client::with_nonce(mechanism, NAME, &password, &server, nonce).unwrap();
    assert_eq!(client.initial().unwrap().as_bytes(), first);
    assert_eq!(client.respond(second).unwrap().as_bytes(), third);
    assert!(client.finish().is_err(), "the server has not proved itself yet");
    assert!(client.respond(fourth).unwrap().is_empty());
    assert!(client.finish().is_ok());
    assert!(client.respond(b"").is_err());

    let mut authority = one();
    let (mut exchange, step) = Exchange::start(&terms, mechanism, None, &mut authority);
    assert!(matches!(step, Step::Challenge(text) if text.is_empty()));
    for (response, challenge) in [(first, second), (third, fourth)] {
        let step = exchange.step(&Secret::from(response), &mut authority);
        assert!(matches!(&step, Step::Challenge(text) if text == challenge), "{step:?}");
    }
    assert!(is_done(&exchange.step(&Secret::default(), &mut authority), mechanism));
    let step = exchange.step(&Secret::default(), &mut authority);
    assert!(matches!(step, Step::Failed(Failure::Malformed("the exchange is over"))));
}

#[test]
fn plain_and_login_are_read_as_clients_send_them() {
    let terms = terms(Bindings::default());
    let last = |mechanism, messages: &[Option<&[u8]>]| {
        let mut authority = one();
        let initial = messages[0].map(Secret::from);
        let (mut exchange, mut step) =
            Exchange::start(&terms, mechanism, initial.as_ref(), &mut authority);
        for message in messages[1..].iter().flatten() {
            assert!(matches!(step, Step::Challenge(_)), "{message:?} {step:?}");
            step = exchange.step(&Secret::from(*message), &mut authority);
        }
        step
    };
    let (plain, login) = (Mechanism::Plain, Mechanism::Login);
    for messages in [
        &[Some(&b"\0user\0pencil"[..])][..],
        &[Some(b"user\0user\0pencil")],
        &[None, Some(b"\0user\0pencil")],
    ] {
        assert!(is_done(&last(plain, messages), plain), "{messages:?}");
    }
    assert!(is_done(&last(login, &[None, Some(b"user"), Some(b"pencil")]), login));
    assert!(is_done(&last(login, &[Some(b"user"), Some(b"pencil")]), login));
    let long = [b"\0user\0", &[b'x'; 256][..]].concat();
    for odd in [
        &b""[..],
        b"user",
        b"\0user",
        b"\0user\0",
        b"\0\0pencil",
        b"\0user\0pencil\0",
        b"root\0user\0pencil",
        &long,
    ] {
        let step = last(plain, &[Some(odd)]);
        assert!(matches!(step, Step::Failed(Failure::Malformed(_))), "{odd:?} {step:?}");
    }
    assert!(matches!(last(login, &[None, Some(b"")]), Step::Failed(Failure::Malformed(_))));
    let initial = last(Mechanism::CramMd5, &[Some(b"user")]);
    assert!(matches!(initial, Step::Failed(Failure::Malformed(_))));
    let digests: [&[u8]; 4] = [b"", b"user", b" 00", b"user 0123456789abcdef0123456789abcdeg"];
    for odd in digests {
        let step = last(Mechanism::CramMd5, &[None, Some(odd)]);
        assert!(matches!(step, Step::Failed(Failure::Malformed(_))), "{odd:?}");
    }
}

#[test]
fn what_is_not_offered_cannot_be_used() {
    let mut authority = one();
    let mut start = |terms: &Terms, mechanism| {
        let response = Secret::from(&b"\0user\0pencil"[..]);
        let step = Exchange::start(terms, mechanism, Some(&response), &mut authority).1;
        matches!(step, Step::Failed(Failure::NotOffered))
    };
    let none = Terms::default();
    assert!(Mechanism::ALL.into_iter().all(|mechanism| start(&none, mechanism)));
    let without = Terms { offered: Mechanisms::all(), ..Terms::default() };
    assert!(start(&without, Mechanism::ScramSha256Plus), "without TLS there is no binding");
    assert!(authority.asked.is_empty());
}

#[test]
fn the_flag_tells_a_forged_list_of_mechanisms() {
    let (bound, unbound) = (terms(exporter(b"data")), terms(Bindings::default()));
    let (scram, plus) = (Mechanism::ScramSha256, Mechanism::ScramSha256Plus);
    let is_taken = |terms: &Terms, mechanism, flag: &str| {
        let first = Secret::from(format!("{flag},,n=user,r=x"));
        let step = Exchange::start(terms, mechanism, Some(&first), &mut one()).1;
        matches!(step, Step::Challenge(_))
    };
    assert!(is_taken(&unbound, scram, "n") && is_taken(&unbound, scram, "y"));
    assert!(is_taken(&bound, scram, "n"), "a client without channel binding");
    assert!(!is_taken(&bound, scram, "y"), "-PLUS was offered");
    assert!(!is_taken(&bound, scram, "p=tls-exporter"));
    assert!(is_taken(&bound, plus, "p=tls-exporter"));
    for flag in ["n", "y", "p=tls-server-end-point", "p=tls-unique", "p="] {
        assert!(!is_taken(&bound, plus, flag), "{flag}");
    }
    // The client's own side: the list it received has no -PLUS, though the server's has.
    let forged = Server { offered: bound.offered.without(plus), bindings: exporter(b"data") };
    let mut client = Client::new(scram, NAME, &Secret::from(PASSWORD), &forged).unwrap();
    let (step, is_trusted) = talk(&mut client, &bound, scram);
    assert!(matches!(step, Step::Failed(Failure::Malformed(_))) && !is_trusted, "{step:?}");
}

#[test]
fn another_tls_connection_is_found_out() {
    let (ours, theirs) = (terms(exporter(b"ours")), terms(exporter(b"theirs")));
    let plus = Mechanism::ScramSha256Plus;
    let (step, _) = talk(&mut client(plus, NAME, PASSWORD, &theirs), &ours, plus);
    assert!(matches!(step, Step::Failed(Failure::Rejected)), "{step:?}");
    let certificate = Bindings::default().with(Binding::ServerEndPoint, &[7; 32]);
    let terms = terms(certificate);
    let (step, is_trusted) = talk(&mut client(plus, NAME, PASSWORD, &terms), &terms, plus);
    assert!(is_done(&step, plus) && is_trusted);
    assert!(Bindings::default().with(Binding::Exporter, &[0; 65]).is_empty());
}

#[test]
fn no_user_acts_for_another_and_a_keeper_that_is_gone_is_a_temporary_error() {
    let terms = terms(Bindings::default());
    let first = |message: &str| {
        let message = Secret::from(message.as_bytes());
        Exchange::start(&terms, Mechanism::ScramSha256, Some(&message), &mut one()).1
    };
    assert!(matches!(first("n,a=user,n=user,r=x"), Step::Challenge(_)));
    assert!(matches!(first("n,a=root,n=user,r=x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(first("n,,n=down,r=x"), Step::Failed(Failure::Unavailable)));
}

#[test]
fn a_client_leaves_a_server_that_does_not_know_it() {
    let terms = terms(Bindings::default());
    for challenge in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "e=unknown-user", "v=", ""]
    {
        let mut client = client(Mechanism::ScramSha256, NAME, PASSWORD, &terms);
        let first = client.initial().unwrap();
        let nonce = first.as_bytes().rsplit(|&byte| byte == b'=').next().unwrap();
        let first = server_first([nonce, b"x"], b"salt", 4096);
        assert!(client.respond(&first).is_ok());
        assert_eq!(client.respond(challenge.as_bytes()), Err(ClientError::FalseServer));
        // Nor is its word that the login was successful believed, or one more challenge.
        assert_eq!(client.finish(), Err(ClientError::FalseServer));
        assert!(client.respond(b"").is_err() && client.finish().is_err());
    }
    for other in [&b"r=other,s=c2FsdA==,i=4096"[..], b"", b"x"] {
        let mut client = client(Mechanism::ScramSha256, NAME, PASSWORD, &terms);
        assert!(client.initial().is_some() && client.respond(other).is_err());
        assert_eq!(client.finish(), Err(ClientError::FalseServer));
    }
    let password = Secret::from(PASSWORD);
    for name in [&b""[..], b"a\0b"] {
        assert!(Client::new(Mechanism::Plain, name, &password, &Server::default()).is_err());
    }
    let plus = Mechanism::ScramSha256Plus;
    assert!(Client::new(plus, NAME, &password, &Server::default()).is_err());
}

#[test]
fn a_client_takes_the_strongest_that_its_connection_allows() {
    let server =
        |list: &str, bindings| Server { offered: Mechanisms::parse(list.as_bytes()), bindings };
    let bound = || exporter(b"x");
    let all = "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    for (list, bindings, is_private, expected) in [
        (all, bound(), true, Some(Mechanism::ScramSha256Plus)),
        (all, Bindings::default(), false, Some(Mechanism::ScramSha256)),
        ("LOGIN PLAIN CRAM-MD5", bound(), true, Some(Mechanism::CramMd5)),
        ("LOGIN PLAIN", bound(), true, Some(Mechanism::Plain)),
        ("LOGIN", bound(), true, Some(Mechanism::Login)),
        ("LOGIN PLAIN", Bindings::default(), false, None),
        ("", bound(), true, None),
    ] {
        assert_eq!(choose(&server(list, bindings), is_private), expected, "{list}");
    }
}

#[test]
fn lines_are_base64_of_bounded_length() {
    assert!(decode_initial(b"=").unwrap().is_empty());
    assert!(decode_initial(b"").is_none());
    assert!(decode(b"").unwrap().is_empty());
    assert!(decode(b"=").is_none());
    assert_eq!(decode_initial(b"AGE=").unwrap().as_bytes(), b"\0a");
    assert!(decode("A".repeat(MAX_LINE).as_bytes()).is_some());
    assert!(decode("A".repeat(MAX_LINE + 4).as_bytes()).is_none());
}

#[test]
fn no_secret_is_shown_by_debug() {
    let terms = terms(exporter(b"binding-data"));
    let client = client(Mechanism::Plain, NAME, PASSWORD, &terms);
    let text = format!("{client:?} {terms:?}");
    assert!(
        !text.contains("pencil") && !text.contains("112, 101, 110") && !text.contains("98, 105")
    );
}

#[test]
fn no_message_makes_an_exchange_or_a_client_panic() {
    let terms = terms(exporter(b"data"));
    let mut seed = 1_u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut change = |message: &[u8]| {
        let mut message = message.to_vec();
        for _ in 0..random(4) {
            let at = random(message.len().max(1));
            match random(3) {
                0 => message.truncate(at),
                1 => message.insert(at.min(message.len()), b",=\0 \xffnrpa"[random(9)]),
                _ => drop(message.get_mut(at).map(|byte| *byte ^= 1 << random(8))),
            }
        }
        Secret::new(message)
    };
    let (mut ends, mut goes_on) = (0, 0);
    for _ in 0..100 {
        for mechanism in Mechanism::ALL {
            let (mut authority, mut client) = (one(), client(mechanism, NAME, PASSWORD, &terms));
            let initial = client.initial().map(|response| change(response.as_bytes()));
            let (mut exchange, mut step) =
                Exchange::start(&terms, mechanism, initial.as_ref(), &mut authority);
            while let Step::Challenge(challenge) = &step {
                goes_on += 1;
                let changed = change(challenge);
                let response = client.respond(changed.as_bytes()).unwrap_or_default();
                step = exchange.step(&change(response.as_bytes()), &mut authority);
            }
            ends += usize::from(matches!(step, Step::Failed(_)));
        }
    }
    assert!(ends > 100 && goes_on > 100, "{ends} {goes_on}");
}

#[test]
fn the_name_that_a_message_claims_is_found_where_it_shows_one() {
    let name = |mechanism, message: &[u8]| claimed_name(mechanism, message);
    assert_eq!(name(Mechanism::CramMd5, b"a b 0123"), Some(b"a b".to_vec()));
    assert_eq!(name(Mechanism::CramMd5, b"ab"), None);
    assert_eq!(name(Mechanism::CramMd5, &[b'a'; 300]), None);
    assert_eq!(name(Mechanism::CramMd5, &[&[b'a'; 300][..], b" 0"].concat()), None);
    assert_eq!(name(Mechanism::ScramSha256, b"n,,n=a=2Cb,r=x"), Some(b"a,b".to_vec()));
    assert_eq!(name(Mechanism::ScramSha256, b"c=biws,r=x,p=AAAA"), None);
    assert_eq!(name(Mechanism::Plain, b"\0levy\0secret"), Some(b"levy".to_vec()));
    assert_eq!(name(Mechanism::Login, b"secret"), None);
}
