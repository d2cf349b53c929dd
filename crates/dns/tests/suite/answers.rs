//! Answers that are late, cut, forged or broken.

use std::collections::HashSet;

use dns::{Resolver, mail_hosts};
use testkit::name_server::{NameServer, Says, address, mx};
use testkit::wait_until;

use super::{SHORT, ask, name};

#[test]
fn a_server_that_is_silent_is_asked_again_and_then_a_temporary_failure() {
    let server = NameServer::start(|_, _| Says::Silence);
    let resolver = Resolver::of_server(server.address()).patience(SHORT, 3);
    let failure = mail_hosts(&resolver, &name("red.test"), |_| false).unwrap_err();
    assert!(failure.is_temporary());
    let why = format!("red.test: name server {}: no answer in time", server.address());
    assert_eq!(failure.to_string(), why);
    wait_until("it was asked three times", || server.asked().len() == 3); // its thread may be late
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

/// An answer to the question about the MX of red.test, behind its id.
fn message(counts: &[u8; 8], answers: &[u8], behind: &[u8]) -> Vec<u8> {
    [&b"\x81\x80"[..], counts, b"\x03red\x04test\0\0\x0f\0\x01", answers, behind].concat()
}

const MX: &[u8] = b"\xc0\x0c\0\x0f\0\x01\0\0\x01\x2c\0\x09\0\x0a\x04mail\xc0\x0c";

#[test]
fn a_broken_record_in_another_section_does_not_matter_and_one_among_the_answers_is_told_at_once() {
    // An address of one byte, and a name that points to itself.
    let short = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x01\x7f";
    let circle = b"\xc0\x1a\0\x0f\0\x01\0\0\x01\x2c\0\x04\0\x0a\xc0\x0c";
    let says = |bytes: Vec<u8>| {
        let (server, resolver) = ask(move |_, _| Says::Bytes(bytes.clone()));
        let found = mail_hosts(&resolver, &name("red.test"), |_| false);
        (found.map(|found| found.list.len()).map_err(|failure| failure.to_string()), server)
    };
    for counts in [b"\0\x01\0\x01\0\x01\0\0", b"\0\x01\0\x01\0\0\0\x01"] {
        assert_eq!(says(message(counts, MX, short)).0, Ok(1));
    }
    for bytes in [
        message(b"\0\x01\0\x01\0\0\0\0", circle, b""),
        message(b"\0\x01\0\x02\0\0\0\0", MX, short),
        // Nothing but what cannot be read is no proof that there is nothing.
        message(b"\0\x01\0\0\0\x01\0\0", b"", short),
    ] {
        let (said, server) = says(bytes);
        let why = format!("red.test: name server {}: a malformed answer", server.address());
        assert_eq!(said, Err(why));
    }
}

#[test]
fn a_datagram_that_is_longer_than_was_asked_for_is_read() {
    let (server, resolver) = ask(|_, _| {
        let host = |number| mx(number, &format!("a-long-name-of-a-host-{number}.example.test"));
        Says::Records((0..200).map(host).collect())
    });
    assert!(mail_hosts(&resolver, &name("red.test"), |_| false).is_ok());
    assert_eq!(server.asked().len(), 1);
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
