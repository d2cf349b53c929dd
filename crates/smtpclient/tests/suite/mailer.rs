//! Several hosts, and several letters: RFC 5321 §5.1, with a name server on loopback.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use dns::{Domain, Resolver};
use smtpclient::{Destination, Envelope, Mailer, Settings, Stage, TlsUse};
use testkit::Peer;
use testkit::name_server::{NameServer, Says, address, listeners, mx};

use super::{PATIENT, accept, greet, said, settings, take_letter, turn};

/// red.test has two hosts; the first has two addresses.
fn zone(name: &str, kind: &str) -> Says {
    Says::Records(match (name, kind) {
        ("red.test", "MX") => vec![mx(20, "b.red.test"), mx(10, "a.red.test")],
        ("a.red.test", "A") => vec![address("127.0.0.2"), address("127.0.0.3")],
        ("b.red.test", "A") => vec![address("127.0.0.4")],
        ("a.red.test" | "b.red.test", _) => vec![],
        _ => return Says::NoName,
    })
}

fn destination(names: &NameServer, port: u16) -> Destination {
    Destination::Domain {
        domain: "Red.TEST".into(),
        port,
        resolver: Resolver::of_server(names.address()).patience(PATIENT, 1),
        own_names: Vec::new(),
    }
}

fn mailer(names: &NameServer, port: u16) -> Mailer {
    Mailer::new(&Arc::new(settings()), destination(names, port)).unwrap()
}

fn send(mailer: &mut Mailer, to: &[&str]) -> Vec<String> {
    let to = to.iter().map(|to| to.as_bytes());
    said(&mailer.send(&Envelope::new(b"", to), &mut &b"x\n"[..]))
}

fn take(peer: &mut Peer, to: &str, says: &str) {
    turn(peer, "MAIL FROM:<>", "250 ok");
    turn(peer, &format!("RCPT TO:<{to}>"), "250 ok");
    take_letter(peer, &["x"], says);
}

fn serve(
    listener: TcpListener,
    play: impl FnOnce(&TcpListener) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || play(&listener))
}

#[test]
fn every_address_of_a_host_is_tried_and_then_the_next_host() {
    let names = NameServer::start(zone);
    for addresses in [["127.0.0.3"], ["127.0.0.4"]] {
        let (mut hosts, port) = listeners(&addresses);
        let server = serve(hosts.remove(0), |listener| {
            let mut peer = accept(listener);
            greet(&mut peer, &[]);
            take(&mut peer, "a@red.test", "250 taken");
            take(&mut peer, "b@red.test", "250 again"); // on the same connection
            turn(&mut peer, "QUIT", "221 bye");
        });
        let mut mailer = mailer(&names, port);
        assert_eq!(send(&mut mailer, &["a@red.test"]), ["250 taken"]);
        assert_eq!(send(&mut mailer, &["b@red.test"]), ["250 again"]);
        let earlier = mailer.take_earlier();
        assert!(
            earlier
                .iter()
                .all(|it| it.stage == Stage::Connect && it.host.as_deref() == Some("a.red.test"))
        );
        assert_eq!(earlier.len(), if addresses == ["127.0.0.3"] { 1 } else { 2 });
        mailer.quit();
        server.join().unwrap();
    }
}

#[test]
fn those_who_are_put_off_are_tried_at_the_next_host_and_the_others_are_done() {
    let names = NameServer::start(zone);
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let last = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        take(&mut peer, "later@red.test", "250 b");
        turn(&mut peer, "QUIT", "221 bye");
    });
    let second = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        peer.send("554 no SMTP here\r\n");
        turn(&mut peer, "QUIT", "221 bye");
    });
    let first = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        turn(&mut peer, "MAIL FROM:<>", "250 ok");
        turn(&mut peer, "RCPT TO:<later@red.test>", "450 4.2.0 greylisted");
        turn(&mut peer, "RCPT TO:<now@red.test>", "250 ok");
        turn(&mut peer, "RCPT TO:<never@red.test>", "550 5.1.1 no");
        take_letter(&mut peer, &["x"], "250 a");
        take(&mut peer, "next@red.test", "250 next"); // the best host keeps its connection
        turn(&mut peer, "QUIT", "221 bye");
    });
    let mut mailer = mailer(&names, port);
    let to = ["later@red.test", "now@red.test", "never@red.test"];
    assert_eq!(
        send(&mut mailer, &to),
        ["250 b", "250 a", "a.red.test[127.0.0.2]: no"].map(|it| {
            if it.starts_with("a.red") {
                format!("a.red.test[127.0.0.2]:{port}: recipient <never@red.test>: 550 5.1.1 no")
            } else {
                it.to_owned()
            }
        })
    );
    assert_eq!(send(&mut mailer, &["next@red.test"]), ["250 next"]);
    mailer.quit();
    [first, second, last].into_iter().for_each(|server| server.join().unwrap());
}

