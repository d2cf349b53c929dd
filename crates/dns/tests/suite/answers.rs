//! Answers that are late, cut, forged or broken.

use std::collections::HashSet;

use dns::{Resolver, mail_hosts};
use testkit::name_server::{NameServer, Says, address, mx};

use super::{SHORT, ask, name};

#[test]
fn a_server_that_is_silent_is_asked_again_and_then_a_temporary_failure() {
    let server = NameServer::start(|_, _| Says::Silence);
    let resolver = Resolver::of_server(server.address()).patience(SHORT, 3);
    let failure = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap_err();
    assert!(failure.is_temporary());
    let why = format!("red.test: name server {}: no answer in time", server.address());
    assert_eq!(failure.to_string(), why);
    let times = server.asked().len();
    assert!((1..=3).contains(&times), "{times}"); // its thread may be late
}

#[test]
fn a_server_that_is_not_there_is_told_with_the_reason() {
    let server = NameServer::start(|_, _| Says::Silence);
    let address = server.address();
    drop(server);
    let resolver = Resolver::of_server(address).patience(SHORT, 1);
    let failure = resolver.addresses(&name("red.test")).unwrap_err();
    assert_eq!(failure.to_string(), format!("red.test: name server {address}: Connection refused"));
}

#[test]
fn an_answer_too_long_for_a_datagram_is_asked_for_by_tcp() {
    let many: Vec<_> =
        (0..200).map(|number| mx(number, "a-long-name-of-a-host.red.test")).collect();
    let (server, resolver) = ask(move |_, _| Says::OnlyByTcp(many.clone()));
    assert!(mail_hosts(&resolver, &name("red.test"), |_| false).is_ok());
    let by_tcp: Vec<bool> = server.asked().iter().map(|it| it.by_tcp).collect();
    assert_eq!(by_tcp, [false, true]);
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    let (server, resolver) = ask(|_, _| Says::OnlyWithoutEdns(vec![mx(1, "a.test")]));
    assert!(mail_hosts(&resolver, &name("red.test"), |_| false).is_ok());
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let (_server, resolver) = ask(|_, kind| match kind {
        "A" => Says::BehindForged(vec![address("127.0.0.2")]),
        _ => Says::BehindForged(vec![]),
    });
    let found = resolver.addresses(&name("red.test")).unwrap();
    assert_eq!(found.list, ["127.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn ids_and_ports_are_not_to_be_guessed() {
    let (server, resolver) = ask(|_, _| Says::Records(vec![]));
    for _ in 0..32 {
        let _ = mail_hosts(&resolver, &name("red.test"), |_| false);
    }
    let asked = server.asked();
    // Of 32 drawn from 65,536 that four or more are twice: less than once in ten million runs.
    let ids: HashSet<u16> = asked.iter().map(|it| it.id).collect();
    let ports: HashSet<u16> = asked.iter().map(|it| it.port).collect();
    assert!(ids.len() > 28 && ports.len() > 16, "{ids:?} {ports:?}");
    let steps: HashSet<u16> =
        asked.windows(2).map(|pair| pair[1].id.wrapping_sub(pair[0].id)).collect();
    assert!(steps.len() > 16, "{steps:?}");
}

#[test]
fn names_are_absolute() {
    let (server, resolver) = ask(|_, _| Says::NoName);
    let _ = mail_hosts(&resolver, &name("red"), |_| false);
    let _ = mail_hosts(&resolver, &name("red.test."), |_| false);
    let names: Vec<String> = server.asked().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["red", "red.test"]);
}

/// Of each message: an answer, cut behind each byte, and with each byte changed.
#[test]
fn broken_answers_are_passed_over_or_told() {
    let whole = b"\x81\x80\0\x01\0\x01\0\0\0\0\x03red\x04test\0\0\x0f\0\x01\
        \xc0\x0c\0\x0f\0\x01\0\0\x01\x2c\0\x09\0\x0a\x04mail\xc0\x0c"
        .to_vec();
    let (_server, resolver) = ask({
        let whole = whole.clone();
        move |_, _| Says::Bytes(whole.clone())
    });
    assert!(mail_hosts(&resolver, &name("red.test"), |_| false).is_ok(), "the message itself");
    for position in 0..whole.len() {
        for broken in [
            whole[..position].to_vec(),
            changed(&whole, position, 0xff),
            changed(&whole, position, 0),
        ] {
            let server = NameServer::start(move |_, _| Says::Bytes(broken.clone()));
            let resolver = Resolver::of_server(server.address())
                .patience(std::time::Duration::from_millis(5), 1);
            let _ = mail_hosts(&resolver, &name("red.test"), |_| false); // it returns
        }
    }
}

fn changed(bytes: &[u8], position: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[position] = byte;
    bytes
}
