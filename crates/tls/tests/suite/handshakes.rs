//! Handshakes over a socket pair: the server's key lies with another "process".

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use forknet::Tls;
use testkit::Authority;
use tls::{Chains, Client, Keys, Pair, Server, Session, Sign, SignatureRequest, Tickets};

fn pair(authority: &Authority, name: &str) -> Pair {
    let files = authority.pair(name);
    Pair { chain: files.certificate, key: files.key }
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
    let chains = Chains::decode(&Chains::of(&keys).encode()).unwrap();
    let signer = Arc::new(Signer(keys, AtomicUsize::new(0)));
    let sign: Arc<dyn Sign> = signer.clone();
    (Server::new(&chains, &sign, tickets).unwrap(), signer)
}

/// A session over a socket.
struct Over(Session, UnixStream);

impl Over {
    fn new(session: Session, stream: UnixStream) -> io::Result<Over> {
        let mut this = Over(session, stream);
        this.send()?;
        while this.0.is_handshaking() {
            if this.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            this.send()?;
        }
        Ok(this)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.0.wants_to_send() {
            self.0.send(&mut self.1)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let received = self.0.receive(&mut self.1);
        if received.is_err() {
            self.send()?; // the alert
        }
        received
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        assert_eq!(self.0.write(text)?, text.len());
        self.send()
    }

    /// Reads to the end, or as much as there is room for.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            match self.0.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.receive()? == 0 {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// A conversation: the client's last words back, whether it was a resumed session, and the channel
/// bindings of both sides; or the client's error.
fn talk(server: &Server, client: &Client, name: &str) -> io::Result<(bool, [Option<[u8; 32]>; 2])> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = server.clone();
    let echo = std::thread::spawn(move || -> io::Result<Option<[u8; 32]>> {
        let mut stream = Over::new(server.session().unwrap(), theirs)?;
        let mut line = [0; 5];
        stream.read(&mut line)?;
        stream.write(&line)?;
        stream.0.close();
        stream.send()?;
        Ok(stream.0.agreed().exporter)
    });
    let mut stream = Over::new(client.session(name).unwrap(), ours)?;
    stream.write(b"hello")?;
    let mut text = [0; 100];
    let length = stream.read(&mut text)?;
    assert_eq!(&text[..length], b"hello");
    let agreed = stream.0.agreed();
    Ok((agreed.is_resumed, [agreed.exporter, echo.join().unwrap()?]))
}

#[test]
fn a_server_without_a_key_talks_and_both_ends_have_one_channel_binding() {
    let files = Authority::new();
    let (server, signer) = server(&[pair(&files, "mail.test")], &Tickets::new().unwrap());
    let client = Client::new(Some(&files.file())).unwrap();
    let (is_resumed, [ours, theirs]) = talk(&server, &client, "mail.test").unwrap();
    assert!(!is_resumed && ours.is_some() && ours == theirs);
    assert_eq!(signer.1.load(SeqCst), 1);
}

#[test]
fn a_ticket_of_one_server_process_is_taken_by_another() {
    let files = Authority::new();
    let (pair, tickets) = (pair(&files, "mail.test"), Tickets::new().unwrap());
    let (first, _) = server(std::slice::from_ref(&pair), &tickets);
    let (second, signer) = server(&[pair], &tickets);
    let client = Client::new(Some(&files.file())).unwrap();
    assert!(!talk(&first, &client, "mail.test").unwrap().0);
    assert!(talk(&second, &client, "mail.test").unwrap().0);
    assert_eq!(signer.1.load(SeqCst), 0, "a resumed session needs no signature");
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let files = Authority::new();
    let pairs = [pair(&files, "one.test"), pair(&files, "two.test")];
    let (server, _) = server(&pairs, &Tickets::new().unwrap());
    let client = Client::new(Some(&files.file())).unwrap();
    talk(&server, &client, "one.test").unwrap();
    talk(&server, &client, "two.test").unwrap();
    let error = talk(&server, &client, "three.test").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (files, others) = (Authority::new(), Authority::new());
    let (server, _) = server(&[pair(&files, "mail.test")], &Tickets::new().unwrap());
    let client = Client::new(Some(&others.file())).unwrap();
    let error = talk(&server, &client, "mail.test").unwrap_err();
    assert!(error.to_string().starts_with("invalid peer certificate: "), "{error}");
}

#[test]
fn files_that_are_wrong_are_named() {
    let files = Authority::new();
    let (one, two) = (pair(&files, "one.test"), pair(&files, "two.test"));
    let wrong = |chain: &PathBuf, key: &PathBuf| {
        let pair = Pair { chain: chain.clone(), key: key.clone() };
        Keys::read(&[pair]).unwrap_err().to_string()
    };
    let missing = files.folder().join("missing");
    let expected = format!("certificate {}: No such file or directory", missing.display());
    assert_eq!(wrong(&missing, &one.key), expected);
    let expected = format!("key {}: not the key of {}", two.key.display(), one.chain.display());
    assert_eq!(wrong(&one.chain, &two.key), expected);
    fs::write(&two.key, fs::read(&one.chain).unwrap()).unwrap();
    let expected = format!("key {}: no private key in it", two.key.display());
    assert_eq!(wrong(&one.chain, &two.key), expected);
}

#[test]
fn a_key_that_other_users_may_read_is_refused() {
    let files = Authority::new();
    let pair = pair(&files, "mail.test");
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Keys::read(std::slice::from_ref(&pair)).unwrap_err().to_string();
    let expected = "other users may read or write it (chmod o-rw)";
    assert_eq!(error, format!("key {}: {expected}", pair.key.display()));
}

#[test]
fn malformed_chains_are_none() {
    let files = Authority::new();
    let pairs = [pair(&files, "one.test"), pair(&files, "two.test")];
    let bytes = Chains::of(&Keys::read(&pairs).unwrap()).encode();
    assert_eq!(Chains::decode(&bytes).unwrap().encode(), bytes);
    let whole = Chains::decode(&bytes).is_some();
    let cut = (0..bytes.len()).filter(|length| Chains::decode(&bytes[..*length]).is_some());
    assert!(whole && cut.count() == 1, "the first chain alone is the only beginning that is whole");
    assert!(Chains::decode(b"").is_none());
}

#[test]
fn nothing_but_a_handshake_is_signed() {
    let files = Authority::new();
    let keys = Keys::read(&[pair(&files, "mail.test")]).unwrap();
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
