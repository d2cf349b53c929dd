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

impl PublicPart {
    /// Splits one off.
    fn decode(bytes: &[u8]) -> Option<(PublicPart, &[u8])> {
        let (&[algorithm, count], mut rest) = bytes.split_first_chunk()?;
        let (mut schemes, mut chain) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (scheme, more) = rest.split_first_chunk()?;
            schemes.push(SignatureScheme::from(u16::from_be_bytes(*scheme)));
            rest = more;
        }
        let (&count, mut rest) = rest.split_first()?;
        for _ in 0..count {
            let (length, more) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (certificate, more) = more.split_at_checked(length)?;
            chain.push(CertificateDer::from(certificate.to_vec()));
            rest = more;
        }
        let algorithm = SignatureAlgorithm::from(algorithm);
        (!chain.is_empty()).then_some((PublicPart { chain, schemes, algorithm }, rest))
    }
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

    /// As bytes, for the other processes: of each chain the algorithm, the schemes, the certificates, each list
    /// with its length before it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            bytes.push(u8::from(part.algorithm));
            bytes.push(u8::try_from(part.schemes.len()).unwrap_or(0));
            part.schemes.iter().for_each(|scheme| bytes.extend(u16::from(*scheme).to_be_bytes()));
            bytes.push(u8::try_from(part.chain.len()).unwrap_or(0));
            for certificate in &part.chain {
                bytes.extend(u32::try_from(certificate.len()).unwrap_or(0).to_be_bytes());
                bytes.extend_from_slice(certificate);
            }
        }
        bytes
    }

    /// What [`Chains::encode`] has made; `None` where it is malformed, or there is no chain.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Chains> {
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let part;
            (part, rest) = PublicPart::decode(rest)?;
            parts.push(part);
        }
        (!parts.is_empty()).then_some(Chains(parts))
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
