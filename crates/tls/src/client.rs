//! The client's side.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use dns::Tlsa;
use forknet::Connection;
use rustls::client::WantsClientCert;
use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, WantsVerifier,
};

use crate::dane::Taken;
use crate::error::{Error, Result};
use crate::pem::read_authorities;
use crate::session::{Agreed, Session};

/// Which servers a client trusts.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// Trusts the authorities of a file (`--ca-file`), or the system's.
    ///
    /// # Errors
    /// Names the file, or says that the system has none.
    pub fn new(authorities: Option<&Path>) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                for certificate in read_authorities(path)? {
                    roots.add(certificate).map_err(Error::file("certificate", path))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = roots.add_parsable_certificates(found.certs);
                if added == 0 {
                    let why =
                        "the system has no certificates of authorities; name some with --ca-file";
                    return Err(Error::new("TLS", why));
                }
            }
        }
        let builder = builder()?.with_root_certificates(roots);
        Ok(Client::of(builder))
    }

    /// Trusts any server: what is sent is hidden from those who listen, and not from one who stands between (RFC 7435).
    ///
    /// # Errors
    /// rustls has no version of TLS.
    pub fn any() -> Result<Client> {
        Client::taking(Taken::any(algorithms()))
    }

    /// Trusts the servers whose certificates DNS names, by these secure records (DANE, RFC 7672): of one below an
    /// authority that is named, the certificate has one of these names. Where none of the records can be used, what
    /// `trusted` trusts, or any server.
    ///
    /// # Errors
    /// rustls has no version of TLS.
    pub fn dane(records: &[Tlsa], names: &[String], trusted: Option<&Client>) -> Result<Client> {
        match (Taken::named(algorithms(), records, names), trusted) {
            (Some(taken), _) => Client::taking(taken),
            (None, Some(trusted)) => Ok(trusted.clone()),
            (None, None) => Client::any(),
        }
    }

    fn taking(taken: Taken) -> Result<Client> {
        let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(taken));
        Ok(Client::of(builder))
    }

    fn of(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Client {
        Client(Arc::new(builder.with_no_client_auth()))
    }

    /// Makes the handshake with a server, and puts the connection under TLS. `host` is the name, or address,
    /// that its certificate must have.
    ///
    /// # Errors
    /// `certificate of HOST: not trusted: …`, `TLS with HOST: …`.
    pub fn start(&self, host: &str, conn: &mut Connection) -> Result<Agreed> {
        let mut session = self.session(host)?;
        conn.handshake(&mut session).map_err(|error| failed(host, &error))?;
        let agreed = session.agreed();
        conn.set_tls(Box::new(session));
        Ok(agreed)
    }

    /// Begins a session with a server, whose certificate must have this name, or this address.
    ///
    /// # Errors
    /// The name is none.
    pub fn session(&self, name: &str) -> Result<Session> {
        let failed = |error: &dyn std::fmt::Display| Error::new(name, error);
        let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), server);
        connection.map(Session::new).map_err(|error| failed(&error))
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new("TLS", error))
}

fn algorithms() -> rustls::crypto::WebPkiSupportedAlgorithms {
    rustls::crypto::ring::default_provider().signature_verification_algorithms
}

/// Says why a handshake with this host has failed.
fn failed(host: &str, error: &io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(tls) = tls else {
        let why = match error.kind() {
            ErrorKind::UnexpectedEof => "the server has closed the connection".into(),
            _ => forknet::reason(error),
        };
        return Error::new(format!("TLS with {host}"), why);
    };
    let rustls::Error::InvalidCertificate(why) = tls else {
        return Error::new(format!("TLS with {host}"), tls);
    };
    let what = format!("certificate of {host}");
    let why = match why {
        CertificateError::UnknownIssuer => {
            "its authority is not known here (--ca-file names one)".into()
        }
        CertificateError::BadSignature => "its authority has not signed it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for other names".into()
        }
        CertificateError::ApplicationVerificationFailure => {
            "DNS names other certificates (TLSA)".into()
        }
        // What a self-signed one of openssl(1) mostly is.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is one of an authority, which no server may use (CA:TRUE)".into()
        }
        other => other.to_string(),
    };
    Error::new(what, format!("not trusted: {why}"))
}
