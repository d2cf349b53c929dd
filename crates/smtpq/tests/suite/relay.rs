//! A relay host, and what DNS says of its certificate (DANE, RFC 7672).

use testkit::Authority;
use testkit::mail_server::MailServer;
use testkit::name_server::{SERVFAIL, Says, Value, address};

use crate::common::{Site, said};

/// A name server that knows the relay host; its zone is signed, or not, and says this of the certificate.
fn site(is_signed: bool, tlsa: Says) -> Site {
    Site::with(move |name, kind| match (name, kind) {
        ("relay.test", "A") if is_signed => Says::Signed(vec![address("127.0.0.1")]),
        ("relay.test", "A") => Says::Records(vec![address("127.0.0.1")]),
        ("relay.test", _) if is_signed => Says::Signed(Vec::new()),
        ("relay.test", _) => Says::Records(Vec::new()),
        (_, "TLSA") => tlsa.clone(),
        _ => Says::NoName,
    })
}

#[test]
fn what_a_signed_zone_says_of_the_relay_hosts_certificate_holds() {
    let server = MailServer::start(|_| None); // without TLS
    let relay = format!("relay.test:{}", server.port());
    let key = Authority::new().pair("relay.test").public_key();
    let tlsa = Says::Signed(vec![Value::Tlsa(3, 1, 0, key)]);
    for (is_signed, tlsa, arrives) in [
        (true, tlsa.clone(), false),
        (true, Says::Code(SERVFAIL), false), // an answer that is missing is no proof that there is none
        (true, Says::Signed(Vec::new()), true),
        (false, tlsa, true),
    ] {
        let site = site(is_signed, tlsa.clone());
        let before = server.letters().len();
        site.put(&["bob@red.test"]);
        let output = site.once("1", &["--relayhost", &relay]);
        let has_arrived = server.letters().len() > before;
        assert_eq!(has_arrived, arrives, "{is_signed}, {tlsa:?}: {}", said(&output));
        assert_eq!(site.names("letters").is_empty(), arrives, "else it waits");
    }
}
