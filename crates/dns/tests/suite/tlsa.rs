//! What DNS says of a server's certificate, and who is believed (RFC 7672 §2).

use dns::{Tlsa, mail_hosts};
use simple_dns::RCODE;
use testkit::name_server::{Says, Value, address, mx};

use super::{ask, asked, name};

fn record() -> Value {
    Value::Tlsa(3, 1, 1, vec![0xab; 32])
}

#[test]
fn signed_records_are_those_of_the_port_and_the_host() {
    let (server, resolver) =
        ask(|_, _| Says::Signed(vec![record(), Value::Tlsa(2, 0, 2, vec![1])]));
    let found = resolver.tlsa(&name("mail.red.test"), 25).unwrap();
    let first = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0xab; 32] };
    assert_eq!(found, [first, Tlsa { usage: 2, selector: 0, matching: 2, data: vec![1] }]);
    assert_eq!(asked(&server), ["TLSA _25._tcp.mail.red.test"]);
}

#[test]
fn what_is_not_signed_says_nothing() {
    for zone in [
        Says::Records(vec![record()]),
        Says::Records(vec![]),
        Says::Signed(vec![]),
        Says::NoName,
        Says::Signed(vec![Value::Tlsa(3, 1, 1, vec![])]),
    ] {
        let (_server, resolver) = ask(move |_, _| zone.clone());
        assert_eq!(resolver.tlsa(&name("mail.red.test"), 25), Ok(vec![]));
    }
}

#[test]
fn no_answer_is_no_proof_that_there_is_nothing() {
    for code in [RCODE::ServerFailure, RCODE::Refused] {
        let (_server, resolver) = ask(move |_, _| Says::Code(code));
        assert!(resolver.tlsa(&name("mail.red.test"), 25).unwrap_err().is_temporary());
    }
}

#[test]
fn answers_about_another_type_are_passed_over() {
    // The question that comes back is about an MX.
    let other = b"\x85\xa0\0\x01\0\0\0\0\0\0\x03_25\x04_tcp\x04mail\x03red\x04test\0\0\x0f\0\x01";
    let (_server, resolver) = ask(|_, _| Says::Bytes(other.to_vec()));
    let resolver = resolver.patience(super::SHORT, 1);
    assert!(resolver.tlsa(&name("mail.red.test"), 25).unwrap_err().is_temporary());
}

#[test]
fn an_alias_of_signed_records_is_followed_as_far_as_it_is_signed() {
    for (alias_is_signed, count) in [(true, 1), (false, 0)] {
        let (_server, resolver) = ask(move |asked, _| match asked {
            "_25._tcp.mail.red.test" => {
                let alias = vec![Value::Alias("tlsa.red.test".into())];
                if alias_is_signed { Says::Signed(alias) } else { Says::Records(alias) }
            }
            _ => Says::Signed(vec![record()]),
        });
        let found = resolver.tlsa(&name("mail.red.test"), 25).unwrap();
        assert_eq!(found.len(), count, "{alias_is_signed}");
    }
}

#[test]
fn hosts_and_addresses_are_secure_where_every_answer_is_signed() {
    for (six, four, expected) in
        [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
    {
        let (_server, resolver) = ask(move |_, kind| {
            let (values, is_signed) = match kind {
                "A" => (vec![address("127.0.0.2")], four),
                "AAAA" => (vec![address("::1")], six),
                _ => (vec![mx(10, "mail.red.test")], four),
            };
            if is_signed { Says::Signed(values) } else { Says::Records(values) }
        });
        assert_eq!(resolver.addresses(&name("mail.red.test")).unwrap().is_secure, expected);
        let hosts = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap();
        assert_eq!(hosts.is_secure, four);
    }
}
