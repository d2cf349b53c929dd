//! The identity of a server, as its processes know it: the parent and those that talk to clients the chains,
//! the signer the keys.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forknet::{Answer, Client, Endpoint, Identity, Line, Signatures, Values, reason};
use log::{Level, info};

use crate::chains::{Chains, Sign};
use crate::error::Result;
use crate::keys::{Keys, SignatureRequest};
use crate::pem::Pair;
use crate::server;
use crate::session::Agreed;
use crate::tickets::Tickets;

/// Longest wait for a signature, on a busy machine.
const SIGNATURE_WAIT: Duration = Duration::from_secs(10);
/// Age at which the keys of tickets change, of which rustls says nothing: six hours.
const TICKETS_AGE: Duration = Duration::from_secs(6 * 60 * 60);

/// The identity of a server that offers TLS.
#[derive(Debug)]
pub struct ServerIdentity {
    pairs: Vec<Pair>,
    tickets: Tickets,
    /// The chains, and when the keys of tickets were last changed; `None` before the keys were read.
    known: Mutex<Option<(Chains, Instant)>>,
}

/// Offers TLS as the options say ([`crate::rows`]). `None` without any of them.
///
/// # Errors
/// [`forknet::Error::Usage`]: a certificate without a key, a key without a certificate, an address without
/// both.
pub fn from_options(
    values: &Values,
) -> forknet::Result<Option<(Arc<ServerIdentity>, Vec<Endpoint>)>> {
    let files = |name: &str| -> forknet::Result<Vec<PathBuf>> {
        let paths = values.texts(name).into_iter().map(|text| {
            // --daemon changes to / before they are read.
            std::path::absolute(&text).map_err(|error| values.wrong(name, &text, reason(&error)))
        });
        paths.collect()
    };
    let (chains, keys) = (files("tls-cert")?, files("tls-key")?);
    if chains.len() != keys.len() {
        return Err(
            values.conflict(&["tls-cert", "tls-key"], "--tls-cert and --tls-key come in pairs")
        );
    }
    let listen = values
        .texts("tls-listen")
        .into_iter()
        .map(|text| text.parse::<Endpoint>().map_err(|why| values.wrong("tls-listen", &text, why)));
    let listen = listen.collect::<forknet::Result<Vec<_>>>()?;
    if chains.is_empty() {
        let is_wrong = !listen.is_empty();
        let why = "--tls-listen needs --tls-cert and --tls-key";
        return if is_wrong { Err(values.conflict(&["tls-listen"], why)) } else { Ok(None) };
    }
    let pairs = chains.into_iter().zip(keys).map(|(chain, key)| Pair { chain, key });
    let identity = ServerIdentity::new(pairs.collect())?;
    Ok(Some((Arc::new(identity), listen)))
}

impl ServerIdentity {
    /// An identity of these files, which are read later.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(pairs: Vec<Pair>) -> Result<ServerIdentity> {
        Ok(ServerIdentity { pairs, tickets: Tickets::new()?, known: Mutex::new(None) })
    }

    /// Makes the handshake with a client, whose dialogue goes on under TLS; returns `None` if that fails, which
    /// is logged and ends the session. What the client has sent in the clear before must have been read, and is
    /// forgotten by the caller.
    #[must_use]
    pub fn begin(&self, client: &mut Client) -> Option<Agreed> {
        client.title.set("TLS handshake");
        let made = self.accept(client);
        if let Err(error) = &made {
            // A proxy's own checks end here too.
            let level = if client.peer.is_proxy() { Level::Debug } else { Level::Info };
            log::log!(level, "{}: TLS handshake: {}", client.peer, reason(error));
        }
        made.ok()
    }

    /// # Errors
    /// Those of the connection; `InvalidData` for a handshake that fails.
    fn accept(&self, client: &mut Client) -> io::Result<Agreed> {
        let no_signer = || io::Error::other("no signer");
        let signer: Arc<dyn Sign> =
            Arc::new(RemoteSigner(client.signer.clone().ok_or_else(no_signer)?));
        let chains = self.known().as_ref().map(|(chains, _)| chains.clone());
        let server = server::Server::new(&chains.ok_or_else(no_signer)?, &signer, &self.tickets);
        let mut session = server.and_then(|server| server.session()).map_err(io::Error::other)?;
        client.conn.handshake(&mut session)?;
        let agreed = session.agreed();
        client.conn.set_tls(Box::new(session));
        info!("{}: {}", client.peer, agreed.description);
        Ok(agreed)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(Chains, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity for ServerIdentity {
    fn read(&self) -> forknet::Result<(Signatures, Vec<u8>)> {
        let keys = Keys::read(&self.pairs)?;
        let public = Chains::of(&keys).encode();
        let sign = move |question: &[u8]| {
            let request = SignatureRequest::decode(question);
            request.and_then(|request| keys.sign(&request)).unwrap_or_default()
        };
        Ok((Box::new(sign), public))
    }

    fn publish(&self, public: &[u8]) -> forknet::Result<()> {
        let malformed = || forknet::Error::Refused("signer: malformed chains".into());
        let chains = Chains::decode(public).ok_or_else(malformed)?;
        let mut known = self.known();
        let since = known.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        *known = Some((chains, since));
        Ok(())
    }

    fn tick(&self) -> bool {
        self.tickets.roll();
        match &mut *self.known() {
            Some((_, since)) if since.elapsed() > TICKETS_AGE => {
                *since = Instant::now();
                true
            }
            _ => false,
        }
    }
}

/// Asks the signer over a line.
#[derive(Debug)]
struct RemoteSigner(Line);

impl Sign for RemoteSigner {
    fn sign(&self, request: &SignatureRequest) -> io::Result<Vec<u8>> {
        match self.0.ask(&request.encode(), SIGNATURE_WAIT)? {
            Answer::Final(signature) if !signature.is_empty() => Ok(signature),
            _ => Err(io::Error::other("the signer refuses")),
        }
    }
}