#[test]
fn those_who_are_too_many_at_once_get_the_letter_in_the_next_transaction() {
    let names = NameServer::start(zone);
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let server = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        turn(&mut peer, "MAIL FROM:<>", "250 ok");
        turn(&mut peer, "RCPT TO:<a@red.test>", "250 ok");
        turn(&mut peer, "RCPT TO:<full@red.test>", "452 4.2.2 full");
        turn(&mut peer, "RCPT TO:<b@red.test>", "452 4.5.3 too many");
        turn(&mut peer, "RCPT TO:<c@red.test>", "552 too many");
        take_letter(&mut peer, &["x"], "250 one");
        turn(&mut peer, "MAIL FROM:<>", "250 ok");
        turn(&mut peer, "RCPT TO:<b@red.test>", "250 ok");
        turn(&mut peer, "RCPT TO:<c@red.test>", "452 too many");
        take_letter(&mut peer, &["x"], "250 two");
        // Where none is taken there is no other try.
        turn(&mut peer, "MAIL FROM:<>", "250 ok");
        turn(&mut peer, "RCPT TO:<c@red.test>", "452 too many");
        turn(&mut peer, "QUIT", "221 bye");
    });
    let mut mailer = mailer(&names, port);
    let to = ["a@red.test", "full@red.test", "b@red.test", "c@red.test"];
    let said = send(&mut mailer, &to);
    assert_eq!([&said[0][..], &said[2]], ["250 one", "250 two"]);
    mailer.quit();
    server.join().unwrap();
}

#[test]
fn a_server_that_offers_bdat_and_refuses_it_gets_the_letters_by_data() {
    for refusal in ["500 what", "502 5.5.1 not implemented", "503 5.5.1 no"] {
        let names = NameServer::start(zone);
        let (mut hosts, port) = listeners(&["127.0.0.2"]);
        let server = serve(hosts.pop().unwrap(), move |listener| {
            let offers = ["PIPELINING", "CHUNKING"];
            let mut peer = accept(listener);
            greet(&mut peer, &offers);
            let lines = [
                "MAIL FROM:<>",
                "RCPT TO:<a@red.test>",
                "RCPT TO:<b@red.test>",
                "BDAT 3 LAST",
                "x",
            ];
            lines.iter().for_each(|line| super::hear(&mut peer, line));
            peer.send(format!("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n{refusal}\r\n500 x?\r\n"));
            let mut peer = accept(listener);
            greet(&mut peer, &offers);
            for (letter, end) in ["250 taken", "250 next"].into_iter().enumerate() {
                super::hear(&mut peer, "MAIL FROM:<>");
                super::hear(&mut peer, &format!("RCPT TO:<{}@red.test>", ["a", "c"][letter]));
                peer.send("250 ok\r\n250 ok\r\n");
                take_letter(&mut peer, &["x"], end);
            }
            turn(&mut peer, "QUIT", "221 bye");
        });
        let settings = Settings { use_chunking: true, ..settings() };
        let mut mailer = Mailer::new(&Arc::new(settings), destination(&names, port)).unwrap();
        let said = send(&mut mailer, &["a@red.test", "b@red.test"]);
        assert!(said[0] == "250 taken" && said[1].ends_with("550 5.1.1 no"), "{said:?}");
        assert_eq!(send(&mut mailer, &["c@red.test"]), ["250 next"]);
        mailer.quit();
        server.join().unwrap();
    }
}

#[test]
fn the_hosts_are_asked_for_again_when_the_answers_are_too_old() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let has_moved = Arc::new(AtomicBool::new(false));
    let moved = Arc::clone(&has_moved);
    let names = NameServer::start(move |name, kind| {
        let host = if moved.load(Ordering::SeqCst) { "127.0.0.3" } else { "127.0.0.2" };
        match (name, kind) {
            ("red.test", "MX") => Says::Passing(vec![mx(10, "a.red.test")]),
            ("a.red.test", "A") => Says::Records(vec![address(host)]),
            _ => Says::Records(vec![]),
        }
    });
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3"]);
    let [second, first] = [hosts.pop().unwrap(), hosts.pop().unwrap()].map(|host| {
        serve(host, |listener| {
            let mut peer = accept(listener);
            greet(&mut peer, &[]);
            take(&mut peer, "a@red.test", "250 taken");
        })
    });
    let mut mailer = mailer(&names, port);
    assert_eq!(send(&mut mailer, &["a@red.test"]), ["250 taken"]);
    first.join().unwrap(); // the connection is closed
    let asked = |kind| names.asked().iter().filter(|it| it.kind == kind).count();
    assert_eq!((asked("MX"), asked("A")), (1, 1), "an answer that may not be kept serves once");
    has_moved.store(true, Ordering::SeqCst);
    assert_eq!(send(&mut mailer, &["a@red.test"]), ["250 taken"]);
    second.join().unwrap();
    assert_eq!(asked("MX"), 2);
}

