//! A host's addresses.

use dns::Failure;
use simple_dns::RCODE;
use testkit::name_server::{Says, Value, address};

use super::{ask, name};

fn addresses(
    zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static,
) -> Result<Vec<String>, Failure> {
    let (_server, resolver) = ask(zone);
    let found = resolver.addresses(&name("red.test"))?;
    Ok(found.list.iter().map(ToString::to_string).collect())
}

#[test]
fn both_kinds_come_in_turn() {
    let found = addresses(|_, kind| {
        Says::Records(match kind {
            "A" => vec![address("127.0.0.2"), address("127.0.0.3"), address("127.0.0.4")],
            _ => vec![address("::1")],
        })
    });
    assert_eq!(found.unwrap(), ["::1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]);
}

#[test]
fn one_kind_is_enough_also_where_the_other_has_no_answer() {
    for other in [Says::Records(vec![]), Says::NoName, Says::Code(RCODE::ServerFailure)] {
        let found = addresses(move |_, kind| match kind {
            "A" => Says::Records(vec![address("127.0.0.2")]),
            _ => other.clone(),
        });
        assert_eq!(found.unwrap(), ["127.0.0.2"]);
    }
}

#[test]
fn no_address_is_permanent_only_where_both_kinds_were_answered() {
    let none = addresses(|_, _| Says::Records(vec![])).unwrap_err();
    assert_eq!(none, Failure::NoAddress(name("red.test")));
    assert_eq!(addresses(|_, _| Says::NoName).unwrap_err(), Failure::NoDomain(name("red.test")));
    for failing in ["A", "AAAA"] {
        let failure = addresses(move |_, kind| match kind {
            kind if kind == failing => Says::Code(RCODE::ServerFailure),
            _ => Says::Records(vec![]),
        });
        assert!(failure.unwrap_err().is_temporary(), "{failing}");
    }
}

#[test]
fn an_alias_of_a_host_is_followed() {
    let found = addresses(|_, kind| match kind {
        "A" => Says::All(vec![
            ("red.test".into(), Value::Alias("blue.test".into())),
            ("blue.test".into(), address("127.0.0.5")),
        ]),
        _ => Says::Records(vec![]),
    });
    assert_eq!(found.unwrap(), ["127.0.0.5"]);
}

#[test]
fn localhost_needs_no_server() {
    let (server, resolver) = ask(|_, _| Says::Silence);
    let found = resolver.addresses(&name("localhost")).unwrap();
    assert_eq!(found.list, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(server.asked(), []);
}
