//! The private keys, in the process that signs.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use rustls::sign::{CertifiedKey, SigningKey};

use crate::error::{Error, Result};
use crate::pem::{Pair, read_chain, read_key};

/// Longest message that is signed, in bytes: of TLS 1.3 it is 64 spaces, 34 bytes of text and a hash
/// (RFC 8446 §4.4.3), of TLS 1.2 two randoms of 32 bytes and the parameters (RFC 8422 §5.4).
const LONGEST_MESSAGE: usize = 512;
/// Longest signature, in bytes: RSA of 8192 bits.
pub const LONGEST_SIGNATURE: usize = 1024;

/// The keys of a server, each with its certificate chain.
#[derive(Debug)]
pub struct Keys(Vec<Arc<CertifiedKey>>);

impl Keys {
    /// Reads the pairs, and checks that each key is its certificate's.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(pairs: &[Pair]) -> Result<Keys> {
        pairs.iter().map(read).collect::<Result<Vec<_>>>().map(Keys)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CertifiedKey> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Signs what a process asks for that has none of the keys; `None` where that is no request for a
    /// signature of a handshake. The process may have been taken over.
    #[must_use]
    pub fn sign(&self, request: &SignatureRequest) -> Option<Vec<u8>> {
        if !is_of_a_handshake(&request.message) {
            return None;
        }
        let key = &self.0.get(request.key)?.key;
        key.choose_scheme(&[request.scheme])?.sign(&request.message).ok()
    }
}

/// A key is for handshakes alone: what a server signs in TLS 1.3 says so (RFC 8446 §4.4.3), and in TLS 1.2
/// it is the two randoms and the parameters of a curve, which begin with the type 3 (RFC 8422 §5.4).
fn is_of_a_handshake(message: &[u8]) -> bool {
    const RANDOMS: usize = 64;
    const NAMED_CURVE: u8 = 3;
    let mut tls13 = [b' '; 64].to_vec();
    tls13.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
    message.len() <= LONGEST_MESSAGE
        && (message.starts_with(&tls13) || message.get(RANDOMS) == Some(&NAMED_CURVE))
}

fn read(pair: &Pair) -> Result<Arc<CertifiedKey>> {
    let (chain, key) = (read_chain(&pair.chain)?, read_key(&pair.key)?);
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(key) => Ok(Arc::new(key)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let why = format!("not the key of {}", pair.chain.display());
            Err(Error::file("key", &pair.key)(why))
        }
        Err(error) => Err(Error::file("certificate", &pair.chain)(error)),
    }
}

/// What a handshake wants signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRequest {
    /// The number of the pair, as it was given.
    pub key: usize,
    /// How it is signed.
    pub scheme: SignatureScheme,
    /// What is signed.
    pub message: Vec<u8>,
}

impl SignatureRequest {
    /// As bytes, for another process: number of the key, scheme (RFC 8446 §4.2.3), message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let key = u8::try_from(self.key).unwrap_or(u8::MAX);
        let scheme = u16::from(self.scheme).to_be_bytes();
        [&[key][..], &scheme, &self.message].concat()
    }

    /// What [`SignatureRequest::encode`] has made; `None` where it is none, or too long.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<SignatureRequest> {
        let (key, rest) = bytes.split_first()?;
        let (scheme, message) = rest.split_first_chunk()?;
        (message.len() <= LONGEST_MESSAGE).then(|| SignatureRequest {
            key: usize::from(*key),
            scheme: SignatureScheme::from(u16::from_be_bytes(*scheme)),
            message: message.to_vec(),
        })
    }
}

/// The schemes that a key can sign by.
pub(crate) fn schemes(key: &dyn SigningKey) -> Vec<SignatureScheme> {
    let all = default_provider().signature_verification_algorithms.supported_schemes();
    all.into_iter().filter(|scheme| key.choose_scheme(&[*scheme]).is_some()).collect()
}
