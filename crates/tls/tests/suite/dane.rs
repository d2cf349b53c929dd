//! Which certificates are taken where DNS names some (RFC 6698, RFC 7672).

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use dns::Tlsa;
use forknet::Tls;
use sha2::{Digest, Sha256, Sha512};
use testkit::Authority;
use tls::{Chains, Client, Keys, Pair, Server, Session, Sign, SignatureRequest, Tickets};

#[derive(Debug)]
struct Signer(Keys);

impl Sign for Signer {
    fn sign(&self, request: &SignatureRequest) -> io::Result<Vec<u8>> {
        self.0.sign(request).ok_or_else(|| io::Error::other("refused"))
    }
}

/// A server with a certificate of its own authority, for mail.test.
struct Site {
    authority: Authority,
    pair: testkit::Pair,
}

impl Site {
    fn new() -> Site {
        let authority = Authority::new();
        let pair = authority.pair("mail.test");
        Site { authority, pair }
    }

    /// The handshake of a client with the server, which it calls so.
    fn meets(&self, client: &Client, name: &str) -> Result<(), String> {
        let files = Pair { chain: self.pair.certificate.clone(), key: self.pair.key.clone() };
        let keys = Keys::read(&[files]).unwrap();
        let chains = Chains::of(&keys);
        let sign: Arc<dyn Sign> = Arc::new(Signer(keys));
        let server = Server::new(&chains, &sign, &Tickets::new().unwrap()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let other = std::thread::spawn(move || shake(server.session().unwrap(), theirs));
        let met = shake(client.session(name).unwrap(), ours).map_err(|error| error.to_string());
        let _ = other.join().unwrap(); // it fails too where the client objects
        met
    }

    fn whole(&self) -> Vec<u8> {
        self.pair.shown()
    }
}

fn shake(mut session: Session, mut stream: UnixStream) -> io::Result<()> {
    loop {
        while session.wants_to_send() {
            session.send(&mut stream)?;
        }
        if !session.is_handshaking() {
            return Ok(());
        }
        let received = session.receive(&mut stream);
        if received.is_err() && session.wants_to_send() {
            let _ = session.send(&mut stream); // the alert
        }
        if received? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn record(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Tlsa {
    let data = match matching {
        1 => Sha256::digest(data).to_vec(),
        2 => Sha512::digest(data).to_vec(),
        _ => data.to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn client(records: &[Tlsa], names: &[&str]) -> Client {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Client::dane(records, &names, None).unwrap()
}

#[test]
fn a_certificate_that_dns_names_is_taken_whatever_its_authority_and_its_name() {
    let (site, other) = (Site::new(), Site::new());
    for matching in 0..3 {
        for selector in 0..2 {
            let data = |of: &Site| if selector == 0 { of.whole() } else { of.pair.public_key() };
            let right = record(3, selector, matching, &data(&site));
            let wrong = record(3, selector, matching, &data(&other));
            let client_of = |records: &[Tlsa]| client(records, &["another.test"]);
            let about = format!("3 {selector} {matching}");
            assert_eq!(
                site.meets(&client_of(std::slice::from_ref(&right)), "127.0.0.1"),
                Ok(()),
                "{about}"
            );
            assert_eq!(site.meets(&client_of(&[wrong.clone(), right]), "127.0.0.1"), Ok(()));
            let refused = site.meets(&client_of(&[wrong]), "127.0.0.1").unwrap_err();
            assert!(refused.contains("invalid peer certificate"), "{about}: {refused}");
        }
    }
}

#[test]
fn an_authority_that_dns_names_is_taken_where_it_is_sent_and_the_name_is_right() {
    let (site, other) = (Site::new(), Site::new());
    let authority = site.authority.certificate();
    let digest = [record(2, 0, 1, &authority)];
    let names = &["mail.test", "red.test"][..];
    assert!(site.meets(&client(&digest, names), "mail.test").is_err(), "it is not sent");
    let whole = [record(2, 0, 0, &authority)];
    assert_eq!(site.meets(&client(&whole, names), "mail.test"), Ok(()), "it is in DNS whole");
    site.pair.send_authority(&site.authority);
    assert_eq!(site.meets(&client(&digest, names), "mail.test"), Ok(()));
    // The domain of the mail, in place of the host.
    assert_eq!(site.meets(&client(&digest, &["x.test", "mail.test"]), "mail.test"), Ok(()));
    let refused = site.meets(&client(&digest, &["x.test"]), "mail.test").unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    let wrong = [record(2, 0, 2, &other.authority.certificate())];
    assert!(site.meets(&client(&wrong, names), "mail.test").is_err());
    // The server's own certificate is no authority.
    assert!(site.meets(&client(&[record(2, 0, 1, &site.whole())], names), "mail.test").is_err());
}

#[test]
fn records_that_cannot_be_used_leave_any_certificate_or_those_that_are_trusted() {
    let (site, other) = (Site::new(), Site::new());
    let cut = Tlsa { data: vec![1, 2, 3], ..record(3, 1, 1, b"") };
    let unusable = [
        record(0, 0, 1, b"x"),
        record(1, 1, 1, b"x"),
        record(3, 2, 1, b"x"),
        record(3, 1, 3, b"x"),
        record(4, 0, 0, b"x"),
        cut,
    ];
    assert_eq!(site.meets(&client(&unusable, &[]), "mail.test"), Ok(()));
    let trusts = |of: &Site| {
        let trusted = Client::new(Some(&of.authority.file())).unwrap();
        Client::dane(&unusable, &[], Some(&trusted)).unwrap()
    };
    assert_eq!(site.meets(&trusts(&site), "mail.test"), Ok(()));
    assert!(site.meets(&trusts(&other), "mail.test").is_err());
    // One that can be used decides alone.
    let with = [&unusable[..], &[record(3, 0, 1, &other.whole())]].concat();
    assert!(site.meets(&client(&with, &[]), "mail.test").is_err());
}

#[test]
fn any_certificate_is_taken_where_none_is_asked_for() {
    let site = Site::new();
    for name in ["mail.test", "127.0.0.1"] {
        assert_eq!(site.meets(&Client::any().unwrap(), name), Ok(()));
    }
}
