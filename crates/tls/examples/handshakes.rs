//! Counts TLS handshakes a second: the load of scripts/bench/tls.
//!
//! usage: handshakes HOST:PORT CA-FILE NAME full|resumed CLIENTS SECONDS
//!
//! Each of CLIENTS threads connects, makes the handshake, reads the greeting, says QUIT, reads to the end, and
//! begins again. With `resumed` each thread goes on with its last session. Prints how many there were in a second.

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Longest wait for the server's next bytes.
const WAIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [at, authority, name, kind, clients, seconds] = args.as_slice() else {
        let _ = writeln!(std::io::stderr(), "usage: see the top of the file");
        return ExitCode::from(2);
    };
    match run([at, authority, name, kind], clients, seconds) {
        Ok(rate) => {
            let _ = writeln!(std::io::stdout(), "{rate:.1}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "handshakes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run([at, authority, name, kind]: [&str; 4], clients: &str, seconds: &str) -> Outcome<f64> {
    let (clients, limit) = (clients.parse::<usize>()?, Duration::from_secs_f64(seconds.parse()?));
    let is_resumed = kind == "resumed";
    let begin = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (at, name) = (at.to_owned(), name.to_owned());
            let config = Arc::new(config(authority, is_resumed)?);
            Ok(thread::spawn(move || count(&config, &at, &name, is_resumed, begin + limit)))
        })
        .collect::<Outcome<_>>()?;
    let mut all = 0;
    for thread in threads {
        all += thread.join().map_err(|_| "a thread has panicked")??;
    }
    Ok(f64::from(all) / begin.elapsed().as_secs_f64())
}

fn config(authority: &str, is_resumed: bool) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    if !is_resumed {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn count(
    config: &Arc<ClientConfig>,
    at: &str,
    name: &str,
    is_resumed: bool,
    until: Instant,
) -> Outcome<u32> {
    if is_resumed {
        session(config, at, name)?; // the one that the next goes on with
    }
    let mut sessions = 0;
    while Instant::now() < until {
        let kind = session(config, at, name)?;
        if is_resumed != (kind == Some(HandshakeKind::Resumed)) {
            return Err(format!("not what was asked for: {kind:?}").into());
        }
        sessions += 1;
    }
    Ok(sessions)
}

fn session(config: &Arc<ClientConfig>, at: &str, name: &str) -> Outcome<Option<HandshakeKind>> {
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(WAIT))?;
    let server = ServerName::try_from(name.to_owned())?;
    let mut tls = ClientConnection::new(Arc::clone(config), server)?;
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    let mut greeting = [0; 512];
    let length = stream.read(&mut greeting)?;
    if !greeting.starts_with(b"+OK") {
        return Err(format!(
            "no greeting: {}",
            greeting.get(..length).unwrap_or_default().escape_ascii()
        )
        .into());
    }
    stream.write_all(b"QUIT\r\n")?;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest); // some servers end without close_notify
    Ok(tls.handshake_kind())
}
