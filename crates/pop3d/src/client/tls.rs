//! TLS on the connection to a server.

use accounts::sasl::{Binding, Bindings};
use forknet::Connection;
use tls::{Agreed, Client};

use super::connection::ServerConnection;
use super::options::{Options, Tls};
use super::status::{Failure, Result, Status};

/// A client's part of TLS, where the command line asks for it.
#[derive(Debug)]
pub(crate) struct Security<'o> {
    options: &'o Options,
    client: Option<Client>,
}

impl Security<'_> {
    /// Reads the authorities.
    ///
    /// # Errors
    /// There are none, or the file is wrong.
    pub(crate) fn new(options: &Options) -> Result<Security<'_>> {
        let client = match options.tls {
            Tls::Never => None,
            Tls::Stls | Tls::Implicit => {
                let client = Client::new(options.ca_file.as_deref());
                Some(client.map_err(Failure::because(Status::Config))?)
            }
        };
        Ok(Security { options, client })
    }

    /// Begins a connection: with the handshake, or with STLS before anything else. Returns the channel
    /// bindings, empty ones where there is no TLS or none that has any.
    ///
    /// # Errors
    /// The server does not offer STLS, or its certificate is not trusted.
    pub(crate) fn start(
        &self,
        mut conn: Connection,
    ) -> Result<(ServerConnection<Connection>, Bindings)> {
        let Options { server, verbose, tls, .. } = self.options;
        let mut bindings = Bindings::default();
        if let (Some(client), Tls::Implicit) = (&self.client, tls) {
            let agreed = client.start(&server.host, &mut conn);
            bindings = bound(&agreed.map_err(Failure::because(Status::Protocol))?);
        }
        let mut conn = ServerConnection::start(conn, server.to_string(), *verbose)?;
        if let (Some(client), Tls::Stls) = (&self.client, tls) {
            conn.command("STLS")?;
            let agreed = client.start(&server.host, conn.before_tls()?);
            let agreed = agreed.inspect_err(|_| conn.abort());
            bindings = bound(&agreed.map_err(Failure::because(Status::Protocol))?);
            conn.forget_greeting(); // RFC 2595 §4: what was read in the clear proves nothing
        }
        Ok((conn, bindings))
    }
}

fn bound(agreed: &Agreed) -> Bindings {
    let exporter = agreed.exporter.as_ref().map(<[u8; 32]>::as_slice);
    Bindings::default().with(Binding::Exporter, exporter.unwrap_or_default())
}
