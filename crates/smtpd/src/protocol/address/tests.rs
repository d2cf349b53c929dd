use super::*;

fn good(text: &str) -> String {
    match path(text.as_bytes(), Tolerance::NONE).unwrap() {
        (Path::Null, _) => "null".into(),
        (Path::Name(name), _) => format!("name {}", name.escape_ascii()),
        (Path::Mailbox(m), rest) => {
            let (local, domain) = (m.local.escape_ascii(), m.domain.escape_ascii());
            format!("{local} at {domain} as {}{}", m.text, rest.escape_ascii())
        }
    }
}

#[test]
fn addresses_of_the_rfc_are_parsed() {
    for (text, expected) in [
        ("<>", "null"),
        ("<PostMaster>", "name PostMaster"),
        ("<frol>", "name frol"),
        ("<a@b>", "a at b as a@b"),
        ("<A.b-C@d.e> SIZE=1", "A.b-C at d.e as A.b-C@d.e SIZE=1"),
        ("<\"a b\"@d>", "a b at d as \"a b\"@d"),
        ("<\"a\\\"@\\>b\"@d>", "a\\\"@>b at d as \"a\\\"@\\>b\"@d"),
        ("<\"\"@d>", " at d as \"\"@d"),
        ("<@x,@y.z:a@b>", "a at b as a@b"),
        ("<a%b!c@d>", "a%b!c at d as a%b!c@d"),
        ("<a@[127.0.0.1]>", "a at [127.0.0.1] as a@[127.0.0.1]"),
        ("<a@[IPv6:::1]>", "a at [IPv6:::1] as a@[IPv6:::1]"),
        ("<a@[x400:c=us]>", "a at [x400:c=us] as a@[x400:c=us]"),
        ("<\u{e9}@\u{e9}.d>", "\\xc3\\xa9 at \\xc3\\xa9.d as \u{e9}@\u{e9}.d"),
        ("<\"\u{e9} \"@d>", "\\xc3\\xa9  at d as \"\u{e9} \"@d"),
        ("<\u{444}>", "name \\xd1\\x84"),
    ] {
        assert_eq!(good(text), expected, "{text}");
    }
}

#[test]
fn an_invalid_address_is_refused() {
    for text in [
        "",
        "a@b",
        "<",
        "<a@b",
        "a@b>",
        "<a..b@d>",
        "<.a@d>",
        "<a.@d>",
        "<a@>",
        "<@b>",
        "<a@.b>",
        "<a@b.>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b c>",
        "<a b@c>",
        "<a@b>x",
        "<a@b><c@d>",
        "<a@[127.0.0.256]>",
        "<a@[IPv6:1]>",
        "<a@[]>",
        "<a@[127.0.0.1>",
        "<\"a@d>",
        "<\"a\"b@d>",
        "<a@b@c>",
        "<@x:>",
        "<@x,:a@b>",
        "<a\r@b>",
        "<a\0b@c>",
        "<\"a\rb\"@c>",
        "<\u{85}@d>",
        "<a\u{2028}b@d>",
        "<\u{202e}a@d>",
        "<\"a\u{200b}\"@d>",
        "<\u{feff}>",
        "<a@\u{85}>",
        "<a@-\u{e9}>",
        "< a@b>",
        "<a@b >",
        "<a@b_c>",
        "<a,b@c>",
        "<<a@b>>",
    ] {
        assert!(path(text.as_bytes(), Tolerance::NONE).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_refused_and_a_domain_is_looked_up_in_ascii() {
    for bad in [&b"<\xff@d>"[..], b"<a@\xff>", b"<\"\xc3\"@d>", b"<\xc3>", b"<\xc0\x80@d>"] {
        assert!(path(bad, Tolerance::SENDER).is_err(), "{}", bad.escape_ascii());
    }
    let (found, _) = path("<a@b\u{fc}cher.test>".as_bytes(), Tolerance::NONE).unwrap();
    assert!(!found.is_ascii());
    assert_eq!(found.name().unwrap().domain, b"xn--bcher-kva.test");
}

#[test]
fn what_devices_send_is_taken_where_it_does_no_harm() {
    let (sender, recipient) = (Tolerance::SENDER, Tolerance::RECIPIENT);
    for (text, of_sender, of_recipient) in [
        ("a@b", true, true),
        ("a@b SIZE=1", true, true),
        ("\"a b\"@d X=y", true, true),
        ("frol", true, true),
        ("<a..b@d>", true, false),
        ("<.a@d>", true, false),
        ("<a.@d>", true, false),
        ("<a@b_c.d>", true, false),
        ("<_a@_b>", true, false),
        ("<a@b.>", true, false),
        ("<a@b..>", false, false),
        ("<a@b..c>", false, false),
        ("<a@.>", false, false),
        ("<a@-b>", false, false),
        ("<@b>", false, false),
        ("@b", false, false),
        ("", false, false),
        (">", false, false),
        ("a@b>", false, false),
        ("<a@b", false, false),
        ("a b@c", true, true), // the rest is no parameter
        ("a,b@c", false, false),
        ("a@b<c@d>", false, false),
    ] {
        assert_eq!(path(text.as_bytes(), sender).is_ok(), of_sender, "{text:?}");
        assert_eq!(path(text.as_bytes(), recipient).is_ok(), of_recipient, "{text:?}");
    }
}

#[test]
fn a_path_of_256_bytes_is_accepted_and_a_longer_one_is_not() {
    let domain = format!("{}.test", ["d".repeat(60), "e".repeat(60), "f".repeat(60)].join("."));
    for (local, fits) in [(256 - 3 - domain.len(), true), (257 - 3 - domain.len(), false)] {
        let text = format!("<{}@{domain}>", "l".repeat(local));
        let found = path(text.as_bytes(), Tolerance::NONE);
        assert_eq!(found.is_ok(), fits, "{} octets", text.len());
    }
    for (label, fits) in [(63, true), (64, false)] {
        let text = format!("<a@{}>", "x".repeat(label));
        assert_eq!(path(text.as_bytes(), Tolerance::NONE).is_ok(), fits, "{label}");
    }
}

#[test]
fn a_local_part_is_quoted_if_needed() {
    for (name, local) in [
        ("o'brien", "o'brien"),
        ("a.b", "a.b"),
        ("a b", "\"a b\""),
        ("a\"\\", "\"a\\\"\\\\\""),
        (".a", "\".a\""),
        ("", "\"\""),
        ("\u{e9}", "??"),
    ] {
        assert_eq!(local_part(name.as_bytes()), local);
        assert!(without_brackets(format!("{local}@red.test").as_bytes()).is_ok());
    }
}

#[test]
fn vrfy_takes_an_address_without_brackets() {
    assert_eq!(without_brackets(b"levy"), Ok(Path::Name(b"levy".to_vec())));
    assert!(matches!(without_brackets(b"levy@red.test"), Ok(Path::Mailbox(_))));
    assert!(without_brackets(b"levy@red.test x").is_err());
    assert!(without_brackets(b"").is_err());
}
