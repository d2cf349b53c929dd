//! Handshakes over a socket pair: the server's key lies with another "process".
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testkit::TempDir;
use tls::{Chains, Client, Keys, Pair, Server, Sign, SignatureRequest, Tickets};

/// An authority, and a server's files of its making.
struct Files {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    authority: PathBuf,
}

impl Files {
    fn new() -> Files {
        let dir = TempDir::new();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = dir.path().join("ca.pem");
        fs::write(&authority, params.self_signed(&key).unwrap().pem()).unwrap();
        Files { dir, issuer: Issuer::new(params, key), authority }
    }

    fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        let pair = Pair { chain: path("crt"), key: path("key") };
        fs::write(&pair.chain, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

/// Keeps the keys, and counts what it signs.
#[derive(Debug)]
struct Signer(Keys, AtomicUsize);

impl Sign for Signer {
    fn sign(&self, request: &SignatureRequest) -> io::Result<Vec<u8>> {
        self.1.fetch_add(1, SeqCst);
        let request = SignatureRequest::decode(&request.encode()).unwrap();
        self.0.sign(&request).ok_or_else(|| io::Error::other("refused"))
    }
}

fn server(pairs: &[Pair], tickets: &Tickets) -> (Server, Arc<Signer>) {
    let keys = Keys::read(pairs).unwrap();
    let chains = Chains::of(&keys);
    let signer = Arc::new(Signer(keys, AtomicUsize::new(0)));
    let sign: Arc<dyn Sign> = signer.clone();
    (Server::new(&chains, &sign, tickets).unwrap(), signer)
}

/// A conversation: the client's last words back, whether it was a resumed session, and the channel
/// bindings of both sides; or the client's error.
fn talk(server: &Server, client: &Client, name: &str) -> io::Result<(bool, [Option<[u8; 32]>; 2])> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = server.clone();
    let echo = std::thread::spawn(move || -> io::Result<Option<[u8; 32]>> {
        let mut stream = server.accept(theirs)?;
        let mut line = [0; 5];
        stream.read_exact(&mut line)?;
        stream.write_all(&line)?;
        stream.close()?;
        Ok(stream.exporter())
    });
    let mut stream = client.connect(name, ours)?;
    stream.write_all(b"hello")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    assert_eq!(text, "hello");
    let bindings = [stream.exporter(), echo.join().unwrap()?];
    Ok((stream.is_resumed(), bindings))
}

#[test]
fn a_server_without_a_key_talks_and_both_ends_have_one_channel_binding() {
    let files = Files::new();
    let (server, signer) = server(&[files.pair("mail.test")], &Tickets::new().unwrap());
    let client = Client::new(Some(&files.authority)).unwrap();
    let (is_resumed, [ours, theirs]) = talk(&server, &client, "mail.test").unwrap();
    assert!(!is_resumed && ours.is_some() && ours == theirs);
    assert_eq!(signer.1.load(SeqCst), 1);
}

#[test]
fn a_ticket_of_one_server_process_is_taken_by_another() {
    let files = Files::new();
    let (pair, tickets) = (files.pair("mail.test"), Tickets::new().unwrap());
    let (first, _) = server(std::slice::from_ref(&pair), &tickets);
    let (second, signer) = server(&[pair], &tickets);
    let client = Client::new(Some(&files.authority)).unwrap();
    assert!(!talk(&first, &client, "mail.test").unwrap().0);
    assert!(talk(&second, &client, "mail.test").unwrap().0);
    assert_eq!(signer.1.load(SeqCst), 0, "a resumed session needs no signature");
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let files = Files::new();
    let pairs = [files.pair("one.test"), files.pair("two.test")];
    let (server, _) = server(&pairs, &Tickets::new().unwrap());
    let client = Client::new(Some(&files.authority)).unwrap();
    talk(&server, &client, "one.test").unwrap();
    talk(&server, &client, "two.test").unwrap();
    let error = talk(&server, &client, "three.test").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    let (server, _) = server(&[files.pair("mail.test")], &Tickets::new().unwrap());
    let client = Client::new(Some(&others.authority)).unwrap();
    let error = talk(&server, &client, "mail.test").unwrap_err();
    assert!(error.to_string().starts_with("invalid peer certificate: "), "{error}");
}

#[test]
fn files_that_are_wrong_are_named() {
    let files = Files::new();
    let (one, two) = (files.pair("one.test"), files.pair("two.test"));
    let wrong = |chain: &PathBuf, key: &PathBuf| {
        let pair = Pair { chain: chain.clone(), key: key.clone() };
        Keys::read(&[pair]).unwrap_err().to_string()
    };
    let missing = files.dir.path().join("missing");
    let expected = format!("certificate {}: No such file or directory", missing.display());
    assert_eq!(wrong(&missing, &one.key), expected);
    let expected = format!("key {}: not the key of {}", two.key.display(), one.chain.display());
    assert_eq!(wrong(&one.chain, &two.key), expected);
    let expected = format!("key {}: no private key in it", one.chain.display());
    assert_eq!(wrong(&one.chain, &one.chain), expected);
}

#[test]
fn nothing_but_a_handshake_is_signed() {
    let files = Files::new();
    let keys = Keys::read(&[files.pair("mail.test")]).unwrap();
    let scheme = rustls::SignatureScheme::ECDSA_NISTP256_SHA256;
    let signed = |key, message: &[u8]| {
        keys.sign(&SignatureRequest { key, scheme, message: message.to_vec() }).is_some()
    };
    let tls13 = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat();
    let tls12 = [&[7; 64][..], &[3, 0, 29, 32], &[7; 32]].concat();
    assert!(signed(0, &tls13) && signed(0, &tls12));
    assert!(!signed(1, &tls13), "there is no such key");
    for other in [&b""[..], b"a letter", &[7; 100], &[b' '; 98]] {
        assert!(!signed(0, other));
    }
    assert_eq!(SignatureRequest::decode(&[0, 4]), None);
    assert_eq!(SignatureRequest::decode(&[7; 1000]), None);
}
