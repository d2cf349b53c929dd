use super::*;
use crate::error::Error;

// Made by crypt(3) of libxcrypt and `openssl passwd`.
const SHA512: &str = "$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.";
const SHA512_ROUNDS: &str = "$6$rounds=1400$saltstring$MPXpW6jVP1IGFBmoQBctu87Ag297vL5iNzcAyVp2tRwVgitY9P9hD10YPcM52GuLlJUZZAjj9l0Gq87CPX1N6.";
const SHA512_SALT: &str = "$6$abcdefghijklmnop$ljrGKt5FMA.vP4GTvj/30H2c./xraBc/xheYZbNVqnbaQDVLEbDZWaWb9jiinIRmAbmberaLqO1DlRinaVPOY/";
const SHA256: &str = "$5$saltsalt$AHEKnDWlz30naxZICwx9iP.q/8kkh.5vY4KFHIo4Rn8";
const SHA256_ROUNDS: &str = "$5$rounds=1000$ab$bevUYaVKT/eFotLrhXLgnj5yAii0LQUoEDRvyydlfe8";
const YESCRYPT: [&str; 4] = [
    "$y$j9T$saltsaltsaltsalt$ffI9IiTg5eaHGmzlc7Nu9WQS6N0jgNXrfUC5t8x37d2",
    "$y$j9T$hcAzOFbg1o0U5u5uYm3YV.$I1xFVHtrpdbsTX7O5NUsTtdTwqyQGBMy5O/Cbih46V5",
    "$y$j9T$ctRiI.zgj/QCKkj22BuSw.$XTLAtXxDv3jnRPaTUPd4NNTINs0gZilhQgZO.WQRmbA",
    "$y$j9T$NSgHMALq1mYPympqzv6Qk0$YA2OE86tO/lcpT6zLmTipX/wL5oLM779CQMWZmuao0/",
];
// Made by Python's hashlib and hmac.
const SCRAM: [&str; 2] = [
    "{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,ojYYB9+GKlblSnP+CUapIRVUh1cF3WAPPAemnwA2tsk=,e7JTbKXJsDl6SpkRj0Al8hUPpsPRiu8eMMVdqpN0Zdc=",
    "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$ojYYB9+GKlblSnP+CUapIRVUh1cF3WAPPAemnwA2tsk=:e7JTbKXJsDl6SpkRj0Al8hUPpsPRiu8eMMVdqpN0Zdc=",
];

fn verify(field: &[u8], given: &[u8]) -> bool {
    Password::parse(field).is_ok_and(|password| password.verify(given))
}

#[test]
fn hashes_of_other_programs_verify() {
    let crypt = [SHA512, SHA512_ROUNDS, SHA512_SALT, SHA256, SHA256_ROUNDS];
    for field in crypt.into_iter().chain(YESCRYPT).chain(SCRAM) {
        assert!(verify(field.as_bytes(), b"tanstaaf"), "{field}");
        for wrong in [&b"tanstaaF"[..], b"tanstaaf ", b"tanstaaf\0", b"", &[b'a'; 256]] {
            assert!(!verify(field.as_bytes(), wrong), "{field}");
        }
    }
    let other = "$y$jA5$Zyxwvutsrqponmlkjihgf/$YqR66yiy4Lx4U5UuqA6vURugQ26dqLxgJeAFl5uS32.";
    assert!(verify(other.as_bytes(), "p\u{e4}ss".as_bytes()));
}

#[test]
fn the_vector_of_the_argon2_reference_verifies() {
    let field =
        b"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert!(verify(field, b"password"));
    assert!(!verify(field, b"Password"));
}

#[test]
fn fields_of_dovecots_verify() {
    // Made by doveadm pw.
    let scram = b"{SCRAM-SHA-256}4096,WDdYz/QDiIqeO43BkSXlIA==,kdCrfEJUrSk+Tbxqm0hAS252hsARyiQEZnRv22GQJGg=,ccq2yCv8ch3CndGBYs/IwP0gSk6lohIN1eq8ZxDxYl8=";
    assert!(verify(scram, b"pencil") && !verify(scram, b"pencils"));
    let argon2id = b"$argon2id$v=19$m=65536,t=3,p=1$SIHaxOJ6OMCGfHavjMja2w$rEDtz9Ee1siSCW7sKbMg5aMdVm7cG+OR1IvHQCqnnGs";
    assert!(verify(argon2id, b"tanstaaf") && !verify(argon2id, b"tanstaag"));
}

