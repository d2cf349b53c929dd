//! The client's side.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::{Error, Result};
use crate::pem::read_authorities;
use crate::session::Session;

/// The authorities that a client trusts.
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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new("TLS", error))?;
        Ok(Client(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
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