#[test]
fn what_a_host_says_about_the_letter_is_told_and_not_that_the_others_do_not_serve() {
    let names = NameServer::start(zone);
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let first = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        turn(&mut peer, "MAIL FROM:<>", "451 4.3.0 disk");
        turn(&mut peer, "QUIT", "221 bye");
    });
    let mut mailer = mailer(&names, port);
    let says = format!("a.red.test[127.0.0.2]:{port}: sender <>: 451 4.3.0 disk");
    assert_eq!(send(&mut mailer, &["a@red.test"]), [says]);
    mailer.quit();
    first.join().unwrap();
}

#[test]
fn a_connection_that_the_server_has_closed_meanwhile_is_made_again() {
    let names = NameServer::start(zone);
    let goodbyes: [fn(&mut Peer); 3] = [
        |peer| drop(peer.try_send("421 4.4.2 idle\r\n")),
        |_| {},
        // Only when it is asked.
        |peer| turn(peer, "MAIL FROM:<>", "421 4.7.0 one letter a connection"),
    ];
    for goodbye in goodbyes {
        let (mut hosts, port) = listeners(&["127.0.0.2"]);
        let server = serve(hosts.pop().unwrap(), move |listener| {
            let mut peer = accept(listener);
            greet(&mut peer, &[]);
            take(&mut peer, "a@red.test", "250 one");
            goodbye(&mut peer);
            drop(peer);
            let mut peer = accept(listener);
            greet(&mut peer, &[]);
            take(&mut peer, "b@red.test", "250 two");
        });
        let mut mailer = mailer(&names, port);
        assert_eq!(send(&mut mailer, &["a@red.test"]), ["250 one"]);
        assert_eq!(send(&mut mailer, &["b@red.test"]), ["250 two"]);
        server.join().unwrap();
    }
}

#[test]
fn a_host_that_may_have_the_letter_is_the_last() {
    let names = NameServer::start(zone);
    let (mut hosts, port) = listeners(&["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let first = serve(hosts.remove(0), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        turn(&mut peer, "MAIL FROM:<>", "250 ok");
        turn(&mut peer, "RCPT TO:<a@red.test>", "250 ok");
        turn(&mut peer, "DATA", "354 go");
        ["x", "."].iter().for_each(|line| super::hear(&mut peer, line));
    });
    let mut mailer = mailer(&names, port);
    let said = send(&mut mailer, &["a@red.test"]);
    assert!(said[0].ends_with("it may or may not have been delivered"), "{said:?}");
    first.join().unwrap();
    for other in hosts {
        other.set_nonblocking(true).unwrap();
        assert!(other.accept().is_err(), "another host was asked");
    }
}

#[test]
fn hosts_behind_this_one_are_not_asked() {
    let names = NameServer::start(zone);
    let own = |name: &str| {
        let own_names = vec![Domain::parse(name.as_bytes()).unwrap()];
        let Destination::Domain { domain, port, resolver, .. } = destination(&names, 1) else {
            panic!("a domain")
        };
        let destination = Destination::Domain { domain, port, resolver, own_names };
        Mailer::new(&Arc::new(settings()), destination)
    };
    let failure = own("a.red.test").unwrap_err();
    assert_eq!(failure.text, "red.test: its mail would come back to this host");
    assert_eq!(failure.code.to_string(), "5.4.6");
    let said = send(&mut own("b.red.test").unwrap(), &["a@red.test"]);
    assert_eq!(said, ["connect to 127.0.0.3:1: Connection refused"]);
}

#[test]
fn a_domain_in_utf8_is_asked_for_as_dns_has_it() {
    let names = NameServer::start(|name, kind| match (name, kind) {
        ("xn--bcher-kva.test", "MX") => Says::Records(vec![mx(0, "")]),
        _ => Says::NoName,
    });
    let Destination::Domain { port, resolver, own_names, .. } = destination(&names, 1) else {
        panic!("a domain")
    };
    let domain = "b\u{fc}cher.test".into();
    let destination = Destination::Domain { domain, port, resolver, own_names };
    let failure = Mailer::new(&Arc::new(settings()), destination).unwrap_err();
    assert_eq!(failure.code.to_string(), "5.1.10");
}

