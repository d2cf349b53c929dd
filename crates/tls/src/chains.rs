//! The certificate chains, in the process that talks to clients.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use webpki::EndEntityCert;

use crate::keys::{Keys, SignatureRequest, schemes};

/// What is known of a key without having it.
#[derive(Clone, Debug)]
struct PublicPart {
    chain: Vec<CertificateDer<'static>>,
    schemes: Vec<SignatureScheme>,
    algorithm: SignatureAlgorithm,
}

/// The chains of a server, and what its keys can do. No key is among it.
#[derive(Clone, Debug)]
pub struct Chains(Vec<PublicPart>);

/// Asks the process that has the keys for a signature.
pub trait Sign: fmt::Debug + Send + Sync {
    /// # Errors
    /// The other process does not answer, or refuses.
    fn sign(&self, request: &SignatureRequest) -> io::Result<Vec<u8>>;
}

impl Chains {
    /// The public part of these keys.
    #[must_use]
    pub fn of(keys: &Keys) -> Chains {
        let public = |key: &CertifiedKey| PublicPart {
            chain: key.cert.clone(),
            schemes: schemes(key.key.as_ref()),
            algorithm: key.key.algorithm(),
        };
        Chains(keys.iter().map(public).collect())
    }

    /// Chooses the chain by the name that the client asks for (SNI, RFC 6066 §3), where one of them has that
    /// name; else the first.
    pub(crate) fn resolver(&self, signer: &Arc<dyn Sign>) -> Arc<dyn ResolvesServerCert> {
        let identity = |(number, part): (usize, &PublicPart)| {
            let PublicPart { chain, schemes, algorithm } = part.clone();
            let key = RemoteKey { number, schemes, algorithm, signer: Arc::clone(signer) };
            Arc::new(CertifiedKey::new(chain, Arc::new(key)))
        };
        Arc::new(ByName(self.0.iter().enumerate().map(identity).collect()))
    }
}

#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.0.iter().find(|identity| has_name(identity, &name))
        });
        named.or(self.0.first()).cloned()
    }
}

fn has_name(identity: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = identity.cert.first();
    let certificate = certificate.and_then(|der| EndEntityCert::try_from(der).ok());
    certificate.is_some_and(|it| it.verify_is_valid_for_subject_name(name).is_ok())
}

/// A key that another process has.
#[derive(Clone, Debug)]
struct RemoteKey {
    number: usize,
    schemes: Vec<SignatureScheme>,
    algorithm: SignatureAlgorithm,
    signer: Arc<dyn Sign>,
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RemoteSigner { key: self.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[derive(Debug)]
struct RemoteSigner {
    key: RemoteKey,
    scheme: SignatureScheme,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let RemoteKey { number, signer, .. } = &self.key;
        let request =
            SignatureRequest { key: *number, scheme: self.scheme, message: message.to_vec() };
        signer.sign(&request).map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