#[test]
fn a_plain_secret_may_hold_spaces_and_any_byte() {
    assert!(verify(b"{PLAIN} a b ", b" a b "));
    assert!(!verify(b"{PLAIN} a b ", b" a b"));
    assert!(!verify(b"{PLAIN}a", b"a\0"));
    assert!(verify(b"{PLAIN}\xff$6$", b"\xff$6$"));
}

#[test]
fn the_cost_is_read_from_the_parameters() {
    for (field, cost) in [
        (SHA512, Cost::ShaCrypt { is_sha512: true, rounds: 5000, salt: 8 }),
        (SHA512_ROUNDS, Cost::ShaCrypt { is_sha512: true, rounds: 1400, salt: 10 }),
        (SHA256_ROUNDS, Cost::ShaCrypt { is_sha512: false, rounds: 1000, salt: 2 }),
        (YESCRYPT[0], Cost::Yescrypt { n: 4096, r: 32, p: 1 }),
        (SCRAM[0], Cost::Scram { iterations: 4096 }),
        (SCRAM[1], Cost::Scram { iterations: 4096 }),
        ("{PLAIN}x", Cost::Plain),
    ] {
        assert_eq!(Password::cost_of(field.as_bytes()), Ok(cost), "{field}");
        assert_eq!(Password::parse(field.as_bytes()).unwrap().cost(), cost);
    }
}

#[test]
fn parameters_out_of_bounds_are_refused_unread() {
    let hash = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let argon2 =
        |m: u64, t: u64, p: u64| format!("$argon2id$v=19$m={m},t={t},p={p}$c29tZXNhbHQ${hash}");
    let yescrypt = |parameters| format!("$y${parameters}$saltsaltsaltsalt${hash}");
    let keys = SCRAM[0].split_once(',').unwrap().1;
    for (field, expected) in [
        (argon2(256, 2, 1), Ok(())),
        (argon2(4 * 1024 * 1024, 1, 1), Err(Unusable::TooDear)),
        (argon2(256 * 1024, 17, 1), Err(Unusable::TooDear)),
        (argon2(256, 2, 17), Err(Unusable::TooDear)),
        (argon2(u64::MAX, 2, 1), Err(Unusable::Malformed)),
        (argon2(256, 2, 1).replace("HQ$", "HQ=$"), Err(Unusable::Malformed)),
        (argon2(256, 2, 1).replace("m=256,t=2", "t=2,m=256"), Err(Unusable::Malformed)),
        (SHA512.replace("JfD", "J_D"), Err(Unusable::Malformed)),
        (yescrypt("j9T"), Ok(())),
        (yescrypt("jLT"), Err(Unusable::TooDear)),
        (yescrypt("jzT"), Err(Unusable::Malformed)),
        (yescrypt("jzzzzz"), Err(Unusable::Malformed)),
        (yescrypt("/9T"), Err(Unusable::Unknown)),
        (yescrypt("j9T3."), Err(Unusable::Malformed)),
        (yescrypt("*"), Err(Unusable::Malformed)),
        (SHA512_ROUNDS.replace("1400", "999"), Err(Unusable::TooDear)),
        (SHA512_ROUNDS.replace("1400", "999999999"), Err(Unusable::TooDear)),
        (SHA512_ROUNDS.replace("1400", "99999999999"), Err(Unusable::Malformed)),
        (format!("{{SCRAM-SHA-256}}4095,{keys}"), Err(Unusable::TooDear)),
        (format!("{{SCRAM-SHA-256}}1000001,{keys}"), Err(Unusable::TooDear)),
        (format!("{{SCRAM-SHA-256}}-1,{keys}"), Err(Unusable::Malformed)),
        (format!("{{SCRAM-SHA-256}}4096,{keys},"), Err(Unusable::Malformed)),
    ] {
        let found = Password::parse(field.as_bytes()).map(|_| ());
        match expected {
            // Which of the two the crate says of parameters without sense is its own choice.
            Err(Unusable::Malformed) => assert!(found.is_err(), "{field}"),
            expected => assert_eq!(found, expected, "{field}"),
        }
    }
}

