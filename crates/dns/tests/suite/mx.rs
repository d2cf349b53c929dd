//! The rules of RFC 5321 §5.1 about MX.

use dns::{Failure, mail_hosts};
use simple_dns::RCODE;
use testkit::name_server::{Says, Value, address, mx};

use super::{ask, asked, name};

/// Returns the hosts of red.test, in order.
fn hosts(
    zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static,
) -> Result<Vec<String>, Failure> {
    let (_server, resolver) = ask(zone);
    let found = mail_hosts(&resolver, &name("red.test"), |host| host == &name("self.test"))?;
    Ok(found.list.iter().map(|host| host.name.to_string()).collect())
}

fn of_mx(values: &[(u16, &str)]) -> impl Fn(&str, &str) -> Says + Send + Sync + 'static {
    let values: Vec<Value> = values.iter().map(|(number, host)| mx(*number, host)).collect();
    move |_, _| Says::Records(values.clone())
}

#[test]
fn hosts_come_by_preference() {
    let found = hosts(of_mx(&[(20, "b.test"), (5, "A.test"), (30, "c.test")]));
    assert_eq!(found.unwrap(), ["a.test", "b.test", "c.test"]);
}

#[test]
fn equal_hosts_come_in_an_order_of_chance() {
    // In one order every time: once in 2^63 runs of this test.
    let first = || hosts(of_mx(&[(10, "a.test"), (10, "b.test")])).unwrap().remove(0);
    let drawn: Vec<String> = (0..64).map(|_| first()).collect();
    assert!(drawn.contains(&"a.test".into()) && drawn.contains(&"b.test".into()), "{drawn:?}");
}

#[test]
fn a_domain_without_mx_takes_its_mail_itself() {
    let (_server, resolver) = ask(|_, _| Says::Records(vec![]));
    let found = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap();
    assert!(found.is_implicit);
    assert_eq!(found.list[0].name, name("red.test"));
}

#[test]
fn a_domain_that_is_not_there_has_no_hosts() {
    assert_eq!(hosts(|_, _| Says::NoName), Err(Failure::NoDomain(name("red.test"))));
}

#[test]
fn a_server_that_fails_is_a_temporary_failure() {
    for code in [RCODE::ServerFailure, RCODE::Refused, RCODE::YXDOMAIN] {
        let failure = hosts(move |_, _| Says::Code(code)).unwrap_err();
        assert!(failure.is_temporary(), "{code:?}: {failure}");
        assert_eq!(failure.status(), "4.4.3");
    }
}

#[test]
fn an_mx_that_is_the_root_takes_no_mail() {
    let failure = hosts(of_mx(&[(0, "")])).unwrap_err();
    assert_eq!(failure, Failure::NullMx(name("red.test")));
    assert_eq!(failure.status(), "5.1.10");
}

#[test]
fn the_root_beside_a_host_is_passed_over() {
    assert_eq!(hosts(of_mx(&[(0, ""), (10, "a.test")])).unwrap(), ["a.test"]);
}

#[test]
fn an_mx_without_a_usable_name_is_not_replaced_by_the_domain_itself() {
    let failure = hosts(of_mx(&[(10, "a b.test")])).unwrap_err();
    assert_eq!(failure, Failure::NoAddress(name("red.test")));
}

#[test]
fn we_and_those_behind_us_are_left_out() {
    let list = [(5, "a.test"), (10, "self.test"), (10, "b.test"), (20, "c.test")];
    assert_eq!(hosts(of_mx(&list)).unwrap(), ["a.test"]);
    let failure = hosts(of_mx(&list[1..])).unwrap_err();
    assert_eq!(failure, Failure::Loop(name("red.test")));
}

#[test]
fn an_alias_of_the_domain_leads_to_its_mx() {
    let found = hosts(|_, _| {
        Says::All(vec![
            ("red.test".into(), Value::Alias("Blue.test".into())),
            ("blue.test".into(), mx(10, "a.test")),
        ])
    });
    assert_eq!(found.unwrap(), ["a.test"]);
}

#[test]
fn an_alias_that_the_server_did_not_follow_is_asked_for() {
    let (server, resolver) = ask(|asked, _| match asked {
        "red.test" => Says::Records(vec![Value::Alias("blue.test".into())]),
        _ => Says::Records(vec![mx(10, "a.test")]),
    });
    let found = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap();
    assert_eq!(found.list[0].name, name("a.test"));
    assert_eq!(asked(&server), ["MX red.test", "MX blue.test"]);
}

#[test]
fn aliases_in_a_circle_are_a_temporary_failure() {
    let in_one = hosts(|_, _| {
        Says::All(vec![
            ("red.test".into(), Value::Alias("blue.test".into())),
            ("blue.test".into(), Value::Alias("red.test".into())),
        ])
    });
    assert!(in_one.unwrap_err().is_temporary());
    let in_several = hosts(|asked, _| {
        let other = if asked == "red.test" { "blue.test" } else { "red.test" };
        Says::Records(vec![Value::Alias(other.into())])
    });
    assert!(in_several.unwrap_err().is_temporary());
}

#[test]
fn records_of_other_names_do_not_count() {
    let (_server, resolver) = ask(|_, _| {
        Says::All(vec![
            ("blue.test".into(), mx(10, "evil.test")),
            ("red.test".into(), mx(10, "a.test")),
            ("red.test".into(), address("127.0.0.9")),
        ])
    });
    let found = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap();
    assert_eq!(found.list.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a.test"]);
}

#[test]
fn an_mx_with_a_hundred_hosts_is_taken_in_part() {
    let list: Vec<Value> = (0..100).map(|number| mx(number, &format!("h{number}.test"))).collect();
    let found = hosts(move |_, _| Says::OnlyByTcp(list.clone())).unwrap();
    assert_eq!((found.len(), found[0].as_str()), (20, "h0.test"));
}