/// A zone that is signed, or not, with what a host's TLSA is.
fn signed(mx_is: bool, address_is: bool, tlsa: Says) -> impl Fn(&str, &str) -> Says + Send + Sync {
    let says = |is_signed: bool, value| match is_signed {
        true => Says::Signed(vec![value]),
        false => Says::Records(vec![value]),
    };
    move |name, kind| match (name, kind) {
        ("red.test", "MX") => says(mx_is, mx(10, "a.red.test")),
        ("a.red.test", "A") => says(address_is, address("127.0.0.2")),
        ("a.red.test", "AAAA") if address_is => Says::Signed(vec![]),
        ("a.red.test", "AAAA") => Says::Records(vec![]),
        (_, "TLSA") => tlsa.clone(),
        _ => Says::NoName,
    }
}

#[test]
fn tlsa_is_asked_for_where_all_before_is_signed_and_its_failure_is_the_hosts() {
    for (mx_is, address_is, asks) in
        [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
    {
        let fails = Says::Code(testkit::name_server::SERVFAIL);
        let names = NameServer::start(signed(mx_is, address_is, fails));
        let settings = Settings { tls: TlsUse::Opportunistic, ..settings() };
        let mut mailer = Mailer::new(&Arc::new(settings), destination(&names, 1)).unwrap();
        let outcomes = mailer.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut &b"x"[..]);
        let failure = outcomes[0].as_ref().unwrap_err();
        assert!(failure.is_temporary());
        let stage = if asks { Stage::Lookup } else { Stage::Connect };
        assert_eq!(failure.stage, stage, "{failure}");
        let asked: Vec<String> =
            names.asked().into_iter().filter(|it| it.kind == "TLSA").map(|it| it.name).collect();
        assert_eq!(asked.is_empty(), !asks, "{asked:?}");
        assert!(asked.iter().all(|name| name == "_1._tcp.a.red.test"), "{asked:?}");
    }
}

#[test]
fn without_tls_no_tlsa_is_asked_for() {
    let names = NameServer::start(signed(true, true, Says::NoName));
    let mut mailer = mailer(&names, 1);
    send(&mut mailer, &["a@red.test"]);
    assert!(names.asked().iter().all(|it| it.kind != "TLSA"));
}

#[test]
fn a_domain_without_mx_takes_its_mail_at_its_own_address() {
    let (mut hosts, port) = listeners(&["127.0.0.2"]);
    let names = NameServer::start(|name, kind| {
        Says::Records(match (name, kind) {
            ("red.test", "A") => vec![address("127.0.0.2")],
            ("red.test", _) => vec![],
            _ => return Says::NoName,
        })
    });
    let server = serve(hosts.pop().unwrap(), |listener| {
        let mut peer = accept(listener);
        greet(&mut peer, &[]);
        take(&mut peer, "a@red.test", "250 taken");
    });
    let mut mailer = mailer(&names, port);
    assert_eq!(send(&mut mailer, &["a@red.test"]), ["250 taken"]);
    server.join().unwrap();
}

#[test]
fn of_many_addresses_ten_are_tried() {
    let names = NameServer::start(|name, kind| {
        Says::Records(match (name, kind) {
            ("red.test", "MX") => vec![mx(10, "a.red.test"), mx(20, "b.red.test")],
            ("a.red.test" | "b.red.test", "A") => {
                (1..=8).map(|number| address(&format!("127.0.0.{number}"))).collect()
            }
            ("a.red.test" | "b.red.test", _) => vec![],
            _ => return Says::NoName,
        })
    });
    let (listeners, port) = listeners(&["127.0.0.1"]);
    drop(listeners);
    let mut mailer = mailer(&names, port);
    let said = send(&mut mailer, &["a@red.test"]);
    assert_eq!(said, [format!("connect to 127.0.0.2:{port}: Connection refused")]);
    assert_eq!(mailer.take_earlier().len(), 9);
}

#[test]
fn a_host_without_an_address_is_passed_over_and_an_unknown_one_is_waited_for() {
    for (second, is_temporary) in
        [(Says::NoName, false), (Says::Code(testkit::name_server::SERVFAIL), true)]
    {
        let names = NameServer::start(move |name, kind| match (name, kind) {
            ("red.test", "MX") => Says::Records(vec![mx(10, "a.red.test"), mx(20, "b.red.test")]),
            ("b.red.test", _) => second.clone(),
            // The domain's own address is never used where it has an MX.
            ("red.test", _) => Says::Records(vec![address("127.0.0.2")]),
            _ => Says::NoName,
        });
        let mut mailer = mailer(&names, 1);
        let outcomes = mailer.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut &b"x"[..]);
        let failure = outcomes[0].as_ref().unwrap_err();
        assert_eq!((failure.is_temporary(), failure.stage), (is_temporary, Stage::Lookup));
        assert!(names.asked().iter().all(|it| it.name != "red.test" || it.kind == "MX"));
    }
}
