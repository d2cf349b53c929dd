//! TLS in tests: an authority, the certificates of its making, and clients who trust it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::tempdir::TempDir;

/// An authority with its own folder.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a server's identity.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key, for its owner alone.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Authority {
        let dir = TempDir::new();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority of {}", dir.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Its own certificate, as bytes.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        rustls::pki_types::CertificateDer::from_pem_file(self.file()).unwrap().to_vec()
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a server's certificate and key in the files `NAME.crt` and `NAME.key`, or makes them again.
    ///
    /// # Panics
    /// It cannot.
    #[must_use]
    pub fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        let pair = Pair { certificate: path("crt"), key: path("key") };
        fs::write(&pair.certificate, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&pair.key, Permissions::from_mode(0o600)).unwrap();
        pair
    }

    /// A client who trusts it, and remembers the sessions that it has had.
    ///
    /// # Panics
    /// rustls has none of the versions.
    #[must_use]
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        let own = rustls::pki_types::CertificateDer::from_pem_file(self.file()).unwrap();
        roots.add(own).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        TlsClient(Arc::new(config))
    }
}

impl Pair {
    /// The private key as it may stand in memory: as in its file, as a number of this machine, and as ring
    /// computes with it.
    ///
    /// # Panics
    /// The file holds no key.
    #[must_use]
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&self.key).unwrap();
        // RFC 5958, RFC 5915: an OCTET STRING of 32 bytes is the number of a key on P-256.
        let der = key.secret_der();
        let at = der.windows(2).position(|tag| tag == [4, 32]).expect("a key on P-256");
        let number = der[at + 2..at + 34].to_vec();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(number.rchunks_exact(8)) {
            *word = u64::from_be_bytes(bytes.try_into().unwrap());
        }
        let bytes = |words: [u64; 4]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        vec![number, bytes(words), bytes(montgomery(words))]
    }

    /// The certificate, as a server shows it.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn shown(&self) -> Vec<u8> {
        rustls::pki_types::CertificateDer::from_pem_file(&self.certificate).unwrap().to_vec()
    }

    /// Its public key, as certificates have it (RFC 5280 §4.1, SubjectPublicKeyInfo).
    ///
    /// # Panics
    /// The file holds no key.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        let key = fs::read_to_string(&self.key).unwrap();
        KeyPair::from_pem(&key).unwrap().subject_public_key_info()
    }

    /// Adds the authority's certificate to the file of the server's, so that clients are sent both.
    ///
    /// # Panics
    /// The files cannot be read or written.
    pub fn send_authority(&self, authority: &Authority) {
        let both = [&self.certificate, &authority.file()].map(|path| fs::read(path).unwrap());
        fs::write(&self.certificate, both.concat()).unwrap();
    }

    /// The options of a server with this identity.
    #[must_use]
    pub fn options(&self) -> [String; 4] {
        let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
        ["--tls-cert".into(), text(&self.certificate), "--tls-key".into(), text(&self.key)]
    }
}

/// A client of TLS.
#[derive(Clone, Debug)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Begins a connection with a server of this name.
    ///
    /// # Panics
    /// It is no name.
    #[must_use]
    pub fn session(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        ClientConnection::new(Arc::clone(&self.0), name).unwrap()
    }
}

/// TLS 1.2 and 1.3.
pub const TLS_VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// The order of P-256 (FIPS 186-4 D.1.2.3), the low word first.
const ORDER: [u64; 4] =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// Multiplies a number below the order of P-256 by 2^256, modulo that.
fn montgomery(mut number: [u64; 4]) -> [u64; 4] {
    for _ in 0..256 {
        let carry = number[3] >> 63;
        for place in (0..4).rev() {
            let below = if place == 0 { 0 } else { number[place - 1] >> 63 };
            number[place] = number[place] << 1 | below;
        }
        let is_less = number.iter().rev().lt(ORDER.iter().rev());
        if carry == 1 || !is_less {
            let mut borrow = false;
            for (word, order) in number.iter_mut().zip(ORDER) {
                let (less, one) = word.overflowing_sub(order);
                let (less, two) = less.overflowing_sub(borrow.into());
                (*word, borrow) = (less, one || two);
            }
        }
    }
    number
}
