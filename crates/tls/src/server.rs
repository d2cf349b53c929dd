//! The server's side.

use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use crate::chains::{Chains, Sign};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::tickets::Tickets;

/// What the sessions of a server have in common: chains, tickets, the versions 1.2 and 1.3.
#[derive(Clone, Debug)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    /// A server with these chains, whose signatures `signer` makes.
    ///
    /// # Errors
    /// rustls has no version of TLS that its provider supports.
    pub fn new(chains: &Chains, signer: &Arc<dyn Sign>, tickets: &Tickets) -> Result<Server> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new("TLS", error))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(chains.resolver(signer));
        config.ticketer = tickets.ticketer();
        // Tickets alone: what one process remembers the others do not know.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Server(Arc::new(config)))
    }

    /// Begins the session of a client.
    ///
    /// # Errors
    /// rustls cannot do it with this configuration.
    pub fn session(&self) -> Result<Session> {
        let connection = ServerConnection::new(Arc::clone(&self.0));
        connection.map(Session::new).map_err(|error| Error::new("TLS", error))
    }
}
