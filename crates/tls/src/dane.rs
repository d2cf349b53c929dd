//! Certificates of servers that send no authority's word along: any, or those that DNS names (DANE, RFC 6698, as RFC 7672
//! has it for SMTP).

use dns::Tlsa;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha512};

/// Of the usages of RFC 7218: the authority of the server's certificate, and that certificate itself. The two others ask
/// for public authorities, which SMTP has none of (RFC 7672 §3.1.3).
const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

/// Which certificates are taken.
#[derive(Debug)]
pub(crate) struct Taken {
    algorithms: WebPkiSupportedAlgorithms,
    /// Without any, every certificate whose key the server has.
    records: Vec<Tlsa>,
    /// Names of which a certificate below a [`DANE_TA`] has one.
    names: Vec<ServerName<'static>>,
}

impl Taken {
    /// Takes any certificate.
    pub(crate) fn any(algorithms: WebPkiSupportedAlgorithms) -> Taken {
        Taken { algorithms, records: Vec::new(), names: Vec::new() }
    }

    /// Takes the certificates that these records match (RFC 7672 §3); `None` where no record can be used.
    pub(crate) fn named(
        algorithms: WebPkiSupportedAlgorithms,
        records: &[Tlsa],
        names: &[String],
    ) -> Option<Taken> {
        let records: Vec<Tlsa> = records.iter().filter(|it| is_usable(it)).cloned().collect();
        let names = names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok());
        (!records.is_empty()).then(|| Taken { algorithms, records, names: names.collect() })
    }

    fn has(&self, usage: u8, certificate: &CertificateDer<'_>) -> bool {
        let of_usage = |record: &&Tlsa| record.usage == usage;
        self.records.iter().filter(of_usage).any(|record| matches(record, certificate))
    }

    /// Returns the authorities that are named: those that the server sends, and those that are in DNS whole.
    fn authorities(&self, sent: &[CertificateDer<'_>]) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let whole = |record: &Tlsa| {
            let is_whole = (record.usage, record.selector, record.matching) == (DANE_TA, 0, 0);
            is_whole.then(|| CertificateDer::from(record.data.clone()))
        };
        let in_dns = self.records.iter().filter_map(whole);
        let sent = sent.iter().filter(|it| self.has(DANE_TA, it)).cloned();
        for certificate in in_dns.chain(sent) {
            let _ = roots.add(certificate); // one that is malformed is no authority
        }
        roots
    }
}

impl ServerCertVerifier for Taken {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // A certificate that DNS names itself may have any name and any date (RFC 7672 §3.1.1).
        if self.records.is_empty() || self.has(DANE_EE, end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let roots = self.authorities(intermediates);
        if roots.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        let has_name = |name: &ServerName<'_>| verify_server_name(&parsed, name).is_ok();
        if self.names.iter().any(has_name) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::NotValidForName.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Returns whether a record can name a certificate (RFC 7672 §3.1, §2.1.1).
fn is_usable(record: &Tlsa) -> bool {
    let is_whole = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    is_whole && matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1
}

/// Returns whether a record names this certificate (RFC 6698 §2.1).
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.to_vec(),
        _ => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().to_vec(),
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(&selected).as_slice() == record.data,
        _ => Sha512::digest(&selected).as_slice() == record.data,
    }
}