#[test]
fn a_field_that_is_no_password_admits_no_login() {
    let none: [&[u8]; 6] = [b"", b"*", b"!", b"!$6$a$b", b"x", b"{PLAIN}"];
    let unknown: [&[u8]; 5] = [b"secret", b"$1$a$b", b"$6", b"{plain}x", b"$6$\xff$a"];
    let malformed: [&[u8]; 9] = [
        b"$6$",
        b"$6$$",
        b"$6$a$",
        b"$argon2id$",
        b"$y$",
        b"$y$j9T$a",
        b"{SCRAM-SHA-256}",
        b"{SCRAM-SHA-256}4096,,,",
        b"SCRAM-SHA-256$4096",
    ];
    let with = |fields: &[&'static [u8]], why| fields.iter().map(|f| (*f, why)).collect::<Vec<_>>();
    let all = [
        with(&none, Unusable::None),
        with(&unknown, Unusable::Unknown),
        with(&malformed, Unusable::Malformed),
    ];
    for (field, why) in all.concat() {
        let text = field.escape_ascii();
        assert_eq!(Password::parse(field).unwrap_err(), why, "{text}");
        for given in [&b""[..], b"x", b"*", b"secret", b"$6$"] {
            assert!(!verify(field, given), "{text}");
        }
    }
}

#[test]
fn a_new_field_of_each_scheme_verifies_and_is_salted() {
    let schemes = [
        ("argon2id", "$argon2id$v=19$m=19456,t=2,p=1$"),
        ("sha512", "$6$rounds=50000$"),
        ("yescrypt", "$y$j9T$"),
        ("scram", "{SCRAM-SHA-256}15000,"),
        ("plain", "{PLAIN}two words"),
    ];
    for (name, start) in schemes {
        let scheme = Scheme::parse(name).unwrap();
        let field = hash(scheme, b"two words").unwrap();
        assert!(field.as_bytes().starts_with(start.as_bytes()), "{name}");
        assert!(!field.as_bytes().contains(&b':'), "{name}");
        assert!(verify(field.as_bytes(), b"two words"), "{name}");
        assert_eq!(Password::parse(field.as_bytes()).unwrap().cost().scheme(), scheme);
        assert_eq!(hash(scheme, b"two words").unwrap() == field, name == "plain");
        assert!(hash(scheme, b"").is_err() && hash(scheme, &[b'a'; 256]).is_err());
        assert!(Scheme::NAMES.contains(name));
    }
    assert!(matches!(hash(Scheme::Plain, b"a:b"), Err(Error::Refused(_))));
    assert!(hash(Scheme::Plain, b"a\nb").is_err() && hash(Scheme::Sha256, b"a").is_err());
    assert!(Scheme::parse("sha256").is_none());
}

#[test]
fn a_field_says_by_which_mechanisms_its_user_can_log_in() {
    let listed = |field: &str| {
        Password::mechanisms(Password::cost_of(field.as_bytes()).unwrap()).to_string()
    };
    assert_eq!(listed("{PLAIN}x"), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN");
    assert_eq!(listed(SCRAM[0]), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN");
    assert_eq!(listed(SHA512), "PLAIN LOGIN");
    let plain = Password::parse(b"{PLAIN}x").unwrap();
    assert_eq!(plain.secret(), Some(&b"x"[..]));
    assert!(plain.scram().is_none());
    let keys = Password::parse(SCRAM[1].as_bytes()).unwrap().scram().unwrap();
    assert_eq!(keys.to_field(), SCRAM[0]);
    assert!(!format!("{keys:?} {plain:?}").contains("salt"));
}

#[test]
fn a_password_is_prepared_for_scram_alone() {
    // Two ways to type the same letter (RFC 4013 §2.2).
    let (one, two) = ("p\u{e9}", "pe\u{301}");
    let keys = Keys::derive(one.as_bytes(), b"salt", 4096);
    assert!(keys.verify(two.as_bytes()));
    assert!(!verify(format!("{{PLAIN}}{one}").as_bytes(), two.as_bytes()));
}

#[test]
fn no_field_makes_a_parser_or_a_check_panic() {
    const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let mut seed = 1_u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut checked = 0;
    for _ in 0..20_000 {
        // Parameters of yescrypt, whose decoder shifts and adds what it is given.
        let length = random(7);
        let mut parameters: Vec<u8> = (0..length).map(|_| LETTERS[random(64)]).collect();
        if let Some(first) = parameters.first_mut().filter(|_| random(2) == 0) {
            *first = b'j';
        }
        let parameters = String::from_utf8(parameters).unwrap();
        let field = format!("$y${parameters}$saltsaltsaltsalt${hash}");
        if let Ok(password) = Password::parse(field.as_bytes())
            && password.cost().work() < 1 << 12
        {
            assert!(!password.verify(b"x"), "{field}");
            password.cost().spend(b"x");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} of the fields were checked");
    for field in [
        YESCRYPT[0],
        SHA512_ROUNDS,
        SHA256,
        SCRAM[0],
        SCRAM[1],
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ] {
        for _ in 0..2_000 {
            let mut field = field.as_bytes().to_vec();
            let at = random(field.len());
            match random(3) {
                0 => field[at] = u8::try_from(random(256)).unwrap(),
                1 => field.truncate(at),
                _ => drop(field.remove(at)),
            }
            let _ = Password::parse(&field).map(|password| password.cost());
        }
    }
}
